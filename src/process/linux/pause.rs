//! Holding one thread, or all of a process, for the time of a read.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::handle::Handle;
use super::tracee::Tracee;
use crate::process::{PauseError, ThreadId};

/// How often the threads are listed anew while the whole process is being stopped. A process that starts threads all the while is still
/// stopped by the second or third time, as each round stops the threads that could start others.
const ROUNDS: usize = 64;

/// A thread that does not move until this is dropped. It must be dropped by the thread of ours that made it, which the type sees to.
#[derive(Debug)]
#[must_use = "the thread runs on when this is dropped"]
pub struct PausedThread {
    tracee: Tracee,
}

impl PausedThread {
    pub(super) fn new(handle: &Handle, thread: ThreadId, limit: Duration) -> Result<Self, PauseError> {
        let deadline = Instant::now() + limit;
        let mut tracee = Tracee::seize(handle, thread)?;
        tracee.wait(handle, deadline)?;
        Ok(Self { tracee })
    }

    /// The thread that is held.
    pub fn thread(&self) -> ThreadId {
        self.tracee.thread()
    }
}

/// All threads of a process, which do not move until this is dropped.
#[derive(Debug)]
#[must_use = "the process runs on when this is dropped"]
pub struct PausedProcess {
    tracees: Vec<Tracee>,
    moving: Vec<ThreadId>,
}

impl PausedProcess {
    pub(super) fn new(handle: &Handle, limit: Duration) -> Result<Self, PauseError> {
        let process = ThreadId::from(handle.pid().unsigned_abs());
        let deadline = Instant::now() + limit;
        let mut paused = Self { tracees: Vec::new(), moving: Vec::new() };
        let mut seen = HashSet::new();
        for _ in 0..ROUNDS {
            let threads = handle.threads().map_err(|_| PauseError::Gone(process))?;
            let fresh: Vec<i32> = threads.into_iter().filter(|thread| seen.insert(*thread)).collect();
            if fresh.is_empty() {
                break;
            }
            paused.stop(handle, &fresh, deadline)?;
        }
        if paused.tracees.is_empty() && paused.moving.is_empty() {
            return Err(PauseError::Gone(process));
        }
        Ok(paused)
    }

    /// Stops threads together: all are asked before the first is waited for.
    fn stop(&mut self, handle: &Handle, threads: &[i32], deadline: Instant) -> Result<(), PauseError> {
        let mut asked = Vec::with_capacity(threads.len());
        let mut refused = None;
        for thread in threads {
            match Tracee::seize(handle, ThreadId::from(thread.unsigned_abs())) {
                Ok(tracee) => asked.push(tracee),
                Err(PauseError::Gone(_)) => {}
                Err(PauseError::Uninterruptible(thread)) => self.moving.push(thread),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        // Also after a refusal: what was asked to stop can only be let go once it has.
        for mut tracee in asked {
            match tracee.wait(handle, deadline) {
                Ok(()) => self.tracees.push(tracee),
                Err(PauseError::Gone(_)) => {}
                Err(PauseError::Uninterruptible(thread) | PauseError::TimedOut(thread)) => self.moving.push(thread),
                Err(error) => refused = Some(error),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// How many threads are held.
    pub fn len(&self) -> usize {
        self.tracees.len()
    }

    /// Whether no thread is held, as when all of them sit in an uninterruptible wait.
    pub fn is_empty(&self) -> bool {
        self.tracees.is_empty()
    }

    /// The threads that could not be held: in an uninterruptible wait, or too slow.
    pub fn not_held(&self) -> &[ThreadId] {
        &self.moving
    }
}
