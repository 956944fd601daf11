//! What interpreters do beside running code, summed up over a recording: who holds and wants GILs, and what garbage
//! collectors take.

use std::time::{Duration, Instant};

use super::gc_facts::GcSums;
use super::gil_facts::GilSums;
use super::moment::Moment;
use super::process_sampler::ProcessSampler;
use crate::profile::{FrameId, GcFacts, GilFacts, Profile, Renumbering};
use crate::python::gc_stats::GcRun;

/// Between two looks at what interpreters have counted of garbage collections.
const COUNTS_EVERY: Duration = Duration::from_millis(100);

/// Sums of one recording. Frames are those of its profile.
#[derive(Debug, Default)]
pub(super) struct InterpreterSums {
    gil: GilSums,
    gc: GcSums,
    /// The next look at what interpreters have counted.
    counts_due: Option<Instant>,
}

impl InterpreterSums {
    /// Adds a moment of a process that stands for so many µs. `function` gives the frame of the function that the
    /// thread at an index of [`Moment::threads`] runs.
    pub(super) fn add(
        &mut self,
        pid: i32,
        moment: &Moment,
        weight_us: u64,
        mut function: impl FnMut(usize) -> Option<FrameId>,
    ) {
        self.gc.add(pid, moment, weight_us, &mut function);
        self.gil.add(moment, weight_us, function);
    }

    /// Adds what a thread did that ran for so many µs, as the kernel has seen it.
    pub(super) fn add_ran(
        &mut self,
        pid: i32,
        moment: &Moment,
        ran_us: u64,
        mut function: impl FnMut(usize) -> Option<FrameId>,
    ) {
        // Who waits for the GIL tells nothing of who collects.
        if !moment.threads.first().is_some_and(|thread| thread.waits_for_gil) {
            self.gc.add_ran(pid, moment, ran_us, &mut function);
        }
        self.gil.add_ran(moment, ran_us, function);
    }

    /// Adds who waits in a moment that stands for so many µs, where what runs comes [from the kernel](Self::add_ran).
    pub(super) fn add_waiting(&mut self, moment: &Moment, weight_us: u64) {
        self.gc.observe(weight_us);
        self.gil.add_waiting(moment, weight_us);
    }

    /// Whether it is time to look at what interpreters have counted; then the next look is due some time later.
    pub(super) fn begin_counts(&mut self, now: Instant) -> bool {
        let is_due = self.counts_due.is_none_or(|due| now >= due);
        if is_due {
            self.counts_due = Some(now + COUNTS_EVERY);
        }
        is_due
    }

    /// Reads what the interpreters of a process have counted. The collections that they tell of and that are new.
    pub(super) fn collections(&mut self, sampler: &ProcessSampler) -> Vec<GcRun> {
        self.gc.look(sampler)
    }

    /// The sums so far.
    pub(super) fn facts(&self, profile: &Profile) -> (GilFacts, GcFacts) {
        (self.gil.facts(profile), self.gc.facts(profile))
    }

    /// The frames that are to stay in a condensed profile.
    pub(super) fn frames(&self) -> Vec<FrameId> {
        self.gil.frames().chain(self.gc.frames()).collect()
    }

    /// Goes on with the numbers of a condensed profile.
    pub(super) fn renumber(&mut self, by: &Renumbering) {
        self.gil.renumber(by);
        self.gc.renumber(by);
    }

    /// The profile begins anew, with other frames.
    pub(super) fn clear(&mut self) {
        self.gil.clear();
        self.gc.clear();
    }
}
