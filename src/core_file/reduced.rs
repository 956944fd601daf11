//! A core file with only some pages of another one: the saved images that fuzzing changes.

use std::collections::BTreeMap;
use std::io::{self, Write};

use goblin::elf::header::header64;
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE};

use super::{CoreFile, headers};

/// The page size of the images.
pub(crate) const PAGE: u64 = 4096;
/// The length of a program header of 64-bit ELF, in bytes.
const ENTRY: u64 = 56;

/// A program header, as far as it is written.
struct Part {
    kind: u32,
    flags: u32,
    offset: u64,
    start: u64,
    size: u64,
    memory_size: u64,
}

impl CoreFile {
    /// Writes a core of the same process with the notes and these pages, by their addresses; everything else of its
    /// memory is there and has no bytes. A page that no part of the core has is added as one that can be read.
    ///
    /// # Errors
    /// When the core or the writer fails.
    pub(crate) fn write_reduced(&self, pages: &BTreeMap<u64, Vec<u8>>, writer: &mut impl Write) -> io::Result<()> {
        let headers = headers::read(&self.path, &self.content).map_err(io::Error::other)?;
        let mut notes = Vec::new();
        for (offset, length) in &headers.notes {
            notes.extend(self.content.read_bytes(*offset, *length)?.unwrap_or_default());
        }
        let mut parts =
            vec![Part { kind: PT_NOTE, flags: 0, offset: 0, start: 0, size: notes.len() as u64, memory_size: 0 }];
        for segment in &headers.segments {
            let bits = [(segment.readable, PF_R), (segment.writable, PF_W), (segment.executable, PF_X)];
            let flags = bits.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum();
            let mut at = segment.start;
            for page in pages.range(segment.start..segment.end).map(|(page, _)| *page) {
                add(&mut parts, flags, at..page, false);
                add(&mut parts, flags, page..page + PAGE, true);
                at = page + PAGE;
            }
            add(&mut parts, flags, at..segment.end, false);
        }
        let is_in_none = |page: &&u64| !headers.segments.iter().any(|part| part.start <= **page && **page < part.end);
        for page in pages.keys().filter(is_in_none) {
            add(&mut parts, PF_R, *page..*page + PAGE, true);
        }
        let mut header = self.content.read_bytes(0, header64::SIZEOF_EHDR as u64)?.unwrap_or_default();
        let start = header.len() as u64;
        let count = u16::try_from(parts.len()).map_err(io::Error::other)?;
        // `e_phoff`, `e_shoff`, `e_phnum`, `e_shnum`, `e_shstrndx`.
        header[32..40].copy_from_slice(&start.to_le_bytes());
        header[40..48].fill(0);
        header[56..58].copy_from_slice(&count.to_le_bytes());
        header[60..64].fill(0);
        writer.write_all(&header)?;
        let mut offset = start + ENTRY * parts.len() as u64;
        for part in &mut parts {
            part.offset = offset;
            offset += part.size;
            writer.write_all(&part.to_bytes())?;
        }
        writer.write_all(&notes)?;
        for part in parts.iter().filter(|part| part.kind == PT_LOAD && part.size > 0) {
            for (_, bytes) in pages.range(part.start..part.start + part.size) {
                writer.write_all(bytes)?;
            }
        }
        Ok(())
    }

    /// All that the core has of the memory itself: addresses with their bytes, in the order of addresses.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn kept_memory(&self) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let kept = self.segments.iter().filter(|segment| segment.size > 0);
        let bytes = kept.map(|segment| {
            let bytes = self.content.read_bytes(segment.offset, segment.size)?;
            Ok((segment.start, bytes.unwrap_or_default()))
        });
        bytes.collect()
    }
}

/// Adds a range of memory, to the last part if it goes on there.
fn add(parts: &mut Vec<Part>, flags: u32, range: std::ops::Range<u64>, is_kept: bool) {
    if range.is_empty() {
        return;
    }
    let length = range.end - range.start;
    let size = if is_kept { length } else { 0 };
    match parts.last_mut() {
        Some(last)
            if last.kind == PT_LOAD
                && last.flags == flags
                && last.start + last.memory_size == range.start
                && (last.size > 0) == is_kept =>
        {
            last.size += size;
            last.memory_size += length;
        }
        _ => parts.push(Part { kind: PT_LOAD, flags, offset: 0, start: range.start, size, memory_size: length }),
    }
}

impl Part {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [self.kind, self.flags].map(u32::to_le_bytes).concat();
        let words = [self.offset, self.start, self.start, self.size, self.memory_size, 1];
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }
}
