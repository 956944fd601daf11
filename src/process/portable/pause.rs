//! What is held still.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use crate::process::{Registers, ThreadId};

#[cfg(not(target_os = "macos"))]
type ProcessLock = remoteprocess::Lock;
#[cfg(target_os = "macos")]
type ProcessLock = remoteprocess::TaskLock;

/// A thread that does not move until this is dropped.
#[must_use = "the thread runs on when this is dropped"]
pub struct PausedThread {
    pub(super) thread: ThreadId,
    pub(super) _lock: remoteprocess::ThreadLock,
    pub(super) not_send: PhantomData<*const ()>,
}

/// All threads of a process, which do not move until this is dropped.
#[must_use = "the process runs on when this is dropped"]
pub struct PausedProcess {
    pub(super) threads: usize,
    pub(super) _lock: ProcessLock,
    pub(super) not_send: PhantomData<*const ()>,
}

impl fmt::Debug for PausedThread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PausedThread").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl fmt::Debug for PausedProcess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PausedProcess").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl PausedThread {
    /// The thread that is held.
    pub fn thread(&self) -> ThreadId {
        self.thread
    }

    /// None: they are not read here.
    ///
    /// # Errors
    /// Always.
    pub fn registers(&self) -> io::Result<Registers> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl PausedProcess {
    /// How many threads are held.
    pub fn len(&self) -> usize {
        self.threads
    }

    /// Whether no thread is held.
    pub fn is_empty(&self) -> bool {
        self.threads == 0
    }

    /// None: they are not read here.
    ///
    /// # Errors
    /// Always.
    pub fn registers(&self, _thread: ThreadId) -> io::Result<Registers> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// None: the systems hold all threads or fail.
    pub fn not_held(&self) -> &[ThreadId] {
        &[]
    }
}
