//! What the garbage collector did: sums over a whole recording.
//!
//! How many collections there were the interpreter has counted itself (3.7 and later), and 3.15 also how long they
//! took. What it does not tell is summed up from samples: one run of samples in which a thread collects is one
//! collection, which misses short ones and joins those that follow each other closely.

use std::collections::HashMap;

use super::gil_facts::FunctionSums;
use super::moment::{Moment, MomentThread};
use super::process_sampler::ProcessSampler;
use crate::profile::{FrameId, GcFacts, Profile, Renumbering};
use crate::python::gc_stats::{GcRun, GcTotals};

/// Sums of one recording. Frames are those of its profile.
#[derive(Debug, Default)]
pub(super) struct GcSums {
    observed_us: u64,
    processes: HashMap<i32, GcOfProcess>,
    below: FunctionSums,
}

/// Sums of one process.
#[derive(Debug, Default)]
struct GcOfProcess {
    /// For how long samples showed a collection, µs; how many runs of such samples there were, and the longest.
    sampled_us: u64,
    runs: u64,
    run_us: u64,
    longest_run_us: u64,
    /// What the interpreters have counted, by their addresses.
    counted: HashMap<u64, Counted>,
}

/// What one interpreter has counted since it was looked at first.
#[derive(Debug)]
struct Counted {
    first: GcTotals,
    last: GcTotals,
    /// When the last collection of each generation began that is known, ns of the target's clock.
    known_to: HashMap<u8, i64>,
    longest_ns: i64,
}

impl GcSums {
    /// Adds a moment of a process that stands for so many µs. `function` gives the frame of the function that the
    /// thread at an index of [`Moment::threads`] runs.
    pub(super) fn add(
        &mut self,
        pid: i32,
        moment: &Moment,
        weight_us: u64,
        function: impl FnOnce(usize) -> Option<FrameId>,
    ) {
        self.observe(weight_us);
        self.add_ran(pid, moment, weight_us, function);
    }

    /// Takes note of a time that is looked at, µs.
    pub(super) fn observe(&mut self, time_us: u64) {
        self.observed_us += time_us;
    }

    /// Adds what the threads of a moment did for so many µs, which are [observed](Self::observe) otherwise.
    pub(super) fn add_ran(
        &mut self,
        pid: i32,
        moment: &Moment,
        weight_us: u64,
        function: impl FnOnce(usize) -> Option<FrameId>,
    ) {
        let process = self.processes.entry(pid).or_default();
        // Without a stack it is the interpreter that ends: that is in no profile, and below no function.
        let is_shown = |thread: &MomentThread| thread.collecting && moment.has_stack(thread);
        let Some(collecting) = moment.threads.iter().position(is_shown) else {
            process.run_us = 0;
            return;
        };
        process.runs += u64::from(process.run_us == 0);
        process.run_us += weight_us;
        process.sampled_us += weight_us;
        process.longest_run_us = process.longest_run_us.max(process.run_us);
        self.below.add(function(collecting), weight_us);
    }

    /// Reads what the interpreters of a process have counted; some times a second is enough. The collections that they
    /// tell of and that are new.
    pub(super) fn look(&mut self, sampler: &ProcessSampler) -> Vec<GcRun> {
        let mut new = Vec::new();
        let process = sampler.process();
        let memory = process.memory();
        let sums = self.processes.entry(process.pid()).or_default();
        for interpreter in sampler.interpreters() {
            let Some(now) = GcTotals::read(&memory, sampler.runtime(), interpreter.address) else { continue };
            new.extend(sums.counted.entry(interpreter.address).or_insert_with(|| Counted::new(now.clone())).look(now));
        }
        new
    }

    /// The sums so far.
    pub(super) fn facts(&self, profile: &Profile) -> GcFacts {
        let mut facts = GcFacts {
            observed_us: self.observed_us,
            is_exact: !self.processes.is_empty(),
            below: self.below.longest(profile),
            ..GcFacts::default()
        };
        for process in self.processes.values() {
            let counted = process.counted.values();
            let seconds: Option<f64> = counted.clone().map(Counted::seconds).sum();
            let is_timed = seconds.is_some() && !process.counted.is_empty();
            facts.time_us += match seconds {
                Some(seconds) if is_timed => (seconds.max(0.0) * 1e6) as u64,
                _ => process.sampled_us,
            };
            facts.collections += match process.counted.is_empty() {
                true => process.runs,
                false => counted.clone().map(Counted::collections).sum(),
            };
            let longest_ns = counted.map(|counted| counted.longest_ns).max().unwrap_or(0);
            let longest_us = if is_timed { longest_ns.unsigned_abs() / 1000 } else { process.longest_run_us };
            facts.longest_us = facts.longest_us.max(longest_us);
            facts.is_exact &= !process.counted.is_empty();
        }
        facts
    }

    /// The frames that are to stay in a condensed profile.
    pub(super) fn frames(&self) -> impl Iterator<Item = FrameId> {
        self.below.heaviest()
    }

    /// Goes on with the numbers of a condensed profile.
    pub(super) fn renumber(&mut self, by: &Renumbering) {
        self.below.renumber(by);
    }

    /// The profile begins anew, with other frames.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Counted {
    fn new(first: GcTotals) -> Self {
        let mut counted = Self { last: first.clone(), first, known_to: HashMap::new(), longest_ns: 0 };
        counted.take_new_runs(&counted.first.last.clone());
        counted
    }

    /// Compares with the look before; the collections that are new.
    fn look(&mut self, now: GcTotals) -> Vec<GcRun> {
        // Another program in the same process counts anew.
        if now.collections < self.last.collections {
            *self = Self::new(GcTotals { seconds: now.seconds.map(|_| 0.0), ..GcTotals::default() });
        }
        let new = self.take_new_runs(&now.last);
        self.longest_ns = new.iter().map(|run| run.stopped - run.begun).fold(self.longest_ns, i64::max);
        self.last = now;
        new
    }

    /// Those of some collections that were not known, which they are from now on.
    fn take_new_runs(&mut self, runs: &[GcRun]) -> Vec<GcRun> {
        let known_to = |run: &GcRun| self.known_to.get(&run.generation).copied().unwrap_or(0);
        let new: Vec<GcRun> = runs.iter().filter(|run| run.begun > known_to(run)).copied().collect();
        for run in &new {
            let known_to = self.known_to.entry(run.generation).or_default();
            *known_to = run.begun.max(*known_to);
        }
        new
    }

    fn collections(&self) -> u64 {
        self.last.collections.saturating_sub(self.first.collections)
    }

    fn seconds(&self) -> Option<f64> {
        Some(self.last.seconds? - self.first.seconds?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(collections: u64, seconds: Option<f64>, last: &[(i64, i64)]) -> GcTotals {
        let run =
            |(begun, stopped): &(i64, i64)| GcRun { generation: 2, begun: *begun, stopped: *stopped, collected: None };
        GcTotals { collections, seconds, last: last.iter().map(run).collect() }
    }

    #[test]
    fn what_was_counted_before_the_first_look_does_not_count() {
        let mut counted = Counted::new(totals(10, Some(1.0), &[(100, 900), (50, 60)]));
        assert_eq!(counted.look(totals(10, Some(1.0), &[(100, 900), (50, 60)])), []);
        assert_eq!((counted.collections(), counted.seconds(), counted.longest_ns), (0, Some(0.0), 0));
        let new = counted.look(totals(13, Some(1.5), &[(100, 900), (1000, 1300)]));
        assert_eq!(new.iter().map(|run| run.begun).collect::<Vec<_>>(), [1000]);
        assert_eq!((counted.collections(), counted.seconds(), counted.longest_ns), (3, Some(0.5), 300));
        // The ring has gone on, but the longest is known.
        counted.look(totals(20, Some(1.75), &[(5000, 5001)]));
        assert_eq!((counted.collections(), counted.longest_ns), (10, 300));
    }

    #[test]
    fn a_run_of_collecting_samples_is_a_collection_where_nothing_else_tells() {
        let mut sums = GcSums::default();
        let moment = Moment::default();
        sums.add(1, &moment, 10_000, |_| None);
        let process = sums.processes.get_mut(&1).unwrap();
        (process.sampled_us, process.runs, process.longest_run_us) = (30_000, 2, 20_000);
        let facts = sums.facts(&Profile::default());
        assert_eq!((facts.time_us, facts.collections, facts.longest_us), (30_000, 2, 20_000));
        assert!(!facts.is_exact);
        assert_eq!(facts.observed_us, 10_000);
    }
}
