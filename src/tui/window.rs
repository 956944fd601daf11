//! What comes with each window of samples, and what is kept of it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::output::dump::TaskKind;
use crate::profile::{Delta, Flags, StackId, ThreadRef, Total};

/// Values kept for each sparkline.
const HISTORY: usize = 300;

/// A thread at the end of a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThreadNow {
    /// The thread.
    pub thread: ThreadRef,
    /// Where it was.
    pub stack: StackId,
    /// What it did.
    pub flags: Flags,
}

/// Numbers of the header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// How much of the last window some thread held the GIL, in percent.
    pub gil: f64,
    /// How many threads waited for the GIL, on average over the last window.
    pub gil_waiters: f64,
    /// How much of it some thread was active, in percent.
    pub active: f64,
    /// How much of it some thread collected garbage, in percent.
    pub gc: f64,
    /// CPU time of the process, in percent of one CPU.
    pub cpu: Option<f64>,
    /// Our own CPU time, in percent of one CPU.
    pub own_cpu: Option<f64>,
    /// Memory of the process, in bytes.
    pub resident_bytes: Option<u64>,
    /// How long it has been running.
    pub uptime: Option<Duration>,
    /// The rate that is asked for.
    pub rate_asked: u32,
    /// The rate that was held in the last window.
    pub rate_held: f64,
    /// The kernel takes the samples of what runs.
    pub is_from_kernel: bool,
    /// Ticks that came too late to be held.
    pub missed: u64,
    /// How much of the last window we stopped the thread that we stopped longest, in percent.
    pub stopped: f64,
    /// What each process uses.
    pub processes: Vec<Usage>,
    /// Active threads.
    pub running: usize,
    /// Threads.
    pub threads: usize,
    /// Why samples could not be made sure of, or a process could not be read.
    pub trouble: Option<String>,
    /// The event loops, the latest first.
    pub loops: Vec<EventLoop>,
    /// The tasks of event loops by the functions that they run, those of which there are the most first.
    pub tasks: Vec<TaskGroup>,
}

/// The tasks of a process that run one coroutine function, or its greenlets of one function.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TaskGroup {
    /// Tells it from all others.
    pub id: u64,
    /// The process.
    pub pid: u32,
    /// Whose they are.
    pub kind: TaskKind,
    /// The coroutine, or the function of greenlets, as the target has it.
    pub coroutine: String,
    /// How many there are.
    pub count: u32,
    /// In how much of the last window one of them was on a CPU, in percent.
    pub running: f64,
    /// How many wait.
    pub waiting: u32,
    /// For how long the oldest has been known.
    pub oldest: Duration,
    /// What most wait in.
    pub waits: Option<String>,
}

/// An event loop in the last window.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct EventLoop {
    /// Its process.
    pub pid: u32,
    /// `threading.get_ident()` of the thread that runs it.
    pub python_id: u64,
    /// The system's id of that thread.
    pub os_id: Option<u64>,
    /// Whose it is: `asyncio`, `uvloop`, `trio`, `gevent`, `eventlet`.
    pub library: &'static str,
    /// The longest time between two visits of its selector.
    pub lag: Duration,
    /// For how long it has not been there, where it is not at the end of the window.
    pub busy_for: Option<Duration>,
    /// What kept it for the longest time, where that was long enough to be looked up.
    pub blocker: Option<LoopBlocker>,
}

/// What keeps a loop from its selector, with names as the target has them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LoopBlocker {
    /// The name of the task.
    pub task: Option<String>,
    /// The coroutine, callback or greenlet.
    pub function: String,
    /// The innermost function, where that is another one.
    pub running: Option<String>,
}

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// The process.
    pub pid: u32,
    /// CPU time in the last window, in percent of one CPU.
    pub cpu: Option<f64>,
    /// Memory, in bytes.
    pub resident_bytes: u64,
}

/// One window of samples and what was measured with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    /// What the sampler's profile has grown by, with the totals of the window.
    pub delta: Delta,
    /// The wall time that the samples stand for, µs.
    pub wall_us: u64,
    /// The header's numbers.
    pub facts: Facts,
    /// The threads at its end, in the numbers of the sampler's profile.
    pub threads: Vec<ThreadNow>,
}

/// The past of the header's numbers, newest last.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// [`Facts::gil`].
    pub gil: VecDeque<f64>,
    /// [`Facts::active`].
    pub active: VecDeque<f64>,
    /// [`Facts::gc`].
    pub gc: VecDeque<f64>,
    /// [`Facts::cpu`].
    pub cpu: VecDeque<f64>,
    /// [`Facts::own_cpu`].
    pub own_cpu: VecDeque<f64>,
    /// [`Facts::resident_bytes`].
    pub resident: VecDeque<f64>,
    /// [`Facts::running`].
    pub running: VecDeque<f64>,
}

impl History {
    pub(super) fn add(&mut self, facts: &Facts) {
        for (values, value) in [
            (&mut self.gil, Some(facts.gil)),
            (&mut self.active, Some(facts.active)),
            (&mut self.gc, Some(facts.gc)),
            (&mut self.cpu, facts.cpu),
            (&mut self.own_cpu, facts.own_cpu),
            (&mut self.resident, facts.resident_bytes.map(|bytes| bytes as f64)),
            (&mut self.running, Some(facts.running as f64)),
        ] {
            values.extend(value);
            while values.len() > HISTORY {
                values.pop_front();
            }
        }
    }
}

/// Samples of the last window and since the reset, held when the view is frozen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collected {
    /// Of the last window.
    pub window: Vec<Total>,
    /// The wall time of the window, µs.
    pub window_us: u64,
    /// Since the reset; while not frozen they are the profile's.
    pub all: Vec<Total>,
    /// The wall time since the reset, µs.
    pub all_us: u64,
    /// The threads at the end of the window.
    pub threads: Vec<ThreadNow>,
}

/// See [`Data::shown`](super::state::Data::shown).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'state> {
    /// Of the last window.
    pub window: &'state [Total],
    /// The wall time of the window, µs.
    pub window_us: u64,
    /// Since the reset.
    pub all: &'state [Total],
    /// The wall time since the reset, µs.
    pub all_us: u64,
    /// The threads at the end of the window.
    pub threads: &'state [ThreadNow],
}
