//! Values of options that need more than a number.

use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::format::FormatName;

/// A time after which to stop, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Until something else ends it.
    Unlimited,
    /// For so long.
    For(Duration),
}

/// By how much functions may grow.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GrowthArg {
    /// Which.
    pub glob: String,
    /// By how much, as a share.
    pub by: f64,
}

/// `GLOB:+5%`.
pub(super) fn growth(text: &str) -> Result<GrowthArg, String> {
    let parts = text.rsplit_once(":+").and_then(|(glob, by)| Some((glob, by.strip_suffix('%')?)));
    let parsed = parts.and_then(|(glob, by)| {
        let is_plain = by.chars().all(|c| c.is_ascii_digit() || c == '.');
        Some((glob, by.parse::<f64>().ok().filter(|_| is_plain)?))
    });
    match parsed {
        Some((glob, percent)) if !glob.is_empty() => Ok(GrowthArg { glob: glob.to_owned(), by: percent / 100.0 }),
        _ => Err("a limit is a glob, `:+`, and percents: app/*:+5%".to_owned()),
    }
}

/// The formats that can show what changed, of those that there are.
pub(super) fn diff_format() -> impl TypedValueParser<Value = FormatName> {
    let formats =
        [FormatName::Flamegraph, FormatName::Html, FormatName::Summary, FormatName::Markdown, FormatName::SummaryJson];
    let words = formats.iter().filter_map(ValueEnum::to_possible_value);
    PossibleValuesParser::new(words).try_map(|word| FormatName::from_str(&word, true))
}

/// A process id, in decimal or, with `0x`, in hex.
pub(super) fn pid(text: &str) -> Result<i32, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => i32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match parsed {
        Ok(pid) if pid > 0 => Ok(pid),
        _ => Err("a process id is a positive number, in decimal or, with 0x, in hex".to_owned()),
    }
}

/// Seconds, or a number with `ms`, `s`, `m` or `h`; `unlimited`.
pub(super) fn duration(text: &str) -> Result<Limit, String> {
    if text == "unlimited" {
        return Ok(Limit::Unlimited);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("a duration is a number of seconds, or a number with s, m or h".to_owned()),
    };
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    let seconds = digits.parse::<f64>().ok().filter(|_| plain).map(|number| number * unit);
    match seconds {
        Some(seconds) if seconds > 0.0 && seconds < 1e9 => Ok(Limit::For(Duration::from_secs_f64(seconds))),
        _ => Err("a duration is a positive number of seconds, or a number with s, m or h".to_owned()),
    }
}

/// The time between two refreshes, as [`duration`] but of at least 50 ms and at most an hour.
pub(super) fn delay(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Limit::For(delay) if (Duration::from_millis(50)..=Duration::from_secs(3600)).contains(&delay) => Ok(delay),
        _ => Err("a delay is between 50ms and 1h".to_owned()),
    }
}

/// A time as [`duration`], but not without an end.
pub(super) fn least_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Limit::For(time) => Ok(time),
        Limit::Unlimited => Err("it is a number of seconds, or a number with ms or s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_ids_are_decimal_or_hex() {
        assert_eq!(pid("42"), Ok(42));
        assert_eq!(pid("0x2A"), Ok(42));
        for odd in ["", "abc", "0", "-1", "0x", "99999999999", "1.5", "2a"] {
            assert!(pid(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn limits_of_growth_are_globs_with_percents() {
        assert_eq!(growth("app/*:+5%"), Ok(GrowthArg { glob: "app/*".to_owned(), by: 0.05 }));
        assert_eq!(growth("a:b:+0.5%"), Ok(GrowthArg { glob: "a:b".to_owned(), by: 0.005 }));
        for odd in ["", "app/*", "app/*:5%", "app/*:+5", ":+5%", "a:+x%", "a:+-5%", "a:+1e3%", "a:+%"] {
            assert!(growth(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn durations_have_units() {
        let seconds = |text: &str| match duration(text) {
            Ok(Limit::For(duration)) => duration.as_secs_f64(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(seconds("5"), 5.0);
        assert_eq!(seconds("0.5s"), 0.5);
        assert_eq!(seconds("500ms"), 0.5);
        assert_eq!(seconds("10m"), 600.0);
        assert_eq!(seconds("1h"), 3600.0);
        assert_eq!(duration("unlimited"), Ok(Limit::Unlimited));
        assert_eq!(delay("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(least_time("0.5ms"), Ok(Duration::from_micros(500)));
        assert!(least_time("0").is_err() && least_time("unlimited").is_err());
        assert!(delay("10ms").is_err() && delay("2h").is_err() && delay("unlimited").is_err());
        for odd in ["", "abc", "0", "-5", "1d", "s", "nan", "inf", "1e3", "1.2.3", "1é"] {
            assert!(duration(odd).is_err(), "{odd:?}");
        }
    }
}
