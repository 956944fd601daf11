//! The ELF header and the program headers of a core.

use std::path::Path;

use goblin::container::{Container, Ctx};
use goblin::elf::header::{
    EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_AARCH64, EM_X86_64, ET_CORE, ET_DYN, ET_EXEC, header64,
};
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE};
use goblin::elf::{Elf, ProgramHeader, SectionHeader};

use super::CoreError;
use super::content::Content;
use crate::binary::Architecture;

/// `e_phnum` when there are more program headers than fit into it; the first section header's `sh_info` has their
/// number.
const PN_XNUM: u16 = 0xffff;
/// More ranges than a process can have mapped (`vm.max_map_count` may be raised up to this).
const MOST_SEGMENTS: u32 = 1 << 20;

/// A range of the process's memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// First address.
    pub(super) start: u64,
    /// One past the last address.
    pub(super) end: u64,
    /// Where its bytes are in the core.
    pub(super) offset: u64,
    /// How many of them the core has.
    pub(super) size: u64,
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) executable: bool,
}

/// What the headers say.
#[derive(Debug)]
pub(super) struct Headers {
    pub(super) architecture: Architecture,
    /// Sorted by address, disjoint.
    pub(super) segments: Vec<Segment>,
    /// Offset and length of each `PT_NOTE`.
    pub(super) notes: Vec<(u64, u64)>,
    /// The end of what the headers say there is.
    pub(super) expected_size: u64,
}

pub(super) fn read(path: &Path, content: &Content) -> Result<Headers, CoreError> {
    let not_a_core = |what| CoreError::NotACore { path: path.to_owned(), what };
    let foreign = |what| CoreError::Foreign { path: path.to_owned(), what };
    let malformed = |what| CoreError::Malformed { path: path.to_owned(), what };
    let failed = |source| CoreError::Read { path: path.to_owned(), source };
    let bytes = |offset, length| content.read_bytes(offset, length).map_err(failed);

    let size = content.size();
    let start = bytes(0, size.min(header64::SIZEOF_EHDR as u64))?.unwrap_or_default();
    if start.is_empty() {
        return Err(not_a_core("it is empty"));
    }
    if !start.starts_with(ELFMAG) {
        return Err(not_a_core("it is not in the ELF format"));
    }
    if start.len() < header64::SIZEOF_EHDR {
        return Err(malformed("it ends in the ELF header"));
    }
    if start[EI_CLASS] != ELFCLASS64 {
        return Err(foreign("not a 64-bit program"));
    }
    if start[EI_DATA] != ELFDATA2LSB {
        return Err(foreign("not little-endian"));
    }
    let header = Elf::parse_header(&start).map_err(|_| malformed("the ELF header"))?;
    match header.e_type {
        ET_CORE => {}
        ET_EXEC | ET_DYN => return Err(not_a_core("it is an executable or a library; give it with --exe")),
        _ => return Err(not_a_core("it is another kind of ELF file")),
    }
    let architecture = match header.e_machine {
        EM_X86_64 => Architecture::X86_64,
        EM_AARCH64 => Architecture::Aarch64,
        _ => return Err(foreign("neither x86-64 nor aarch64")),
    };

    let context = Ctx::new(Container::Big, scroll::Endian::Little);
    let mut count = u32::from(header.e_phnum);
    if header.e_phnum == PN_XNUM {
        let section = bytes(header.e_shoff, SectionHeader::size(context) as u64)?;
        let section = section.and_then(|bytes| SectionHeader::parse(&bytes, 0, 1, context).ok());
        count = section.and_then(|sections| sections.first().map(|section| section.sh_info)).unwrap_or(count);
    }
    let entry = ProgramHeader::size(context);
    if count == 0 || count > MOST_SEGMENTS || usize::from(header.e_phentsize) != entry {
        return Err(malformed("the program headers"));
    }
    let length = u64::from(count) * entry as u64;
    let Some(table) = bytes(header.e_phoff, length)? else {
        let expected = header.e_phoff.saturating_add(length);
        let path = path.to_owned();
        return Err(CoreError::Truncated { path, size, expected, missing: "the list of its parts" });
    };
    let parsed =
        ProgramHeader::parse(&table, 0, count as usize, context).map_err(|_| malformed("the program headers"))?;

    let loaded = parsed.iter().filter(|header| header.p_type == PT_LOAD && header.p_memsz > 0);
    let mut segments: Vec<Segment> = loaded.map(segment).collect();
    segments.sort_by_key(|segment| segment.start);
    // Where two claim one address, the first has it.
    let mut end = 0;
    segments.retain(|segment| {
        let apart = segment.start >= end && segment.end > segment.start;
        end = if apart { segment.end } else { end };
        apart
    });
    let notes =
        parsed.iter().filter(|header| header.p_type == PT_NOTE).map(|header| (header.p_offset, header.p_filesz));
    let ends = parsed.iter().map(|header| header.p_offset.saturating_add(header.p_filesz));
    Ok(Headers { architecture, segments, notes: notes.collect(), expected_size: ends.max().unwrap_or(0) })
}

fn segment(header: &ProgramHeader) -> Segment {
    Segment {
        start: header.p_vaddr,
        end: header.p_vaddr.saturating_add(header.p_memsz),
        offset: header.p_offset,
        size: header.p_filesz.min(header.p_memsz),
        readable: header.p_flags & PF_R != 0,
        writable: header.p_flags & PF_W != 0,
        executable: header.p_flags & PF_X != 0,
    }
}
