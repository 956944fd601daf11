//! Paths in messages: what a terminal would obey is escaped, and what the system's paths are made of is not.

use std::path::Path;

/// A path in quotes. On Windows backslashes stay single, where they are what separates folders.
pub(crate) fn quoted_path(path: &Path) -> String {
    format!("\"{}\"", escaped(&path.to_string_lossy(), cfg!(windows)))
}

/// A path without quotes around it.
pub(crate) fn escaped_path(path: &Path) -> String {
    escaped(&path.to_string_lossy(), cfg!(windows))
}

fn escaped(text: &str, has_backslashes: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' if has_backslashes => shown.push(character),
            // Of a name in quotes it would be the end.
            '\'' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backslashes_are_doubled_only_where_they_are_no_separators() {
        assert_eq!(escaped(r"C:\a b\c.svg", true), r"C:\a b\c.svg");
        assert_eq!(escaped("a\\b", false), "a\\\\b");
        for has_backslashes in [false, true] {
            assert_eq!(escaped("a\u{1b}[2J\"b's", has_backslashes), "a\\u{1b}[2J\\\"b's");
        }
    }
}
