//! Native frames in moments: captured while a thread is held, followed and merged with its Python frames after it was let go.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::moment::MomentThread;
use crate::memory::Memory;
use crate::native::{Capture, Entry, Function, FunctionId, MixedFrame, NativeReader};
use crate::process::{Process, Registers, RestingPlace, ThreadId};
use crate::python::stack::{Entered, RawFrame, Stacks, ThreadStack};

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
    process: Process,
    reader: NativeReader,
    idle: bool,
    /// By thread state; the first `used` are of this moment.
    captures: Vec<(u64, Capture)>,
    used: usize,
    entries: Vec<Entry>,
    /// Where threads slept when they were last captured, by thread state.
    sleepers: HashMap<u64, Sleeper>,
    /// Thread states that still sleep there, as of this moment.
    resting: HashSet<u64>,
    /// Where threads sleep, as of this moment, before any of them is stopped.
    places: HashMap<u64, RestingPlace>,
}

/// A thread that sleeps, with its stack.
#[derive(Debug)]
struct Sleeper {
    place: RestingPlace,
    frames: Vec<RawFrame>,
    mixed: Vec<MixedFrame>,
}

impl Native {
    pub(super) fn new(process: Process, idle: bool) -> Self {
        Self {
            reader: NativeReader::new(process.clone()),
            process,
            idle,
            captures: Vec::new(),
            used: 0,
            entries: Vec::new(),
            sleepers: HashMap::new(),
            resting: HashSet::new(),
            places: HashMap::new(),
        }
    }

    /// A native function.
    pub fn function(&self, id: FunctionId) -> &Function {
        self.reader.function(id)
    }

    /// Whether a thread must be stopped for its native stack: not when it is not wanted, and not when it sleeps where it slept before.
    pub(super) fn wants(&mut self, stacks: &Stacks, thread: &ThreadStack, os_id: ThreadId, running: bool) -> bool {
        if running || !self.idle {
            return running;
        }
        let Some(place) = self.process.resting_place(os_id) else { return true };
        let frames = stacks.frames_of(thread);
        if self.sleepers.get(&thread.address).is_some_and(|sleeper| sleeper.place == place && sleeper.frames == frames)
        {
            self.resting.insert(thread.address);
            return false;
        }
        self.places.insert(thread.address, place);
        true
    }

    /// The same for a thread that was left out of the walk, as it has not moved since it was last read.
    pub(super) fn wants_rested(&mut self, thread: u64) -> bool {
        let is_known = self.sleepers.contains_key(&thread);
        if is_known {
            self.resting.insert(thread);
        }
        self.idle && !is_known
    }

    pub(super) fn begin(&mut self) {
        self.used = 0;
        self.resting.clear();
        self.places.clear();
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
            let address = thread.stack.address;
            let first = moment.frames.len();
            let captures = &self.captures[..self.used];
            if let Some((_, capture)) = captures.iter().find(|(owner, _)| *owner == address) {
                fill_entries(stacks, thread, &mut self.entries);
                self.reader.merge(capture, &self.entries, &mut moment.frames);
                // It may have moved between the look at where it sleeps and the stop.
                let place = self.places.get(&address).filter(|place| place.stack_pointer == capture.stack_pointer());
                if let Some(place) = place {
                    let (frames, mixed) = (stacks.frames_of(&thread.stack).to_vec(), moment.frames[first..].to_vec());
                    self.sleepers.insert(address, Sleeper { place: *place, frames, mixed });
                } else {
                    self.sleepers.remove(&address);
                }
            } else if let Some(sleeper) = self.sleepers.get(&address).filter(|_| self.resting.contains(&address)) {
                moment.frames.extend_from_slice(&sleeper.mixed);
            } else {
                continue;
            }
            moment.threads.insert(address, first..moment.frames.len());
        }
        if self.sleepers.len() > threads.len() {
            self.sleepers.retain(|address, _| threads.iter().any(|thread| thread.stack.address == *address));
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
