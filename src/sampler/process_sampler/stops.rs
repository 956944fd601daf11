//! Which threads are stopped for a sample.

use std::time::{Duration, Instant};

use super::activity::Activities;
use crate::memory::Unit;
use crate::process::{PauseError, PausedProcess, PausedThread, Process, ThreadActivity, ThreadId};

/// What is stopped during a sample.
#[derive(Debug, Default)]
pub(super) struct StoppedThreads {
    threads: Vec<PausedThread>,
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
    pub(super) fn push(&mut self, thread_state: Unit, thread: PausedThread) {
        self.threads.push(thread);
        self.units.push(thread_state);
    }

    /// Lets everything go; how long it was stopped.
    pub(super) fn release(&mut self) -> Duration {
        let nothing = self.threads.is_empty() && self.all.is_none();
        self.threads.clear();
        self.all = None;
        match self.started {
            Some(started) if !nothing => started.elapsed(),
            _ => Duration::ZERO,
        }
    }

    /// Whether the thread of a thread state was stopped, also after it was let go.
    pub(super) fn included(&self, thread_state: Unit) -> bool {
        self.is_everything || self.units.contains(&thread_state)
    }
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
}

impl Stopper {
    /// What went wrong so far.
    pub(super) fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// Stops a thread; one that ran when this sample began is not looked at once more. `None` where it cannot be, which
    /// is noted.
    pub(super) fn stop(&mut self, process: &Process, activities: &Activities, os_id: ThreadId) -> Option<PausedThread> {
        let stopped = if activities.was_running(os_id) == Some(true) {
            process.pause_seen_thread(os_id, ThreadActivity::Running)
        } else {
            process.pause_thread(os_id)
        };
        let error = match stopped {
            Ok(stopped) => return Some(stopped),
            Err(error) => error,
        };
        log::debug!("thread {os_id}: {error}");
        if self.trouble.pause.is_none() && !process.has_exited() {
            self.trouble.pause = Some(error.to_string());
        }
        None
    }
}
