//! What is kept of the threads of a process from sample to sample, and by that how each is read.

use std::collections::HashMap;

use super::history::History;
use super::read_mode::ReadMode;
use super::read_plan::{Activity, Circumstances, plan_read};
use crate::memory::{COMMON, Copies, Unit};
use crate::sampler::moment::MomentFrame;

/// After so many samples everything is read once: for what another thread changed in the state of one that waits, and
/// so that what is prefetched is not forgotten.
const WHOLE_EVERY: u32 = 64;

/// What is known of the threads of a process, each by the address of its thread state in the target.
#[derive(Debug)]
pub(crate) struct ThreadRecords {
    by_thread: HashMap<Unit, ThreadRecord, foldhash::fast::RandomState>,
    /// The number of the sample: far above 0, so that "never" is long ago.
    sample: u32,
    /// How many threads are left out of this sample.
    left_out: usize,
    /// They are those that were left out of the read before.
    leaves_out_the_same: bool,
    /// This sample reads everything.
    is_whole: bool,
    until_whole: u32,
}

/// What is known of one thread.
#[derive(Debug)]
pub(crate) struct ThreadRecord {
    pub(crate) history: History,
    /// What it was seen doing before this sample was read.
    activity: Activity,
    /// How it is read in this sample.
    pub(crate) mode: ReadMode,
    /// It waited when its stack was kept, and has not been on a CPU since.
    is_unchanged: bool,
    /// Its stack, newest frame first, if it is unchanged.
    frames: Vec<MomentFrame>,
}

impl ThreadRecord {
    fn new(sample: u32) -> Self {
        Self {
            history: History::new(sample),
            activity: Activity::Unknown,
            mode: ReadMode::Twice,
            is_unchanged: false,
            frames: Vec::new(),
        }
    }
}

impl Default for ThreadRecords {
    fn default() -> Self {
        Self {
            by_thread: HashMap::default(),
            sample: 1000,
            left_out: 0,
            leaves_out_the_same: false,
            is_whole: false,
            until_whole: 0,
        }
    }
}

impl ThreadRecords {
    /// Begins a sample: nothing was seen of any thread so far.
    pub(crate) fn start_sample(&mut self) {
        self.sample += 1;
        self.is_whole = self.until_whole == 0;
        self.until_whole = if self.is_whole { WHOLE_EVERY } else { self.until_whole - 1 };
        for record in self.by_thread.values_mut() {
            record.activity = Activity::Unknown;
        }
    }

    /// The number of this sample.
    pub(crate) fn sample(&self) -> u32 {
        self.sample
    }

    /// What is known of a thread.
    pub(crate) fn of(&self, thread: Unit) -> Option<&ThreadRecord> {
        self.by_thread.get(&thread)
    }

    /// What is known of a thread, which may be new.
    pub(crate) fn entry(&mut self, thread: Unit) -> &mut ThreadRecord {
        self.by_thread.entry(thread).or_insert_with(|| ThreadRecord::new(self.sample))
    }

    /// Whether a thread would be stopped in this sample if it ran.
    pub(crate) fn needs_stop(&self, thread: Unit) -> bool {
        self.of(thread).is_some_and(|record| !record.history.is_worth_two_copies(self.sample))
    }

    /// Whether equal copies of a thread mean nothing.
    pub(crate) fn is_unsteady(&self, thread: Unit) -> bool {
        self.of(thread).is_some_and(|record| !record.history.is_steady())
    }

    /// Takes note of what a thread was seen doing before it is read.
    pub(crate) fn note_activity(&mut self, thread: Unit, is_running: bool, has_moved: bool) {
        let Some(record) = self.by_thread.get_mut(&thread) else { return };
        if !has_moved {
            record.history.record_wait();
        }
        record.is_unchanged &= !has_moved;
        record.activity = match (is_running, record.is_unchanged) {
            (true, _) => Activity::Running,
            (false, true) => Activity::Unchanged,
            (false, false) => Activity::Waiting,
        };
    }

    /// Which threads there are may have changed: this sample reads everything.
    pub(crate) fn read_everything(&mut self) {
        self.is_whole = true;
        if self.left_out == 0 {
            return;
        }
        (self.left_out, self.leaves_out_the_same) = (0, false);
        for record in self.by_thread.values_mut().filter(|record| record.mode == ReadMode::Unchanged) {
            let circumstances = Circumstances { sample: self.sample, may_stop: false, is_whole: true };
            record.mode = plan_read(&record.history, record.activity, false, circumstances);
        }
    }

    /// Decides how each thread is read. `pinned` is the one on whose CPU we are, as its own memory told.
    pub(crate) fn plan(&mut self, may_stop: bool, pinned: Option<Unit>) {
        let circumstances = Circumstances { sample: self.sample, may_stop, is_whole: self.is_whole };
        self.left_out = 0;
        for (thread, record) in &mut self.by_thread {
            let was_left_out = record.mode == ReadMode::Unchanged;
            record.mode = plan_read(&record.history, record.activity, pinned == Some(*thread), circumstances);
            let is_left_out = record.mode == ReadMode::Unchanged;
            self.left_out += usize::from(is_left_out);
            self.leaves_out_the_same &= is_left_out == was_left_out;
        }
    }

    /// Leaves out the threads that run: another sees what they do. To be called once it is decided how each is read.
    pub(crate) fn leave_out_running(&mut self) {
        for record in self.by_thread.values_mut().filter(|record| record.activity == Activity::Running) {
            if record.mode != ReadMode::Unchanged {
                record.mode = ReadMode::Unchanged;
                self.left_out += 1;
                self.leaves_out_the_same = false;
            }
        }
    }

    /// Whether a thread was seen running before this sample was read.
    pub(crate) fn was_running(&self, thread: Unit) -> bool {
        self.of(thread).is_some_and(|record| record.activity == Activity::Running)
    }

    /// A thread was to be stopped for this sample, whether or not that was the plan. What is left out stays so.
    pub(crate) fn set_stopped(&mut self, thread: Unit, is_stopped: bool) {
        let mode = &mut self.entry(thread).mode;
        *mode = match (*mode, is_stopped) {
            (ReadMode::Unchanged, _) => ReadMode::Unchanged,
            (_, true) => ReadMode::Stopped,
            (ReadMode::Stopped, false) => ReadMode::Unproven,
            (planned, false) => planned,
        };
    }

    /// What was stopped for this sample runs again.
    pub(crate) fn note_all_resumed(&mut self) {
        for record in self.by_thread.values_mut().filter(|record| record.mode == ReadMode::Stopped) {
            record.mode = ReadMode::Unproven;
        }
    }

    /// Whether some threads are left out of this sample.
    pub(crate) fn leaves_out_some(&self) -> bool {
        self.left_out > 0
    }

    /// Whether the threads that are left out are those of the read before; from now on they are.
    pub(crate) fn leaves_out_the_same(&mut self) -> bool {
        std::mem::replace(&mut self.leaves_out_the_same, true)
    }

    /// Whether a thread is left out of this sample.
    pub(crate) fn leaves_out(&self, thread: Unit) -> bool {
        self.mode_of(thread) == ReadMode::Unchanged
    }

    /// How a thread is read in this sample.
    pub(crate) fn mode_of(&self, thread: Unit) -> ReadMode {
        self.of(thread).map_or(ReadMode::Twice, |record| record.mode)
    }

    /// How often the bytes of a unit are fetched in this sample.
    pub(crate) fn copies_of(&self, unit: Unit) -> Copies {
        if unit == COMMON { Copies::OneIfKnown } else { self.mode_of(unit).copies() }
    }

    /// Keeps the frames of a thread that waits, read since it was last looked at: until it has moved they are what it
    /// does.
    pub(crate) fn keep_frames(&mut self, thread: Unit, frames: &[MomentFrame]) {
        let record = self.entry(thread);
        record.is_unchanged = true;
        record.frames.clear();
        record.frames.extend_from_slice(frames);
    }

    /// The frames of a thread that has not moved since they were kept, newest first.
    pub(crate) fn kept_frames(&self, thread: Unit) -> &[MomentFrame] {
        self.of(thread).map_or(&[], |record| &record.frames)
    }

    /// Forgets all frames that were kept.
    pub(crate) fn forget_frames(&mut self) {
        for record in self.by_thread.values_mut() {
            record.is_unchanged = false;
            record.frames.clear();
        }
    }

    /// Forgets the threads for which `keep` says no.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Unit) -> bool) {
        self.by_thread.retain(|thread, _| keep(*thread));
        // The next thread may get the place of one that was left out.
        self.leaves_out_the_same = false;
    }

    /// What is not believed from another CPU has nothing that speaks for it any more.
    pub(crate) fn distrust_fast_threads(&mut self) {
        let fast = self.by_thread.values_mut().filter(|record| record.history.is_fast());
        fast.for_each(|record| record.history.start_probation());
    }
}
