//! Puts a native stack and a Python stack together in the order in which they called each other.
//!
//! The loop that runs Python code has a native frame for each time it was entered, and each entry runs one Python frame (up to 3.10)
//! or several. So the entries are matched with the native frames of the loop, from the newest on:
//!
//! - From 3.12 on the border between two entries is a frame that lies on the native stack, inside of the native frame that made it: there is
//!   nothing to guess, whatever the function is called.
//! - Before that the native frames are known by name, in the order of the entries. That a loop is for an entry is checked by its having
//!   the address of the Python frame in a register or in its part of the stack: just before the loop begins its frame, and just after it has ended it,
//!   there is a loop without a Python frame.
//!
//! Whatever becomes of the native stack, each Python frame is there, once and in order.

use super::address_space::{FunctionId, Role};
use super::capture::Capture;
use super::unwind::NativeStack;

/// How many entries ahead are looked for, when a loop is not for the next one.
const AHEAD: usize = 8;

/// Python frames that one entry of the loop runs, newest first; indices are the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Index of the newest frame.
    pub first: usize,
    /// One past the index of the oldest.
    pub end: usize,
    /// The newest frame's address.
    pub newest: u64,
    /// The address of the border below the oldest frame (3.12+).
    pub border: Option<u64>,
}

/// A frame of a merged stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MixedFrame {
    /// A Python frame, by its index.
    Python(usize),
    /// A native one.
    Native(FunctionId),
}

/// The merged stack, newest frame first, into `mixed`. Native frames below the oldest Python frame are left out, as are those that only pass
/// calls on.
pub(super) fn merge(native: &NativeStack, entries: &[Entry], capture: &Capture, mixed: &mut Vec<MixedFrame>) {
    let start = mixed.len();
    let mut merger = Merger { entries, next: 0, mixed };
    for (index, frame) in native.frames.iter().enumerate() {
        if merger.next == entries.len() {
            break;
        }
        let is_evaluator = frame.role == Role::Evaluator;
        if merger.is_by_border(capture) {
            // A border that lies deeper has no native frame: that of its loop was not found.
            let before = merger.next;
            merger.put_while(|border| border < frame.high, capture);
            if merger.next > before || is_evaluator {
                continue;
            }
        } else if is_evaluator {
            let is_for = |entry: &Entry| frame.keeps(entry.newest, capture);
            let rest = &entries[merger.next..];
            match rest.iter().take(AHEAD).position(is_for) {
                Some(ahead) => merger.put(ahead + 1),
                // A loop that has no frame yet or any more, above one that is for the next entry.
                None if merger.next == 0 && has_later(native, index, &rest[0], capture) => {}
                None => merger.put(1),
            }
            continue;
        }
        if frame.role == Role::Worker {
            merger.mixed.push(MixedFrame::Native(frame.function));
        }
    }
    let placed = merger.next > 0 || !native.complete;
    merger.put(entries.len());
    if !placed {
        // The whole native stack, and no loop in it: where the Python frames belong cannot be told.
        mixed.truncate(start);
        mixed.extend(entries.iter().flat_map(|entry| (entry.first..entry.end).map(MixedFrame::Python)));
    }
}

/// Whether an older loop is for an entry.
fn has_later(native: &NativeStack, index: usize, entry: &Entry, capture: &Capture) -> bool {
    let older = native.frames.iter().skip(index + 1).filter(|frame| frame.role == Role::Evaluator);
    older.take(AHEAD).any(|frame| frame.keeps(entry.newest, capture))
}

struct Merger<'merge> {
    entries: &'merge [Entry],
    /// The entry that comes next.
    next: usize,
    mixed: &'merge mut Vec<MixedFrame>,
}

impl Merger<'_> {
    /// Puts the Python frames of the next entries.
    fn put(&mut self, count: usize) {
        for entry in self.entries.iter().skip(self.next).take(count) {
            self.mixed.extend((entry.first..entry.end).map(MixedFrame::Python));
        }
        self.next = self.entries.len().min(self.next.saturating_add(count));
    }

    /// Whether the next entry has a border on this native stack.
    fn is_by_border(&self, capture: &Capture) -> bool {
        let border = self.entries.get(self.next).and_then(|entry| entry.border);
        border.is_some_and(|border| capture.holds(border))
    }

    /// Puts entries as long as their borders are on this native stack and `is_reached`.
    fn put_while(&mut self, is_reached: impl Fn(u64) -> bool, capture: &Capture) {
        while self.is_by_border(capture) && self.entries[self.next].border.is_some_and(&is_reached) {
            self.put(1);
        }
    }
}
