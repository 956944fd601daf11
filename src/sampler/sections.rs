//! Where a section of the interpreter or one of its modules lies in a process.

use std::path::Path;

use super::attach::{first_mappings, mapped_part};
use crate::binary::{Architecture, Binary, MappedFile, MappedPart, SectionName};
use crate::core_file::{BinarySources, CoreFile};
use crate::process::{Mapping, Process, page_size};

/// What `_asyncio` says of its structs (3.14+, Modules/_asynciomodule.c), in the module's own file or, where it is
/// built in, in that of the interpreter.
pub(crate) const ASYNCIO_SECTION: SectionName =
    SectionName { elf: ".AsyncioDebug", mach_o: "__DATA,AsyncioDebug", pe: "AsyncioD" };

/// The address of a section in a process; `None` when no file has it that is mapped with code.
pub(crate) fn section_address(process: &Process, name: SectionName) -> Option<u64> {
    let mappings = process.maps().ok()?;
    in_order(first_mappings(&mappings)).into_iter().find_map(|mapping| {
        let file = MappedFile::open(&process.open_mapping(mapping).ok()?).ok()?;
        address_in(&file, mapped_part(mapping, page_size()), name)
    })
}

/// The same of a core file.
pub(crate) fn core_section_address(core: &CoreFile, sources: &BinarySources, name: SectionName) -> Option<u64> {
    in_order(first_mappings(core.mappings())).into_iter().find_map(|mapping| {
        let bytes = sources.binary(core, mapping)?.file.as_deref().ok()?;
        address_in(bytes, mapped_part(mapping, core.page_size()), name)
    })
}

fn address_in(bytes: &[u8], part: MappedPart, name: SectionName) -> Option<u64> {
    let binary = Binary::parse(bytes, Architecture::HOST).ok()?;
    let section = binary.section(name)?;
    Some(section.address.wrapping_add(binary.bias(part)?))
}

/// The files that are most likely to have it first: an order, not a condition.
fn in_order(mut mappings: Vec<&Mapping>) -> Vec<&Mapping> {
    let is_module = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("_asyncio"));
    mappings.sort_by_key(|mapping| !mapping.path.as_deref().is_some_and(is_module));
    mappings
}
