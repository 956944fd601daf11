//! Lines of source of the code of one file, and the functions that compilers have put into others: from its DWARF.
//!
//! What it says is the target's to choose. Sections have a limit of size also when they are compressed; lookups have
//! one of bytes read and of time (see [`metered`](super::metered)), and all lookups of a file together one of time.
//! What was kept is let go when it may have become too much.

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
/// The most bytes that one lookup reads: the lines and functions of the largest unit that a compiler makes, and the
/// list of all units.
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

    /// What is at an address of the file: the innermost function that was put into others first, last the one that has
    /// code of its own. Empty when nothing is known. `open` finds files of the target.
    pub(super) fn places(&mut self, address: u64, open: &dyn Fn(&Path) -> Option<File>) -> Vec<SourcePlace> {
        // `addr2line` looks for what begins before the next address.
        if self.spent > LONGEST_LOOKUPS || address == u64::MAX {
            return Vec::new();
        }
        let start = Instant::now();
        self.meter.allow(MOST_READ, start + LONGEST_LOOKUP);
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
            let source = compiled.and_then(|_| self.cython.source_of(&file, line, self.built, open));
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::binary::tests::dice::Dice;

    /// A library with functions in others, and its bytes; `None`, which is said, without a compiler.
    fn library(folder: &Path, options: &[&str]) -> Option<(PathBuf, Vec<u8>)> {
        let output = folder.join("inlined.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/native/inlined.c");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O2"]).args(options).arg("-o").arg(&output).arg(source);
        let Ok(ran) = command.output() else {
            eprintln!("skipped: there is no cc to make a library with");
            return None;
        };
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let bytes = std::fs::read(&output).unwrap();
        Some((output, bytes))
    }

    fn code(bytes: &[u8]) -> std::ops::Range<u64> {
        let binary = Binary::parse(bytes, Architecture::HOST).unwrap();
        let text = binary.section(named(".text")).unwrap();
        text.address..text.address + text.size
    }

    fn names(dwarf: &mut Dwarf, code: std::ops::Range<u64>) -> Vec<Vec<String>> {
        let name = |place: SourcePlace| format!("{}:{}", place.name.unwrap_or_default(), place.line);
        code.map(|address| dwarf.places(address, &|_| None).into_iter().map(name).collect()).collect()
    }

    #[test]
    fn functions_that_were_put_into_others_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let Some((path, bytes)) = library(folder.path(), &["-g"]) else { return };
        let mut dwarf = Dwarf::read(&File::open(path).unwrap(), None).unwrap();
        let found = names(&mut dwarf, code(&bytes));
        let whole = ["innermost:5", "inner:11", "holder:9"].map(str::to_owned);
        assert!(found.iter().any(|places| *places == whole), "{found:?}");
        assert_eq!(dwarf.places(u64::MAX, &|_| None), []);
        // One that has told too little in too much time is asked no more.
        dwarf.spent = LONGEST_LOOKUPS + Duration::from_secs(1);
        assert!(names(&mut dwarf, code(&bytes)).iter().all(Vec::is_empty));
    }

    #[test]
    fn damaged_debug_information_is_answered_soon() {
        let folder = tempfile::tempdir().unwrap();
        let mut dice = Dice::new();
        for version in ["-gdwarf-4", "-gdwarf-5"] {
            let Some((_, bytes)) = library(folder.path(), &[version]) else { return };
            let code = code(&bytes);
            let binary = Binary::parse(&bytes, Architecture::HOST).unwrap();
            let sections = [".debug_info", ".debug_abbrev", ".debug_line", ".debug_aranges", ".debug_ranges"];
            let places = sections.iter().filter_map(|name| binary.section(named(name))?.file_range.clone());
            let places: Vec<_> = places.filter(|place| !place.is_empty()).collect();
            let start = Instant::now();
            for round in 0..300 {
                let mut damaged = bytes.clone();
                for _ in 0..=round / 20 {
                    let place = &places[dice.below(places.len())];
                    damaged[place.start + dice.below(place.len())] = u8::try_from(dice.below(256)).unwrap();
                }
                let path = folder.path().join("damaged.so");
                std::fs::write(&path, &damaged).unwrap();
                let Some(mut dwarf) = Dwarf::read(&File::open(path).unwrap(), None) else { continue };
                for address in code.clone().step_by(13) {
                    let places = dwarf.places(address, &|_| None);
                    assert!(places.len() <= MOST_INLINED && dwarf.meter.used() < 2 * MOST_KEPT);
                }
            }
            // Far more than it takes: it is to end, not to be fast.
            assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
        }
    }

    #[test]
    fn packed_sections_have_a_limit() {
        let section = |length: usize| Section { address: 0, size: 0, file_range: Some(0..length), compressed: true };
        let packed = |claimed: u64| {
            let mut bytes = Vec::from(1_u32.to_le_bytes());
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&claimed.to_le_bytes());
            bytes.extend_from_slice(&[0; 8]);
            let mut encoder = flate2::write::ZlibEncoder::new(bytes, flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &[7; 100_000]).unwrap();
            encoder.finish().unwrap()
        };
        let unpacked = |claimed, most| {
            let bytes = packed(claimed);
            content(&bytes, &section(bytes.len()), most).map(|bytes| bytes.len())
        };
        assert_eq!(unpacked(100_000, 1 << 20), Some(100_000));
        assert_eq!(unpacked(100_000, 99_999), None);
        assert_eq!(unpacked(u64::MAX, 1 << 20), None);
        // It holds more than it says.
        assert_eq!(unpacked(50_000, 1 << 20), Some(50_000));
        assert_eq!(content(&[1, 0, 0], &section(3), 100), None);
    }
}
