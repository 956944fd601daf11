//! The arguments of `record` that say where profiles are sent.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

/// Where OTLP is taken, if the URL has no path: the signal is alpha, and its path says so.
const OTLP_PATH: &str = "/v1development/profiles";
/// Below what the URL names, where Pyroscope takes profiles.
const PYROSCOPE_PATH: &str = "/push.v1.PusherService/Push";

/// Where profiles are sent, and with what.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Send what is recorded to a server in place of a file, each 15 s or as --every says:
    /// `pyroscope+http://HOST:4040` for Grafana Pyroscope, `otlp+http://HOST:4318` for OpenTelemetry (alpha); https
    /// alike
    #[arg(long, value_name = "url", value_parser = push_url, conflicts_with_all = ["output", "format", "open"])]
    pub push: Option<PushUrl>,
    /// Label, or attribute, that each profile gets; may be given several times
    #[arg(long, value_name = "key=value", value_parser = label, requires = "push")]
    pub label: Vec<(String, String)>,
    /// Name of the service [default: OTEL_SERVICE_NAME in the environment of the process, else its program]
    #[arg(long, value_name = "name", value_parser = NonEmptyStringValueParser::new(), requires = "push")]
    pub service: Option<String>,
    /// File with headers for each request, `Name: value` a line: Authorization, X-Scope-OrgID,
    /// OTLP-Profiles-Development-Version
    #[arg(long, value_name = "file", requires = "push")]
    pub header_file: Option<PathBuf>,
    /// File with certificates (PEM) to trust in place of those of the web
    #[arg(long, value_name = "file", requires = "push")]
    pub ca_file: Option<PathBuf>,
}

/// How profiles are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushProtocol {
    /// Pprof by Pyroscope's `push.v1.PusherService`.
    Pyroscope,
    /// OpenTelemetry's, over HTTP.
    Otlp,
}

/// A server that takes profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PushUrl {
    /// How.
    pub protocol: PushProtocol,
    /// Where: `http://HOST:PORT/PATH`.
    pub url: String,
}

fn push_url(text: &str) -> Result<PushUrl, String> {
    let schemes = [("pyroscope+", PushProtocol::Pyroscope), ("otlp+", PushProtocol::Otlp)];
    let known = schemes.iter().find_map(|(scheme, protocol)| Some((text.strip_prefix(scheme)?, *protocol)));
    let usage = "it begins with pyroscope+http://, pyroscope+https://, otlp+http:// or otlp+https://";
    let (url, protocol) = known.ok_or(usage)?;
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).ok_or(usage)?;
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    if host.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it names no host".to_owned());
    }
    if host.contains('@') {
        return Err("a user and password belong into --header-file: `Authorization: Basic …`".to_owned());
    }
    let url = match (protocol, path) {
        (PushProtocol::Otlp, "") => format!("{}{OTLP_PATH}", url.trim_end_matches('/')),
        (PushProtocol::Otlp, _) => url.to_owned(),
        (PushProtocol::Pyroscope, _) => format!("{}{PYROSCOPE_PATH}", url.trim_end_matches('/')),
    };
    Ok(PushUrl { protocol, url })
}

fn label(text: &str) -> Result<(String, String), String> {
    let usage = "a label is key=value, its key of letters, digits, `_` and `.`";
    let (key, value) = text.split_once('=').ok_or(usage)?;
    let is_sound = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
        && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    // Names like these are the servers' own.
    if !is_sound || key.starts_with("__") || value.chars().any(char::is_control) {
        return Err(usage.to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_where_profiles_are_taken() {
        let url = |text| push_url(text).map(|push| push.url).unwrap_or_default();
        assert_eq!(url("pyroscope+http://h:4040"), "http://h:4040/push.v1.PusherService/Push");
        assert_eq!(url("pyroscope+https://h/base/"), "https://h/base/push.v1.PusherService/Push");
        assert_eq!(url("otlp+http://h:4318"), "http://h:4318/v1development/profiles");
        assert_eq!(url("otlp+http://h:4318/"), "http://h:4318/v1development/profiles");
        assert_eq!(url("otlp+https://h/api/org/v1/profiles"), "https://h/api/org/v1/profiles");
        for odd in ["http://h", "otlp://h", "otlp+ftp://h", "otlp+http://", "otlp+http:///x", "otlp+http://u:p@h", ""] {
            assert!(push_url(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn labels_are_pairs() {
        assert_eq!(label("env=prod=1"), Ok(("env".to_owned(), "prod=1".to_owned())));
        assert_eq!(label("k8s.pod.name="), Ok(("k8s.pod.name".to_owned(), String::new())));
        for odd in ["env", "=x", "1a=x", "a b=x", "__name__=x", "a=x\n"] {
            assert!(label(odd).is_err(), "{odd:?}");
        }
    }
}
