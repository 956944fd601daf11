//! Native stacks: what C, C++ and Rust code a thread is in, merged with its Python frames.
//!
//! While a thread is held, only its registers and its stack are copied ([`Capture`]). After it runs again the stack is
//! followed by the unwind information of the files that are mapped, addresses become names, and the loop that runs
//! Python code becomes the Python frames that it runs.
//!
//! Everything is read from the target or from files that it chose, so nothing is trusted: stacks, entries, expressions,
//! names and tables all have limits, and an address is only ever looked up.
//!
//! Limits: Linux on x86-64 and aarch64. Functions without unwind information are left by frame pointers, and where
//! there are none either, the native stack ends there; Python frames never do. Names come from symbol tables, debug
//! files, and what a program writes of its generated code; lines from DWARF, which a thread of its own reads.

mod address_space;
mod capture;
mod cython;
mod cython_source;
mod debug_files;
mod demangle;
mod dwarf;
mod frame_info;
mod function;
mod generated;
mod lines;
mod merge;
mod metered;
mod module;
mod plumbing;
mod show;
mod symbols;
#[cfg(test)]
mod tests;
mod unwind;

pub(crate) use capture::Capture;
pub(crate) use function::FunctionId;
pub(crate) use merge::{Entry, MixedFrame};
pub(crate) use show::ShownFrame;
#[cfg(any(fuzzing, test))]
pub(crate) use unwind::follow_by_frame_info;

use std::time::Duration;

use crate::process::{Process, Registers};

use frame_info::Machine;
use lines::Found;
use unwind::{NativeStack, Unwinder};

/// Reads the native stacks of one process.
#[derive(Debug)]
pub(crate) struct NativeReader {
    unwinder: Unwinder,
    stack: NativeStack,
}

impl NativeReader {
    /// A reader that knows nothing yet.
    pub(crate) fn new(process: Process) -> Self {
        Self { unwinder: Unwinder::new(process), stack: NativeStack::default() }
    }

    /// Gets ready for captures: looks at the mappings when that is due. Not to be done while anything is held.
    pub(crate) fn prepare(&mut self) {
        self.unwinder.space.refresh();
        self.unwinder.space.name_generated();
        self.unwinder.space.lines.take_answers();
    }

    /// What is known of the registers of a thread that sleeps and is not held.
    pub(crate) fn resting_registers(instruction: u64, stack_pointer: u64) -> Registers {
        Registers::with_stack_pointer(instruction, Machine::STACK_POINTER, stack_pointer)
    }

    /// Where the memory of a thread's stack ends, given its registers, as far as is known.
    pub(crate) fn stack_end(&mut self, registers: &Registers) -> Option<u64> {
        let end = self.unwinder.space.stack_end(registers.get(Machine::STACK_POINTER)?);
        if end.is_none() {
            // The thread, or its stack, is newer than the last look at the mappings.
            self.unwinder.space.note_stale();
        }
        end
    }

    /// Follows the stack of a capture and merges it with the Python frames that `entries` tell of: the frames, newest
    /// first, are added to `mixed`. Whether some are missing because the capture has not all of the stack.
    pub(crate) fn merge(&mut self, capture: &Capture, entries: &[Entry], mixed: &mut Vec<MixedFrame>) -> bool {
        self.follow(capture);
        merge::merge(&self.stack, entries, capture, mixed)
    }

    /// The same of a capture without all registers. Whether they were not needed: the stack was followed to its end,
    /// and it is clear whose evaluation each frame is that evaluates. Otherwise nothing is added.
    pub(crate) fn merge_without_registers(
        &mut self,
        capture: &Capture,
        entries: &[Entry],
        mixed: &mut Vec<MixedFrame>,
    ) -> bool {
        self.follow(capture);
        let is_by_border = |entry: &Entry| entry.border.is_some_and(|border| capture.spans(border));
        let is_clear = !self.stack.lacks_registers || entries.iter().all(is_by_border);
        if self.stack.complete && is_clear {
            merge::merge(&self.stack, entries, capture, mixed);
        }
        self.stack.complete && is_clear
    }

    fn follow(&mut self, capture: &Capture) {
        self.unwinder.unwind(capture, &mut self.stack);
        if !self.stack.complete && self.unwinder.space.refresh() {
            self.unwinder.unwind(capture, &mut self.stack);
        }
        if self.unwinder.space.name_generated() {
            self.unwinder.unwind(capture, &mut self.stack);
        }
    }

    /// Waits for the lines of all places that were met, at most so long.
    pub(crate) fn wait_for_lines(&mut self, limit: Duration) {
        self.unwinder.space.lines.wait_for_answers(limit);
    }

    /// Whether the lines of a place are being looked up.
    pub(crate) fn awaits_lines(&self, id: FunctionId) -> bool {
        if !self.unwinder.space.lines.is_waiting() {
            return false;
        }
        let place = self.unwinder.space.function(id).place;
        place.is_some_and(|place| matches!(self.unwinder.space.lines.places_of(place), Found::NotYet))
    }

    /// The frames to show for a function, newest first: the functions that the compiler has put into it at that place,
    /// then itself.
    pub(crate) fn shown(&self, id: FunctionId) -> Vec<ShownFrame<'_>> {
        let space = &self.unwinder.space;
        let function = space.function(id);
        let found = function.place.map(|place| space.lines.places_of(place));
        let places = match found {
            Some(Found::Places(places)) => places,
            Some(Found::NotYet) | None => &[],
        };
        show::frames(function, places)
    }
}
