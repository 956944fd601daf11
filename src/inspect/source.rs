//! Lines of source files, read as far as frames need them.
//!
//! Limits: a file is read as it is now, which may not be what the process runs. Text that is not UTF-8 is shown with
//! replacement characters, and then without columns, for they count bytes of UTF-8.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use super::source_file;

/// A source file larger than this is none, in bytes.
const LARGEST: u64 = 16 << 20;
/// Files that are kept.
const MOST_FILES: usize = 1000;
/// Lines before and after the current one.
const AROUND: usize = 1;

/// A line of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceLine {
    /// Counted from 1.
    pub number: u32,
    /// Without its end.
    pub text: String,
    /// The frame is at this one.
    pub is_current: bool,
    /// The bytes of the current expression in it, where they are known.
    pub expression: Option<Range<usize>>,
}

/// Where a frame is in its source.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourcePlace<'frame> {
    pub(super) file: &'frame str,
    pub(super) line: u32,
    /// The current expression, where it is known: its last line, and the bytes where it begins in its first line and
    /// ends in its last.
    pub(super) end_line: Option<u32>,
    pub(super) column: Option<u32>,
    pub(super) end_column: Option<u32>,
}

impl SourcePlace<'_> {
    /// The bytes of the expression in its first line, whose text is `text`.
    fn expression_in(&self, text: &str) -> Option<Range<usize>> {
        let (start, end) = (self.column? as usize, self.end_column? as usize);
        // An expression that goes on in the next lines is marked up to the end of this one.
        let end = if self.end_line.is_some_and(|last| last > self.line) { text.len() } else { end };
        (!text.contains(char::REPLACEMENT_CHARACTER)).then_some(start..end)
    }
}

/// Source files of a process.
pub(super) struct Sources<'target> {
    open: &'target dyn Fn(&Path) -> io::Result<File>,
    files: HashMap<String, Option<Vec<String>>>,
}

impl<'target> Sources<'target> {
    /// Those that `open` opens where the process finds them.
    pub(super) fn new(open: &'target dyn Fn(&Path) -> io::Result<File>) -> Self {
        Self { open, files: HashMap::new() }
    }

    /// The lines around a place, of its file or, where there is none, of what `cached` gives.
    pub(super) fn lines_around(
        &mut self,
        place: SourcePlace<'_>,
        cached: impl FnOnce() -> Option<Vec<String>>,
    ) -> Option<Vec<SourceLine>> {
        let current = usize::try_from(place.line).ok()?.checked_sub(1)?;
        if !self.files.contains_key(place.file) {
            if self.files.len() >= MOST_FILES {
                return None;
            }
            let is_file = !place.file.starts_with('<');
            let lines = if is_file { read_lines(self.open, place.file) } else { None };
            self.files.insert(place.file.to_owned(), lines.or_else(cached));
        }
        let lines = self.files.get(place.file)?.as_ref()?;
        lines.get(current)?;
        let first = current.saturating_sub(AROUND);
        let shown = lines.iter().enumerate().skip(first).take(current - first + 1 + AROUND);
        let source = shown.map(|(index, text)| SourceLine {
            number: u32::try_from(index + 1).unwrap_or(u32::MAX),
            text: text.clone(),
            is_current: index == current,
            expression: place.expression_in(text).filter(|_| index == current),
        });
        Some(source.collect())
    }
}

fn read_lines(open: &dyn Fn(&Path) -> io::Result<File>, name: &str) -> Option<Vec<String>> {
    let bytes = source_file::read(open, Path::new(name), LARGEST + 1)?;
    if bytes.len() as u64 > LARGEST || bytes.contains(&0) {
        return None;
    }
    Some(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}
