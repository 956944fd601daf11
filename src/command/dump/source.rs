//! Source files, read line by line as far as frames need them.
//!
//! Limits: a file is read as it is now, which may not be what the process runs. Text that is not UTF-8 is shown with replacement characters,
//! and then without columns, for they count bytes of UTF-8.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

use crate::command::source_file;
use crate::output::dump::{FrameDump, SourceLine, SourceLines};

/// A source file larger than this is none, in bytes.
const LARGEST: u64 = 16 << 20;
/// Files that are kept.
const MOST_FILES: usize = 1000;
/// Lines before and after the current one.
const AROUND: usize = 1;

/// Lines of source files.
pub(super) struct Sources<'look> {
    open: &'look dyn Fn(&Path) -> io::Result<File>,
    files: HashMap<String, Option<Vec<String>>>,
}

impl<'look> Sources<'look> {
    pub(super) fn new(open: &'look dyn Fn(&Path) -> io::Result<File>) -> Self {
        Self { open, files: HashMap::new() }
    }

    /// The lines around that of `frame`, of its file or, where there is none, of what `cached` gives.
    pub(super) fn around(
        &mut self,
        frame: &FrameDump,
        cached: impl FnOnce() -> Option<Vec<String>>,
    ) -> Option<SourceLines> {
        let current = usize::try_from(frame.line).ok()?.checked_sub(1)?;
        if !self.files.contains_key(&frame.filename) {
            if self.files.len() >= MOST_FILES {
                return None;
            }
            let is_file = !frame.filename.starts_with('<');
            let lines = if is_file { read(self.open, &frame.filename) } else { None };
            self.files.insert(frame.filename.clone(), lines.or_else(cached));
        }
        let lines = self.files.get(&frame.filename)?.as_ref()?;
        lines.get(current)?;
        let first = current.saturating_sub(AROUND);
        let shown = lines.iter().enumerate().skip(first).take(current - first + 1 + AROUND);
        let source = shown.map(|(index, text)| SourceLine {
            number: u32::try_from(index + 1).unwrap_or(u32::MAX),
            text: text.clone(),
            current: index == current,
            marked: marked(frame, text).filter(|_| index == current),
        });
        Some(SourceLines { lines: source.collect() })
    }
}

fn marked(frame: &FrameDump, text: &str) -> Option<(usize, usize)> {
    let (start, end) = (frame.column? as usize, frame.end_column? as usize);
    // An expression that goes on in the next lines is marked up to the end of this one.
    let end = if frame.end_line.is_some_and(|last| last > frame.line) { text.len() } else { end };
    (!text.contains(char::REPLACEMENT_CHARACTER)).then_some((start, end))
}

fn read(open: &dyn Fn(&Path) -> io::Result<File>, name: &str) -> Option<Vec<String>> {
    let bytes = source_file::read(open, Path::new(name), LARGEST + 1)?;
    if bytes.len() as u64 > LARGEST || bytes.contains(&0) {
        return None;
    }
    Some(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}
