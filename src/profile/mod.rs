//! A profile: what was sampled, from which threads, for how long.
//!
//! Texts, frames and stacks are interned, so a stack is one `Copy` number, equal stacks have equal numbers, and memory
//! grows with what is distinct. Samples go into totals for each (thread, stack, flags); when asked, also into a
//! timeline for each thread, compactly coded, and into a journal that a streaming writer drains. Adding a sample that
//! looks like an earlier one allocates nothing.
//!
//! Limits: knows nothing of how samples are made, of CPython, of files or of formats. Everything that the target can
//! make grow without end has a cap; past it, [`Profile::is_clipped`] says so, and the time that samples stand for stays
//! right.

mod below;
mod collection;
mod condense;
mod counter;
mod delta;
mod follow;
mod frame;
mod metadata;
mod sample;
mod stack;
mod text;
mod thread;
mod timeline;
pub(crate) mod varint;

pub(crate) use below::{Below, module_name, without_archive};
pub(crate) use collection::Collection;
pub(crate) use condense::{Needed, Renumbering, Room};
pub(crate) use counter::Counter;
pub(crate) use delta::{Delta, Mark};
pub(crate) use follow::Follower;
pub use frame::Frame;
pub(crate) use frame::{FrameId, FrameKind};
pub(crate) use metadata::{Filters, FunctionTime, GcFacts, GilFacts, Metadata, SampleCounts};
pub use sample::Flags;
pub(crate) use sample::{Run, Sum, Total};
pub use stack::StackId;
#[cfg(test)]
pub(crate) use text::MAX_TEXT;
pub(crate) use text::TextId;
pub use thread::{Process, Thread};
pub(crate) use thread::{ProcessRef, ThreadRef};

use std::collections::HashMap;

use collection::Collections;
use counter::Counters;
use frame::FrameTable;
use sample::Totals;
use stack::StackTree;
use text::TextTable;
use timeline::{Journal, Timeline};

/// What a [`Profile`] keeps of each sample, beyond the totals that it always keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// The order and times of samples, for formats that show time. Costs about 6 bytes for each run of equal samples.
    pub timeline: bool,
    /// Samples since the last [`Profile::drain_journal`], for a writer that streams to disk while recording.
    pub journal: bool,
}

/// Everything that was recorded. See the [module](self).
#[derive(Debug, Default)]
pub struct Profile {
    /// What the recording was: command, times, rate, counts. Filled by whoever records.
    pub metadata: Metadata,
    texts: TextTable,
    frames: FrameTable,
    stacks: StackTree,
    processes: Vec<Process>,
    by_pid: HashMap<u32, Vec<ProcessRef>>,
    threads: Vec<Thread>,
    totals: Totals,
    timeline: Option<Timeline>,
    counters: Counters,
    collections: Collections,
    journal: Option<Journal>,
}

impl Profile {
    /// An empty profile.
    pub fn new(keep: Keep) -> Self {
        Self {
            timeline: keep.timeline.then(Timeline::default),
            journal: keep.journal.then(Journal::default),
            ..Self::default()
        }
    }

    /// The id of `text`, which is cut to [`text::MAX_TEXT`] bytes. The empty text is [`TextId::EMPTY`].
    pub fn intern(&mut self, text: &str) -> TextId {
        self.texts.intern(text)
    }

    /// The text with this id.
    pub fn text(&self, id: TextId) -> &str {
        self.texts.get(id)
    }

    /// The id of `frame`.
    pub fn frame(&mut self, frame: Frame) -> FrameId {
        self.frames.intern(frame)
    }

    /// The frame with this id.
    pub fn frame_of(&self, id: FrameId) -> Frame {
        self.frames.get(id)
    }

    /// The stack that has `frame` on top of `parent`: start from [`StackId::EMPTY`] and push the outermost frame first.
    pub fn push(&mut self, parent: StackId, frame: FrameId) -> StackId {
        self.stacks.push(parent, frame)
    }

    /// The caller's stack and the innermost frame; `None` for the empty stack.
    pub fn pop(&self, stack: StackId) -> Option<(StackId, FrameId)> {
        self.stacks.pop(stack)
    }

    /// The frames of a stack, innermost first.
    pub fn frames_of(&self, stack: StackId) -> impl Iterator<Item = FrameId> + '_ {
        let mut at = stack;
        std::iter::from_fn(move || {
            let (parent, frame) = self.stacks.pop(at)?;
            at = parent;
            Some(frame)
        })
    }

    /// Adds a process. One that executes another program is added again, under the same pid.
    pub fn add_process(&mut self, process: Process) -> ProcessRef {
        let id = ProcessRef(index(self.processes.len()));
        self.by_pid.entry(process.pid).or_default().push(id);
        self.processes.push(process);
        id
    }

    /// A process.
    pub fn process(&self, id: ProcessRef) -> &Process {
        &self.processes[id.0 as usize]
    }

    /// A process, to correct what was not known when it was added; its pid must stay as it is.
    pub fn process_mut(&mut self, id: ProcessRef) -> &mut Process {
        &mut self.processes[id.0 as usize]
    }

    /// Every process, in the order in which they were added.
    pub fn processes(&self) -> impl ExactSizeIterator<Item = (ProcessRef, &Process)> {
        self.processes.iter().enumerate().map(|(at, process)| (ProcessRef(index(at)), process))
    }

    /// The recorded process that started `id`, if it was recorded too.
    pub fn parent_of(&self, id: ProcessRef) -> Option<ProcessRef> {
        let known = self.by_pid.get(&self.process(id).parent_pid?)?;
        // A pid can be there several times (exec, reuse): the parent is the one that was last seen before its child.
        let before = known.iter().rev().find(|candidate| **candidate < id);
        before.or_else(|| known.iter().find(|candidate| **candidate != id)).copied()
    }

    /// `id` and the recorded processes above it, outermost first.
    pub fn lineage(&self, id: ProcessRef) -> Vec<ProcessRef> {
        const DEEPEST: usize = 64;
        let mut line = vec![id];
        while let Some(parent) = self.parent_of(line[line.len() - 1])
            && line.len() < DEEPEST
            && !line.contains(&parent)
        {
            line.push(parent);
        }
        line.reverse();
        line
    }

    /// Adds a thread. The caller keeps the reference for as long as it knows that it is the same thread: ids are used
    /// again by the operating system and by CPython, so only the caller can tell.
    pub fn add_thread(&mut self, thread: Thread) -> ThreadRef {
        let id = ThreadRef(index(self.threads.len()));
        self.threads.push(thread);
        id
    }

    /// A thread.
    pub fn thread(&self, id: ThreadRef) -> &Thread {
        &self.threads[id.0 as usize]
    }

    /// A thread, to write down what was learned late: its name, its operating system id.
    pub fn thread_mut(&mut self, id: ThreadRef) -> &mut Thread {
        &mut self.threads[id.0 as usize]
    }

    /// Every thread, in the order in which they were added.
    pub fn threads(&self) -> impl ExactSizeIterator<Item = (ThreadRef, &Thread)> {
        self.threads.iter().enumerate().map(|(at, thread)| (ThreadRef(index(at)), thread))
    }

    /// Sets the last known name of a thread.
    pub fn set_thread_name(&mut self, thread: ThreadRef, name: &str) {
        let current = self.thread(thread).name;
        if current.is_none_or(|current| self.text(current) != name) {
            let name = self.intern(name);
            self.thread_mut(thread).name = Some(name);
        }
    }

    /// Adds one sample: `thread` was seen with `stack` at `time_us` (µs since the start of the recording), which stands
    /// for the `weight_us` µs of wall time before it.
    pub fn add_sample(&mut self, thread: ThreadRef, stack: StackId, time_us: u64, weight_us: u64, flags: Flags) {
        let start_us = time_us.saturating_sub(weight_us);
        self.add_run(Run { thread, stack, flags, start_us, weight_us, samples: 1 });
    }

    /// Adds several samples of one thread that saw the same stack, one after the other.
    pub fn add_run(&mut self, run: Run) {
        self.totals.add(run);
        if let Some(timeline) = &mut self.timeline {
            timeline.add(run);
        }
        if let Some(journal) = &mut self.journal {
            journal.add(run);
        }
    }

    /// Samples and time of each distinct (thread, stack, flags), in the order in which they were first seen.
    pub fn totals(&self) -> &[Total] {
        self.totals.all()
    }

    /// Everything together. Threads that run at the same time add up.
    pub fn sum(&self) -> Sum {
        self.sum_where(|_| true)
    }

    /// What threads did that had such flags.
    pub fn sum_where(&self, is_wanted: impl Fn(Flags) -> bool) -> Sum {
        self.totals.sum_where(is_wanted)
    }

    /// All that a thread did; `None` if it has no samples.
    pub fn sum_of(&self, thread: ThreadRef) -> Option<Sum> {
        self.totals.sum_of(thread)
    }

    /// Whether the order of samples was kept.
    pub fn has_timeline(&self) -> bool {
        self.timeline.is_some()
    }

    /// What one thread did, in time order; runs do not overlap, and what lies between them is time without samples.
    /// Empty when no timeline was kept.
    pub fn timeline(&self, thread: ThreadRef) -> impl Iterator<Item = Run> + '_ {
        self.timeline.iter().flat_map(move |timeline| timeline.runs(thread))
    }

    /// Notes what a number of a process is from `time_us` on (µs since the start of the recording), where a timeline is
    /// kept.
    pub(crate) fn set_counter(&mut self, process: ProcessRef, name: &str, time_us: u64, value: u64) {
        if self.has_timeline() {
            let name = self.intern(name);
            self.counters.set(process, name, time_us, value);
        }
    }

    /// All numbers that were counted, in the order in which they were first noted.
    pub(crate) fn counters(&self) -> &[Counter] {
        &self.counters.all
    }

    /// Notes a run of the garbage collector that the interpreter has told of, where a timeline is kept.
    pub(crate) fn add_collection(&mut self, collection: Collection) {
        if self.has_timeline() {
            self.collections.add(collection);
        }
    }

    /// The runs of garbage collectors that interpreters have told of.
    pub(crate) fn collections(&self) -> &[Collection] {
        &self.collections.0
    }

    /// The samples since the last call, equal neighbours joined. Empty when no journal is kept.
    pub fn drain_journal(&mut self) -> Vec<Run> {
        self.journal.as_mut().map(Journal::drain).unwrap_or_default()
    }

    /// Whether a cap was reached, so that some names or inner frames are missing.
    pub fn is_clipped(&self) -> bool {
        self.texts.is_full() || self.frames.is_full() || self.stacks.is_full()
    }

    /// What it takes in memory, in bytes, about.
    pub fn size_bytes(&self) -> usize {
        // Each entry with what points to it.
        let entries = self.frames.len() * 96 + self.stacks.len() * 32 + self.totals.all().len() * 64;
        self.texts.bytes() + entries + (self.threads.len() + self.processes.len()) * 128
    }

    /// How many (texts, frames, stacks) there are. Their ids are the numbers below, in the order of their making.
    pub fn table_sizes(&self) -> TableSizes {
        TableSizes { texts: self.texts.len(), frames: self.frames.len(), stacks: self.stacks.len() }
    }

    /// The texts from number `first` on.
    pub fn texts_from(&self, first: usize) -> impl Iterator<Item = &str> {
        (first..self.texts.len()).map(|at| self.texts.get(TextId(index(at))))
    }

    /// The frames from number `first` on.
    pub fn frames_from(&self, first: usize) -> impl Iterator<Item = Frame> {
        (first..self.frames.len()).map(|at| self.frames.get(FrameId(index(at))))
    }

    /// The stacks from number `first` on, as (caller's stack, innermost frame). Number 0 is the empty stack; a stack
    /// has a higher number than its callers'.
    pub fn stacks_from(&self, first: usize) -> impl Iterator<Item = (StackId, FrameId)> {
        (first.max(1)..self.stacks.len()).filter_map(|at| self.stacks.pop(StackId(index(at))))
    }
}

/// How many distinct things a profile holds; see [`Profile::table_sizes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableSizes {
    /// Interned texts.
    pub texts: usize,
    /// Frames.
    pub frames: usize,
    /// Stacks, the empty one counted.
    pub stacks: usize,
}

/// A table position as an id's number. Tables are capped far below the limit, so nothing is lost.
fn index(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
