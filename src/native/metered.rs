//! Bytes of debug information that can be read only so often and for so long.
//!
//! Debug information is made of parts that refer to each other, so that a small file can ask for any amount of work and
//! memory: units that all share one table of lines, functions that all share one list of ranges. What is read costs a
//! unit of the meter for each byte, and whatever is kept of it is some tens of bytes for each that was read, so the
//! meter bounds both.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use gimli::{Error, LittleEndian, Reader, ReaderOffsetId};

/// Between two looks at the clock, in reads.
const READS_PER_LOOK: u32 = 1 << 10;

/// What may still be read.
#[derive(Debug)]
pub(super) struct Meter {
    left: Cell<u64>,
    used: Cell<u64>,
    until_look: Cell<u32>,
    deadline: Cell<Instant>,
}

impl Meter {
    /// One that lets nothing be read.
    pub(super) fn new() -> Self {
        Self {
            left: Cell::new(0),
            used: Cell::new(0),
            until_look: Cell::new(READS_PER_LOOK),
            deadline: Cell::new(Instant::now()),
        }
    }

    /// From now on so many bytes may be read, until the deadline.
    pub(super) fn allow(&self, bytes: u64, deadline: Instant) {
        self.left.set(bytes);
        self.deadline.set(deadline);
    }

    /// Whether more was asked for than was allowed.
    pub(super) fn has_run_out(&self) -> bool {
        self.left.get() == 0
    }

    /// Bytes read so far in all.
    pub(super) fn used(&self) -> u64 {
        self.used.get()
    }

    /// Whether so many bytes may be read.
    fn allows(&self, bytes: usize) -> bool {
        // A read of nothing takes time too.
        let bytes = bytes as u64 + 1;
        self.used.set(self.used.get().saturating_add(bytes));
        let mut left = self.left.get().saturating_sub(bytes);
        let until_look = self.until_look.get() - 1;
        if until_look == 0 {
            self.until_look.set(READS_PER_LOOK);
            if Instant::now() >= self.deadline.get() {
                left = 0;
            }
        } else {
            self.until_look.set(until_look);
        }
        self.left.set(left);
        left > 0
    }
}

/// Some bytes of a section.
#[derive(Debug, Clone)]
pub(super) struct MeteredBytes {
    bytes: Rc<[u8]>,
    range: Range<usize>,
    meter: Rc<Meter>,
}

impl MeteredBytes {
    /// A whole section.
    pub(super) fn new(bytes: Rc<[u8]>, meter: Rc<Meter>) -> Self {
        Self { range: 0..bytes.len(), bytes, meter }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.range.clone()).unwrap_or_default()
    }

    fn end_of_bytes<T>(&self) -> gimli::Result<T> {
        Err(Error::UnexpectedEof(self.offset_id()))
    }

    /// Fails unless so many bytes are there and may be read.
    fn check_read_of(&self, length: usize) -> gimli::Result<()> {
        if length <= self.range.len() && self.meter.allows(length) { Ok(()) } else { self.end_of_bytes() }
    }
}

impl Reader for MeteredBytes {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    fn len(&self) -> usize {
        self.range.len()
    }

    fn empty(&mut self) {
        self.range.end = self.range.start;
    }

    fn truncate(&mut self, length: usize) -> gimli::Result<()> {
        if length > self.range.len() {
            return self.end_of_bytes();
        }
        self.range.end = self.range.start + length;
        Ok(())
    }

    fn offset_from(&self, base: &Self) -> usize {
        self.range.start.saturating_sub(base.range.start)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        ReaderOffsetId(self.bytes.as_ptr() as u64 + self.range.start as u64)
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        let offset = usize::try_from(id.0.checked_sub(self.offset_id().0)?).ok()?;
        (offset <= self.range.len()).then_some(offset)
    }

    fn find(&self, byte: u8) -> gimli::Result<usize> {
        match memchr::memchr(byte, self.rest()) {
            Some(offset) if self.meter.allows(offset) => Ok(offset),
            _ => self.end_of_bytes(),
        }
    }

    fn skip(&mut self, length: usize) -> gimli::Result<()> {
        // Nothing is looked at.
        if length > self.range.len() || !self.meter.allows(0) {
            return self.end_of_bytes();
        }
        self.range.start += length;
        Ok(())
    }

    fn split(&mut self, length: usize) -> gimli::Result<Self> {
        let mut part = self.clone();
        part.truncate(length)?;
        self.skip(length)?;
        Ok(part)
    }

    fn to_slice(&self) -> gimli::Result<Cow<'_, [u8]>> {
        self.check_read_of(self.range.len())?;
        Ok(self.rest().into())
    }

    fn to_string(&self) -> gimli::Result<Cow<'_, str>> {
        self.check_read_of(self.range.len())?;
        std::str::from_utf8(self.rest()).map(Cow::from).map_err(|_| Error::BadUtf8)
    }

    fn to_string_lossy(&self) -> gimli::Result<Cow<'_, str>> {
        self.check_read_of(self.range.len())?;
        Ok(String::from_utf8_lossy(self.rest()))
    }

    fn read_slice(&mut self, buffer: &mut [u8]) -> gimli::Result<()> {
        self.check_read_of(buffer.len())?;
        match self.rest().get(..buffer.len()) {
            Some(bytes) => buffer.copy_from_slice(bytes),
            None => return self.end_of_bytes(),
        }
        self.range.start += buffer.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reader(bytes: &[u8], allowed: u64, limit: Duration) -> (MeteredBytes, Rc<Meter>) {
        let meter = Rc::new(Meter::new());
        meter.allow(allowed, Instant::now() + limit);
        (MeteredBytes::new(bytes.into(), Rc::clone(&meter)), meter)
    }

    #[test]
    fn bytes_are_read_in_order() {
        let (mut bytes, meter) = reader(&[1, 2, 3, 0, 5, 6, 7], 1000, Duration::from_secs(60));
        let whole = bytes.clone();
        assert_eq!((bytes.read_u8(), bytes.read_u16(), bytes.offset_from(&whole)), (Ok(1), Ok(0x302), 3));
        assert_eq!((bytes.find(6), bytes.find(9).is_err()), (Ok(2), true));
        let mut part = bytes.split(2).unwrap();
        assert_eq!(
            (part.read_u16(), part.read_u8().is_err(), bytes.to_slice().unwrap()),
            (Ok(0x500), true, [6, 7][..].into())
        );
        assert_eq!(whole.lookup_offset_id(bytes.offset_id()), Some(5));
        assert_eq!(bytes.lookup_offset_id(whole.offset_id()), None);
        assert!(bytes.skip(3).is_err() && bytes.truncate(3).is_err() && bytes.read_u32().is_err());
        assert!(!meter.has_run_out());
    }

    #[test]
    fn no_more_is_read_than_is_allowed() {
        let (bytes, meter) = reader(&[7; 100], 500, Duration::from_secs(60));
        let read = (0..1000).take_while(|_| bytes.clone().read_u32().is_ok()).count();
        assert_eq!((read, meter.has_run_out()), (99, true));
        assert!(bytes.clone().read_u8().is_err() && bytes.clone().skip(1).is_err() && bytes.find(7).is_err());
        meter.allow(500, Instant::now() + Duration::from_secs(60));
        assert!(bytes.clone().read_u8().is_ok());
    }

    #[test]
    fn nothing_is_read_after_the_deadline() {
        let (bytes, meter) = reader(&[7; 100], u64::MAX, Duration::ZERO);
        let read = (0..10 * READS_PER_LOOK).take_while(|_| bytes.clone().read_u8().is_ok()).count();
        assert!(read < READS_PER_LOOK as usize && meter.has_run_out(), "{read}");
    }
}
