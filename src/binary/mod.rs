//! From the bytes of an executable or library to the few facts that finding CPython takes: where symbols, sections and
//! segments are, how file and memory addresses relate, what static data begins with.
//!
//! Pure: bytes in, facts out; no process, no path, nothing of CPython. Only the tables that a question needs are read,
//! and symbols are looked up by name (through the hash table or sorted names where the format has them), because a
//! libpython has more than ten thousand of them and a `dump` asks for three.
//!
//! An *address* here is what the headers say: the address in the file, before the loader moved the binary. What is
//! added to it to get the address in the process is the *bias* ([`Binary::bias`]).
//!
//! The bytes are not trusted: every offset and count is checked against the file's length, nothing is allocated by a
//! size that the file merely claims, and every loop is bounded by the bytes that exist. A part that makes no sense (a
//! symbol table out of bounds) counts as absent; only headers that leave nothing to work with are an error.
//!
//! Limits: 64-bit little-endian x86-64 and aarch64 only. No compressed symbol tables (`.gnu_debugdata`), no separate
//! debug files, no ELF `.dynsym` without a hash table, no Mach-O 64-bit universal headers, no PDB, no COFF symbols.

mod elf;
mod file;
mod macho;
mod pe;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::ops::Range;

use memchr::memmem;
use thiserror::Error;

pub(crate) use file::MappedFile;

/// Why a file is of no use to us.
#[derive(Debug, Error)]
pub(crate) enum BinaryError {
    /// The operating system would not give us its bytes.
    #[error("cannot read the file: {0}")]
    Read(#[from] std::io::Error),
    /// A directory, device, pipe or socket.
    #[error("not a regular file")]
    NotRegular,
    /// It cannot be mapped safely and is too large to be copied; see [`MappedFile`].
    #[error("a file of {size} bytes that others may change is not read, the limit is {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The most that is copied.
        limit: u64,
    },
    /// It begins like no format that we know.
    #[error("neither ELF nor Mach-O nor PE")]
    UnknownFormat,
    /// A 32-bit program; its structs have other sizes than every layout that we have.
    #[error("32-bit binaries are not supported")]
    Unsupported32Bit,
    /// A binary of a known format that cannot be a program of this kind of machine.
    #[error("unsupported binary: {0}")]
    Unsupported(&'static str),
    /// A universal Mach-O file without the architecture asked for.
    #[error("universal binary without {0} code")]
    NoSuchArchitecture(Architecture),
    /// Headers that contradict themselves or the length of the file.
    #[error("malformed binary: {0}")]
    Malformed(&'static str),
}

/// What machine the code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Architecture {
    /// AMD64, Intel 64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Architecture {
    /// The one that this program was built for.
    pub(crate) const HOST: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::X86_64 => "x86-64",
            Self::Aarch64 => "aarch64",
        })
    }
}

/// The container format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Linux and other Unixes.
    Elf,
    /// macOS.
    MachO,
    /// Windows.
    Pe,
}

/// Where a symbol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Symbol {
    /// Address in the file.
    pub address: u64,
    /// Bytes; 0 where the format does not tell (Mach-O, PE).
    pub size: u64,
}

/// A function that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FunctionSymbol<'bytes> {
    /// As the compiler wrote it, mangled.
    pub name: &'bytes [u8],
    /// Where it is; the size may be 0, when it is not known.
    pub place: Symbol,
    /// How good a name it is among several of one place, 0 the best: one that is linked by, a weak one, a static one, a
    /// mere label.
    pub rank: u8,
}

/// Where a section is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// Address in the file; 0 for an ELF section that is not loaded.
    pub address: u64,
    /// Bytes in memory.
    pub size: u64,
    /// Its bytes in the file, counted from the file's beginning; `None` when it has none there (zero-initialised, or
    /// cut off).
    pub file_range: Option<Range<usize>>,
    /// Those bytes are an `Elf64_Chdr` and what it says is compressed.
    pub compressed: bool,
}

/// One section by its name in each format, which for the same content are never the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SectionName {
    /// In ELF: `.PyRuntime`.
    pub elf: &'static str,
    /// In Mach-O, segment and section: `__DATA,PyRuntime`.
    pub mach_o: &'static str,
    /// In PE, cut to 8 bytes as linkers do: `PyRuntim`.
    pub pe: &'static str,
}

/// A parsed executable or library; borrows the bytes and holds no copy of them.
#[derive(Debug)]
pub(crate) struct Binary<'bytes> {
    bytes: &'bytes [u8],
    format: Format,
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests ask for it"))]
    architecture: Architecture,
    load_base: u64,
    segments: Vec<Segment>,
    sections: Vec<NamedSection<'bytes>>,
    build_id: Option<&'bytes [u8]>,
    symbols: Symbols<'bytes>,
}

/// A range of memory that the loader makes; the file part is always inside of the file.
#[derive(Debug, Clone, Copy)]
struct Segment {
    address: u64,
    memory_size: u64,
    file_offset: u64,
    file_size: u64,
    writable: bool,
    executable: bool,
}

/// A part of a file as a process has it mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MappedPart {
    /// Where it begins in the process.
    pub start: u64,
    /// Where it begins in the file: at a border of pages of the file, which is before its segment does.
    pub file_offset: u64,
    /// It is mapped to be run.
    pub executable: bool,
    /// The page size of the process's machine.
    pub page_size: u64,
}

/// A section with its name as the file has it; `segment` is empty but in Mach-O.
#[derive(Debug)]
struct NamedSection<'bytes> {
    segment: &'bytes [u8],
    name: &'bytes [u8],
    section: Section,
}

/// The symbol tables of the format.
#[derive(Debug)]
enum Symbols<'bytes> {
    Elf(elf::ElfSymbols<'bytes>),
    MachO(macho::MachSymbols<'bytes>),
    Pe(pe::PeExports<'bytes>),
}

impl<'bytes> Binary<'bytes> {
    /// Reads the headers of an ELF, Mach-O or PE file; of a universal Mach-O file the part for `preferred`.
    ///
    /// # Errors
    /// When it is no 64-bit executable or library, or its headers make no sense.
    pub(crate) fn parse(bytes: &'bytes [u8], preferred: Architecture) -> Result<Self, BinaryError> {
        match bytes {
            [0x7f, b'E', b'L', b'F', ..] => elf::parse(bytes),
            [b'M', b'Z', ..] => pe::parse(bytes),
            [0xca, 0xfe, 0xba, 0xbe, ..]
            | [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..]
            | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] => macho::parse(bytes, preferred),
            _ => Err(BinaryError::UnknownFormat),
        }
    }

    /// The container format.
    #[cfg(test)]
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// What machine it is for.
    #[cfg(test)]
    pub(crate) fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Looks names up among the symbols that the loader links by (ELF `.dynsym`, Mach-O external symbols, PE exports),
    /// which stripping leaves in place. Names are those of C, without Mach-O's underscore. One answer a name, in order.
    pub(crate) fn exported(&self, names: &[&str]) -> Vec<Option<Symbol>> {
        match &self.symbols {
            Symbols::Elf(symbols) => names.iter().map(|name| symbols.exported(name)).collect(),
            Symbols::MachO(symbols) => symbols.exported(names),
            Symbols::Pe(exports) => names.iter().map(|name| exports.exported(self, name)).collect(),
        }
    }

    /// As [`Binary::exported`], and for the names missing there one pass over the full symbol table (ELF `.symtab`,
    /// local Mach-O symbols), where there is one: static variables are only found here. Where several symbols have the
    /// name, a global one is taken before a local one.
    pub(crate) fn symbols(&self, names: &[&str]) -> Vec<Option<Symbol>> {
        let mut found = self.exported(names);
        if found.contains(&None) {
            match &self.symbols {
                Symbols::Elf(symbols) => symbols.complete(names, &mut found),
                Symbols::MachO(symbols) => symbols.complete(names, &mut found),
                Symbols::Pe(_) => {}
            }
        }
        found
    }

    /// All functions that have names, in the order of the tables; none but in ELF files. One may come twice.
    pub(crate) fn functions(&self) -> Box<dyn Iterator<Item = FunctionSymbol<'bytes>> + '_> {
        match &self.symbols {
            Symbols::Elf(symbols) => Box::new(symbols.functions()),
            Symbols::MachO(_) | Symbols::Pe(_) => Box::new(std::iter::empty()),
        }
    }

    /// Whether [`Binary::functions`] has static functions too: the file was not stripped.
    pub(crate) fn names_static_functions(&self) -> bool {
        match &self.symbols {
            Symbols::Elf(symbols) => symbols.is_full(),
            Symbols::MachO(_) | Symbols::Pe(_) => false,
        }
    }

    /// The first section of that name.
    pub(crate) fn section(&self, name: SectionName) -> Option<&Section> {
        let (segment, name) = match self.format {
            Format::Elf => ("", name.elf),
            Format::MachO => name.mach_o.split_once(',').unwrap_or(("", name.mach_o)),
            Format::Pe => ("", name.pe),
        };
        let same =
            |section: &&NamedSection<'_>| section.name == name.as_bytes() && section.segment == segment.as_bytes();
        self.sections.iter().find(same).map(|named| &named.section)
    }

    /// The address that the file gives to its own beginning: the page of the lowest `PT_LOAD`, `__TEXT`, or the image
    /// base.
    #[cfg(test)]
    pub(crate) fn load_base(&self) -> u64 {
        self.load_base
    }

    /// What to add (wrapping) to an address in the file to get the address in a process that has this part of the file
    /// mapped. `None` when no segment is there in the file.
    ///
    /// Any part will do, though a small ELF file can have two segments that are not run in its first page: take the
    /// lowest where there is the choice. For PE pass the module's base and offset 0.
    pub(crate) fn bias(&self, part: MappedPart) -> Option<u64> {
        // A mapping begins at a page border, up to a page before its segment does; there the previous segment's tail is
        // in the file, so a segment beginning in this page goes before one that merely contains it. How far segments
        // that share a page of the file were moved apart in memory differs where the linker allowed for larger pages.
        let distance = |segment: &&Segment| segment.file_offset.wrapping_sub(part.file_offset);
        let begins_in_page = |segment: &&Segment| distance(segment) < part.page_size;
        let contains = |segment: &&Segment| {
            part.file_offset.checked_sub(segment.file_offset).is_some_and(|offset| offset < segment.file_size)
        };
        let is_run_alike = |segment: &&Segment| segment.executable == part.executable;
        let in_file = || self.segments.iter().filter(|segment| segment.file_size > 0);
        let segment = in_file()
            .filter(is_run_alike)
            .filter(begins_in_page)
            .min_by_key(distance)
            .or_else(|| in_file().filter(is_run_alike).find(contains))
            // A program may change what its parts are for.
            .or_else(|| in_file().filter(begins_in_page).min_by_key(distance))
            .or_else(|| in_file().find(contains))?;
        let address = segment.address.wrapping_add(part.file_offset.wrapping_sub(segment.file_offset));
        Some(part.start.wrapping_sub(address))
    }

    /// What names this very build: the GNU build id, the Mach-O UUID, or GUID and age of the PE's debug information.
    pub(crate) fn build_id(&self) -> Option<&'bytes [u8]> {
        self.build_id
    }

    /// The bytes that the file puts at `address` in memory, before relocation. `None` unless all of them are in the
    /// file, so never for zero-initialised data.
    pub(crate) fn bytes_at(&self, address: u64, length: usize) -> Option<&'bytes [u8]> {
        self.bytes_from(address)?.get(..length)
    }

    /// All bytes of the file from `address` to the end of its segment.
    fn bytes_from(&self, address: u64) -> Option<&'bytes [u8]> {
        let find = |segment: &Segment| {
            let offset = address.checked_sub(segment.address).filter(|offset| *offset < segment.file_size)?;
            slice(self.bytes, segment.file_offset.checked_add(offset)?, segment.file_size - offset)
        };
        self.segments.iter().find_map(find)
    }

    /// Ranges of addresses that hold writable data with initial values in the file. Sizes are what the file claims:
    /// bound what you do with them by what is mapped.
    pub(crate) fn data_ranges(&self) -> Vec<Range<u64>> {
        let writable = self.segments.iter().filter(|segment| segment.writable && segment.file_size > 0);
        writable.map(|segment| segment.address..segment.address.saturating_add(segment.file_size)).collect()
    }

    /// Ranges of addresses that are writable and zero at the start (`.bss`), as [`Binary::data_ranges`] otherwise.
    pub(crate) fn zero_ranges(&self) -> Vec<Range<u64>> {
        let writable =
            self.segments.iter().filter(|segment| segment.writable && segment.memory_size > segment.file_size);
        let range = |segment: &Segment| {
            let end = segment.address.saturating_add(segment.memory_size);
            segment.address.saturating_add(segment.file_size)..end
        };
        writable.map(range).collect()
    }

    /// The different texts among the constants that look like a version of Python: `2.7.18`, `3.6.15+`, `3.15.0b4`.
    /// First those that are a string of their own, then those that end one (`/usr/lib/3.8.18`): linkers keep a string
    /// that is the end of another only once.
    ///
    /// `PY_VERSION` is one of them in every CPython, but versions of other things look the same, so these are
    /// candidates; at most 32. Costs a pass over the read-only data.
    pub(crate) fn version_strings(&self) -> Vec<&'bytes str> {
        let constants = |named: &&NamedSection<'_>| match self.format {
            Format::Elf => named.name.starts_with(b".rodata"),
            Format::MachO => matches!(named.name, b"__cstring" | b"__const"),
            Format::Pe => named.name == b".rdata",
        };
        let sections = self.sections.iter().filter(constants).filter_map(|named| named.section.file_range.clone());
        let mut regions: Vec<_> = sections.filter_map(|range| self.bytes.get(range)).collect();
        if regions.is_empty() {
            let segments = self.segments.iter().filter(|segment| !segment.writable);
            regions = segments.filter_map(|s| slice(self.bytes, s.file_offset, s.file_size)).collect();
        }
        let (mut whole, mut endings) = (Vec::new(), Vec::new());
        // Sections that overlap each other must not make this more than one pass over the file.
        let mut budget = self.bytes.len();
        for region in regions {
            let Some(rest) = budget.checked_sub(region.len()) else { break };
            budget = rest;
            for offset in [b"2.", b"3."].into_iter().flat_map(|start| memmem::find_iter(region, start)) {
                let before = offset.checked_sub(1).map_or(0, |before| region[before]);
                if !before.is_ascii_alphanumeric()
                    && before != b'.'
                    && let Some(version) = version_at(&region[offset..])
                {
                    let kind = if before == 0 { &mut whole } else { &mut endings };
                    if kind.len() < MOST_VERSIONS && !kind.contains(&version) {
                        kind.push(version);
                    }
                }
            }
        }
        endings.retain(|version| !whole.contains(version));
        whole.append(&mut endings);
        whole.truncate(MOST_VERSIONS);
        whole
    }
}

/// The page size of x86-64 and most aarch64 systems; others have 16 or 64 KiB.
const SMALLEST_PAGE: u64 = 4 << 10;
/// What [`Binary::version_strings`] returns at most.
const MOST_VERSIONS: usize = 32;

/// The NUL-terminated string at the beginning of `bytes`, if its shape is digit.digits.digits, then perhaps a, b, c or
/// rc with digits, then perhaps `+`.
fn version_at(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text_at(bytes, 0, "3.999.999rc999+".len() + 1)?).ok()?;
    let mut parts = text.strip_suffix('+').unwrap_or(text).splitn(3, '.');
    let (major, minor, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let patch = rest.trim_end_matches(|c: char| c.is_ascii_digit());
    let plausible = match patch {
        "" => is_number(rest),
        _ => {
            let serial = &rest[patch.len()..];
            let level = patch.trim_start_matches(|c: char| c.is_ascii_digit());
            let digits = &patch[..patch.len() - level.len()];
            matches!(level, "a" | "b" | "c" | "rc") && is_number(digits) && is_number(serial)
        }
    };
    (matches!(major, "2" | "3") && is_number(minor) && plausible).then_some(text)
}

/// `size` bytes from `offset` on, if the file has them.
fn slice(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = usize::try_from(offset.checked_add(size)?).ok()?;
    bytes.get(start..end)
}

/// The part of a file range that is inside of the file: a truncated file keeps what it has.
fn clip(bytes: &[u8], offset: u64, size: u64) -> u64 {
    size.min((bytes.len() as u64).saturating_sub(offset))
}

/// Start and end in the file, if it has all of the bytes.
fn file_range(bytes: &[u8], offset: u64, size: u64) -> Option<Range<usize>> {
    slice(bytes, offset, size)?;
    let start = usize::try_from(offset).ok()?;
    Some(start..start + usize::try_from(size).ok()?)
}

/// The bytes from `offset` to the next NUL, which must come within `limit` bytes.
fn text_at(bytes: &[u8], offset: usize, limit: usize) -> Option<&[u8]> {
    let rest = bytes.get(offset..)?;
    let rest = &rest[..rest.len().min(limit)];
    memchr::memchr(0, rest).map(|end| &rest[..end])
}

/// Whether the NUL-terminated string at `offset` is `prefix` followed by `name`.
fn is_text_at(bytes: &[u8], offset: usize, prefix: &str, name: &str) -> bool {
    let rest = bytes.get(offset..).and_then(|rest| rest.strip_prefix(prefix.as_bytes()));
    rest.and_then(|rest| rest.strip_prefix(name.as_bytes())).is_some_and(|rest| rest.first() == Some(&0))
}
