//! How a recording is made.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::async_stacks::TasksShown;
use super::attach::PATIENCE_RUNNING;
use super::filter::Filter;
use super::moment::Pausing;
use crate::profile::{Keep, Profile};

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
    /// Set from elsewhere when the recording is to end: it is looked at before each sample, and `watch` asked at once.
    pub end: Arc<AtomicBool>,
    /// When the target is stopped.
    pub pausing: Pausing,
    /// Whether the kernel takes the samples of threads that run.
    pub kernel: KernelUse,
    /// Record how long threads are blocked, those that are for as long as this, instead of what runs. The kernel must
    /// take the samples.
    pub off_cpu: Option<Duration>,
    /// What counts as a sample.
    pub filter: Filter,
    /// What the profile keeps.
    pub keep: Keep,
    /// A process may be left alone for so long on purpose, so that its next sample stands for all of that.
    pub longest_pause: Duration,
    /// Which processes are recorded.
    pub processes: ProcessOptions,
    /// Which frames stacks have.
    pub frames: FramesShown,
    /// Which native frames are read.
    pub native: NativeWanted,
}

/// Which processes are sampled beside those given, and which of them count as one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessOptions {
    /// All processes below those given.
    pub subprocesses: bool,
    /// All processes of the machine that run Python, as they come.
    pub host: bool,
    /// While the processes given run no Python themselves, what below them does: a launcher's child.
    pub adopt: bool,
    /// Make one of processes with the same command line and parent.
    pub merge: bool,
    /// How long a process may be without a Python before it is given up.
    pub patience: Duration,
}

impl Default for ProcessOptions {
    /// Those that are given, which run already.
    fn default() -> Self {
        Self { subprocesses: false, host: false, adopt: false, merge: false, patience: PATIENCE_RUNNING }
    }
}

/// Which frames stacks have, and how fine they are told apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FramesShown {
    /// Columns are told apart, where the version knows them.
    pub columns: bool,
    /// The garbage collector has a frame of its own.
    pub gc_frames: bool,
    /// Stacks of event loops are shown as the program has them: who awaits whom.
    pub tasks: Option<TasksShown>,
    /// The leaf of an idle thread is what it waits in.
    pub waits: bool,
    /// Above the newest frame of a thread stand those of the kernel, where the kernel takes its samples.
    pub kernel: bool,
}

impl Default for FramesShown {
    /// Those that the threads have, with lines, and the garbage collector.
    fn default() -> Self {
        Self { columns: false, gc_frames: true, tasks: None, waits: false, kernel: false }
    }
}

/// Which native frames are read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NativeWanted {
    /// Those of threads that run Python.
    pub frames: bool,
    /// Those of threads too that have native frames only.
    pub threads: bool,
}

impl Default for RecordOptions {
    /// 100 samples a second of the processes given, until something else ends it.
    fn default() -> Self {
        Self {
            rate: 100,
            duration: None,
            end: Arc::default(),
            pausing: Pausing::Adaptive,
            kernel: KernelUse::Never,
            off_cpu: None,
            filter: Filter::default(),
            keep: Keep::default(),
            longest_pause: Duration::ZERO,
            processes: ProcessOptions::default(),
            frames: FramesShown::default(),
            native: NativeWanted::default(),
        }
    }
}

/// How a recording is cut, and who takes the pieces.
pub(crate) struct Intervals<'take> {
    every: Duration,
    pub(super) begun: Instant,
    /// When that was, µs since the start of the recording.
    pub(super) begun_after_us: u64,
    /// Whether an interval is to end before its time; and that it is, once there is something in it.
    ends_early: &'take mut dyn FnMut() -> bool,
    is_to_end: bool,
    pub(super) take: &'take mut dyn FnMut(Profile),
}

impl<'take> Intervals<'take> {
    /// Intervals of this length, which end sooner when `ends_early` says so. `take` must not keep the recording
    /// waiting.
    pub(crate) fn new(
        every: Duration,
        ends_early: &'take mut dyn FnMut() -> bool,
        take: &'take mut dyn FnMut(Profile),
    ) -> Self {
        Self { every, begun: Instant::now(), begun_after_us: 0, ends_early, is_to_end: false, take }
    }

    /// Whether the interval is over, in which something was seen or not.
    pub(super) fn are_due(&mut self, now: Instant, is_empty: bool) -> bool {
        self.is_to_end |= (self.ends_early)();
        if self.is_to_end && !is_empty {
            self.is_to_end = false;
            return true;
        }
        now.saturating_duration_since(self.begun) >= self.every
    }
}
