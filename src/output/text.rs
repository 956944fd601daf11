//! Making names from the target safe to write.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

/// `text` with everything that a line, a terminal or an XML file cannot carry written as an escape: control characters,
/// Unicode's line separators, what turns the direction of writing, and code points that are no characters.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(needs_escape) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if needs_escape(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Whether a character is one of those.
pub(super) fn needs_escape(character: char) -> bool {
    character.is_control()
        // Marks that turn the direction of text, or end lines or paragraphs.
        || matches!(character, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}' | '\u{2029}')
        || matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        // Code points that are no characters.
        || matches!(character, '\u{FDD0}'..='\u{FDEF}')
        // The last two code points of every plane are not characters, and XML forbids U+FFFE and U+FFFF.
        || u32::from(character) & 0xFFFE == 0xFFFE
}

/// A duration in units of its size: `5.0 s`, `2 min 5 s`, `3 h 12 min`, `4 d 7 h`.
pub(crate) fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..100 => format!("{:.1} s", duration.as_secs_f64()),
        100..6000 => format!("{} min {} s", seconds / 60, seconds % 60),
        6000..360_000 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// At most `limit` characters of `text`, the middle left out when it is longer.
pub(super) fn shortened(text: &str, limit: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= limit {
        return Cow::Borrowed(text);
    }
    let keep = limit.saturating_sub(1);
    let head: String = text.chars().take(keep - keep / 2).collect();
    let tail: String = text.chars().skip(length - keep / 2).collect();
    Cow::Owned(format!("{head}…{tail}"))
}

/// `text`, which must be [`printable`], for the content of an XML or HTML element or attribute.
pub(crate) fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' | '<' | '>' | '"' | '\'' => {
                // Writing to a string cannot fail.
                let _ = write!(safe, "&#{};", u32::from(character));
            }
            _ => safe.push(character),
        }
    }
    safe
}

/// Milliseconds, or counts of what each stands for a millisecond: whole ones, with a digit after the point for few.
pub(super) fn thousands(us: u64) -> String {
    if us < 100_000 && !us.is_multiple_of(1_000) {
        return format!("{:.1}", us as f64 / 1e3);
    }
    let digits = (us.saturating_add(500) / 1_000).to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_units_of_their_size() {
        let text = |seconds: f64| duration_text(Duration::from_secs_f64(seconds));
        assert_eq!([text(5.04), text(125.0), text(7260.0)], ["5.0 s", "2 min 5 s", "2 h 1 min"]);
        assert_eq!(text(400_000.0), "4 d 15 h");
    }

    #[test]
    fn only_what_is_unsafe_is_escaped() {
        assert!(matches!(printable("Ünïcode <module> \"🐍\" ; é"), Cow::Borrowed(_)));
        assert_eq!(printable("a\nb\0\u{1b}[31m"), "a\\nb\\u{0}\\u{1b}[31m");
        assert_eq!(printable("\u{202e}evil\u{ffff}\u{2028}\u{1fffe}"), "\\u{202e}evil\\u{ffff}\\u{2028}\\u{1fffe}");
    }

    #[test]
    fn the_middle_of_long_text_goes() {
        assert_eq!(shortened("0123456789", 10), "0123456789");
        assert_eq!(shortened("0123456789", 6), "012…89");
        assert_eq!(shortened("ééééééé", 3), "é…é");
    }
}
