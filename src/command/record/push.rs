//! Where `record --push` sends what was recorded: a thread encodes each interval, another sends it.

mod identity;
mod pyroscope;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

use self::identity::Identities;
use crate::cli::{PushArgs, PushProtocol, PushUrl};
use crate::command::shared::failure::PushError;
use crate::command::shared::standard_streams::print_note;
use crate::http::{Destination, UploadCounts, Uploader, certificates};
use crate::output::{Presentation, otlp, printable};
use crate::process::quoted_path;
use crate::profile::Profile;

/// What is left is sent within this time at the end.
const END_LIMIT: Duration = Duration::from_secs(5);
/// So many intervals wait to be encoded.
const MOST_WAITING: usize = 2;
/// A file of headers is no longer, in bytes.
const LARGEST_FILE: u64 = 64 << 10;

/// Where intervals go.
pub(super) struct Pusher {
    url: String,
    intervals: SyncSender<Profile>,
    encoder: JoinHandle<Uploader>,
    /// Intervals that could not even be encoded in time.
    missed: u64,
}

/// What became of a recording that was sent.
pub(super) struct Pushed {
    /// In words.
    pub(super) text: String,
    /// What could not be sent, if so.
    pub(super) error: Option<PushError>,
}

impl Pusher {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a file cannot be read that was named.
    pub(super) fn start(url: &PushUrl, arguments: &PushArgs, presentation: Presentation) -> anyhow::Result<Self> {
        let mut headers = arguments.header_file.as_deref().map(read_headers).transpose()?.unwrap_or_default();
        headers.extend(match url.protocol {
            PushProtocol::Pyroscope => vec![("Content-Type".to_owned(), "application/proto".to_owned())],
            PushProtocol::Otlp => vec![
                ("Content-Type".to_owned(), "application/x-protobuf".to_owned()),
                ("Content-Encoding".to_owned(), "gzip".to_owned()),
            ],
        });
        let trusted = arguments.ca_file.as_deref().map(|path| {
            let pem = fs::read(path).with_context(|| format!("cannot read {}", quoted_path(path)))?;
            certificates(&pem).with_context(|| format!("{} has no certificates in PEM", quoted_path(path)))
        });
        let destination =
            Destination { url: url.url.clone(), headers, certificates: trusted.transpose()?.unwrap_or_default() };
        let note_url = url.url.clone();
        let notes = Box::new(move |text: &str| print_note(&printable(&format!("{note_url}: {text}"))));
        let uploader = Uploader::start(destination, notes)?;
        let (intervals, waiting) = sync_channel(MOST_WAITING);
        let identities = Identities::new(arguments);
        let protocol = url.protocol;
        let encoder = std::thread::Builder::new()
            .name("encode".to_owned())
            .spawn(move || encode_all(&waiting, protocol, &presentation, identities, uploader))?;
        Ok(Self { url: url.url.clone(), intervals, encoder, missed: 0 })
    }

    /// Takes an interval; never waits.
    pub(super) fn push(&mut self, interval: Profile) {
        if !interval.totals().is_empty() && self.intervals.try_send(interval).is_err() {
            self.missed += 1;
        }
    }

    /// Sends what is left.
    pub(super) fn finish(self) -> Pushed {
        let end = Instant::now() + END_LIMIT;
        drop(self.intervals);
        let counts = match self.encoder.join() {
            Ok(uploader) => uploader.finish(end.saturating_duration_since(Instant::now())),
            Err(_) => UploadCounts::default(),
        };
        let (sent, dropped) = (counts.sent, counts.dropped + self.missed);
        let noun = if sent == 1 { "profile" } else { "profiles" };
        let mut text = format!("sent {sent} {noun} to {}", printable(&self.url));
        if dropped > 0 {
            text.push_str(&format!(" ({dropped} dropped)"));
        }
        let is_failed = counts.refusal.is_some() || counts.left > 0;
        let reason = counts.refusal.or(counts.failure).unwrap_or_else(|| "it did not answer in time".to_owned());
        Pushed { text, error: is_failed.then(|| PushError { url: self.url, reason: printable(&reason).into_owned() }) }
    }
}

fn encode_all(
    intervals: &Receiver<Profile>,
    protocol: PushProtocol,
    presentation: &Presentation,
    mut identities: Identities,
    uploader: Uploader,
) -> Uploader {
    for interval in intervals {
        identities.look(&interval);
        let encoded = match protocol {
            PushProtocol::Pyroscope => pyroscope::request(&interval, presentation, &identities),
            PushProtocol::Otlp => {
                let body = otlp::request(&interval, presentation, &|process| identities.attributes(process));
                let mut packed = GzEncoder::new(Vec::new(), Compression::default());
                packed.write_all(&body).and_then(|()| packed.finish())
            }
        };
        match encoded {
            Ok(body) => uploader.push(body),
            Err(error) => print_note(&format!("an interval cannot be encoded: {error}")),
        }
    }
    uploader
}

/// Headers from a file, `Name: value` a line.
fn read_headers(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    use std::io::Read;
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(LARGEST_FILE).read_to_string(&mut text))
        .with_context(|| format!("cannot read {}", quoted_path(path)))?;
    parse_headers(&text).with_context(|| format!("cannot use {}", quoted_path(path)))
}

fn parse_headers(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        // The value may be a secret, so none of the line is shown.
        let Some((name, value)) = line.split_once(':') else { bail!("line {number} is not `Name: value`") };
        let (name, value) = (name.trim(), value.trim());
        let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_name) || value.chars().any(|c| c.is_control() || !c.is_ascii()) {
            bail!("line {number} has characters that no header has");
        }
        let is_ours = ["content-type", "content-encoding", "content-length", "transfer-encoding", "host"];
        if is_ours.contains(&name.to_ascii_lowercase().as_str()) {
            bail!("line {number}: {name} is not for you to set");
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lines() {
        let text = "# of the tenant\nX-Scope-OrgID: team a\n\nAuthorization:Bearer x:y\r\n";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = vec![pair("X-Scope-OrgID", "team a"), pair("Authorization", "Bearer x:y")];
        assert_eq!(parse_headers(text).unwrap(), expected);
        for odd in ["secret", "a b: secret", ": secret", "A: secret\u{1}", "Host: secret", "A: sécret"] {
            let error = format!("{:#}", parse_headers(odd).unwrap_err());
            assert!(error.contains("line 1") && !error.contains("secret"), "{error}");
        }
    }
}
