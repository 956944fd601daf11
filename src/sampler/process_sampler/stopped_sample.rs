//! One sample of everything at one moment.
//!
//! For that nothing may move. What runs is stopped. What sleeps need not be: if it has not been on a CPU from before
//! the read until after it, it has stood as still as what was stopped, and its system call goes on undisturbed. A
//! process in which everything waits is not stopped at all.

use std::time::Instant;

use super::ProcessSampler;
use crate::sampler::moment::{Held, Moment, Pausing, SampleError};

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
        // So that the ids of the threads are known whose state is read before the stop.
        self.natives.start_sample(Pausing::Blocking, moment);
        self.find_threads();
        // Only registers show native stacks, and, where the system does not, the calls that threads are in.
        let may_sleep_on = self.natives.native.is_none() && self.process.shows_system_calls();
        let mut torn = if may_sleep_on { self.read_still(true, moment, inspect)? } else { None };
        if torn.is_none() {
            torn = self.read_still(false, moment, inspect)?;
        }
        self.names.make_due();
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
        spares_sleepers: bool,
        moment: &mut Moment,
        inspect: &mut dyn FnMut(&Self, &Moment),
    ) -> Result<Option<Vec<usize>>, SampleError> {
        self.observe_threads(Pausing::Blocking);
        self.natives.observe_threads(&self.process, &self.threads, &mut self.activities);
        let mut spared = if spares_sleepers { self.process.threads().unwrap_or_default() } else { Vec::new() };
        spared.retain(|os_id| self.activities.sleeps(*os_id));
        let started = Instant::now();
        let stopped = self.process.pause_all_but(&spared)?;
        let read = self.read_stopped(stopped.not_held());
        let mut torn = Vec::new();
        if read.is_ok() {
            let (stacks, memory) = (&self.reader.stacks.threads, self.reader.snapshot.memory());
            self.activities.observe_stopped(&stopped, !spares_sleepers, &self.threads, stacks, memory, moment);
            torn = self.emit_stopped(&stopped, moment);
            inspect(self, moment);
        }
        let has_stopped = !stopped.is_empty();
        drop(stopped);
        let held = started.elapsed();
        // Of a thread that has slept all the while, this is the call that it was in.
        let calls = spared.iter().filter_map(|os_id| Some((*os_id, self.process.system_call(*os_id)?)));
        moment.calls.extend(calls);
        let stood_still = spared.iter().all(|os_id| self.activities.has_kept_waiting(*os_id));
        if !stood_still {
            let (stops, stopped_for) = (moment.stops, moment.stopped_for);
            moment.clear();
            (moment.stops, moment.stopped_for) = (stops, stopped_for);
        }
        if has_stopped {
            moment.add_hold(Held::AllThreads, held);
            moment.stops += 1;
        }
        read?;
        Ok(stood_still.then_some(torn))
    }
}
