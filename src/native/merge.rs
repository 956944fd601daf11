//! Puts a native stack and a Python stack together in the order in which they called each other.
//!
//! The loop that runs Python code has a native frame for each time it was entered, and each entry runs one Python frame
//! (up to 3.10) or several. So the entries are matched with the native frames of the loop, from the newest on:
//!
//! - From 3.12 on the border between two entries is a frame that lies on the native stack, inside of the native frame
//!   that made it: there is nothing to guess, whatever the function is called.
//! - Before that the native frames are known by name, in the order of the entries. That a loop is for an entry is
//!   checked by its having the address of the Python frame in a register or in its part of the stack: just before the
//!   loop begins its frame, and just after it has ended it, there is a loop without a Python frame.
//!
//! Whatever becomes of the native stack, each Python frame is there, once and in order. Where more is missing of it
//! than was copied, a frame stands between the last native one and the Python frames that are left.

use super::capture::Capture;
use super::function::{FunctionId, Role};
use super::unwind::NativeStack;

/// How many entries ahead are looked for, when a loop is not for the next one.
const AHEAD: usize = 8;

/// Python frames that one entry of the loop runs, newest first; indices are the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
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
pub(crate) enum MixedFrame {
    /// A Python frame, by its index.
    Python(usize),
    /// A native one.
    Native(FunctionId),
}

/// The merged stack, newest frame first, into `mixed`. Native frames below the oldest Python frame are left out, as are
/// those that only pass calls on. Where there are no Python frames, only those are left out below the function that the
/// thread or the program was started for. Whether native frames are missing because the copy of the stack ends before
/// it.
pub(super) fn merge(native: &NativeStack, entries: &[Entry], capture: &Capture, mixed: &mut Vec<MixedFrame>) -> bool {
    let start = mixed.len();
    if entries.is_empty() {
        let starters = native.frames.iter().rev().take_while(|frame| native.complete && frame.is_starter).count();
        let started = native.frames.len() - starters;
        // A thread of the C library itself has nothing else.
        let shown = &native.frames[..if started == 0 { native.frames.len() } else { started }];
        let workers = (0..shown.len()).filter(|index| does_something(native, *index, false));
        mixed.extend(workers.map(|index| MixedFrame::Native(shown[index].function)));
        mixed.extend(native.is_cut.then_some(MixedFrame::Native(FunctionId::DEEPER)));
        return native.is_cut;
    }
    let mut merger = Merger { entries, next: 0, mixed };
    // The frame before was that of the loop, whatever it is called.
    let mut calls_loop = false;
    for (index, frame) in native.frames.iter().enumerate() {
        if merger.next == entries.len() {
            break;
        }
        let is_evaluator = frame.role == Role::Evaluator;
        let called_loop = std::mem::replace(&mut calls_loop, true);
        if merger.is_by_border(capture) {
            // A border that lies deeper has no native frame: that of its loop was not found.
            merger.push_entries_while(|border| border < frame.low, capture);
            let before = merger.next;
            merger.push_entries_while(|border| border < frame.high, capture);
            if merger.next > before || is_evaluator {
                continue;
            }
        } else if is_evaluator {
            let is_for = |entry: &Entry| frame.keeps(entry.newest, capture);
            let rest = &entries[merger.next..];
            match rest.iter().take(AHEAD).position(is_for) {
                Some(ahead) => merger.push_entries(ahead + 1),
                // A loop that has no frame yet or any more, above one that is for the next entry.
                None if merger.next == 0 && has_later(native, index, &rest[0], capture) => {}
                None => merger.push_entries(1),
            }
            continue;
        }
        calls_loop = false;
        if does_something(native, index, called_loop) {
            merger.mixed.push(MixedFrame::Native(frame.function));
        }
    }
    let placed = merger.next > 0 || !native.complete;
    let is_cut = native.is_cut && merger.next < entries.len();
    merger.mixed.extend(is_cut.then_some(MixedFrame::Native(FunctionId::DEEPER)));
    merger.push_entries(entries.len());
    if !placed {
        // The whole native stack, and no loop in it: where the Python frames belong cannot be told.
        mixed.truncate(start);
        mixed.extend(entries.iter().flat_map(|entry| (entry.first..entry.end).map(MixedFrame::Python)));
    }
    is_cut
}

/// Whether a frame is worth showing, given whether the one before is the loop's.
fn does_something(native: &NativeStack, index: usize, calls_loop: bool) -> bool {
    let frame = &native.frames[index];
    let newer = index.checked_sub(1).map(|newer| &native.frames[newer]);
    match frame.role {
        Role::Worker => true,
        Role::Wrapper => newer.is_none_or(|newer| newer.group != frame.group),
        Role::Generated => !calls_loop && newer.is_none_or(|newer| newer.role != Role::Evaluator),
        Role::Evaluator | Role::Plumbing => false,
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
    /// Appends the Python frames of the next entries.
    fn push_entries(&mut self, count: usize) {
        for entry in self.entries.iter().skip(self.next).take(count) {
            self.mixed.extend((entry.first..entry.end).map(MixedFrame::Python));
        }
        self.next = self.entries.len().min(self.next.saturating_add(count));
    }

    /// Whether the next entry has a border on this native stack.
    fn is_by_border(&self, capture: &Capture) -> bool {
        let border = self.entries.get(self.next).and_then(|entry| entry.border);
        border.is_some_and(|border| capture.spans(border))
    }

    /// Appends entries as long as their borders are on this native stack and `is_reached`.
    fn push_entries_while(&mut self, is_reached: impl Fn(u64) -> bool, capture: &Capture) {
        while self.is_by_border(capture) && self.entries[self.next].border.is_some_and(&is_reached) {
            self.push_entries(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Image;
    use crate::native::frame_info::Machine;
    use crate::native::unwind::NativeFrame;
    use crate::process::Registers;

    const STACK: u64 = 0x10000;

    /// A stack of 64 words of which some hold a value.
    fn capture(words: &[(u64, u64)]) -> Capture {
        let mut bytes = vec![0; 512];
        for (address, value) in words {
            let at = usize::try_from(address - STACK).unwrap();
            bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
        let mut image = Image::new();
        image.map(STACK, bytes);
        let mut values = [0; 32];
        values[usize::from(Machine::STACK_POINTER)] = STACK;
        let mut capture = Capture::default();
        capture.fill(&image, Registers::new(1, &values), Some(STACK + 512));
        capture
    }

    /// Native frames of 16 bytes each: `w` a worker, numbered from 0, `e` an evaluator, `p` plumbing, `s` a worker that
    /// may have started the thread,
    /// `g` generated code, `f` a function and `x` what wraps it.
    fn native(kinds: &str, complete: bool) -> NativeStack {
        let frame = |(index, kind): (usize, char)| {
            let role = match kind {
                'e' => Role::Evaluator,
                'p' => Role::Plumbing,
                'g' => Role::Generated,
                'x' => Role::Wrapper,
                _ => Role::Worker,
            };
            let low = STACK + 16 * index as u64;
            let (function, is_starter) = (FunctionId::new(index), kind == 's');
            let group = if matches!(kind, 'f' | 'x') { FunctionId::new(1000) } else { function };
            NativeFrame { function, group, role, is_starter, low, high: low + 16, kept: Default::default() }
        };
        NativeStack { frames: kinds.chars().enumerate().map(frame).collect(), complete, ..NativeStack::default() }
    }

    /// Entries of so many Python frames; the newest of entry number n is at 0x9000 + n.
    fn entries(frames: &[usize], borders: &[u64]) -> Vec<Entry> {
        let mut first = 0;
        let entry = |(number, count): (usize, &usize)| {
            let begin = first;
            first += count;
            let border = borders.get(number).copied();
            Entry { first: begin, end: first, newest: 0x9000 + number as u64, border }
        };
        frames.iter().enumerate().map(entry).collect()
    }

    /// The merged stack, newest first: `#` and the number of a Python frame, or that of a native one.
    fn merged(native: &NativeStack, entries: &[Entry], capture: &Capture) -> String {
        let mut mixed = Vec::new();
        merge(native, entries, capture, &mut mixed);
        let text = mixed.iter().map(|frame| match frame {
            MixedFrame::Python(index) => format!("#{index}"),
            MixedFrame::Native(function) => function.index().to_string(),
        });
        text.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn loops_become_the_frames_that_they_run() {
        let frames = entries(&[1, 1, 1], &[]);
        assert_eq!(merged(&native("wepwepeww", true), &frames, &capture(&[])), "0 #0 3 #1 #2");
        assert_eq!(merged(&native("wewe", true), &entries(&[2, 3], &[]), &capture(&[])), "0 #0 #1 2 #2 #3 #4");
    }

    #[test]
    fn a_loop_without_a_frame_is_left_out() {
        // The second loop has the newest frame's address on its part of the stack.
        let on_stack = capture(&[(STACK + 24, 0x9000)]);
        assert_eq!(merged(&native("eewe", true), &entries(&[1, 1], &[]), &on_stack), "#0 2 #1");
    }

    #[test]
    fn a_loop_that_was_not_known_for_one_is_made_up_for() {
        // The one loop that is known is for the second entry.
        let on_stack = capture(&[(STACK + 16, 0x9001)]);
        assert_eq!(merged(&native("wewe", true), &entries(&[1, 1, 1], &[]), &on_stack), "0 #0 #1 2 #2");
    }

    #[test]
    fn borders_tell_exactly() {
        // Frames 1 and 4 hold the borders; neither is known for a loop, and frame 0 is a loop for nothing.
        let frames = entries(&[2, 1], &[STACK + 24, STACK + 16 * 4]);
        assert_eq!(merged(&native("ewwpww", true), &frames, &capture(&[])), "#0 #1 2 #2");
        // A border in a frame that was passed over.
        let mut passed = native("wewwww", true);
        passed.frames.remove(1);
        assert_eq!(merged(&passed, &frames, &capture(&[])), "0 #0 #1 2 3 #2");
        // Borders on another stack say nothing; names do.
        let elsewhere = entries(&[2, 1], &[0x500, 0x600]);
        assert_eq!(merged(&native("wewew", true), &elsewhere, &capture(&[])), "0 #0 #1 2 #2");
    }

    #[test]
    fn what_is_missing_of_a_cut_stack_is_marked_where_it_is_missing() {
        let cut = |kinds: &str| NativeStack { is_cut: true, ..native(kinds, false) };
        let marked = |kinds: &str, entries: &[Entry], capture: &Capture| {
            let mut mixed = Vec::new();
            let is_cut = merge(&cut(kinds), entries, capture, &mut mixed);
            assert_eq!(is_cut, mixed.contains(&MixedFrame::Native(FunctionId::DEEPER)));
            merged(&cut(kinds), entries, capture)
        };
        let frames = entries(&[1, 1, 1], &[]);
        assert_eq!(marked("pepe", &frames, &capture(&[])), "#0 #1 1 #2");
        // The oldest Python frame was met before the end of the copy: what is older would not be shown.
        assert_eq!(marked("pepepe", &frames, &capture(&[])), "#0 #1 #2");
        assert_eq!(marked("pp", &[], &capture(&[])), "1");
        // A border beyond the copy is on the stack all the same.
        let mut beyond = capture(&[]);
        beyond.take(beyond.registers, STACK, &[0; 64], Some(STACK + 512));
        let frames = entries(&[1, 1], &[STACK + 24, STACK + 16 * 5 - 8]);
        assert_eq!(marked("pwppw", &frames, &beyond), "#0 #1");
        assert_eq!(marked("pwpp", &frames, &beyond), "#0 1 #1");
    }

    #[test]
    fn without_python_frames_all_is_shown_from_where_the_thread_was_started() {
        for (kinds, complete, expected) in [
            ("wpws", true, "0 2"),
            ("swwss", true, "0 1 2"),
            ("swwss", false, "0 1 2 3 4"),
            ("ss", true, "0 1"),
            ("wews", true, "0 2"),
            ("", false, ""),
        ] {
            assert_eq!(merged(&native(kinds, complete), &[], &capture(&[])), expected, "{kinds} {complete}");
        }
    }

    #[test]
    fn what_wraps_a_function_is_shown_only_without_it() {
        let frames = entries(&[1], &[]);
        assert_eq!(merged(&native("fxwe", true), &frames, &capture(&[])), "0 2 #0");
        assert_eq!(merged(&native("wxpe", true), &frames, &capture(&[])), "0 1 #0");
        // A function that calls itself through Python.
        assert_eq!(merged(&native("fxpfxe", true), &frames, &capture(&[])), "0 3 #0");
        assert_eq!(merged(&native("ffxe", true), &frames, &capture(&[])), "0 1 #0");
        assert_eq!(merged(&native("fxw", true), &[], &capture(&[])), "0 2");
    }

    #[test]
    fn generated_code_that_calls_the_loop_is_left_out() {
        let frames = entries(&[1, 1], &[]);
        assert_eq!(merged(&native("gegwge", true), &frames, &capture(&[])), "0 #0 3 4 #1");
        // Known by its border only.
        let frames = entries(&[1, 1], &[STACK + 24, STACK + 16 * 4]);
        assert_eq!(merged(&native("wwgpw", true), &frames, &capture(&[])), "0 #0 #1");
    }

    #[test]
    fn python_frames_are_there_whatever_the_native_stack_is() {
        let frames = entries(&[1, 2], &[]);
        assert_eq!(merged(&native("", false), &frames, &capture(&[])), "#0 #1 #2");
        assert_eq!(merged(&native("ww", false), &frames, &capture(&[])), "0 1 #0 #1 #2");
        assert_eq!(merged(&native("wew", false), &frames, &capture(&[])), "0 #0 2 #1 #2");
        // The whole native stack, and no loop in it.
        assert_eq!(merged(&native("www", true), &frames, &capture(&[])), "#0 #1 #2");
        assert_eq!(merged(&native("eeee", true), &frames, &capture(&[])), "#0 #1 #2");
    }
}
