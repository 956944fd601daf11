//! Names of code that a program makes while it runs: from the files that it writes for profilers, `/tmp/perf-PID.map`
//! and jitdump.
//!
//! A perf map has a line for each function: its address and size in hexadecimal, and its name (Linux,
//! `tools/perf/Documentation/jit-interface.txt`).
//! A jitdump has records, of which those count that load and move code
//! (`tools/perf/Documentation/jitdump-specification.txt`); the program has it mapped so that it can be found. Both grow
//! while the program runs, so that only what is new is read.
//!
//! Anybody can put a file into `/tmp`: one is believed only if it belongs to the user that the process acts as, or to
//! root. What is in it is text of the target all the same: names and entries have limits, and an address is only ever
//! looked up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::process::{Mapping, Process};

/// The least time between two looks at the files.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// The most that is read of a file at one look.
const MOST_AT_ONCE: u64 = 16 << 20;
/// The longest line or record; what is longer ends a file.
const LONGEST_ENTRY: usize = 4 << 20;
/// The longest name that is kept.
const LONGEST_NAME: usize = 1024;
/// More functions than a JIT compiler makes.
const MOST_FUNCTIONS: usize = 1 << 20;
/// Files of records of one process.
const MOST_DUMPS: usize = 8;
/// How many earlier functions are tried when the nearest does not reach far enough.
const NEIGHBOURS: usize = 8;

/// A function of generated code.
#[derive(Debug)]
struct Function {
    /// One past its last address.
    end: u64,
    name: Box<str>,
}

/// By the first address; they do not overlap.
type Functions = BTreeMap<u64, Function>;

/// What is known of the generated code of one process.
#[derive(Debug, Default)]
pub(super) struct GeneratedCode {
    functions: Functions,
    map: Source,
    dumps: Vec<(PathBuf, Source)>,
    looked: Option<Instant>,
    /// Code was met that has no name.
    wanted: bool,
}

/// A file that grows, and how far it was read.
#[derive(Debug, Default)]
struct Source {
    file: Option<File>,
    offset: u64,
    /// The beginning of a line or record of which the end was not there yet.
    rest: Vec<u8>,
    /// Its beginning was read.
    has_begun: bool,
    /// It makes no sense from here on.
    is_broken: bool,
}

impl GeneratedCode {
    /// The name of the function at an address.
    pub(super) fn name_at(&mut self, address: u64) -> Option<&str> {
        let mut near = self.functions.range(..=address).rev().take(NEIGHBOURS);
        let found = near.find(|(_, function)| address < function.end).map(|(_, function)| &*function.name);
        self.wanted |= found.is_none();
        found
    }

    /// Whether code was met that has no name.
    pub(super) fn lacks_names(&self) -> bool {
        self.wanted
    }

    /// Reads what has been written since the last look, if a name was missing and it is time to. Whether there are new
    /// names.
    pub(super) fn read_new_names(&mut self, process: &Process, dumps: &[Mapping]) -> bool {
        if !self.wanted || self.looked.is_some_and(|last| last.elapsed() < LOOK_AT_MOST_EVERY) {
            return false;
        }
        self.looked = Some(Instant::now());
        self.wanted = false;
        let mut is_new = false;
        if self.map.file.is_none()
            && let Some(pid) = process.namespace_pid()
        {
            self.map.file = open_own(process, || process.open_in_root(format!("/tmp/perf-{pid}.map").as_ref()));
        }
        let functions = &mut self.functions;
        self.map.read_new_bytes(|bytes, _| {
            read_lines(bytes, &mut |start, size, name| is_new |= insert_function(functions, start, size, name))
        });
        for mapping in dumps {
            let Some(path) = &mapping.path else { continue };
            if self.dumps.len() < MOST_DUMPS && self.dumps.iter().all(|(known, _)| known != path) {
                let file = open_own(process, || process.open_mapping(mapping));
                self.dumps.push((path.clone(), Source { file, ..Source::default() }));
            }
        }
        for (_, source) in &mut self.dumps {
            source.read_new_bytes(|bytes, is_start| {
                read_records(bytes, is_start, &mut |record| match record {
                    Record::Load { start, size, name } => is_new |= insert_function(functions, start, size, name),
                    Record::Move { from, to, size } => {
                        if let Some(Function { name, .. }) = functions.remove(&from) {
                            is_new |= insert_function(functions, to, size, name.as_bytes());
                        }
                    }
                })
            });
        }
        is_new
    }
}

/// Whether a mapping is that of a jitdump.
pub(super) fn is_dump(mapping: &Mapping) -> bool {
    let name = mapping.path.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with("jit-") && name.ends_with(".dump"))
}

/// A file that nobody but the user of the process or root can have written.
fn open_own(process: &Process, open: impl FnOnce() -> std::io::Result<File>) -> Option<File> {
    let file = open().ok()?;
    #[cfg(unix)]
    {
        let owner = std::os::unix::fs::MetadataExt::uid(&file.metadata().ok()?);
        (owner == 0 || process.user() == Some(owner)).then_some(file)
    }
    #[cfg(not(unix))]
    {
        let _ = process;
        Some(file)
    }
}

/// Adds a function, in place of what was at its addresses. Whether that was done.
fn insert_function(functions: &mut Functions, start: u64, size: u64, name: &[u8]) -> bool {
    let Some(end) = start.checked_add(size).filter(|_| size > 0) else { return false };
    let name = String::from_utf8_lossy(&name[..name.len().min(LONGEST_NAME)]);
    let below = functions.range(..start).next_back().map(|(first, function)| (*first, function.end));
    if let Some((first, _)) = below.filter(|(_, end)| *end > start) {
        functions.remove(&first);
    }
    while let Some(first) = functions.range(start..end).next().map(|(first, _)| *first) {
        functions.remove(&first);
    }
    if functions.len() >= MOST_FUNCTIONS {
        return false;
    }
    functions.insert(start, Function { end, name: name.into() });
    true
}

impl Source {
    /// Hands what is new to `consume`, with whether it is the beginning; it tells how much of it it has used, `None`
    /// when it makes no sense.
    fn read_new_bytes(&mut self, mut consume: impl FnMut(&[u8], bool) -> Option<usize>) {
        let Some(file) = self.file.as_mut().filter(|_| !self.is_broken) else { return };
        if file.metadata().is_ok_and(|metadata| metadata.len() < self.offset) {
            // It was begun anew.
            (self.offset, self.has_begun) = (0, false);
            self.rest.clear();
        }
        if file.seek(SeekFrom::Start(self.offset)).is_err() {
            return;
        }
        match file.take(MOST_AT_ONCE).read_to_end(&mut self.rest) {
            Ok(length) => self.offset += length as u64,
            Err(error) => {
                log::debug!("names of generated code: {error}");
                return;
            }
        }
        match consume(&self.rest, !self.has_begun) {
            Some(used) => {
                self.has_begun |= used > 0;
                self.rest.drain(..used.min(self.rest.len()));
            }
            None => self.is_broken = true,
        }
        self.is_broken |= self.rest.len() > LONGEST_ENTRY;
        if self.is_broken {
            self.rest = Vec::new();
        }
    }
}

/// Reads whole lines of a perf map; how many bytes they are.
fn read_lines(bytes: &[u8], found: &mut dyn FnMut(u64, u64, &[u8])) -> Option<usize> {
    let end = memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1);
    for line in bytes[..end].split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let mut number = || {
            let text = std::str::from_utf8(parts.next()?).ok()?;
            u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
        };
        if let (Some(start), Some(size), Some(name)) = (number(), number(), parts.next()) {
            found(start, size, name);
        }
    }
    Some(end)
}

/// What a record of a jitdump tells.
enum Record<'bytes> {
    Load { start: u64, size: u64, name: &'bytes [u8] },
    Move { from: u64, to: u64, size: u64 },
}

/// Reads whole records of a jitdump, after the header if it `is_start`; how many bytes they are, `None` when it is no
/// jitdump.
fn read_records(bytes: &[u8], is_start: bool, found: &mut dyn FnMut(Record<'_>)) -> Option<usize> {
    /// `JiTD` as a number in the order of bytes of the machine.
    const MAGIC: u32 = 0x4a69_5444;
    /// A record's kind, size and time.
    const PREFIX: usize = 16;
    let word = |bytes: &[u8], at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let long = |bytes: &[u8], at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
    let mut used = 0;
    if is_start && !bytes.is_empty() {
        let (Some(magic), Some(size)) = (word(bytes, 0), word(bytes, 8)) else { return Some(0) };
        if magic != MAGIC || !(40..=4096).contains(&size) {
            return None;
        }
        used = size as usize;
    }
    while let Some(record) = bytes.get(used..).filter(|record| record.len() >= PREFIX) {
        let (kind, size) = (word(record, 0)?, word(record, 4)? as usize);
        if !(PREFIX..=LONGEST_ENTRY).contains(&size) {
            return None;
        }
        let Some(record) = record.get(..size) else { break };
        used += size;
        match kind {
            // JIT_CODE_LOAD: pid, tid, address, address, size, number, name.
            0 => {
                if let (Some(start), Some(size), Some(text)) = (long(record, 32), long(record, 40), record.get(56..)) {
                    let name = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
                    found(Record::Load { start, size, name });
                }
            }
            // JIT_CODE_MOVE: pid, tid, address, old address, new address, size, number.
            1 => {
                if let (Some(from), Some(to), Some(size)) = (long(record, 32), long(record, 40), long(record, 48)) {
                    found(Record::Move { from, to, size });
                }
            }
            _ => {}
        }
    }
    Some(used.min(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(code: &mut GeneratedCode, address: u64) -> Option<String> {
        code.name_at(address).map(str::to_owned)
    }

    #[test]
    fn lines_of_a_map_name_addresses() {
        let mut code = GeneratedCode::default();
        let text = b"1000 20 one\n0x2000 10 two words; and (more)\nnonsense\n3000 0 empty\n\
                     ffffffffffffffff 2 over\n4000 8 cut";
        let functions = &mut code.functions;
        let used = read_lines(text, &mut |start, size, name| {
            insert_function(functions, start, size, name);
        });
        assert_eq!(used, Some(text.len() - "4000 8 cut".len()));
        for (address, name) in [
            (0xfff, None),
            (0x1000, Some("one")),
            (0x101f, Some("one")),
            (0x1020, None),
            (0x2001, Some("two words; and (more)")),
            (0x3000, None),
            (0x4000, None),
            (u64::MAX, None),
        ] {
            assert_eq!(named(&mut code, address).as_deref(), name, "{address:#x}");
        }
    }

    #[test]
    fn what_is_newer_takes_the_place_of_what_was_there() {
        let mut code = GeneratedCode::default();
        for (start, size, name) in [(0x100, 0x100, "old"), (0x200, 0x100, "beside"), (0x180, 0x100, "new")] {
            insert_function(&mut code.functions, start, size, name.as_bytes());
        }
        let names: Vec<_> = [0x110, 0x190, 0x27f, 0x290].map(|address| named(&mut code, address)).into();
        assert_eq!(names, [None, Some("new".to_owned()), Some("new".to_owned()), None]);
        insert_function(&mut code.functions, 0x500, 1, &[b'x'; 5000]);
        assert_eq!(named(&mut code, 0x500).unwrap().len(), LONGEST_NAME);
    }

    /// A jitdump with a function that was moved.
    fn dump() -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [0x4a69_5444_u32, 1, 40, 62, 0, 7, 0, 0, 0, 0] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        let mut record = |kind: u32, body: &[u8]| {
            let size = u32::try_from(16 + body.len()).unwrap();
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(&size.to_ne_bytes());
            bytes.extend_from_slice(&[0; 8]);
            bytes.extend_from_slice(body);
        };
        let body = |words: &[u64], text: &[u8]| {
            let mut body = vec![0; 8];
            body.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
            body.extend_from_slice(text);
            body
        };
        record(2, &[0; 24]);
        record(0, &body(&[0x1000, 0x1000, 4, 1], b"made\0\x90\x90\x90\x90"));
        record(1, &body(&[0x5000, 0x1000, 0x5000, 4, 1], b""));
        record(0, &body(&[0x2000, 0x2000, 4, 2], b"other\0\x90\x90\x90\x90"));
        bytes
    }

    fn read_dump(bytes: &[u8]) -> (Option<usize>, Vec<String>) {
        let mut found = Vec::new();
        let used = read_records(bytes, true, &mut |record| {
            found.push(match record {
                Record::Load { start, size, name } => format!("{start:#x} {size} {}", String::from_utf8_lossy(name)),
                Record::Move { from, to, size } => format!("{from:#x} {to:#x} {size}"),
            });
        });
        (used, found)
    }

    #[test]
    fn records_of_a_dump_name_addresses() {
        let bytes = dump();
        let (used, found) = read_dump(&bytes);
        assert_eq!(used, Some(bytes.len()));
        assert_eq!(found, ["0x1000 4 made", "0x1000 0x5000 4", "0x2000 4 other"]);
        // The last record is not all there yet.
        let (used, found) = read_dump(&bytes[..bytes.len() - 1]);
        assert!(used.is_some_and(|used| used < bytes.len()) && found.len() == 2);
    }

    #[test]
    fn dumps_that_make_no_sense_are_left() {
        assert_eq!(read_dump(b"no jitdump at all, and long enough to have a header").0, None);
        assert_eq!(read_dump(&[]).0, Some(0));
        let bytes = dump();
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                // It is to end without harm.
                let (used, found) = read_dump(&damaged);
                assert!(used.is_none_or(|used| used <= bytes.len()) && found.len() < 16);
            }
        }
    }
}
