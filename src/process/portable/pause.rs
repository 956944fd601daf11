//! What is held still.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use super::ThreadHold;
use crate::process::{Registers, ThreadId};

/// A thread that does not move until this is dropped.
#[must_use = "the thread runs on when this is dropped"]
pub(crate) struct PausedThread {
    thread: ThreadId,
    _held: ThreadHold,
    not_send: PhantomData<*const ()>,
}

/// All threads of a process, which do not move until this is dropped.
#[must_use = "the process runs on when this is dropped"]
pub(crate) struct PausedProcess {
    held: ThreadHold,
    not_send: PhantomData<*const ()>,
}

impl fmt::Debug for PausedThread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PausedThread").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl fmt::Debug for PausedProcess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PausedProcess").field("threads", &self.len()).finish_non_exhaustive()
    }
}

impl PausedThread {
    /// Of a thread that is held.
    pub(super) fn new(thread: ThreadId, held: ThreadHold) -> Self {
        Self { thread, _held: held, not_send: PhantomData }
    }

    /// None: they are not read here.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn registers(&self) -> io::Result<Registers> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl PausedProcess {
    /// Of all threads, which are held.
    pub(super) fn new(held: ThreadHold) -> Self {
        Self { held, not_send: PhantomData }
    }

    /// How many threads are held.
    pub(crate) fn len(&self) -> usize {
        self.held.threads()
    }

    /// Whether no thread is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// None: they are not read here.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn registers(&self, _thread: ThreadId) -> io::Result<Registers> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// None: the systems hold all threads or fail.
    pub(crate) fn not_held(&self) -> &[ThreadId] {
        &[]
    }
}
