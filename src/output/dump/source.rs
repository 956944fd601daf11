//! Lines of source under a frame: the current one marked, with the columns of the current expression below it.

use std::borrow::Cow;
use std::ops::Range;

use console::measure_text_width;

use crate::output::text::printable;

/// How many columns of one line are shown.
const WIDEST: usize = 200;
/// Columns of a tab.
const TAB: &str = "    ";

/// Source around a frame's line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SourceLines {
    /// In order.
    pub lines: Vec<SourceLine>,
}

/// A line of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceLine {
    /// Counted from 1.
    pub number: u32,
    /// Without its end.
    pub text: String,
    /// The current line.
    pub current: bool,
    /// The bytes of the current expression in it, where they are known.
    pub marked: Option<Range<usize>>,
}

impl SourceLine {
    /// The line as it is shown: one line, no control characters, not endless.
    pub(super) fn shown(&self) -> String {
        cut_to_width(&printable_line(&self.text))
    }

    /// What to write below it: spaces up to the marked part and carets under it. `None` when there is nothing to mark,
    /// or when it would be the whole line.
    pub(super) fn underline(&self) -> Option<String> {
        let Range { start, end } = self.marked.clone()?;
        let (before, rest) = self.text.split_at_checked(start.min(self.text.len()))?;
        let (marked, after) = rest.split_at_checked(end.checked_sub(start)?.min(rest.len()))?;
        let whole = before.trim().is_empty() && after.trim_end().is_empty();
        let (offset, width) = (width(before), width(marked));
        if whole || width == 0 || offset >= WIDEST {
            return None;
        }
        Some(format!("{}{}", " ".repeat(offset), "^".repeat(width.min(WIDEST - offset))))
    }
}

fn printable_line(text: &str) -> Cow<'_, str> {
    match text.contains('\t') {
        true => Cow::Owned(printable(&text.replace('\t', TAB)).into_owned()),
        false => printable(text),
    }
}

fn width(text: &str) -> usize {
    measure_text_width(&printable_line(text))
}

/// At most [`WIDEST`] columns.
fn cut_to_width(text: &str) -> String {
    if measure_text_width(text) <= WIDEST {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut columns = 0;
    for character in text.chars() {
        columns += measure_text_width(character.encode_utf8(&mut [0; 4]));
        if columns >= WIDEST {
            break;
        }
        shown.push(character);
    }
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, (start, end): (usize, usize)) -> SourceLine {
        SourceLine { number: 1, text: text.to_owned(), current: true, marked: Some(start..end) }
    }

    #[test]
    fn carets_stand_under_what_is_marked_whatever_its_width() {
        assert_eq!(line("    x = f(1)", (8, 12)).underline().as_deref(), Some("        ^^^^"));
        // Two wide characters of three bytes each before, one inside.
        assert_eq!(line("日本 = 語(1)", (9, 15)).underline().as_deref(), Some("       ^^^^^"));
        assert_eq!(line("\tf(1) + 2", (1, 5)).underline().as_deref(), Some("    ^^^^"));
        assert_eq!(line("a\u{1b}[31m(f(1))", (7, 11)).underline().map(|text| text.len()), Some(16));
    }

    #[test]
    fn nothing_is_marked_where_it_says_nothing_or_makes_no_sense() {
        for (text, marked) in
            [("    f(1)  ", (4, 8)), ("日本", (1, 2)), ("abc", (3, 1)), ("abc", (50, 60)), ("", (0, 0))]
        {
            assert_eq!(line(text, marked).underline(), None, "{text:?} {marked:?}");
        }
    }

    #[test]
    fn a_line_stays_one_bounded_line() {
        let hostile = line(&"\u{1b}[2J日\r".repeat(1000), (0, 1));
        assert!(hostile.shown().chars().all(|character| !character.is_control()));
        assert!(measure_text_width(&hostile.shown()) <= WIDEST);
    }
}
