//! What a process is called: its arguments, or the title that it has written over them.
//!
//! The place of the arguments keeps its size, so a program that renames itself (setproctitle, PostgreSQL, ray) pads a
//! shorter title with NULs or spaces, which the system hands out like arguments.

use crate::process::Process;

/// Longer titles are cut, in bytes.
const LONGEST: usize = 4096;

/// The arguments of a process joined by spaces, or its title, as they are shown: without padding and of at most some
/// kilobytes.
pub(crate) fn command_line(process: &Process) -> String {
    title(&whole_command_line(process))
}

/// The arguments of a process joined by spaces, however long; for patterns.
pub(crate) fn whole_command_line(process: &Process) -> String {
    let arguments = process.command_line().unwrap_or_default();
    let words: Vec<String> = arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    words.join(" ").trim_end().to_owned()
}

/// Arguments that are already joined, as they are shown.
pub(crate) fn title(joined: &str) -> String {
    // Arguments that are empty have become spaces.
    let shown = joined.trim_matches(|character: char| character.is_whitespace() || character == '\0');
    if shown.len() <= LONGEST {
        return shown.to_owned();
    }
    let room = LONGEST - '…'.len_utf8();
    let end = (0..=room).rev().find(|end| shown.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &shown[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_not_shown_and_what_is_between_words_is() {
        let padded = format!("postgres: writer{}", " ".repeat(300));
        for (joined, shown) in [
            ("python3 app.py --all", "python3 app.py --all"),
            ("python3 -c  x  y", "python3 -c  x  y"),
            (&padded, "postgres: writer"),
            ("ray::Actor\0\0\0", "ray::Actor"),
            ("a title \u{3000}\n\0 ", "a title"),
            ("   ", ""),
            ("", ""),
        ] {
            assert_eq!(title(joined), shown, "{joined:?}");
        }
    }

    #[test]
    fn a_title_without_end_is_cut_between_characters() {
        let cut = title(&"ü".repeat(1 << 20));
        assert!(cut.len() <= LONGEST && cut.len() > LONGEST - 4, "{}", cut.len());
        assert!(cut.ends_with("ü…"));
    }
}
