//! Lines of source of the code of one file, and the functions that compilers have put into others: from its DWARF.
//!
//! What it says is the target's to choose. Sections have a limit of size also when they are compressed; lookups have one of bytes read and of time (see
//! [`metered`](super::metered)), and all lookups of a file together one of time. What was kept is let go when it may have become too much.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use addr2line::Context;

use super::cython::compiled_name;
use super::cython_source::CythonSources;
use super::demangle::{readable, without_marks};
use super::metered::{Meter, MeteredBytes};
use crate::binary::{Architecture, Binary, MappedFile, Section, SectionName};

/// The most bytes of the sections of one file.
const MOST_BYTES: u64 = 768 << 20;
/// The most bytes that one lookup reads: the lines and functions of the largest unit that a compiler makes, and the list of all units.
const MOST_READ: u64 = 96 << 20;
/// How long one lookup may take, and all of one file.
const LONGEST_LOOKUP: Duration = Duration::from_secs(2);
const LONGEST_LOOKUPS: Duration = Duration::from_secs(20);
/// After so many bytes were read, what is kept of them is let go.
const MOST_KEPT: u64 = 192 << 20;
/// Functions that were put into each other at one place.
const MOST_INLINED: usize = 64;
/// The longest name of a source file.
const LONGEST_PATH: usize = 4096;

/// A place in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourcePlace {
    /// The function, demangled, where it is known.
    pub(super) name: Option<String>,
    /// It passes a call on to the function of the same name.
    pub(super) is_wrapper: bool,
    /// The file, as the compiler found it; empty where it is not known.
    pub(super) file: String,
    /// The line, from 1; 0 where it is not known.
    pub(super) line: u32,
}

/// The debug information of one file.
pub(super) struct Dwarf {
    sections: Sections,
    /// Those of the file that it shares parts with (`.gnu_debugaltlink`).
    shared: Option<Sections>,
    meter: Rc<Meter>,
    context: Option<Context<MeteredBytes>>,
    /// What the meter said when that was made.
    kept_since: u64,
    spent: Duration,
    /// When the file was made, as far as that is known.
    built: Option<SystemTime>,
    cython: CythonSources,
}

/// Sections by name.
type Sections = Vec<(&'static str, Rc<[u8]>)>;

/// Whether a file has what lines are read from.
pub(super) fn has_lines(binary: &Binary<'_>) -> bool {
    [".debug_info", ".debug_abbrev", ".debug_line"].into_iter().all(|name| {
        binary
            .section(named(name))
            .is_some_and(|section| section.file_range.as_ref().is_some_and(|range| !range.is_empty()))
    })
}

fn named(elf: &'static str) -> SectionName {
    SectionName { elf, mach_o: "", pe: "" }
}

impl Dwarf {
    /// The debug information of a file; `None` when it has none or too much.
    pub(super) fn read(file: &File, shared: Option<&File>) -> Option<Self> {
        let mut left = MOST_BYTES;
        let sections = read_sections(file, &mut left)?;
        let shared = shared.and_then(|file| read_sections(file, &mut left));
        let meter = Rc::new(Meter::new());
        let built = file.metadata().and_then(|metadata| metadata.modified()).ok();
        let (spent, cython) = (Duration::ZERO, CythonSources::default());
        Some(Self { sections, shared, meter, context: None, kept_since: 0, spent, built, cython })
    }

    /// How many bytes are held of the file.
    pub(super) fn size(&self) -> usize {
        self.sections.iter().chain(self.shared.iter().flatten()).map(|(_, bytes)| bytes.len()).sum()
    }

    /// What is at an address of the file: the innermost function that was put into others first, last the one that has code of its own. Empty when
    /// nothing is known. `open` finds files of the target.
    pub(super) fn places(&mut self, address: u64, open: &dyn Fn(&Path) -> Option<File>) -> Vec<SourcePlace> {
        if self.spent > LONGEST_LOOKUPS {
            return Vec::new();
        }
        let start = Instant::now();
        self.meter.begin(MOST_READ, start + LONGEST_LOOKUP);
        let places = self.look_up(address, open);
        self.spent += start.elapsed();
        if places.is_none() || self.meter.has_run_out() || self.meter.used() - self.kept_since > MOST_KEPT {
            self.context = None;
        }
        places.unwrap_or_default()
    }

    fn look_up(&mut self, address: u64, open: &dyn Fn(&Path) -> Option<File>) -> Option<Vec<SourcePlace>> {
        if self.context.is_none() {
            self.kept_since = self.meter.used();
            self.context = Context::from_dwarf(self.dwarf()).ok();
        }
        let mut frames = self.context.as_ref()?.find_frames(address).skip_all_loads().ok()?;
        let mut places = Vec::new();
        while let Some(frame) = frames.next().ok()?
            && places.len() < MOST_INLINED
        {
            let raw = frame.function.as_ref().and_then(|function| function.raw_name().ok());
            let compiled = raw.as_deref().and_then(|raw| compiled_name(without_marks(raw), &|_| None));
            let name = match &compiled {
                Some(compiled) => Some(readable(compiled.name.as_bytes())),
                None => raw.map(|raw| readable(raw.as_bytes())),
            };
            let is_wrapper = compiled.as_ref().is_some_and(|compiled| compiled.is_wrapper);
            let (file, line) = match frame.location {
                Some(location) => (location.file.unwrap_or_default(), location.line.unwrap_or(0)),
                None => ("", 0),
            };
            let file = if file.len() <= LONGEST_PATH { file.to_owned() } else { String::new() };
            let source = compiled.and_then(|_| self.cython.find(&file, line, self.built, open));
            let (file, line) = match source {
                Some((file, line)) => (file.to_owned(), line),
                None => (file, line),
            };
            places.push(SourcePlace { name, is_wrapper, file, line });
        }
        Some(places)
    }

    fn dwarf(&self) -> gimli::Dwarf<MeteredBytes> {
        let load = |sections: &Sections| {
            let section = |id: gimli::SectionId| {
                let found = sections.iter().find(|(name, _)| *name == id.name());
                let bytes = found.map_or_else(|| Rc::from([]), |(_, bytes)| Rc::clone(bytes));
                MeteredBytes::new(bytes, Rc::clone(&self.meter))
            };
            gimli::Dwarf::load(|id| Ok::<_, std::convert::Infallible>(section(id)))
        };
        let Ok(mut dwarf) = load(&self.sections);
        if let Some(shared) = &self.shared {
            let Ok(shared) = load(shared);
            dwarf.set_sup(shared);
        }
        dwarf
    }
}

fn read_sections(file: &File, left: &mut u64) -> Option<Sections> {
    const NAMES: [&str; 11] = [
        ".debug_info",
        ".debug_abbrev",
        ".debug_line",
        ".debug_str",
        ".debug_line_str",
        ".debug_str_offsets",
        ".debug_addr",
        ".debug_ranges",
        ".debug_rnglists",
        ".debug_aranges",
        ".debug_types",
    ];
    let bytes = MappedFile::open(file).map_err(|error| log::debug!("debug information: {error}")).ok()?;
    let binary = Binary::parse(&bytes, Architecture::HOST).ok()?;
    let mut sections = Vec::new();
    for name in NAMES {
        if let Some(section) = binary.section(named(name))
            && let Some(content) = content(&bytes, section, *left)
        {
            *left = left.checked_sub(content.len() as u64)?;
            sections.push((name, content));
        }
    }
    Some(sections)
}

/// The bytes of a section, at most so many, unpacked.
fn content(bytes: &[u8], section: &Section, most: u64) -> Option<Rc<[u8]>> {
    /// An `Elf64_Chdr`: kind, nothing, size, alignment.
    const HEADER: usize = 24;
    let content = bytes.get(section.file_range.clone()?)?;
    if !section.compressed {
        return (content.len() as u64 <= most).then(|| content.into());
    }
    let (header, packed) = content.split_at_checked(HEADER)?;
    let kind = u32::from_le_bytes(*header.first_chunk()?);
    let size = u64::from_le_bytes(*header[8..].first_chunk()?);
    let mut unpacked = Vec::new();
    // It may be more than is claimed.
    let limit = size.min(most);
    let read = match kind {
        1 => flate2::read::ZlibDecoder::new(packed).take(limit).read_to_end(&mut unpacked),
        2 => ruzstd::decoding::StreamingDecoder::new(packed).ok()?.take(limit).read_to_end(&mut unpacked),
        _ => return None,
    };
    (read.ok()? as u64 == size).then(|| unpacked.into())
}
