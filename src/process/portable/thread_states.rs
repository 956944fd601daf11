//! What threads are doing, and where we run ourselves.

use std::io;

use super::Process;
use crate::process::{ThreadId, ThreadLook};

/// The states of the threads of one process.
#[derive(Debug)]
pub struct ThreadStates {
    pub(super) process: Process,
}

/// The CPUs of the calling thread; not known here.
#[derive(Debug)]
pub struct OwnCpus;

impl OwnCpus {
    /// Not known here.
    ///
    /// # Errors
    /// Always.
    pub fn of_this_thread() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Not known here.
    pub fn current() -> Option<usize> {
        None
    }

    /// Never.
    pub fn stay_on(&mut self, _cpu: usize) -> bool {
        false
    }

    /// None.
    pub fn chosen(&self) -> Option<usize> {
        None
    }

    /// Does nothing.
    pub fn watch(&mut self) {}

    /// Not known here.
    pub fn has_kept_running(&self) -> bool {
        false
    }

    /// It never was anything else.
    pub fn go_free(&mut self) {}
}

impl ThreadStates {
    /// Looks at a thread. Whether it has moved since the last look is not known here.
    ///
    /// # Errors
    /// When it is gone.
    pub fn look(&mut self, thread: ThreadId) -> io::Result<ThreadLook> {
        let is_running = self.process.thread_state(thread)?.activity.is_running();
        Ok(ThreadLook { is_running, is_unmoved: false, futex: None })
    }

    /// Not known here.
    pub fn cpu(&mut self, _thread: ThreadId) -> Option<usize> {
        None
    }

    /// Nothing is kept here, so every thread is to be looked at.
    pub fn was_running(&self, _thread: ThreadId) -> bool {
        false
    }

    /// Nothing is kept here.
    pub fn rouse(&mut self, _thread: ThreadId) {}

    /// Nothing is kept here.
    pub fn retain(&mut self, _keep: impl FnMut(ThreadId) -> bool) {}

    /// Nothing is kept here.
    pub fn open_files(&self) -> usize {
        0
    }
}
