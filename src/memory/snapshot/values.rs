//! The values that a walk reads: where their bytes are, what they say of the walk, and that they will be wanted again.

use super::prefetch::Span;
use super::{Copies, CopiesFound, Evidence, LINE, Memory, ReadError, Reader, Snapshot, Stopped};
use crate::memory::{COMMON, Unit};

/// A value that a walk depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dependency {
    pub(super) address: u64,
    pub(super) length: u32,
}

/// The walk that goes on now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    unit: Unit,
    /// Who keeps the lines that are learned now: the unit itself, or what is joined to it.
    owner: Unit,
    /// It is at its head still.
    is_in_head: bool,
    /// All values of the chain so far were equal in both copies of this sample, and the head lies between these.
    is_same_again: bool,
    /// All values so far were equal to the previous sample's.
    is_as_before: bool,
    /// A value differs between two copies of this sample.
    is_torn: bool,
    /// Something was read for it alone, after the rest.
    has_missed: bool,
    /// The line of the buffers that it touched last in this part; `usize::MAX` is none.
    line: usize,
    /// The span that it read last; the next value is nearly always in the same one.
    window: Window,
    /// Index of its first dependency.
    first: usize,
}

impl Walk {
    fn new(unit: Unit, first: usize) -> Self {
        Self {
            unit,
            owner: unit,
            is_in_head: true,
            is_same_again: true,
            is_as_before: true,
            is_torn: false,
            has_missed: false,
            line: usize::MAX,
            window: Window::default(),
            first,
        }
    }
}

impl Default for Walk {
    fn default() -> Self {
        Self::new(COMMON, 0)
    }
}

/// What is kept of the last walk of a unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct WalkRecord {
    /// The sample that it was in.
    pub(super) sample: u32,
    /// Its dependencies, a range of those of that sample.
    pub(super) first: usize,
    pub(super) end: usize,
    pub(super) evidence: Evidence,
}

/// The span that a walk reads in, and what there is to compare its values with; empty at first. It is asked for each
/// value, so it has what is needed of the span at hand.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    start: u64,
    length: u64,
    /// Where its bytes are in the buffers.
    offset: usize,
    span: usize,
    /// Its values are compared with anything at all.
    is_compared: bool,
    /// It is of the unit that is walked.
    is_own: bool,
    is_head: bool,
    is_twice: bool,
    has_before: bool,
}

impl Window {
    fn new(index: usize, span: &Span, unit: Unit) -> Self {
        Self {
            start: span.start,
            length: span.end - span.start,
            offset: span.offset,
            span: index,
            is_compared: span.copies != Copies::One,
            is_own: span.unit == unit,
            is_head: span.is_head,
            is_twice: span.is_twice,
            has_before: span.has_before,
        }
    }
}

/// Where the bytes of a value are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// In a span, and at this offset in the buffers.
    Learned { span: usize, offset: usize },
    /// At this offset in the bytes of the misses.
    Missed(usize),
}

impl<M: Memory> Reader for Snapshot<M> {
    #[inline]
    fn word(&mut self, address: u64) -> Result<u64, ReadError> {
        self.value(address, true).map(u64::from_ne_bytes)
    }

    #[inline]
    fn volatile_word(&mut self, address: u64) -> Result<u64, ReadError> {
        self.value(address, false).map(u64::from_ne_bytes)
    }

    #[inline]
    fn half(&mut self, address: u64) -> Result<u32, ReadError> {
        self.value(address, true).map(u32::from_ne_bytes)
    }

    #[inline]
    fn volatile_half(&mut self, address: u64) -> Result<u32, ReadError> {
        self.value(address, false).map(u32::from_ne_bytes)
    }

    #[inline]
    fn volatile_byte(&mut self, address: u64) -> Result<u8, ReadError> {
        self.value(address, false).map(u8::from_ne_bytes)
    }

    fn start_walk(&mut self, unit: Unit) {
        self.walk = Walk::new(unit, self.dependencies.len());
    }

    fn start_owner(&mut self, owner: Unit) {
        self.walk.owner = owner;
    }

    fn start_head(&mut self) {
        self.walk.is_in_head = true;
        self.walk.line = usize::MAX;
    }

    fn start_chain(&mut self) {
        self.walk.is_in_head = false;
        self.walk.line = usize::MAX;
    }

    fn finish_walk(&mut self) {
        let walk = &self.walk;
        let copies = match (walk.is_torn, walk.is_same_again) {
            (true, _) => CopiesFound::Torn,
            (false, true) => CopiesFound::Equal,
            (false, false) => CopiesFound::Single,
        };
        let has_missed = walk.has_missed && self.stopped == Stopped::Nothing;
        let evidence = Evidence { copies, is_as_before: walk.is_as_before, has_missed };
        let record = WalkRecord { sample: self.sample, first: walk.first, end: self.dependencies.len(), evidence };
        self.walks.insert(walk.unit, record);
    }
}

impl<M: Memory> Snapshot<M> {
    /// A value of `N` bytes, and whether the walk depends on it.
    #[inline]
    fn value<const N: usize>(&mut self, address: u64, depends: bool) -> Result<[u8; N], ReadError> {
        let place = self.place(address, N)?;
        let value = match place {
            Place::Learned { offset, .. } => array(&self.buffers.now, offset),
            Place::Missed(offset) => array(&self.misses.bytes, offset),
        };
        if depends && self.stopped == Stopped::Nothing {
            self.compare_copies(place, value);
            self.dependencies.push(Dependency { address, length: N as u32 });
        }
        Ok(value)
    }

    /// Takes note of whether the other copies of a value say the same.
    #[inline]
    fn compare_copies<const N: usize>(&mut self, place: Place, value: [u8; N]) {
        let Place::Learned { offset, .. } = place else {
            self.walk.is_same_again = false;
            self.walk.is_as_before = false;
            return;
        };
        let walk = &mut self.walk;
        let window = walk.window;
        if !(window.is_compared && window.is_own) {
            // The copies of another unit were both made before those of this one, or both after: no moment lies
            // between all of them.
            walk.is_same_again = false;
        } else if !(walk.is_in_head && window.is_head) {
            walk.is_same_again &= window.is_twice;
            if window.is_twice && value != array(&self.buffers.again, offset) {
                walk.is_same_again = false;
                walk.is_torn = true;
            }
        }
        if window.is_compared && walk.is_as_before {
            walk.is_as_before = window.has_before && value == array(&self.buffers.before, offset);
        }
    }

    /// Finds the bytes, fetching them when no span covers them, and marks their lines as used.
    #[inline]
    fn place(&mut self, address: u64, length: usize) -> Result<Place, ReadError> {
        let window = &self.walk.window;
        let inside = address.wrapping_sub(window.start);
        if inside < window.length && window.length - inside >= length as u64 {
            let (span, offset) = (window.span, window.offset + inside as usize);
            self.mark_used(span, offset, length);
            return Ok(Place::Learned { span, offset });
        }
        self.place_elsewhere(address, length)
    }

    fn place_elsewhere(&mut self, address: u64, length: usize) -> Result<Place, ReadError> {
        let only = if let Stopped::Unit(unit) = self.stopped { Some(unit) } else { None };
        let place = match self.find(address, length, only) {
            Some(place) => place,
            None => Place::Missed(self.fetch_missed(address, length)?),
        };
        match place {
            Place::Learned { span, offset } => {
                self.walk.window = Window::new(span, &self.prefetch.spans[span], self.walk.unit);
                self.mark_used(span, offset, length);
            }
            Place::Missed(_) => {
                self.walk.has_missed = true;
                self.misses.learn(address, length, self.walk.owner, !self.walk.is_in_head);
            }
        }
        Ok(place)
    }

    /// Marks the lines of a value as used, which is at `offset` in the buffers and in a span.
    #[inline]
    fn mark_used(&mut self, span: usize, offset: usize, length: usize) {
        // Spans and their offsets are whole lines, so a value is in one line or two.
        let lines = [offset / LINE as usize, (offset + length - 1) / LINE as usize];
        if lines != [self.walk.line; 2] {
            self.mark_lines_used(span, lines);
        }
    }

    fn mark_lines_used(&mut self, span: usize, lines: [usize; 2]) {
        self.walk.line = lines[1];
        let is_in_head = self.walk.is_in_head;
        for line in lines {
            let stamp = &mut self.prefetch.stamps[line];
            stamp.any = self.sample;
            if !is_in_head {
                stamp.chain = self.sample;
            }
        }
        self.prefetch.is_to_be_made_anew |= !is_in_head && self.prefetch.spans[span].is_head;
    }

    /// Where the bytes of a value are; with `only`, not in spans of other units than that.
    #[inline]
    pub(super) fn find(&self, address: u64, length: usize, only: Option<Unit>) -> Option<Place> {
        let end = address.checked_add(length as u64)?;
        let spans = &self.prefetch.spans;
        let index = spans.partition_point(|span| span.start <= address).wrapping_sub(1);
        if let Some(span) = spans.get(index)
            && end <= span.end
            && span.is_filled
            && only.is_none_or(|unit| unit == span.unit)
        {
            let offset = span.offset + usize::try_from(address - span.start).ok()?;
            return Some(Place::Learned { span: index, offset });
        }
        self.misses.find(address, end).map(Place::Missed)
    }
}

/// The `N` bytes at `offset`, which the caller knows to be there.
#[inline]
fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[offset..offset + N]);
    value
}
