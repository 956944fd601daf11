//! Native frames in moments: captured while a thread is held, followed and merged with its Python frames after it was let go.

use std::collections::HashMap;
use std::ops::Range;

use super::moment::MomentThread;
use crate::memory::Memory;
use crate::native::{Capture, Entry, Function, FunctionId, MixedFrame, NativeReader};
use crate::process::{Process, Registers};
use crate::python::stack::{Entered, Stacks};

/// The merged stacks of a moment. Empty where native frames were not asked for or could not be had.
#[derive(Debug, Default)]
pub struct NativeMoment {
    frames: Vec<MixedFrame>,
    /// By thread state.
    threads: HashMap<u64, Range<usize>>,
}

impl NativeMoment {
    /// The merged stack of a thread, newest frame first; the index of a Python frame counts from the thread's newest. `None` when there are only its
    /// Python frames.
    pub fn of(&self, thread: &MomentThread) -> Option<&[MixedFrame]> {
        self.frames.get(self.threads.get(&thread.stack.address)?.clone())
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.threads.clear();
    }
}

/// Reads native frames for a [`Spy`](super::Spy).
#[derive(Debug)]
pub struct Native {
    reader: NativeReader,
    idle: bool,
    /// By thread state; the first `used` are of this moment.
    captures: Vec<(u64, Capture)>,
    used: usize,
    entries: Vec<Entry>,
}

impl Native {
    pub(super) fn new(process: Process, idle: bool) -> Self {
        Self { reader: NativeReader::new(process), idle, captures: Vec::new(), used: 0, entries: Vec::new() }
    }

    /// A native function.
    pub fn function(&self, id: FunctionId) -> &Function {
        self.reader.function(id)
    }

    /// Whether the stack of a thread is wanted.
    pub(super) fn wants(&self, running: bool) -> bool {
        running || self.idle
    }

    pub(super) fn begin(&mut self) {
        self.used = 0;
        self.reader.prepare();
    }

    pub(super) fn capture(&mut self, memory: &impl Memory, thread: u64, registers: Registers) {
        let end = self.reader.stack_end(&registers);
        let again = self.captures[..self.used].iter().position(|(known, _)| *known == thread);
        let place = again.unwrap_or(self.used);
        if place == self.captures.len() {
            self.captures.push((thread, Capture::default()));
        }
        let (owner, capture) = &mut self.captures[place];
        *owner = thread;
        capture.fill(memory, registers, end);
        self.used = self.used.max(place + 1);
    }

    pub(super) fn finish(&mut self, stacks: &Stacks, threads: &[MomentThread], moment: &mut NativeMoment) {
        for thread in threads {
            let captures = &self.captures[..self.used];
            let Some((_, capture)) = captures.iter().find(|(owner, _)| *owner == thread.stack.address) else {
                continue;
            };
            fill_entries(stacks, thread, &mut self.entries);
            let first = moment.frames.len();
            self.reader.merge(capture, &self.entries, &mut moment.frames);
            moment.threads.insert(thread.stack.address, first..moment.frames.len());
        }
    }
}

/// The Python frames of a thread by the entries of evaluation that run them.
fn fill_entries(stacks: &Stacks, thread: &MomentThread, entries: &mut Vec<Entry>) {
    entries.clear();
    let frames = stacks.frames_of(&thread.stack);
    let mut first = 0;
    for (index, frame) in frames.iter().enumerate() {
        let border = match frame.entry {
            Entered::Within => continue,
            Entered::FromC => None,
            Entered::ByShim(address) => Some(address),
        };
        entries.push(Entry { first, end: index + 1, newest: frames[first].address, border });
        first = index + 1;
    }
    if first < frames.len() {
        entries.push(Entry { first, end: frames.len(), newest: frames[first].address, border: None });
    }
}
