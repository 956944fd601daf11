//! Judges the stacks of a sample, with the checks that each still needs.

use super::ProcessSampler;
use super::stops::StoppedThreads;
use super::thread_observation::Activities;
use crate::process::{OwnCpus, ThreadId};
use crate::python::stack::ThreadStack;
use crate::sampler::consistency::pinning::{CpuQuestion, RunningThread};
use crate::sampler::consistency::read_mode::ReadMode;
use crate::sampler::consistency::verdict::{Check, Verdict};
use crate::sampler::os_threads::Threads;

impl ProcessSampler {
    /// Judges all stacks that were read, and takes note of what that says of their threads.
    pub(super) fn judge(&mut self, stopped: &StoppedThreads) {
        self.pinning.clear_running();
        for index in 0..self.reader.stacks.threads.len() {
            let thread = self.reader.stacks.threads[index];
            if thread.is_left_out {
                continue;
            }
            let os_id = self.threads.os_id(thread.address);
            let has_run = has_run(&mut self.activities, &self.threads, stopped, &thread);
            let judged = &mut self.reader.judged_stacks[index];
            judged.evidence.has_run = has_run;
            if judged.mode == ReadMode::SameCpu && has_run == Some(false) {
                // A second look counts only now that the thread is known to wait.
                (judged.evidence.is_unchanged, judged.evidence.has_new_code) = (None, false);
            }
            judged.judge(&self.records, &thread);
            self.make_sure(index, &thread, os_id);
            let is_consistent = self.reader.judged_stacks[index].verdict == Verdict::Consistent;
            let sample = self.records.sample();
            self.records.entry(thread.address).history.record_outcome(sample, is_consistent);
            if let Some(os_id) = os_id.filter(|os_id| self.activities.was_running(*os_id) == Some(true)) {
                let (unit, pthread, is_torn) = (thread.address, thread.thread_id, !is_consistent);
                self.pinning.note_running(RunningThread { unit, os_id, pthread, is_torn });
            }
        }
    }

    /// Does the checks that a stack still needs, until there is a verdict.
    fn make_sure(&mut self, index: usize, thread: &ThreadStack, os_id: Option<ThreadId>) {
        while let Verdict::Needs(check) = self.reader.judged_stacks[index].verdict {
            match check {
                Check::Revalidation => {
                    let is_unchanged = self.reader.revalidate(index);
                    self.reader.judged_stacks[index].evidence.is_unchanged = Some(is_unchanged);
                }
                Check::OwnCpu => {
                    let was_here = self.was_on_our_cpu(index, thread, os_id);
                    if was_here == Some(false) {
                        self.records.entry(thread.address).history.record_pass();
                    }
                    self.reader.judged_stacks[index].evidence.was_on_our_cpu = Some(was_here == Some(true));
                }
                // It was made before, where there is anything to look at.
                Check::Activity => self.reader.judged_stacks[index].evidence.has_run = Some(true),
            }
            self.reader.judged_stacks[index].judge(&self.records, thread);
        }
    }

    /// Whether a thread was on our CPU while it was read; in [`ReadMode::SameCpu`], whether its own word proves that it
    /// cannot have run there. `None` where nothing tells its CPU.
    fn was_on_our_cpu(&mut self, index: usize, thread: &ThreadStack, os_id: Option<ThreadId>) -> Option<bool> {
        let Self { activities, pinning, records, reader, .. } = self;
        let mut cpu_of = || os_id.and_then(|os_id| activities.cpu_of(os_id));
        if !records.of(thread.address).is_some_and(|record| record.history.is_fast()) {
            return Some(OwnCpus::current()? == cpu_of()?);
        }
        let judged = &reader.judged_stacks[index];
        let question = CpuQuestion {
            unit: thread.address,
            pthread: thread.thread_id,
            is_single: judged.mode == ReadMode::SameCpu,
            has_missed: judged.evidence.bytes.has_missed,
            last: &reader.last,
        };
        Some(pinning.was_on_our_cpu(&question, reader.snapshot.memory(), cpu_of))
    }
}

/// Whether a thread runs, as it is seen now that it was read, unless it was seen waiting before that. One that was
/// stopped is not asked, and one that the system's number is not known of may run.
fn has_run(
    activities: &mut Activities,
    threads: &Threads,
    stopped: &StoppedThreads,
    thread: &ThreadStack,
) -> Option<bool> {
    if stopped.included(thread.address) {
        return None;
    }
    Some(threads.os_id(thread.address).is_none_or(|os_id| activities.observe_after(os_id)))
}
