//! How a recording is made.

use std::time::Duration;

use super::async_stacks::TasksShown;
use super::attach::PATIENCE_RUNNING;
use super::filter::Filter;
use super::moment::Pausing;
use crate::profile::Keep;

/// Whether the kernel takes the samples of threads that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KernelUse {
    /// Never.
    Never,
    /// Where it can; else they are read.
    WherePossible,
    /// Always: what it cannot sample is not recorded.
    Always,
}

/// How to record.
#[derive(Debug, Clone)]
pub(crate) struct RecordOptions {
    /// Samples a second.
    pub rate: u32,
    /// For how long; `None` is until something else ends it.
    pub duration: Option<Duration>,
    /// When the target is stopped.
    pub pausing: Pausing,
    /// Whether the kernel takes the samples of threads that run.
    pub kernel: KernelUse,
    /// What counts as a sample.
    pub filter: Filter,
    /// What the profile keeps.
    pub keep: Keep,
    /// How long a process may be without a Python before the recording gives it up.
    pub patience: Duration,
    /// Record all processes below those given, too.
    pub subprocesses: bool,
    /// While the processes given run no Python themselves, record what below them does: a launcher's child.
    pub adopt: bool,
    /// Make one of processes with the same command line and parent.
    pub merge: bool,
    /// Tell columns apart, where the version knows them.
    pub columns: bool,
    /// Show what an idle thread waits in as its leaf.
    pub waits: bool,
    /// Show the garbage collector as a frame of its own.
    pub gc_frames: bool,
    /// Do not read a process again in which nothing has run: worth it where most are at rest at most ticks.
    pub leaves_resting: bool,
    /// Show stacks of event loops as the program has them: who awaits whom.
    pub tasks: Option<TasksShown>,
    /// Read native frames too.
    pub native: bool,
    /// Read threads too that have native frames only.
    pub native_threads: bool,
}

impl Default for RecordOptions {
    /// 100 samples a second of the processes given, until something else ends it.
    fn default() -> Self {
        Self {
            rate: 100,
            duration: None,
            pausing: Pausing::Adaptive,
            kernel: KernelUse::Never,
            filter: Filter::default(),
            keep: Keep::default(),
            patience: PATIENCE_RUNNING,
            subprocesses: false,
            adopt: false,
            merge: false,
            columns: false,
            waits: false,
            gc_frames: true,
            leaves_resting: false,
            tasks: None,
            native: false,
            native_threads: false,
        }
    }
}
