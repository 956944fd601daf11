//! Native stacks: what C, C++ and Rust code a thread is in, merged with its Python frames.
//!
//! While a thread is held, only its registers and its stack are copied ([`Capture`]). After it runs again the stack is followed by
//! the unwind information of the files that are mapped, addresses become names, and the loop that runs Python code becomes
//! the Python frames that it runs.
//!
//! Everything is read from the target or from files that it chose, so nothing is trusted: stacks, entries, expressions, names and tables all have
//! limits, and an address is only ever looked up.
//!
//! Limits: Linux on x86-64 and aarch64. Functions without unwind information are left by frame pointers, and where there are none either, the native
//! stack ends there; Python frames never do. Names come from symbol tables and from debug files by build id; there are no line numbers.

mod address_space;
mod capture;
mod demangle;
mod frame_info;
mod merge;
mod module;
mod plumbing;
mod symbols;
#[cfg(test)]
mod tests;
mod unwind;

pub use address_space::{Function, FunctionId, Role};
pub use capture::Capture;
pub use merge::{Entry, MixedFrame};

use crate::process::{Process, Registers};

use frame_info::Machine;
use unwind::{NativeStack, Unwinder};

/// Reads the native stacks of one process.
#[derive(Debug)]
pub struct NativeReader {
    unwinder: Unwinder,
    stack: NativeStack,
}

impl NativeReader {
    /// A reader that knows nothing yet.
    pub fn new(process: Process) -> Self {
        Self { unwinder: Unwinder::new(process), stack: NativeStack::default() }
    }

    /// Gets ready for captures: looks at the mappings when that is due. Not to be done while anything is held.
    pub fn prepare(&mut self) {
        self.unwinder.space.refresh();
    }

    /// Where the memory of a thread's stack ends, given its registers, as far as is known.
    pub fn stack_end(&mut self, registers: &Registers) -> Option<u64> {
        let end = self.unwinder.space.stack_end(registers.get(Machine::STACK_POINTER)?);
        if end.is_none() {
            // The thread, or its stack, is newer than the last look at the mappings.
            self.unwinder.space.note_stale();
        }
        end
    }

    /// Follows the stack of a capture and merges it with the Python frames that `entries` tell of: the frames, newest first, are added to
    /// `mixed`.
    pub fn merge(&mut self, capture: &Capture, entries: &[Entry], mixed: &mut Vec<MixedFrame>) {
        self.unwinder.unwind(capture, &mut self.stack);
        if !self.stack.complete && self.unwinder.space.refresh() {
            self.unwinder.unwind(capture, &mut self.stack);
        }
        merge::merge(&self.stack, entries, capture, mixed);
    }

    /// A function.
    pub fn function(&self, id: FunctionId) -> &Function {
        self.unwinder.space.function(id)
    }
}
