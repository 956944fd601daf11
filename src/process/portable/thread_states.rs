//! What threads are doing, and where we run ourselves.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use super::Process;
use crate::process::{ThreadActivity, ThreadId, ThreadLook};

/// All threads are asked for at once, which takes some milliseconds; what was told so lately is taken for the threads
/// of one sample.
const FRESH_FOR: Duration = Duration::from_millis(1);

/// The states of the threads of one process.
#[derive(Debug)]
pub(crate) struct ThreadStates {
    process: Process,
    asked_at: Option<Instant>,
    activities: HashMap<ThreadId, ThreadActivity>,
}

/// The CPUs of the calling thread; not known here.
#[derive(Debug)]
pub struct OwnCpus;

impl OwnCpus {
    /// Not known here.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn of_this_thread() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Not known here.
    pub(crate) fn current() -> Option<usize> {
        None
    }

    /// Never.
    pub(crate) fn stay_on(&mut self, _cpu: usize) -> bool {
        false
    }

    /// None.
    pub(crate) fn chosen(&self) -> Option<usize> {
        None
    }

    /// Does nothing.
    pub(crate) fn watch(&mut self) {}

    /// Not known here.
    pub(crate) fn has_kept_running(&self) -> bool {
        false
    }

    /// It never was anything else.
    pub(crate) fn go_free(&mut self) {}
}

impl ThreadStates {
    /// Those of a process.
    pub(super) fn of(process: Process) -> Self {
        Self { process, asked_at: None, activities: HashMap::new() }
    }

    /// Looks at a thread. Whether it has moved since the last look is not known here.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn look(&mut self, thread: ThreadId) -> io::Result<ThreadLook> {
        if self.asked_at.is_none_or(|asked_at| asked_at.elapsed() > FRESH_FOR) {
            let threads = self.process.inner.threads()?;
            self.activities = threads.into_iter().map(|(thread, reading)| (thread, reading.activity)).collect();
            self.asked_at = Some(Instant::now());
        }
        let is_running = self.activities.get(&thread).ok_or(io::ErrorKind::NotFound)?.is_running();
        Ok(ThreadLook { is_running, is_unmoved: false, futex: None })
    }

    /// Not known here.
    pub(crate) fn cpu(&mut self, _thread: ThreadId) -> Option<usize> {
        None
    }

    /// Nothing is kept here, so every thread is to be looked at.
    pub(crate) fn was_running(&self, _thread: ThreadId) -> bool {
        false
    }

    /// Nothing is kept here.
    pub(crate) fn rouse(&mut self, _thread: ThreadId) {}

    /// Nothing is kept here.
    pub(crate) fn retain(&mut self, _keep: impl FnMut(ThreadId) -> bool) {}
}
