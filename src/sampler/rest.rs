//! Threads that have not moved since they were last read: their stacks are kept, and they are left out of the next reads.
//!
//! A process with hundreds of threads has most of them waiting for minutes. That a thread has not been on a CPU since is
//! known from the system at a tenth of the cost of reading and proving its stack.

use std::collections::HashMap;

use super::moment::MomentFrame;
use crate::memory::{Memory, Snapshot};

/// After so many samples everything is read once: for what another thread changed in the state of one that rests, and so that what is prefetched is
/// not forgotten.
const WHOLE_EVERY: u32 = 64;

/// What is kept of threads that rest.
#[derive(Debug, Default)]
pub(super) struct Rest {
    threads: HashMap<u64, Rested, foldhash::fast::RandomState>,
    /// How many of them have not moved.
    resting: usize,
    /// The snapshot knows of all changes.
    told: bool,
    whole: bool,
    until_whole: u32,
}

#[derive(Debug, Default)]
struct Rested {
    rests: bool,
    frames: Vec<MomentFrame>,
}

impl Rest {
    /// Begins a sample: so far nobody has moved.
    pub(super) fn begin_sample(&mut self) {
        self.whole = self.until_whole == 0;
        self.until_whole = if self.whole { WHOLE_EVERY } else { self.until_whole - 1 };
    }

    /// The thread of a thread state has been on a CPU, or it cannot be told.
    pub(super) fn has_moved(&mut self, thread_state: u64) {
        if let Some(thread) = self.threads.get_mut(&thread_state)
            && thread.rests
        {
            thread.rests = false;
            self.resting -= 1;
            self.told = false;
        }
    }

    /// The lists of threads may have changed: this sample reads everything.
    pub(super) fn leave_out_nothing(&mut self) {
        self.whole = true;
    }

    /// Whether there is anything to leave out of this sample.
    pub(super) fn may_leave_out(&self) -> bool {
        !self.whole && self.resting > 0
    }

    /// Whether the thread of a thread state is left out of this sample.
    pub(super) fn rests(&self, thread_state: u64) -> bool {
        !self.whole && self.threads.get(&thread_state).is_some_and(|thread| thread.rests)
    }

    /// Tells the snapshot what not to fetch in this sample.
    pub(super) fn tell<M: Memory>(&mut self, snapshot: &mut Snapshot<M>) {
        if self.whole {
            snapshot.rest(std::iter::empty());
        } else if !self.told {
            snapshot
                .rest(self.threads.iter().filter(|(_, thread)| thread.rests).map(|(thread_state, _)| *thread_state));
        }
        self.told = !self.whole;
    }

    /// Keeps the frames of a thread that waits, read since it was last looked at: until it has moved they are what it does.
    pub(super) fn keep(&mut self, thread_state: u64, frames: &[MomentFrame]) {
        let thread = self.threads.entry(thread_state).or_default();
        if !thread.rests {
            thread.rests = true;
            self.resting += 1;
            self.told = false;
        }
        thread.frames.clear();
        thread.frames.extend_from_slice(frames);
    }

    /// The frames of a thread that rests, newest first.
    pub(super) fn frames(&self, thread_state: u64) -> &[MomentFrame] {
        self.threads.get(&thread_state).map_or(&[], |thread| &thread.frames)
    }

    /// Forgets the thread states for which `keep` says no.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.threads.retain(|thread_state, _| keep(*thread_state));
        self.resting = self.threads.values().filter(|thread| thread.rests).count();
        self.told = false;
    }
}
