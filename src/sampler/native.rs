//! Native frames in moments: captured while a thread is held, followed and merged with its Python frames after it was
//! let go.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::kernel::{FrameSlot, RecordedStack};
use super::moment::{MomentThread, NativeMoment, NativeThread, Owner};
use crate::memory::Memory;
use crate::native::{Capture, Entry, FunctionId, MixedFrame, NativeReader, ShownFrame};
use crate::process::{Process, Registers, RestingPlace, ThreadId};
use crate::python::layout::Layout;
use crate::python::stack::{Entered, RawFrame, Stacks, ThreadStack};

/// Reads native frames for a [`ProcessSampler`](super::ProcessSampler).
#[derive(Debug)]
pub(crate) struct Native {
    process: Process,
    reader: NativeReader,
    idle: bool,
    /// The first `used` are of this moment.
    captures: Vec<(Owner, Capture)>,
    used: usize,
    /// The one that was made elsewhere.
    taken: Capture,
    entries: Vec<Entry>,
    /// Where threads slept when they were last captured.
    sleepers: HashMap<Owner, Sleeper>,
    /// Those that still sleep there, as of this moment.
    resting: HashSet<Owner>,
    /// Where threads sleep, as of this moment, before any of them is stopped.
    places: HashMap<Owner, RestingPlace>,
}

/// A thread that sleeps, with its stack.
#[derive(Debug)]
pub(super) struct Sleeper {
    place: RestingPlace,
    frames: Vec<RawFrame>,
    mixed: Vec<MixedFrame>,
}

/// Why the stack of a thread that was seen asleep could not be read without a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAsleep {
    /// It takes more of its registers than is known.
    WithoutRegisters,
    /// It has been woken, though it may not have run yet.
    Woken,
}

impl Native {
    pub(super) fn new(process: Process, idle: bool) -> Self {
        Self {
            reader: NativeReader::new(process.clone()),
            process,
            idle,
            captures: Vec::new(),
            used: 0,
            taken: Capture::default(),
            entries: Vec::new(),
            sleepers: HashMap::new(),
            resting: HashSet::new(),
            places: HashMap::new(),
        }
    }

    /// The frames to show for a native function, newest first: those that the compiler has put into it there, then
    /// itself.
    pub(crate) fn shown(&self, id: FunctionId) -> Vec<ShownFrame<'_>> {
        self.reader.shown(id)
    }

    /// Whether the lines of a native function are being looked up.
    pub(super) fn awaits_lines(&self, id: FunctionId) -> bool {
        self.reader.awaits_lines(id)
    }

    /// Waits for the lines of what was met, at most so long; not to be done while anything is held.
    pub(super) fn wait_for_lines(&mut self, limit: Duration) {
        self.reader.wait_for_lines(limit);
    }

    /// Whether idle threads are wanted too.
    pub(super) fn wants_idle(&self) -> bool {
        self.idle
    }

    /// Whether a thread must be stopped for its native stack: not when it is not wanted, and not when it sleeps where
    /// it slept before.
    pub(super) fn wants(&mut self, stacks: &Stacks, thread: &ThreadStack, os_id: ThreadId, running: bool) -> bool {
        self.wants_stack(Owner::State(thread.address), stacks.frames_of(thread), os_id, running)
    }

    /// The same for a thread without a thread state.
    pub(super) fn wants_thread(&mut self, os_id: ThreadId, running: bool) -> bool {
        self.wants_stack(Owner::Thread(os_id), &[], os_id, running)
    }

    fn wants_stack(&mut self, owner: Owner, frames: &[RawFrame], os_id: ThreadId, running: bool) -> bool {
        if running || !self.idle {
            return running;
        }
        let Some(place) = self.process.resting_place(os_id) else { return true };
        if self.sleepers.get(&owner).is_some_and(|sleeper| sleeper.place == place && sleeper.frames == frames) {
            self.resting.insert(owner);
            return false;
        }
        self.places.insert(owner, place);
        true
    }

    /// The same for a thread that has not moved since it was last read.
    pub(super) fn wants_rested(&mut self, owner: Owner) -> bool {
        let is_known = self.sleepers.contains_key(&owner);
        if is_known {
            self.resting.insert(owner);
        }
        self.idle && !is_known
    }

    pub(super) fn begin(&mut self) {
        self.used = 0;
        self.resting.clear();
        self.places.clear();
        self.reader.prepare();
    }

    /// Gets ready to merge stacks that were recorded: looks at the mappings when that is due.
    pub(super) fn prepare(&mut self) {
        self.reader.prepare();
    }

    /// Adds the merged stack of a thread whose registers and stack were recorded, with its Python frames, newest first.
    pub(super) fn merge_recorded<'records>(
        &mut self,
        owner: Owner,
        stack: &RecordedStack<'_>,
        (frames, layout): (impl Iterator<Item = FrameSlot<'records>>, &Layout),
        moment: &mut NativeMoment,
    ) {
        fill_entries(frames.map(|frame| (frame.address(), entered(&frame, layout))), &mut self.entries);
        self.taken.take(stack.registers, stack.start, stack.bytes, stack.end);
        let first = moment.frames.len();
        let is_cut = self.reader.merge(&self.taken, &self.entries, &mut moment.frames);
        moment.cut += u32::from(is_cut);
        moment.threads.insert(owner, first..moment.frames.len());
    }

    /// The stack of a thread that sleeps and is not held, with its Python frames: from the `registers` with which it
    /// went to sleep the last time, where they are known, or else from the stack pointer and the instruction, which the
    /// system tells of it. It is what the thread has only if the thread does not run until this is done.
    ///
    /// # Errors
    /// When other registers are needed, or it does not sleep any more.
    pub(super) fn read_asleep(
        &mut self,
        memory: &impl Memory,
        os_id: ThreadId,
        frames: &[RawFrame],
        registers: Option<Registers>,
    ) -> Result<Sleeper, NotAsleep> {
        let Some(place) = self.process.resting_place(os_id) else {
            let is_told = self.process.shows_system_calls();
            return Err(if is_told { NotAsleep::Woken } else { NotAsleep::WithoutRegisters });
        };
        let resting = NativeReader::resting_registers(place.instruction, place.stack_pointer);
        let known = registers.filter(|known| known.has_all_of(&resting));
        let registers = known.unwrap_or(resting);
        self.taken.fill(memory, registers, self.reader.stack_end(&registers));
        fill_entries(frames.iter().map(|frame| (frame.address, frame.entry)), &mut self.entries);
        let mut mixed = Vec::new();
        let is_whole = if known.is_some() {
            !self.reader.merge(&self.taken, &self.entries, &mut mixed)
        } else {
            self.reader.merge_without_registers(&self.taken, &self.entries, &mut mixed)
        };
        let sleeper = Sleeper { place, frames: frames.to_vec(), mixed };
        if is_whole { Ok(sleeper) } else { Err(NotAsleep::WithoutRegisters) }
    }

    /// From now on a thread is known to sleep like that, in this moment too.
    pub(super) fn keep_asleep(&mut self, owner: Owner, sleeper: Sleeper) {
        self.sleepers.insert(owner, sleeper);
        self.resting.insert(owner);
    }

    pub(super) fn capture(&mut self, memory: &impl Memory, owner: Owner, registers: Registers) {
        let end = self.reader.stack_end(&registers);
        let again = self.captures[..self.used].iter().position(|(known, _)| *known == owner);
        let place = again.unwrap_or(self.used);
        if place == self.captures.len() {
            self.captures.push((owner, Capture::default()));
        }
        let (known, capture) = &mut self.captures[place];
        *known = owner;
        capture.fill(memory, registers, end);
        self.used = self.used.max(place + 1);
    }

    /// Makes the merged stacks of the threads of a moment, now that nothing is held.
    pub(super) fn finish(
        &mut self,
        stacks: &Stacks,
        threads: &[MomentThread],
        native_threads: &[NativeThread],
        moment: &mut NativeMoment,
    ) {
        for thread in threads {
            let frames = stacks.frames_of(&thread.stack).iter();
            fill_entries(frames.map(|frame| (frame.address, frame.entry)), &mut self.entries);
            self.merge(Owner::State(thread.stack.address), stacks.frames_of(&thread.stack), moment);
        }
        for thread in native_threads {
            self.entries.clear();
            self.merge(Owner::Thread(thread.os_id), &[], moment);
        }
        if self.sleepers.len() > threads.len() + native_threads.len() {
            self.sleepers.retain(|owner, _| match owner {
                Owner::State(address) => threads.iter().any(|thread| thread.stack.address == *address),
                Owner::Thread(os_id) => native_threads.iter().any(|thread| thread.os_id == *os_id),
            });
        }
    }

    /// The merged stack of one thread, whose Python frames the entries tell of.
    fn merge(&mut self, owner: Owner, frames: &[RawFrame], moment: &mut NativeMoment) {
        let first = moment.frames.len();
        let captures = &self.captures[..self.used];
        if let Some((_, capture)) = captures.iter().find(|(known, _)| *known == owner) {
            moment.cut += u32::from(self.reader.merge(capture, &self.entries, &mut moment.frames));
            // It may have moved between the look at where it sleeps and the stop.
            let place = self.places.get(&owner).filter(|place| place.stack_pointer == capture.stack_pointer());
            if let Some(place) = place {
                let mixed = moment.frames[first..].to_vec();
                self.sleepers.insert(owner, Sleeper { place: *place, frames: frames.to_vec(), mixed });
            } else {
                self.sleepers.remove(&owner);
            }
        } else if let Some(sleeper) = self.sleepers.get(&owner).filter(|_| self.resting.contains(&owner)) {
            moment.frames.extend_from_slice(&sleeper.mixed);
        } else {
            return;
        }
        moment.threads.insert(owner, first..moment.frames.len());
    }
}

/// The Python frames of a thread, newest first, by the entries of evaluation that run them: of each frame its address
/// and how its evaluation was entered.
fn fill_entries(frames: impl Iterator<Item = (u64, Entered)>, entries: &mut Vec<Entry>) {
    entries.clear();
    let (mut first, mut newest, mut end) = (0, None, 0);
    for (index, (address, entered)) in frames.enumerate() {
        end = index + 1;
        let newest_address = *newest.get_or_insert(address);
        let border = match entered {
            Entered::Within => continue,
            Entered::FromC => None,
            Entered::ByShim(address) => Some(address),
        };
        entries.push(Entry { first, end, newest: newest_address, border });
        (first, newest) = (end, None);
    }
    // Nothing in Python has called the oldest frame.
    if let Some(newest) = newest {
        entries.push(Entry { first, end, newest, border: None });
    }
}

/// How the evaluation of a recorded frame was entered.
fn entered(frame: &FrameSlot<'_>, layout: &Layout) -> Entered {
    match (frame.border(), layout.frame.is_entry, layout.frame.owner) {
        (Some(address), ..) => Entered::ByShim(address),
        (None, Some(_), _) if !frame.is_entry() => Entered::Within,
        (None, None, Some(_)) => Entered::Within,
        (None, ..) => Entered::FromC,
    }
}
