//! The frames of a record, as its slots tell of them.

use std::slice;

use super::evidence::Identity;
use super::kept_stacks::{Slot, StackSlots};

/// In the last word of a frame's slot: the next slot is evidence of its code; the frame is not traced; its evaluation
/// was entered from C; it is no frame but a border between two entries of evaluation.
pub(super) const HAS_EVIDENCE: u64 = 1 << 63;
pub(super) const IS_UNTRACED: u64 = 1 << 62;
pub(super) const IS_ENTRY: u64 = 1 << 61;
pub(super) const IS_BORDER: u64 = 1 << 60;

/// A frame as it was recorded. Addresses are of the target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameSlot<'records> {
    slot: &'records Slot,
    /// The one below it.
    next: Option<&'records Slot>,
    /// What the code object was recognized by, where the program did not know it: its own evidence, or that of the
    /// frame above, if that has the same code.
    pub evidence: Option<&'records Identity>,
}

impl FrameSlot<'_> {
    /// The `PyFrameObject` or `_PyInterpreterFrame`.
    pub(in crate::sampler) fn address(&self) -> u64 {
        self.slot[0]
    }

    /// Its code object.
    pub(in crate::sampler) fn code(&self) -> u64 {
        self.slot[1]
    }

    /// What tells its instruction: a pointer, or two `int`s, `f_lasti` and `f_lineno`.
    pub(in crate::sampler) fn position(&self) -> u64 {
        self.slot[2]
    }

    /// The line that its frame object says (3.11+), or 0.
    pub(in crate::sampler) fn line(&self) -> u32 {
        self.slot[3] as u32
    }

    /// Which thread-local copy of the bytecode the pointer points into (free-threaded).
    pub(in crate::sampler) fn local_copy(&self) -> u32 {
        (self.slot[3] >> 32) as u32 & 0xFF_FFFF
    }

    /// `f_trace` is NULL (≤ 3.9).
    pub(in crate::sampler) fn is_untraced(&self) -> bool {
        self.slot[3] & IS_UNTRACED != 0
    }

    /// Its evaluation was entered from C (3.11, where native stacks are wanted).
    pub(in crate::sampler) fn is_entry(&self) -> bool {
        self.slot[3] & IS_ENTRY != 0
    }

    /// The shim frame that lies between it and its caller (3.12+, where native stacks are wanted).
    pub(in crate::sampler) fn border(&self) -> Option<u64> {
        self.next.filter(|[.., last]| last & IS_BORDER != 0).map(|[address, ..]| *address)
    }

    /// The evidence is its own, not that of the frame above.
    pub(in crate::sampler) fn has_evidence(&self) -> bool {
        self.slot[3] & HAS_EVIDENCE != 0
    }

    /// All that tells of its place: two frames that have the same are at the same instruction of the same code, and say
    /// the same of their line.
    pub(in crate::sampler) fn place(&self) -> (u64, u64, u64) {
        let [_, code, position, last] = *self.slot;
        (code, position, last & !(HAS_EVIDENCE | IS_ENTRY))
    }
}

/// Frames in slots, newest first.
#[derive(Debug, Clone)]
pub(crate) struct Frames<'records> {
    slots: slice::Iter<'records, Slot>,
    /// Those that come then.
    shared: slice::Iter<'records, Slot>,
    /// The code of the frame above, and its evidence.
    above: (u64, Option<&'records Identity>),
}

impl<'records> Frames<'records> {
    /// Those in these slots.
    pub(in crate::sampler) fn new(slots: StackSlots<'records>) -> Self {
        Self { slots: slots.own.iter(), shared: slots.shared_slots().iter(), above: (0, None) }
    }

    /// The next one that begins above so many slots at the end, and how many slots there are from its own on.
    pub(in crate::sampler) fn next_above(&mut self, end: usize) -> Option<(usize, FrameSlot<'records>)> {
        let left = self.slots_left();
        if left <= end {
            return None;
        }
        let slot = self.slots.next()?;
        let [_, code, _, last] = *slot;
        let evidence = if last & HAS_EVIDENCE != 0 { self.slots.next() } else { self.evidence_above(code) };
        self.above = (code, evidence);
        Some((left, FrameSlot { slot, next: self.slots.as_slice().first(), evidence }))
    }

    /// How many slots there are from the next frame on.
    pub(in crate::sampler) fn slots_left(&mut self) -> usize {
        // Of a border nothing is told but what frame it is below.
        while self.slots.as_slice().first().is_some_and(|[.., last]| last & IS_BORDER != 0) {
            self.slots.next();
        }
        if self.slots.len() == 0 {
            self.slots = std::mem::take(&mut self.shared);
        }
        self.slots.len() + self.shared.len()
    }

    /// What a frame of this code would be recognized by that is next and has no evidence of its own: a frame of the
    /// same code as the one above has its evidence there.
    pub(in crate::sampler) fn evidence_above(&self, code: u64) -> Option<&'records Identity> {
        self.above.1.filter(|_| self.above.0 == code)
    }
}

impl<'records> Iterator for Frames<'records> {
    type Item = FrameSlot<'records>;

    fn next(&mut self) -> Option<FrameSlot<'records>> {
        self.next_above(0).map(|(_, frame)| frame)
    }
}
