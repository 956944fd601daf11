//! The memory that a core file keeps itself, without what the binaries have.

use super::CoreFile;
use super::headers::Segment;
use crate::memory::{Memory, ReadError, ReadFailure};

/// What a core has from an address on.
pub(super) enum Kept {
    /// So many bytes, which have been read.
    Bytes(usize),
    /// Nothing for so many bytes: there the binaries may have something.
    NothingFor(u64),
}

impl CoreFile {
    /// Reads as much of `buffer` as one segment has from `address` on. `None` when it should have some and the file has
    /// not.
    pub(super) fn read_kept(&self, address: u64, buffer: &mut [u8]) -> Option<Kept> {
        let index = self.segments.partition_point(|segment| segment.end <= address);
        let segment: Option<&Segment> = self.segments.get(index).filter(|segment| segment.start <= address);
        let Some(segment) = segment else {
            let next = self.segments.get(index).map_or(u64::MAX, |next| next.start);
            return Some(Kept::NothingFor(next.saturating_sub(address)));
        };
        let offset = address - segment.start;
        if offset >= segment.size {
            return Some(Kept::NothingFor(segment.end - address));
        }
        let place = segment.offset.checked_add(offset)?;
        let inside = self.content.size().checked_sub(place)?;
        let available = usize::try_from((segment.size - offset).min(inside)).unwrap_or(usize::MAX);
        let part = available.min(buffer.len());
        self.content.read(place, buffer.get_mut(..part)?).ok()?;
        Some(Kept::Bytes(part)).filter(|_| part > 0)
    }
}

/// That memory alone.
pub(super) struct KeptMemory<'core>(pub(super) &'core CoreFile);

impl Memory for KeptMemory<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        read_in_parts(address, buffer, |address, buffer| match self.0.read_kept(address, buffer)? {
            Kept::Bytes(part) => Some(part),
            Kept::NothingFor(_) => None,
        })
    }
}

/// Fills `buffer` part by part. `read_part` reads some bytes from an address on and says how many, or `None` where
/// there are none.
pub(super) fn read_in_parts(
    address: u64,
    buffer: &mut [u8],
    read_part: impl Fn(u64, &mut [u8]) -> Option<usize>,
) -> Result<(), ReadError> {
    let length = buffer.len();
    let failed = || ReadError::new(address, length, ReadFailure::Unmapped);
    let mut done = 0;
    while done < length {
        let next = address.checked_add(done as u64).ok_or_else(failed)?;
        done += read_part(next, &mut buffer[done..]).ok_or_else(failed)?;
    }
    Ok(())
}
