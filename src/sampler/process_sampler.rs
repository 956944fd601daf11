//! Samples one process: what every thread of it was doing at one moment.
//!
//! A sample goes through these steps, each of which has a file of its own: the threads are *observed* before anything
//! is stopped (`activity`), how each is read is *planned* from what is known of it (`consistency`), what must be is
//! *stopped* (`stops`), everything is *read* in one call and walked (`stack_reader`, `code_check`), each stack is
//! *judged* (`verdict_checks` makes the checks, `consistency::verdict` decides), and the threads are *emitted*
//! (`emission`): one whose stack could not be made sure of is stopped and read again first (`second_read`).

use std::collections::HashSet;

use super::attach::Attached;
use super::consistency::pinning::Pinning;
use super::consistency::records::ThreadRecords;
use super::consistency::verdict::Verdict;
use super::moment::{Moment, Pausing, SampleError};
use super::os_threads::Threads;
use super::thread_names::ThreadNames;
use crate::process::{Process, ThreadId};
use crate::python::hand_over::HandOvers;

mod blocked_emission;
mod code_check;
mod code_epoch;
mod cpu_and_gil;
mod emission;
mod judged_stack;
mod kernel_emission;
mod native_stacks;
mod native_threads;
mod questions;
mod recorded_frame_names;
mod second_read;
mod stack_reader;
mod stopped_sample;
mod stops;
mod thread_observation;
mod verdict_checks;

pub(crate) use code_epoch::CodeEpoch;
pub(crate) use kernel_emission::FromKernel;
pub(super) use kernel_emission::collects;
use native_stacks::NativeStacks;
use recorded_frame_names::KernelStacks;
use stack_reader::{Passes, StackReader};
use stops::{StoppedThreads, Stopper};
use thread_observation::Activities;

/// Samples one process.
#[derive(Debug)]
pub(crate) struct ProcessSampler {
    process: Process,
    reader: StackReader,
    records: ThreadRecords,
    pinning: Pinning,
    threads: Threads,
    names: ThreadNames,
    activities: Activities,
    stopper: Stopper,
    natives: NativeStacks,
    hand_overs: HandOvers,
    kernel_stacks: KernelStacks,
    code_epoch: CodeEpoch,
}

impl ProcessSampler {
    /// A sampler of the interpreter that was found in `process`.
    pub(crate) fn new(process: Process, attached: Attached) -> Self {
        Self {
            reader: StackReader::new(&process, attached),
            activities: Activities::new(process.thread_states()),
            process,
            records: ThreadRecords::default(),
            pinning: Pinning::default(),
            threads: Threads::new(),
            names: ThreadNames::default(),
            stopper: Stopper::default(),
            natives: NativeStacks::default(),
            hand_overs: HandOvers::default(),
            kernel_stacks: KernelStacks::default(),
            code_epoch: CodeEpoch::first(),
        }
    }

    /// Takes a sample.
    ///
    /// # Errors
    /// When there is nothing to sample any more, or not at this moment.
    pub(crate) fn sample(&mut self, pausing: Pausing, moment: &mut Moment) -> Result<(), SampleError> {
        moment.clear();
        let pausing = self.natives.start_sample(pausing, moment);
        if pausing == Pausing::Blocking && self.reader.stacks.threads.is_empty() {
            self.find_threads();
        }
        // A stop changes the state that the system shows, so threads are observed before anything is stopped.
        self.observe_threads(pausing);
        self.records.plan(pausing == Pausing::Adaptive, self.pinning.pinned());
        let mut stopped = self.stop_planned(pausing, moment)?;
        self.pinning.watch_own_cpu();
        self.read_planned(&mut stopped, moment)?;
        self.read_names_when_due();
        self.judge(&stopped);
        for index in 0..self.reader.stacks.threads.len() {
            self.emit_thread(index, pausing, &stopped, moment);
        }
        if pausing != Pausing::Never {
            self.natives.observe_threads(&self.process, &self.threads, &mut self.activities);
            let memory = self.reader.snapshot.memory();
            self.natives.read_threads((&self.process, memory), &mut self.activities, None, moment);
        }
        self.natives.finish_sample(&self.reader.stacks, moment);
        self.pinning.choose(&mut self.records, &self.process, self.reader.snapshot.memory());
        Ok(())
    }

    /// Looks at what the known threads are doing, before anything is read or stopped.
    fn observe_threads(&mut self, pausing: Pausing) {
        self.records.start_sample();
        self.activities.observe_before(pausing, &mut self.threads, &mut self.records);
    }

    /// Reads stacks only to know which threads there are. Whether that is possible, the next read tells.
    fn find_threads(&mut self) {
        self.records.start_sample();
        self.records.plan(false, None);
        if self.reader.read(&self.process, &mut self.records, None, || ()).is_ok() {
            self.threads.identify(&self.process, self.reader.snapshot.memory(), &self.reader.stacks.threads);
        }
    }

    /// Reads the stacks, lets go what is stopped, and makes sure of their code. Single threads are stopped only while
    /// the bytes are fetched; what is missing in those makes their stacks unsure. Everything is stopped until the code
    /// is known too.
    fn read_planned(&mut self, stopped: &mut StoppedThreads, moment: &mut Moment) -> Result<(), SampleError> {
        if stopped.is_everything {
            let read = self.read_stopped(stopped.not_stopped());
            stopped.release(moment);
            return read;
        }
        let last = self.pinning.last_word();
        let release = || stopped.release(moment);
        if self.reader.read(&self.process, &mut self.records, last, release)? == Passes::Two {
            // What was stopped for this sample ran again before the second read.
            stopped.units.clear();
        }
        self.threads.identify(&self.process, self.reader.snapshot.memory(), &self.reader.stacks.threads);
        self.reader.settle(&self.records);
        Ok(())
    }

    fn read_names_when_due(&mut self) {
        let (process, reader) = (&self.process, &self.reader);
        if self.names.read_when_due(process, reader.snapshot.memory(), &reader.runtime, &reader.stacks, &self.threads) {
            self.forget_threads_that_are_gone();
        }
    }

    /// Reads everything while all threads are stopped. What runs all the same, and has not waited all the time, is
    /// torn.
    fn read_stopped(&mut self, not_stopped: &[ThreadId]) -> Result<(), SampleError> {
        self.reader.read_stopped(&self.process, &mut self.records)?;
        self.threads.identify(&self.process, self.reader.snapshot.memory(), &self.reader.stacks.threads);
        self.reader.settle(&self.records);
        if not_stopped.is_empty() {
            return Ok(());
        }
        for (judged, thread) in self.reader.judged_stacks.iter_mut().zip(&self.reader.stacks.threads) {
            let os_id = self.threads.os_id(thread.address).filter(|os_id| not_stopped.contains(os_id));
            if os_id.is_some_and(|os_id| !self.activities.has_kept_waiting(os_id)) {
                judged.verdict = Verdict::Torn;
            }
        }
        Ok(())
    }

    /// Forgets what is known of threads that are no more.
    fn forget_threads_that_are_gone(&mut self) {
        let living: HashSet<u64> = self.reader.stacks.threads.iter().map(|thread| thread.address).collect();
        self.threads.retain(|thread_state| living.contains(&thread_state));
        self.records.retain(|thread_state| living.contains(&thread_state));
        let os_ids: HashSet<ThreadId> = self.threads.known().map(|(_, os_id)| os_id).collect();
        let native_threads = self.natives.threads.as_ref();
        self.kernel_stacks.retain_threads(|os_id| os_ids.contains(&os_id));
        self.activities.retain(|os_id| os_ids.contains(&os_id) || native_threads.is_some_and(|known| known.has(os_id)));
    }
}
