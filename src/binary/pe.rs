//! PE32+: section headers, the export table and the debug directory. Addresses are the image base plus the relative
//! address.

use std::cmp::Ordering;

use goblin::pe::debug::{CODEVIEW_PDB70_MAGIC, IMAGE_DEBUG_TYPE_CODEVIEW, ImageDebugDirectory};
use goblin::pe::export::ExportDirectoryTable;
use goblin::pe::header::{COFF_MACHINE_ARM64, COFF_MACHINE_X86_64, CoffHeader, DosHeader, SIZEOF_PE_MAGIC};
use goblin::pe::optional_header::{IMAGE_NT_OPTIONAL_HDR32_MAGIC, OptionalHeader};
use goblin::pe::section_table::{IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_WRITE, SIZEOF_SECTION_TABLE, SectionTable};
use scroll::{LE, Pread};

use super::{Architecture, Binary, BinaryError, Format, NamedSection, Section, Segment, Symbol, Symbols};
use super::{clip, file_range, slice, text_at};

/// The size of a section's name, filled up with NUL.
const NAME_SIZE: usize = 8;
/// The size of an `IMAGE_DEBUG_DIRECTORY`.
const DEBUG_ENTRY_SIZE: usize = 28;
/// The longest exported name that is compared.
const LONGEST_NAME: usize = 1024;

pub(super) fn parse(bytes: &[u8]) -> Result<Binary<'_>, BinaryError> {
    // Programs for DOS and 16-bit Windows begin with the same two bytes.
    let dos = DosHeader::parse(bytes).map_err(|_| BinaryError::Malformed("PE header"))?;
    let mut offset = dos.pe_pointer as usize + SIZEOF_PE_MAGIC;
    let coff = CoffHeader::parse(bytes, &mut offset).map_err(|_| BinaryError::Malformed("COFF header"))?;
    if bytes.pread_with::<u16>(offset, LE).is_ok_and(|magic| magic == IMAGE_NT_OPTIONAL_HDR32_MAGIC) {
        return Err(BinaryError::Unsupported32Bit);
    }
    let architecture = match coff.machine {
        COFF_MACHINE_X86_64 => Architecture::X86_64,
        COFF_MACHINE_ARM64 => Architecture::Aarch64,
        _ => return Err(BinaryError::Unsupported("neither x86-64 nor aarch64")),
    };
    let optional: OptionalHeader =
        bytes.pread_with(offset, LE).map_err(|_| BinaryError::Malformed("PE optional header"))?;
    let image_base = optional.windows_fields.image_base;
    let headers_size = u64::from(optional.windows_fields.size_of_headers);
    // The headers are mapped at the image base.
    let mut segments = vec![Segment {
        address: image_base,
        memory_size: headers_size,
        file_offset: 0,
        file_size: clip(bytes, 0, headers_size),
        writable: false,
        executable: false,
    }];
    let mut sections = Vec::new();
    let table = bytes.get(offset + usize::from(coff.size_of_optional_header)..).unwrap_or_default();
    for header in table.chunks_exact(SIZEOF_SECTION_TABLE).take(coff.number_of_sections.into()) {
        // Without its string table a long name ("/123") stays as it is; no section that we look for has one.
        let Ok(section) = SectionTable::parse(header, &mut 0, header.len()) else { continue };
        let Some(address) = image_base.checked_add(section.virtual_address.into()) else { continue };
        let (file_offset, raw_size) = (u64::from(section.pointer_to_raw_data), u64::from(section.size_of_raw_data));
        let size = match section.virtual_size {
            0 => raw_size,
            size => u64::from(size),
        };
        segments.push(Segment {
            address,
            memory_size: size,
            file_offset,
            file_size: clip(bytes, file_offset, raw_size.min(size)),
            writable: section.characteristics & IMAGE_SCN_MEM_WRITE != 0,
            executable: section.characteristics & IMAGE_SCN_MEM_EXECUTE != 0,
        });
        let name = &header[..NAME_SIZE];
        sections.push(NamedSection {
            segment: b"",
            name: &name[..memchr::memchr(0, name).unwrap_or(NAME_SIZE)],
            section: Section {
                address,
                size,
                file_range: match raw_size {
                    0 => None,
                    // Raw data is padded to whole disk sectors.
                    _ => file_range(bytes, file_offset, raw_size.min(size)),
                },
                compressed: false,
            },
        });
    }
    let mut binary = Binary {
        bytes,
        format: Format::Pe,
        architecture,
        load_base: image_base,
        segments,
        sections,
        build_id: None,
        symbols: Symbols::Pe(PeExports::default()),
    };
    binary.build_id = build_id(&binary, &optional);
    binary.symbols = Symbols::Pe(exports(&binary, &optional).unwrap_or_default());
    Ok(binary)
}

/// `length` bytes from a relative address on.
fn at<'bytes>(binary: &Binary<'bytes>, relative: u32, length: usize) -> Option<&'bytes [u8]> {
    binary.bytes_at(binary.load_base.checked_add(relative.into())?, length)
}

/// GUID and age of the debug information, as a PDB has them.
fn build_id<'bytes>(binary: &Binary<'bytes>, optional: &OptionalHeader) -> Option<&'bytes [u8]> {
    let directory = optional.data_directories.get_debug_table()?;
    let entries = at(binary, directory.virtual_address, directory.size as usize)?;
    entries.chunks_exact(DEBUG_ENTRY_SIZE).find_map(|entry| {
        let entry = entry.pread_with::<ImageDebugDirectory>(0, LE).ok()?;
        let data = slice(binary.bytes, entry.pointer_to_raw_data.into(), entry.size_of_data.into())?;
        let is_pdb =
            entry.data_type == IMAGE_DEBUG_TYPE_CODEVIEW && data.starts_with(&CODEVIEW_PDB70_MAGIC.to_le_bytes());
        if is_pdb { data.get(4..24) } else { None }
    })
}

fn exports<'bytes>(binary: &Binary<'bytes>, optional: &OptionalHeader) -> Option<PeExports<'bytes>> {
    let directory = optional.data_directories.get_export_table()?;
    let table = at(binary, directory.virtual_address, directory.size as usize)?;
    let header = ExportDirectoryTable::parse(table, 0).ok()?;
    let names = header.number_of_name_pointers as usize;
    Some(PeExports {
        names: at(binary, header.name_pointer_rva, names.checked_mul(4)?)?,
        ordinals: at(binary, header.ordinal_table_rva, names.checked_mul(2)?)?,
        addresses: at(
            binary,
            header.export_address_table_rva,
            (header.address_table_entries as usize).checked_mul(4)?,
        )?,
        forwarders: directory.virtual_address..directory.virtual_address.saturating_add(directory.size),
    })
}

/// The export table: names in ascending order, for each the index of its address.
#[derive(Debug, Default)]
pub(super) struct PeExports<'bytes> {
    names: &'bytes [u8],
    ordinals: &'bytes [u8],
    addresses: &'bytes [u8],
    /// An address in here is the text of a forwarder: the symbol is in another file.
    forwarders: std::ops::Range<u32>,
}

impl PeExports<'_> {
    pub(super) fn exported(&self, binary: &Binary<'_>, name: &str) -> Option<Symbol> {
        let (mut low, mut high) = (0, self.names.len() / 4);
        while low < high {
            let middle = low + (high - low) / 2;
            let relative: u32 = self.names.pread_with(middle * 4, LE).ok()?;
            let bytes = binary.bytes_from(binary.load_base.checked_add(relative.into())?)?;
            match text_at(bytes, 0, LONGEST_NAME)?.cmp(name.as_bytes()) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return self.address(middle, binary.load_base),
            }
        }
        None
    }

    fn address(&self, index: usize, image_base: u64) -> Option<Symbol> {
        let ordinal: u16 = self.ordinals.pread_with(index * 2, LE).ok()?;
        let relative: u32 = self.addresses.pread_with(usize::from(ordinal) * 4, LE).ok()?;
        if relative == 0 || self.forwarders.contains(&relative) {
            return None;
        }
        Some(Symbol { address: image_base.checked_add(relative.into())?, size: 0 })
    }
}
