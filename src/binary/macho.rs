//! Mach-O: load commands for segments, sections and symbols; of a universal ("fat") file the part for one architecture.

use std::ops::Range;

use goblin::container::Container;
use goblin::mach::constants::cputype::{CPU_TYPE_ARM64, CPU_TYPE_X86_64};
use goblin::mach::constants::{S_GB_ZEROFILL, S_THREAD_LOCAL_ZEROFILL, S_ZEROFILL, SECTION_TYPE};
use goblin::mach::fat::{FAT_MAGIC, FatArch, FatHeader, SIZEOF_FAT_ARCH, SIZEOF_FAT_HEADER};
use goblin::mach::header::{Header64, MH_BUNDLE, MH_DYLIB, MH_EXECUTE, SIZEOF_HEADER_64};
use goblin::mach::load_command::{CommandVariant, LoadCommand};
use goblin::mach::load_command::{SIZEOF_SECTION_64, SIZEOF_SEGMENT_COMMAND_64, Section64, SegmentCommand64};
use goblin::mach::symbols::{N_EXT, N_SECT, N_STAB, N_TYPE, Nlist64, SIZEOF_NLIST_64};
use goblin::mach::{parse_magic_and_ctx, peek};
use scroll::{LE, Pread};

use super::{Architecture, Binary, BinaryError, Format, NamedSection, Section, Segment, Symbol, Symbols};
use super::{clip, file_range, is_text_at, slice};

/// More architectures than anybody puts into one file. Java class files begin with the same four bytes, and a number
/// above this.
const MOST_ARCHITECTURES: usize = 32;
/// More load commands than any program has, in bytes.
const LARGEST_COMMANDS: usize = 1 << 20;
/// The size of a segment's or a section's name, filled up with NUL.
const NAME_SIZE: usize = 16;
/// `VM_PROT_WRITE` (`mach/vm_prot.h`).
const PROTECTION_WRITE: u32 = 2;
const PROTECTION_EXECUTE: u32 = 4;

pub(super) fn parse(bytes: &[u8], preferred: Architecture) -> Result<Binary<'_>, BinaryError> {
    let cut = || BinaryError::Malformed("cut off in the Mach-O header");
    let part = match peek(bytes, 0).map_err(|_| cut())? {
        FAT_MAGIC => universal_part(bytes, preferred)?,
        _ => 0..bytes.len(),
    };
    let image = &bytes[part.clone()];
    let (_, context) = parse_magic_and_ctx(image, 0).map_err(|_| cut())?;
    let context = context.ok_or(BinaryError::Malformed("no Mach-O in the universal binary"))?;
    if context.container == Container::Little {
        return Err(BinaryError::Unsupported32Bit);
    }
    if !context.le.is_little() {
        return Err(BinaryError::Unsupported("not little-endian"));
    }
    let header: Header64 = image.pread_with(0, LE).map_err(|_| cut())?;
    if !matches!(header.filetype, MH_EXECUTE | MH_DYLIB | MH_BUNDLE) {
        return Err(BinaryError::Unsupported("Mach-O file that is neither executable nor library"));
    }
    let architecture = match header.cputype {
        CPU_TYPE_X86_64 => Architecture::X86_64,
        CPU_TYPE_ARM64 => Architecture::Aarch64,
        _ => return Err(BinaryError::Unsupported("neither x86-64 nor aarch64")),
    };
    let contents = Contents::read(bytes, image, part.start as u64, &header)?;
    // The header itself is loaded as the beginning of __TEXT.
    let text =
        contents.segments.iter().find(|segment| segment.file_offset == part.start as u64 && segment.file_size > 0);
    let load_base = text.ok_or(BinaryError::Malformed("no segment holds the Mach-O header"))?.address;
    Ok(Binary {
        bytes,
        format: Format::MachO,
        architecture,
        load_base,
        segments: contents.segments,
        sections: contents.sections,
        build_id: contents.uuid,
        symbols: Symbols::MachO(contents.symbols),
    })
}

/// Where the part for that architecture lies in a universal file.
fn universal_part(bytes: &[u8], architecture: Architecture) -> Result<Range<usize>, BinaryError> {
    let header = FatHeader::parse(bytes).map_err(|_| BinaryError::Malformed("cut off in the universal header"))?;
    let count = header.nfat_arch as usize;
    if count > MOST_ARCHITECTURES {
        return Err(BinaryError::UnknownFormat);
    }
    let wanted = match architecture {
        Architecture::X86_64 => CPU_TYPE_X86_64,
        Architecture::Aarch64 => CPU_TYPE_ARM64,
    };
    let parts = (0..count).map_while(|index| FatArch::parse(bytes, SIZEOF_FAT_HEADER + index * SIZEOF_FAT_ARCH).ok());
    let part = parts.filter(|part| part.cputype == wanted).min_by_key(|part| part.cpusubtype());
    let part = part.ok_or(BinaryError::NoSuchArchitecture(architecture))?;
    file_range(bytes, part.offset.into(), part.size.into())
        .ok_or(BinaryError::Malformed("universal part past the end of the file"))
}

/// What the load commands tell.
#[derive(Default)]
struct Contents<'bytes> {
    segments: Vec<Segment>,
    sections: Vec<NamedSection<'bytes>>,
    symbols: MachSymbols<'bytes>,
    uuid: Option<&'bytes [u8]>,
}

impl<'bytes> Contents<'bytes> {
    /// Offsets in the load commands are from the beginning of `image`, which is at `base` in the file.
    fn read(bytes: &'bytes [u8], image: &'bytes [u8], base: u64, header: &Header64) -> Result<Self, BinaryError> {
        let malformed = || BinaryError::Malformed("load commands");
        let size = header.sizeofcmds as usize;
        let commands = image.get(..SIZEOF_HEADER_64 + size.min(LARGEST_COMMANDS)).ok_or_else(malformed)?;
        let mut contents = Self::default();
        let mut offset = SIZEOF_HEADER_64;
        // A command is at least its type and its size.
        for _ in 0..header.ncmds.min(header.sizeofcmds / 8) {
            if offset >= commands.len() {
                break;
            }
            let start = offset;
            let LoadCommand { command, .. } = LoadCommand::parse(commands, &mut offset, LE).map_err(|_| malformed())?;
            let body = commands.get(start..offset).ok_or_else(malformed)?;
            match command {
                CommandVariant::Segment64(segment) => contents.add_segment(bytes, base, &segment, body),
                CommandVariant::Symtab(table) => {
                    let entries = u64::from(table.nsyms) * SIZEOF_NLIST_64 as u64;
                    contents.symbols.entries = slice(image, table.symoff.into(), entries).unwrap_or_default();
                    contents.symbols.strings =
                        slice(image, table.stroff.into(), table.strsize.into()).unwrap_or_default();
                }
                CommandVariant::Dysymtab(table) => {
                    let first = table.iextdefsym as usize;
                    contents.symbols.external = Some(first..first + table.nextdefsym as usize);
                }
                CommandVariant::Uuid(_) => contents.uuid = body.get(8..24),
                _ => {}
            }
        }
        Ok(contents)
    }

    /// `body` is the load command with the section headers that follow it.
    fn add_segment(&mut self, bytes: &'bytes [u8], base: u64, command: &SegmentCommand64, body: &'bytes [u8]) {
        let Some(file_offset) = base.checked_add(command.fileoff) else { return };
        // __PAGEZERO, which only keeps the lowest 4 GiB free.
        if command.filesize > 0 || command.initprot != 0 {
            self.segments.push(Segment {
                address: command.vmaddr,
                memory_size: command.vmsize,
                file_offset,
                file_size: clip(bytes, file_offset, command.filesize.min(command.vmsize)),
                writable: command.initprot & PROTECTION_WRITE != 0,
                executable: command.initprot & PROTECTION_EXECUTE != 0,
            });
        }
        let headers = body.get(SIZEOF_SEGMENT_COMMAND_64..).unwrap_or_default().chunks_exact(SIZEOF_SECTION_64);
        for header in headers.take(command.nsects as usize) {
            let Ok(section) = header.pread_with::<Section64>(0, LE) else { continue };
            let zero = matches!(section.flags & SECTION_TYPE, S_ZEROFILL | S_GB_ZEROFILL | S_THREAD_LOCAL_ZEROFILL);
            let file_range = match base.checked_add(section.offset.into()) {
                Some(offset) if !zero => file_range(bytes, offset, section.size),
                _ => None,
            };
            self.sections.push(NamedSection {
                name: padded_name(header),
                segment: padded_name(&header[NAME_SIZE..]),
                section: Section { address: section.addr, size: section.size, file_range, compressed: false },
            });
        }
    }
}

/// The name at the beginning of `bytes`, which need not have a NUL when it fills its place.
fn padded_name(bytes: &[u8]) -> &[u8] {
    let name = &bytes[..bytes.len().min(NAME_SIZE)];
    &name[..memchr::memchr(0, name).unwrap_or(name.len())]
}

/// The `nlist` table; `external` tells which entries are defined here and visible to others.
#[derive(Debug, Default)]
pub(super) struct MachSymbols<'bytes> {
    entries: &'bytes [u8],
    strings: &'bytes [u8],
    external: Option<Range<usize>>,
}

impl MachSymbols<'_> {
    pub(super) fn exported(&self, names: &[&str]) -> Vec<Option<Symbol>> {
        let count = self.entries.len() / SIZEOF_NLIST_64;
        let mut found = vec![None; names.len()];
        self.scan(self.external.clone().unwrap_or(0..count), true, names, &mut found);
        found
    }

    /// Fills what is missing in `found` from the local symbols.
    pub(super) fn complete(&self, names: &[&str], found: &mut [Option<Symbol>]) {
        self.scan(0..self.entries.len() / SIZEOF_NLIST_64, false, names, found);
    }

    fn scan(&self, range: Range<usize>, only_external: bool, names: &[&str], found: &mut [Option<Symbol>]) {
        let mut missing: Vec<_> = names.iter().zip(found).filter(|(_, found)| found.is_none()).collect();
        let entries = self.entries.chunks_exact(SIZEOF_NLIST_64);
        for entry in entries.skip(range.start).take(range.len()) {
            let Ok(symbol) = entry.pread_with::<Nlist64>(0, LE) else { continue };
            let defined = symbol.n_type & N_STAB == 0 && symbol.n_type & N_TYPE == N_SECT;
            if !defined || (only_external && symbol.n_type & N_EXT == 0) {
                continue;
            }
            // C names have an underscore before them.
            let index =
                missing.iter().position(|(name, _)| is_text_at(self.strings, symbol.n_strx as usize, "_", name));
            if let Some(index) = index {
                *missing.swap_remove(index).1 = Some(Symbol { address: symbol.n_value, size: 0 });
                if missing.is_empty() {
                    return;
                }
            }
        }
    }
}
