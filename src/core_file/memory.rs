//! The memory that a core file keeps, completed from the binaries.

use std::fmt;

use super::kept::{Kept, read_in_parts};
use super::{BinarySources, CoreFile};
use crate::memory::{Memory, ReadError};

/// The memory of a process that is no more. Each byte is the core's, and where that has none, the file's that was
/// mapped there.
pub(crate) struct CoreMemory<'core> {
    core: &'core CoreFile,
    sources: &'core BinarySources,
}

impl<'core> CoreMemory<'core> {
    /// The core completed from `sources`.
    pub(crate) fn new(core: &'core CoreFile, sources: &'core BinarySources) -> Self {
        Self { core, sources }
    }

    /// The page size of the machine on which the process ran.
    pub(crate) fn page_size(&self) -> u64 {
        self.core.page_size()
    }

    /// Reads as much of `buffer` as one source has; how much.
    fn read_part(&self, address: u64, buffer: &mut [u8]) -> Option<usize> {
        match self.core.read_kept(address, buffer)? {
            Kept::Bytes(part) => Some(part),
            Kept::NothingFor(limit) => self.read_binary(address, limit, buffer),
        }
    }

    /// Reads as much of `buffer` as the file has that was mapped at `address`, at most `limit` bytes; how much.
    fn read_binary(&self, address: u64, limit: u64, buffer: &mut [u8]) -> Option<usize> {
        let mapping = self.core.mappings.partition_point(|mapping| mapping.end <= address);
        let mapping = self.core.mappings.get(mapping).filter(|mapping| mapping.contains(address))?;
        let available = limit.min(mapping.end - address);
        let part = usize::try_from(available).unwrap_or(usize::MAX).min(buffer.len());
        let bytes = self.sources.bytes_of(self.core, mapping)?;
        let offset = mapping.file_offset.checked_add(address - mapping.start)?;
        // The rest of a mapped file's last page is zeros.
        let end = (bytes.len() as u64).checked_next_multiple_of(self.core.page_size())?;
        let part = part.min(usize::try_from(end.checked_sub(offset)?).ok()?);
        let offset = usize::try_from(offset).ok()?;
        let found = bytes.get(offset.min(bytes.len())..bytes.len().min(offset.checked_add(part)?))?;
        let buffer = buffer.get_mut(..part)?;
        buffer.fill(0);
        buffer[..found.len()].copy_from_slice(found);
        Some(part).filter(|part| *part > 0)
    }
}

impl Memory for CoreMemory<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        read_in_parts(address, buffer, |address, buffer| self.read_part(address, buffer))
    }
}

impl fmt::Debug for CoreMemory<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CoreMemory").field("core", &self.core.path).finish_non_exhaustive()
    }
}
