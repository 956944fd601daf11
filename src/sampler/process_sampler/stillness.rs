//! One sample of everything at one moment.
//!
//! For that nothing may move. What runs is stopped. What sleeps need not be: if it has not been on a CPU from before
//! the read until after it, it has stood as still as what was stopped, and its system call goes on undisturbed. A
//! process in which everything waits is not stopped at all.

use std::time::Instant;

use super::ProcessSampler;
use crate::process::{PausedProcess, ThreadId};
use crate::sampler::moment::{Held, Moment, Pausing, SampleError};

/// What stands still.
struct Still {
    paused: PausedProcess,
    /// Those that sleep, and must not have moved when the read is over.
    sleepers: Vec<ThreadId>,
}

impl ProcessSampler {
    /// Takes one sample of everything at one moment, for which the threads that run are stopped; all are if a thread
    /// wakes meanwhile. While everything stands still `inspect` is called with what was found, once for each try; what
    /// was torn is read after that.
    ///
    /// # Errors
    /// When the process is gone or could not be stopped.
    pub(crate) fn sample_stopped(
        &mut self,
        moment: &mut Moment,
        inspect: &mut dyn FnMut(&Self, &Moment),
    ) -> Result<(), SampleError> {
        moment.clear();
        self.natives.start_sample(Pausing::Blocking, moment);
        // So that the ids of the threads are known whose state is read before the stop.
        self.find_threads();
        // The registers of what sleeps are needed for native frames, and where nothing else tells its call.
        let of_all = !self.process.shows_system_calls();
        let may_sleep_on = self.natives.native.is_none() && self.natives.threads.is_none() && !of_all;
        let mut torn = None;
        if may_sleep_on {
            self.observe_threads(Pausing::Blocking);
            torn = self.read_still(true, of_all, moment, inspect)?;
        }
        if torn.is_none() {
            self.observe_threads(Pausing::Blocking);
            self.natives.observe_threads(&self.process, &self.threads, &mut self.activities);
            torn = self.read_still(false, of_all, moment, inspect)?;
        }
        self.read_names_when_due();
        for index in torn.unwrap_or_default() {
            self.emit_uncertain(index, Pausing::Adaptive, moment);
        }
        self.natives.finish_sample(&self.reader.stacks, moment);
        Ok(())
    }

    /// Reads everything while it stands still; the indices of stacks that are torn all the same. `None` when a thread
    /// has woken that was left asleep: then nothing was read.
    fn read_still(
        &mut self,
        leaves_sleepers: bool,
        of_all: bool,
        moment: &mut Moment,
        inspect: &mut dyn FnMut(&Self, &Moment),
    ) -> Result<Option<Vec<usize>>, SampleError> {
        let sleepers = if leaves_sleepers { self.sleepers() } else { Vec::new() };
        let others = self.process.threads().unwrap_or_default();
        let others: Vec<ThreadId> = others.into_iter().filter(|thread| !sleepers.contains(thread)).collect();
        let started = Instant::now();
        let paused = match sleepers.is_empty() {
            true => self.process.pause_all()?,
            false => self.process.pause_threads(&others)?,
        };
        let still = Still { paused, sleepers };
        let read = self.read_stopped(still.paused.not_held());
        let mut torn = Vec::new();
        if read.is_ok() {
            let (stacks, memory) = (&self.reader.stacks.threads, self.reader.snapshot.memory());
            self.activities.observe_stopped(&still.paused, of_all, &self.threads, stacks, memory, moment);
            torn = self.emit_stopped(&still.paused, moment);
            inspect(self, moment);
        }
        let stood_still = self.stood_still(&still, &others);
        let has_paused = !still.paused.is_empty();
        drop(still);
        let held = started.elapsed();
        if !stood_still {
            let (stops, before) = (moment.stops, moment.stopped_for);
            moment.clear();
            (moment.stops, moment.stopped_for) = (stops, before);
        }
        if has_paused {
            moment.add_hold(Held::AllThreads, held);
            moment.stops += 1;
        }
        read?;
        Ok(stood_still.then_some(torn))
    }

    /// The threads that sleep.
    fn sleepers(&mut self) -> Vec<ThreadId> {
        let threads = self.process.threads().unwrap_or_default();
        threads.into_iter().filter(|thread| self.activities.sleeps(*thread)).collect()
    }

    /// Whether nothing has moved: what was left asleep has slept on, and there is no other thread than those and the
    /// `others`, which were stopped.
    fn stood_still(&mut self, still: &Still, others: &[ThreadId]) -> bool {
        if still.sleepers.is_empty() {
            return true;
        }
        let has_slept = still.sleepers.iter().all(|thread| self.activities.has_kept_waiting(*thread));
        let threads = self.process.threads().unwrap_or_default();
        has_slept && threads.iter().all(|thread| still.sleepers.contains(thread) || others.contains(thread))
    }
}
