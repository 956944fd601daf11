//! The conditions: each takes in what the looks show and says when it is met, once.

mod call;
mod counters;
mod gil;
mod lag;
mod rings;
mod stuck;

use std::time::Duration;

pub(super) use call::{Function, LongCalls, LongTasks};
pub(super) use counters::{Counters, CpuMeter};
pub(super) use gil::{GilLook, HeldGils};
pub(super) use lag::LateLoops;
pub(super) use rings::Rings;
pub(super) use stuck::{BlockedThread, Stuck};

use crate::profile::Below;

/// What is watched for. What is `None` is not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    /// Nothing has moved for so long, and not all threads rest.
    pub stuck: Option<Duration>,
    /// Nothing has moved for so long, and all threads rest.
    pub idle: Option<Duration>,
    /// An event loop has not come back to its selector for so long.
    pub lag: Option<Duration>,
    /// A thread has kept the GIL from others for so long.
    pub gil_held: Option<Duration>,
    /// Threads or tasks wait for each other in a ring.
    pub deadlock: bool,
    /// Functions and tasks that run for too long.
    pub calls: Vec<CallCondition>,
    /// CPU time.
    pub cpu: Option<CpuCondition>,
    /// Resident memory, in bytes.
    pub rss: Option<u64>,
    /// Threads that Python knows.
    pub threads: Option<usize>,
    /// Functions in which threads rest, beside those that are known.
    pub resting: Vec<Below>,
}

impl Conditions {
    /// Over how long CPU time is to be known.
    pub(super) fn cpu_window(&self) -> Duration {
        self.cpu.map(|cpu| cpu.window).unwrap_or_default()
    }
}

/// A function that must not be on a stack for too long.
#[derive(Debug, Clone)]
pub(crate) struct CallCondition {
    /// Which functions.
    pub function: Below,
    /// For how long they may.
    pub limit: Duration,
}

/// How much CPU time a process may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CpuCondition {
    /// Of one CPU, 1.0 is all of it.
    pub share: f64,
    /// Over so long.
    pub window: Duration,
}
