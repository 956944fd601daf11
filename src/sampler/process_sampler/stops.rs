//! Which threads are stopped for a sample.

use std::time::Instant;

use super::ProcessSampler;
use super::thread_observation::Activities;
use crate::memory::Unit;
use crate::process::{PauseError, PausedProcess, PausedThread, Process, ThreadId};
use crate::python::gil::GilState;
use crate::sampler::consistency::read_mode::ReadMode;
use crate::sampler::moment::{Held, Moment, Pausing, SampleError};

/// What is stopped during a sample.
#[derive(Debug, Default)]
pub(super) struct StoppedThreads {
    threads: Vec<(ThreadId, PausedThread)>,
    all: Option<PausedProcess>,
    /// The thread states of `threads`, also after these were let go.
    pub(super) units: Vec<Unit>,
    /// Everything was stopped, also after it was let go.
    pub(super) is_everything: bool,
    started: Option<Instant>,
}

impl StoppedThreads {
    /// Nothing yet, from now on.
    pub(super) fn starting_now() -> Self {
        Self { started: Some(Instant::now()), ..Self::default() }
    }

    /// All threads of a process.
    ///
    /// # Errors
    /// When it is gone or cannot be stopped.
    pub(super) fn everything(process: &Process) -> Result<Self, PauseError> {
        let started = Some(Instant::now());
        Ok(Self { all: Some(process.pause_all()?), is_everything: true, started, ..Self::default() })
    }

    /// The threads that run though all were to be stopped.
    pub(super) fn not_stopped(&self) -> &[ThreadId] {
        self.all.as_ref().map_or(&[], PausedProcess::not_held)
    }

    /// Adds the thread of a thread state.
    pub(super) fn push(&mut self, thread_state: Unit, os_id: ThreadId, thread: PausedThread) {
        self.threads.push((os_id, thread));
        self.units.push(thread_state);
    }

    /// Lets everything go, and takes note of for how long it was stopped.
    pub(super) fn release(&mut self, moment: &mut Moment) {
        let all = self.all.take();
        let Some(started) = self.started else { return };
        if all.is_some() {
            drop(all);
            moment.add_hold(Held::AllThreads, started.elapsed());
        }
        // They go one after the other, each when it is dropped.
        for (os_id, thread) in self.threads.drain(..) {
            drop(thread);
            moment.add_hold(Held::Thread(os_id), started.elapsed());
        }
    }

    /// Whether the thread of a thread state was stopped, also after it was let go.
    pub(super) fn included(&self, thread_state: Unit) -> bool {
        self.is_everything || self.units.contains(&thread_state)
    }
}

/// What became of the stop of a thread.
#[derive(Debug)]
pub(super) enum Stop {
    /// It stands still.
    Stopped(PausedThread),
    /// It waits, and was to be left alone then.
    Spared,
    /// It cannot be stopped, which is noted.
    Impossible,
}

/// Stops single threads of a process, and remembers why one could not be.
#[derive(Debug, Default)]
pub(super) struct Stopper {
    trouble: Trouble,
}

/// Things about pausing worth telling once.
#[derive(Debug, Default, Clone)]
pub(crate) struct Trouble {
    /// Why a pause failed, the first time.
    pub pause: Option<String>,
    /// The last pause failed.
    pub goes_on: bool,
}

impl Stopper {
    /// What went wrong so far.
    pub(super) fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// Stops a thread; one that ran when this sample began is not looked at once more. `spares_waiting`: but one that
    /// waits, by a last look.
    pub(super) fn stop(
        &mut self,
        process: &Process,
        activities: &mut Activities,
        os_id: ThreadId,
        spares_waiting: bool,
    ) -> Stop {
        let stopped = if spares_waiting {
            process.pause_running_thread(os_id, &mut || activities.waits_now(os_id))
        } else if activities.was_running(os_id) == Some(true) {
            process.pause_running_thread(os_id, &mut || false)
        } else {
            process.pause_thread(os_id).map(Some)
        };
        let error = match stopped {
            Ok(None) => return Stop::Spared,
            Ok(Some(stopped)) => {
                self.trouble.goes_on = false;
                return Stop::Stopped(stopped);
            }
            Err(error) => error,
        };
        log::debug!("thread {os_id}: {error}");
        if !process.has_exited() {
            self.trouble.goes_on = true;
            self.trouble.pause.get_or_insert_with(|| error.to_string());
        }
        Stop::Impossible
    }
}

impl ProcessSampler {
    /// Stops what the plan says is to be stopped before it is read; with [`Pausing::Blocking`] the threads that hold a
    /// GIL, or all where there is none.
    pub(super) fn stop_planned(
        &mut self,
        pausing: Pausing,
        moment: &mut Moment,
    ) -> Result<StoppedThreads, SampleError> {
        if pausing == Pausing::Never {
            return Ok(StoppedThreads::default());
        }
        let interpreters = &self.reader.stacks.interpreters;
        if pausing == Pausing::Blocking && interpreters.iter().any(|interpreter| !interpreter.gil.exists) {
            let everything = StoppedThreads::everything(&self.process)?;
            moment.stops += 1;
            self.activities.note_all_stopped();
            return Ok(everything);
        }
        let mut stopped = StoppedThreads::starting_now();
        if pausing == Pausing::Blocking {
            for index in 0..self.reader.stacks.interpreters.len() {
                let reader = &self.reader;
                let interpreter = reader.stacks.interpreters[index].address;
                let holder = GilState::look(reader.snapshot.memory(), &reader.runtime, interpreter).holder;
                // Between the look and the stop it may let the GIL go; then another thread may run, and must prove
                // itself.
                self.stop_for_read(reader.stacks.thread_of_state(holder), &mut stopped, moment);
            }
        } else {
            for index in 0..self.reader.stacks.threads.len() {
                let thread = self.reader.stacks.threads[index].address;
                if self.records.of(thread).is_some_and(|record| record.mode == ReadMode::Stopped) {
                    self.stop_for_read(thread, &mut stopped, moment);
                }
            }
        }
        Ok(stopped)
    }

    fn stop_for_read(&mut self, thread_state: u64, stopped: &mut StoppedThreads, moment: &mut Moment) {
        let Some(os_id) = self.threads.os_id(thread_state) else { return };
        // It may have gone to sleep since it was planned for, or hold the GIL asleep. A moment remains in which it can
        // still do so.
        let stop = self.stopper.stop(&self.process, &mut self.activities, os_id, true);
        self.records.set_stopped(thread_state, matches!(stop, Stop::Stopped(_)));
        if let Stop::Stopped(pause) = stop {
            moment.stops += 1;
            stopped.push(thread_state, os_id, pause);
            self.activities.note_stopped(os_id);
        }
    }
}
