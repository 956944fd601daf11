//! The memory that a core file keeps, completed from the binaries.

use std::fmt;

use super::headers::Segment;
use super::{BinarySources, CoreFile};
use crate::memory::{Memory, ReadError, ReadFailure};

/// The least page size: the rest of a mapped file's last page is zeros.
const PAGE: u64 = 4096;

/// The memory of a process that is no more. Each byte is the core's, and where that has none, the file's that was mapped there.
pub struct CoreMemory<'core> {
    core: &'core CoreFile,
    sources: Option<&'core BinarySources>,
}

impl<'core> CoreMemory<'core> {
    /// The core completed from `sources`.
    pub fn new(core: &'core CoreFile, sources: &'core BinarySources) -> Self {
        Self { core, sources: Some(sources) }
    }

    /// Only what is in the core.
    pub(super) fn of_core_alone(core: &'core CoreFile) -> Self {
        Self { core, sources: None }
    }

    /// Reads as much of `buffer` as one source has; how much.
    fn read_part(&self, address: u64, buffer: &mut [u8]) -> Option<usize> {
        let length = |available: u64| usize::try_from(available).unwrap_or(usize::MAX).min(buffer.len());
        let segments = &self.core.segments;
        let index = segments.partition_point(|segment| segment.end <= address);
        let segment: Option<&Segment> = segments.get(index).filter(|segment| segment.start <= address);
        let next = segments.get(index).map_or(u64::MAX, |next| next.start);
        // How far what is said here holds.
        let mut limit = next.saturating_sub(address);
        if let Some(segment) = segment {
            let offset = address - segment.start;
            if offset < segment.size {
                let part = length(segment.size - offset);
                let place = segment.offset.checked_add(offset)?;
                let inside = self.core.content.size().checked_sub(place)?;
                let part = part.min(usize::try_from(inside).unwrap_or(usize::MAX));
                self.core.content.read(place, buffer.get_mut(..part)?).ok()?;
                return Some(part).filter(|part| *part > 0);
            }
            limit = segment.end - address;
        }
        let mapping = self.core.mappings.partition_point(|mapping| mapping.end <= address);
        let mapping = self.core.mappings.get(mapping).filter(|mapping| mapping.contains(address))?;
        let part = length(limit.min(mapping.end - address));
        let bytes = self.sources?.bytes_of(self.core, mapping)?;
        let offset = mapping.file_offset.checked_add(address - mapping.start)?;
        let end = (bytes.len() as u64).checked_next_multiple_of(PAGE)?;
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
        let length = buffer.len();
        let failed = || ReadError::new(address, length, ReadFailure::Unmapped);
        let mut done = 0;
        while done < length {
            let next = address.checked_add(done as u64).ok_or_else(failed)?;
            done += self.read_part(next, &mut buffer[done..]).ok_or_else(failed)?;
        }
        Ok(())
    }
}

impl fmt::Debug for CoreMemory<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CoreMemory").field("core", &self.core.path).finish_non_exhaustive()
    }
}
