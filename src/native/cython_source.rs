//! From lines of the C that Cython has written to lines of the program that it was written from: Cython puts the place
//! and some lines of that before what it makes of each, as comments that begin like `/* "pkg/mod.pyx":21`. (With
//! `emit_linenums` the debug information tells them itself.)

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

/// The longest file that is read.
const LONGEST_FILE: u64 = 64 << 20;
/// The most places that one file tells.
const MOST_PLACES: usize = 1 << 20;
/// The longest name of a file.
const LONGEST_NAME: usize = 4096;
/// How many files are remembered.
const MOST_FILES: usize = 64;

/// What the C files of a library tell.
#[derive(Debug, Default)]
pub(super) struct CythonSources {
    files: HashMap<String, Vec<Mark>>,
}

/// From a line of C on, what it was made from.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    line_of_c: u32,
    file: Rc<str>,
    line: u32,
}

impl CythonSources {
    /// The file and line that a line of C was made from; `None` when that cannot be told. `open` finds files of the
    /// target; one that has changed since
    /// `built` says nothing.
    pub(super) fn source_of(
        &mut self,
        file: &str,
        line: u32,
        built: Option<SystemTime>,
        open: &dyn Fn(&Path) -> Option<File>,
    ) -> Option<(&str, u32)> {
        if !self.files.contains_key(file) {
            if self.files.len() >= MOST_FILES {
                self.files.clear();
            }
            let marks = read_c_file(file, built, open).map(|text| marks(&text)).unwrap_or_default();
            self.files.insert(file.to_owned(), marks);
        }
        let marks = self.files.get(file)?;
        let after = marks.partition_point(|mark| mark.line_of_c <= line);
        let mark = marks.get(after.checked_sub(1)?)?;
        Some((&mark.file, mark.line))
    }
}

fn read_c_file(file: &str, built: Option<SystemTime>, open: &dyn Fn(&Path) -> Option<File>) -> Option<Vec<u8>> {
    let is_c = [".c", ".cpp", ".cc", ".cxx"].iter().any(|end| file.ends_with(end));
    let file = open(Path::new(file)).filter(|_| is_c)?;
    let metadata = file.metadata().ok()?;
    if metadata.len() > LONGEST_FILE || metadata.modified().ok()? > built? {
        return None;
    }
    let mut text = Vec::new();
    file.take(LONGEST_FILE).read_to_end(&mut text).ok()?;
    Some(text)
}

fn marks(text: &[u8]) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if let Some((file, line)) = mark(line)
            && marks.len() < MOST_PLACES
        {
            let known = marks.last().filter(|last| &*last.file == file).map(|last| Rc::clone(&last.file));
            let line_of_c = u32::try_from(index + 1).unwrap_or(u32::MAX);
            marks.push(Mark { line_of_c, file: known.unwrap_or_else(|| file.into()), line });
        }
    }
    marks
}

/// The file and line in a line that begins `/* "FILE":LINE`.
fn mark(line: &[u8]) -> Option<(&str, u32)> {
    let rest = line.trim_ascii_start().strip_prefix(b"/* \"")?;
    let end = memchr::memchr(b'"', rest).filter(|end| (1..=LONGEST_NAME).contains(end))?;
    let number = rest.get(end..)?.strip_prefix(b"\":")?.trim_ascii_end();
    let file = std::str::from_utf8(&rest[..end]).ok()?;
    Some((file, std::str::from_utf8(number).ok()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    const C: &str = "/* Generated */\nstatic int x;\n  /* \"pkg/cmod.pyx\":7\n * cdef double s = 0\n */\n  s = 0;\n\
                     /* \"pkg/cmod.pyx\":8\n*/\nt = 1;\n /* \"other.pxd\":3 */\n /* \"no\":x\n";

    #[test]
    fn lines_of_c_are_what_they_were_made_from() {
        let mut file = tempfile::Builder::new().suffix(".c").tempfile().unwrap();
        file.write_all(C.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let open = |path: &Path| File::open(path).ok();
        let after = SystemTime::now().checked_add(Duration::from_secs(60));
        let mut sources = CythonSources::default();
        for (line, expected) in
            [(1, None), (2, None), (3, Some(7)), (6, Some(7)), (7, Some(8)), (9, Some(8)), (1000, Some(8))]
        {
            let found = sources.source_of(path, line, after, &open);
            assert_eq!(found, expected.map(|line| ("pkg/cmod.pyx", line)), "{line}");
        }
        // One that is newer than the code, is no C, or is not there.
        let before = SystemTime::now().checked_sub(Duration::from_secs(60));
        assert_eq!(CythonSources::default().source_of(path, 6, before, &open), None);
        assert_eq!(CythonSources::default().source_of("/nowhere.c", 6, after, &open), None);
        assert_eq!(CythonSources::default().source_of("/etc/passwd", 6, after, &open), None);
    }
}
