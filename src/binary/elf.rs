//! ELF: program headers for where things are loaded, section headers for names, `PT_DYNAMIC` for the symbols of the
//! loader.

use goblin::container::{Container, Ctx};
use goblin::elf::dynamic::dyn64::Dyn;
use goblin::elf::dynamic::{DT_GNU_HASH, DT_HASH, DT_NULL, DT_STRTAB, DT_SYMTAB};
use goblin::elf::header::{EI_CLASS, EI_DATA, ELFCLASS32, ELFDATA2LSB, EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, Header};
use goblin::elf::note::{NT_GNU_BUILD_ID, Note};
use goblin::elf::program_header::{PF_W, PF_X, PT_DYNAMIC, PT_LOAD, PT_NOTE};
use goblin::elf::section_header::{SHF_COMPRESSED, SHN_UNDEF, SHN_XINDEX, SHT_DYNSYM, SHT_NOBITS, SHT_SYMTAB};
use goblin::elf::sym::sym64::{SIZEOF_SYM, Sym};
use goblin::elf::sym::{
    STB_GLOBAL, STB_LOCAL, STB_WEAK, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT, st_bind, st_type,
};
use goblin::elf::{Elf, ProgramHeader, SectionHeader};
use scroll::{LE, Pread};

use super::{
    Architecture, Binary, BinaryError, Format, FunctionSymbol, NamedSection, Section, Segment, Symbol, Symbols,
};
use super::{SMALLEST_PAGE, clip, file_range, is_text_at, slice, text_at};

/// More program headers than any program has; the field allows 65535.
const MOST_SEGMENTS: usize = 1024;
/// More sections than a linked program has.
const MOST_SECTIONS: usize = 16 << 10;
/// Entries of `PT_DYNAMIC` that are looked at.
const MOST_ENTRIES: usize = 4096;
/// Notes that are looked at, and the bytes of one `PT_NOTE`.
const MOST_NOTES: usize = 64;
const LARGEST_NOTES: u64 = 64 << 10;
/// The longest section name that is kept whole.
const LONGEST_NAME: usize = 128;
/// The longest name of a function that is read; the templates of C++ make longer ones.
const LONGEST_SYMBOL: usize = 4 << 10;
/// `e_ident`, which says what the rest looks like.
const IDENT_SIZE: usize = 16;

pub(super) fn parse(bytes: &[u8]) -> Result<Binary<'_>, BinaryError> {
    let ident = bytes.get(..IDENT_SIZE).ok_or(BinaryError::Malformed("cut off in the ELF header"))?;
    if ident[EI_CLASS] == ELFCLASS32 {
        return Err(BinaryError::Unsupported32Bit);
    }
    if ident[EI_DATA] != ELFDATA2LSB {
        return Err(BinaryError::Unsupported("not little-endian"));
    }
    let header = Elf::parse_header(bytes).map_err(|_| BinaryError::Malformed("ELF header"))?;
    if !matches!(header.e_type, ET_EXEC | ET_DYN) {
        return Err(BinaryError::Unsupported("ELF file that is neither executable nor shared library"));
    }
    let architecture = match header.e_machine {
        EM_X86_64 => Architecture::X86_64,
        EM_AARCH64 => Architecture::Aarch64,
        _ => return Err(BinaryError::Unsupported("neither x86-64 nor aarch64")),
    };
    let program_headers = program_headers(bytes, &header)?;
    let loaded = program_headers.iter().filter(|header| header.p_type == PT_LOAD);
    let segments: Vec<_> = loaded.map(|header| segment(bytes, header)).collect();
    let lowest = segments.iter().map(|segment| segment.address).min();
    let load_base = lowest.ok_or(BinaryError::Malformed("no loaded segment"))? & !(SMALLEST_PAGE - 1);
    let SectionTables { sections, full, linked } = section_tables(bytes, &header);
    let mut binary = Binary {
        bytes,
        format: Format::Elf,
        architecture,
        load_base,
        segments,
        sections,
        build_id: build_id(bytes, &program_headers),
        symbols: Symbols::Elf(ElfSymbols::default()),
    };
    let dynamic = dynamic_table(&binary, &program_headers);
    binary.symbols = Symbols::Elf(ElfSymbols { dynamic, full, linked });
    Ok(binary)
}

fn context() -> Ctx {
    Ctx::new(Container::Big, scroll::Endian::Little)
}

fn program_headers(bytes: &[u8], header: &Header) -> Result<Vec<ProgramHeader>, BinaryError> {
    let malformed = BinaryError::Malformed("program headers");
    let count = usize::from(header.e_phnum);
    let Some(offset) = usize::try_from(header.e_phoff).ok().filter(|_| count <= MOST_SEGMENTS) else {
        return Err(malformed);
    };
    if usize::from(header.e_phentsize) != ProgramHeader::size(context()) {
        return Err(malformed);
    }
    ProgramHeader::parse(bytes, offset, count, context()).map_err(|_| malformed)
}

fn segment(bytes: &[u8], header: &ProgramHeader) -> Segment {
    Segment {
        address: header.p_vaddr,
        memory_size: header.p_memsz,
        file_offset: header.p_offset,
        file_size: clip(bytes, header.p_offset, header.p_filesz.min(header.p_memsz)),
        writable: header.p_flags & PF_W != 0,
        executable: header.p_flags & PF_X != 0,
    }
}

/// What the section headers lead to. Nothing of it is needed to run a program, so it can be missing or wrong without it
/// being an error.
struct SectionTables<'bytes> {
    sections: Vec<NamedSection<'bytes>>,
    /// The full symbol table, if it was not stripped.
    full: Option<Table<'bytes>>,
    /// The loader's symbol table.
    linked: Option<Table<'bytes>>,
}

fn section_tables<'bytes>(bytes: &'bytes [u8], header: &Header) -> SectionTables<'bytes> {
    let headers = section_headers(bytes, header).unwrap_or_default();
    let content = |index: usize| {
        let header = headers.get(index).filter(|header| header.sh_type != SHT_NOBITS)?;
        slice(bytes, header.sh_offset, header.sh_size)
    };
    let names_index = match (u32::from(header.e_shstrndx), headers.first()) {
        (SHN_XINDEX, Some(first)) => first.sh_link as usize,
        (index, _) => index as usize,
    };
    let names = content(names_index).unwrap_or_default();
    let table = |kind| {
        let index = headers.iter().position(|header| header.sh_type == kind)?;
        let strings = content(headers[index].sh_link as usize)?;
        Some(Table { symbols: content(index)?, strings })
    };
    let (full, linked) = (table(SHT_SYMTAB), table(SHT_DYNSYM));
    // The first one is always empty.
    let sections = headers.iter().skip(1).map(|header| NamedSection {
        segment: b"",
        name: text_at(names, header.sh_name, LONGEST_NAME).unwrap_or_default(),
        section: Section {
            address: header.sh_addr,
            size: header.sh_size,
            file_range: match header.sh_type {
                SHT_NOBITS => None,
                _ => file_range(bytes, header.sh_offset, header.sh_size),
            },
            compressed: header.sh_flags & u64::from(SHF_COMPRESSED) != 0,
        },
    });
    SectionTables { sections: sections.collect(), full, linked }
}

fn section_headers(bytes: &[u8], header: &Header) -> Option<Vec<SectionHeader>> {
    let offset = usize::try_from(header.e_shoff).ok()?;
    if offset == 0 || usize::from(header.e_shentsize) != SectionHeader::size(context()) {
        return None;
    }
    let count = match header.e_shnum {
        // More than fit into the field, or none: the first section header's size tells.
        0 => SectionHeader::parse(bytes, offset, 1, context()).ok()?.first()?.sh_size,
        count => u64::from(count),
    };
    let count = usize::try_from(count).ok().filter(|count| (1..=MOST_SECTIONS).contains(count))?;
    SectionHeader::parse(bytes, offset, count, context()).ok()
}

fn build_id<'bytes>(bytes: &'bytes [u8], headers: &[ProgramHeader]) -> Option<&'bytes [u8]> {
    headers.iter().filter(|header| header.p_type == PT_NOTE).take(MOST_NOTES).find_map(|header| {
        let notes = slice(bytes, header.p_offset, header.p_filesz.min(LARGEST_NOTES))?;
        let alignment = if header.p_align == 8 { 8 } else { 4 };
        let mut offset = 0;
        let notes =
            (0..MOST_NOTES).map_while(|_| notes.gread_with::<Note<'_>>(&mut offset, (alignment, context())).ok());
        notes.filter(|note| note.n_type == NT_GNU_BUILD_ID && note.name == "GNU").map(|note| note.desc).next()
    })
}

/// Finds what the loader itself uses: addresses in `PT_DYNAMIC`, which are there whatever became of the section
/// headers.
fn dynamic_table<'bytes>(binary: &Binary<'bytes>, headers: &[ProgramHeader]) -> Option<DynamicTable<'bytes>> {
    let header = headers.iter().find(|header| header.p_type == PT_DYNAMIC)?;
    let entries = slice(binary.bytes, header.p_offset, header.p_filesz)?;
    let (mut symbols, mut strings, mut gnu_hash, mut hash) = (None, None, None, None);
    let mut offset = 0;
    for _ in 0..MOST_ENTRIES {
        let Ok(Dyn { d_tag, d_val }) = entries.gread_with(&mut offset, LE) else { break };
        match d_tag {
            DT_NULL => break,
            DT_SYMTAB => symbols = binary.bytes_from(d_val),
            DT_STRTAB => strings = binary.bytes_from(d_val),
            DT_GNU_HASH => gnu_hash = binary.bytes_from(d_val),
            DT_HASH => hash = binary.bytes_from(d_val),
            _ => {}
        }
    }
    let index = gnu_hash.map(HashTable::Gnu).or(hash.map(HashTable::SystemV))?;
    Some(DynamicTable { table: Table { symbols: symbols?, strings: strings? }, index })
}

/// The symbols of an ELF file.
#[derive(Debug, Default)]
pub(super) struct ElfSymbols<'bytes> {
    dynamic: Option<DynamicTable<'bytes>>,
    full: Option<Table<'bytes>>,
    /// The loader's table with its true size.
    linked: Option<Table<'bytes>>,
}

/// `Elf64_Sym` entries and the strings that they name. For the loader's table, whose size is written nowhere, both go
/// on to the end of the segment.
#[derive(Debug)]
struct Table<'bytes> {
    symbols: &'bytes [u8],
    strings: &'bytes [u8],
}

/// `.dynsym` with its index.
#[derive(Debug)]
struct DynamicTable<'bytes> {
    table: Table<'bytes>,
    index: HashTable<'bytes>,
}

/// The loader's index of names.
#[derive(Debug)]
enum HashTable<'bytes> {
    /// `DT_GNU_HASH`.
    Gnu(&'bytes [u8]),
    /// `DT_HASH`, as the System V ABI defines it.
    SystemV(&'bytes [u8]),
}

impl<'bytes> ElfSymbols<'bytes> {
    /// Every function that is named, those of the full table first.
    pub(super) fn functions(&self) -> impl Iterator<Item = FunctionSymbol<'bytes>> + '_ {
        let tables = self.full.iter().chain(&self.linked);
        tables.flat_map(|table| {
            table.symbols.chunks_exact(SIZEOF_SYM).filter_map(|entry| {
                let symbol = entry.pread_with::<Sym>(0, LE).ok().filter(is_defined_code)?;
                let name = text_at(table.strings, symbol.st_name as usize, LONGEST_SYMBOL)?;
                let rank = match (st_type(symbol.st_info), st_bind(symbol.st_info)) {
                    (STT_NOTYPE, _) => 3,
                    (_, STB_GLOBAL) => 0,
                    (_, STB_WEAK) => 1,
                    _ => 2,
                };
                let place = Symbol { address: symbol.st_value, size: symbol.st_size };
                (!name.is_empty()).then_some(FunctionSymbol { name, place, rank })
            })
        })
    }

    /// Whether static functions are named too.
    pub(super) fn is_full(&self) -> bool {
        self.full.is_some()
    }
}

/// Whether the symbol is code of this file: a function, or a label of assembly that others may use.
fn is_defined_code(symbol: &Sym) -> bool {
    let kind = st_type(symbol.st_info);
    let is_code = matches!(kind, STT_FUNC | STT_GNU_IFUNC)
        || (kind == STT_NOTYPE && st_bind(symbol.st_info) == STB_GLOBAL && symbol.st_value != 0);
    is_code && u32::from(symbol.st_shndx) != SHN_UNDEF
}

impl ElfSymbols<'_> {
    pub(super) fn exported(&self, name: &str) -> Option<Symbol> {
        let DynamicTable { table, index } = self.dynamic.as_ref()?;
        match index {
            HashTable::Gnu(index) => find_by_gnu_hash(table, index, name),
            HashTable::SystemV(index) => find_by_system_v_hash(table, index, name),
        }
    }

    /// Fills what is missing in `found` from the full symbol table.
    pub(super) fn complete(&self, names: &[&str], found: &mut [Option<Symbol>]) {
        let Some(table) = &self.full else { return };
        let mut missing: Vec<_> = names
            .iter()
            .zip(found)
            .filter(|(_, found)| found.is_none())
            .map(|(name, found)| (*name, found, true))
            .collect();
        for entry in table.symbols.chunks_exact(SIZEOF_SYM) {
            let Some(symbol) = entry.pread_with::<Sym>(0, LE).ok().filter(is_defined) else { continue };
            for (name, found, replaceable) in &mut missing {
                if *replaceable && is_text_at(table.strings, symbol.st_name as usize, "", name) {
                    let local = st_bind(symbol.st_info) == STB_LOCAL;
                    if found.is_none() || !local {
                        **found = Some(Symbol { address: symbol.st_value, size: symbol.st_size });
                    }
                    *replaceable = local;
                }
            }
        }
    }
}

impl Table<'_> {
    /// The symbol of that index, if it is defined here and has that name.
    fn symbol(&self, index: u32, name: &str) -> Option<Symbol> {
        let offset = (index as usize).checked_mul(SIZEOF_SYM)?;
        let symbol = self.symbols.pread_with::<Sym>(offset, LE).ok().filter(is_defined)?;
        let same = is_text_at(self.strings, symbol.st_name as usize, "", name);
        same.then_some(Symbol { address: symbol.st_value, size: symbol.st_size })
    }
}

/// Whether the symbol is code or data of this file: not imported, not a thread-local offset, not a section or file
/// name.
fn is_defined(symbol: &Sym) -> bool {
    u32::from(symbol.st_shndx) != SHN_UNDEF && matches!(st_type(symbol.st_info), STT_NOTYPE | STT_OBJECT | STT_FUNC)
}

/// `DT_GNU_HASH`: {bucket count, first symbol, filter words, filter shift}, the filter (skipped here), the buckets
/// (each the index of its first symbol), then one hash a symbol, its low bit set on the last of a bucket.
fn find_by_gnu_hash(table: &Table<'_>, index: &[u8], name: &str) -> Option<Symbol> {
    let word = |index_of: usize| index.pread_with::<u32>(index_of.checked_mul(4)?, LE).ok();
    let (bucket_count, first_symbol, filter_words) = (word(0)?, word(1)?, word(2)? as usize);
    let buckets = 4 + filter_words * 2;
    let hash = name.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte.into()));
    let mut symbol = word(buckets + hash.checked_rem(bucket_count)? as usize)?;
    loop {
        // Ends at the latest where the table's bytes do.
        let chained = word(buckets + bucket_count as usize + symbol.checked_sub(first_symbol)? as usize)?;
        if chained | 1 == hash | 1
            && let Some(found) = table.symbol(symbol, name)
        {
            return Some(found);
        }
        if chained & 1 == 1 {
            return None;
        }
        symbol = symbol.checked_add(1)?;
    }
}

/// `DT_HASH`: {bucket count, chain count}, the buckets (each a symbol), the chains (each symbol's next one, 0 at the
/// end).
fn find_by_system_v_hash(table: &Table<'_>, index: &[u8], name: &str) -> Option<Symbol> {
    let word = |index_of: usize| index.pread_with::<u32>(index_of.checked_mul(4)?, LE).ok();
    let (bucket_count, chain_count) = (word(0)?, word(1)?);
    let hash = name.bytes().fold(0_u32, |hash, byte| {
        let hash = (hash << 4).wrapping_add(u32::from(byte));
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    });
    let mut symbol = word(2 + hash.checked_rem(bucket_count)? as usize)?;
    // A chain can be no longer than the table, unless it runs in a circle.
    for _ in 0..(chain_count as usize).min(index.len() / 4) {
        if symbol == 0 {
            return None;
        }
        if let Some(found) = table.symbol(symbol, name) {
            return Some(found);
        }
        symbol = word(2 + bucket_count as usize + symbol as usize)?;
    }
    None
}
