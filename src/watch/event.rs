//! What has happened.

use std::time::{Duration, Instant};

/// Which condition was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// Nothing has moved in the process.
    Stuck,
    /// Nothing has moved, and all threads wait for work.
    Idle,
    /// An event loop has not come back to its selector.
    Lag,
    /// A thread has kept the GIL from others.
    GilHeld,
    /// Threads or tasks wait for each other in a ring.
    Deadlock,
    /// A function or task runs for too long.
    Call,
    /// The process uses too much CPU.
    Cpu,
    /// It uses too much memory.
    Rss,
    /// It has too many threads.
    Threads,
}

impl Cause {
    /// Every cause.
    pub(crate) const ALL: [Self; 9] = [
        Self::Stuck,
        Self::Idle,
        Self::Lag,
        Self::GilHeld,
        Self::Deadlock,
        Self::Call,
        Self::Cpu,
        Self::Rss,
        Self::Threads,
    ];

    /// One word for files, metrics and variables of the environment.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::Idle => "idle",
            Self::Lag => "lag",
            Self::GilHeld => "gil-held",
            Self::Deadlock => "deadlock",
            Self::Call => "call",
            Self::Cpu => "cpu",
            Self::Rss => "rss",
            Self::Threads => "threads",
        }
    }
}

/// An event of one process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// Which condition was met.
    pub cause: Cause,
    /// Since when it has been so.
    pub since: Instant,
    /// `threading.get_ident()` of the thread to look at first.
    pub thread: Option<u64>,
    /// `id()` of the task to look at first.
    pub task: Option<u64>,
    /// What has happened, as the rest of a sentence whose subject is the process: `event loop blocked`. It may hold
    /// names of the target, unescaped.
    pub what: String,
}

impl Event {
    /// For how long it has been so.
    pub(crate) fn duration(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}
