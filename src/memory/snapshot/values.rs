//! The values that a walk reads: where their bytes are, what they say of the walk, and that they will be wanted again.

use super::{LINE, Memory, Misses, ReadError, Snapshot, Span, Touch, Unit};

#[derive(Debug, Clone, Copy)]
pub(super) struct Dependency {
    pub(super) address: u64,
    pub(super) length: u32,
}

/// Where a span that was fetched is, and its bytes in the buffers; empty at first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    start: u64,
    length: u64,
    offset: usize,
    span: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Learned { span: usize, offset: usize },
    Missed(usize),
}

impl<M: Memory> Snapshot<M> {
    /// An 8-byte word that the walk depends on.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn word(&mut self, address: u64) -> Result<u64, ReadError> {
        self.value(address, true).map(u64::from_ne_bytes)
    }

    /// An 8-byte word that may change without harm to the walk, such as the instruction pointer of the newest frame.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn volatile_word(&mut self, address: u64) -> Result<u64, ReadError> {
        self.value(address, false).map(u64::from_ne_bytes)
    }

    /// A 4-byte word that the walk depends on.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn half(&mut self, address: u64) -> Result<u32, ReadError> {
        self.value(address, true).map(u32::from_ne_bytes)
    }

    /// A 4-byte word that may change without harm to the walk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn volatile_half(&mut self, address: u64) -> Result<u32, ReadError> {
        self.value(address, false).map(u32::from_ne_bytes)
    }

    /// A byte that may change without harm to the walk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn volatile_byte(&mut self, address: u64) -> Result<u8, ReadError> {
        self.value(address, false).map(u8::from_ne_bytes)
    }

    /// A value of `N` bytes, and whether the walk depends on it.
    #[inline]
    fn value<const N: usize>(&mut self, address: u64, depends: bool) -> Result<[u8; N], ReadError> {
        let place = self.place(address, N)?;
        let value = match place {
            Place::Learned { offset, .. } => array(&self.now, offset),
            Place::Missed(offset) => array(&self.misses.bytes, offset),
        };
        if depends && !self.frozen {
            if !self.current.is_presumed {
                self.depend(place, value);
            }
            self.dependencies.push(Dependency { address, length: N as u32 });
        }
        Ok(value)
    }

    #[inline]
    fn depend<const N: usize>(&mut self, place: Place, value: [u8; N]) {
        match place {
            Place::Learned { span, offset } => {
                let (span, walk) = (&self.spans[span], &mut self.current);
                if span.unit != walk.unit {
                    // The two copies of another unit were both made before those of this one, or both after: no moment lies between all of them.
                    walk.same_again = false;
                } else if !(walk.in_head && span.is_head) {
                    walk.same_again &= span.twice;
                    if span.twice && value != array(&self.again, offset) {
                        walk.same_again = false;
                        walk.torn = true;
                    }
                }
                walk.same_before &= span.has_before && value == array(&self.before, offset);
            }
            Place::Missed(_) => {
                self.current.same_again = false;
                self.current.same_before = false;
            }
        }
    }

    /// Finds the bytes, fetching them when no span covers them, and marks their lines as used.
    #[inline]
    fn place(&mut self, address: u64, length: usize) -> Result<Place, ReadError> {
        let window = self.current.window;
        let inside = address.wrapping_sub(window.start);
        if inside < window.length && window.length - inside >= length as u64 {
            let offset = window.offset + inside as usize;
            self.touch(window.span, offset, length);
            return Ok(Place::Learned { span: window.span, offset });
        }
        self.place_elsewhere(address, length)
    }

    fn place_elsewhere(&mut self, address: u64, length: usize) -> Result<Place, ReadError> {
        let place = match find(&self.spans, &self.misses, address, length, self.frozen_unit) {
            Some(place) => place,
            None => Place::Missed(self.miss(address, length)?),
        };
        match place {
            Place::Learned { span, offset } => {
                let Span { start, end, offset: begin, .. } = self.spans[span];
                self.current.window = Window { start, length: end - start, offset: begin, span };
                self.touch(span, offset, length);
            }
            Place::Missed(_) => {
                self.current.has_missed = true;
                let (owner, by_chain) = (self.current.owner, !self.current.in_head);
                let (first, last) = (address & !(LINE - 1), (address + length as u64 - 1) & !(LINE - 1));
                for line in [first, last] {
                    let touch = Touch { line, owner, by_chain };
                    if self.misses.touched.last() != Some(&touch) {
                        self.misses.touched.push(touch);
                    }
                }
            }
        }
        Ok(place)
    }

    /// Marks the lines of a value as used, which is at `offset` in the buffers and in a span.
    #[inline]
    fn touch(&mut self, span: usize, offset: usize, length: usize) {
        // Spans and their offsets are whole lines, so a value is in one line or two.
        let lines = [offset / LINE as usize, (offset + length - 1) / LINE as usize];
        if lines != [self.current.line.unwrap_or(usize::MAX); 2] {
            self.touch_lines(span, lines);
        }
    }

    fn touch_lines(&mut self, span: usize, lines: [usize; 2]) {
        self.current.line = Some(lines[1]);
        for line in lines {
            let stamp = &mut self.stamps[line];
            stamp.any = self.sample;
            if !self.current.in_head {
                stamp.chain = self.sample;
            }
        }
        self.reclassed |= !self.current.in_head && self.spans[span].is_head;
    }
}

/// Where the bytes of a value are; with `only`, not in spans of other units than that.
#[inline]
pub(super) fn find(spans: &[Span], misses: &Misses, address: u64, length: usize, only: Option<Unit>) -> Option<Place> {
    let end = address.checked_add(length as u64)?;
    let inside = |span: &Span| span.start <= address && end <= span.end;
    let index = spans.partition_point(|span| span.start <= address).wrapping_sub(1);
    if let Some(span) = spans.get(index)
        && inside(span)
        && span.filled
        && only.is_none_or(|unit| unit == span.unit)
    {
        let offset = span.offset + usize::try_from(address - span.start).ok()?;
        return Some(Place::Learned { span: index, offset });
    }
    // Pieces may overlap where a wide miss met an older one; the nearest below is the one that can hold the value.
    let index = misses.pieces.partition_point(|(start, _, _)| *start <= address).checked_sub(1)?;
    let (start, stop, offset) = misses.pieces[index];
    (end <= stop).then(|| Place::Missed(offset + usize::try_from(address - start).unwrap_or(0)))
}

/// The `N` bytes at `offset`, which the caller knows to be there.
#[inline]
pub(super) fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[offset..offset + N]);
    value
}
