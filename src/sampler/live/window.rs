//! A window as it is handed out, and the sums that it is made from.

use std::collections::HashMap;
use std::time::Duration;

use crate::profile::{Delta, Flags, StackId, ThreadRef};
use crate::sampler::loop_lag::LoopLag;
use crate::sampler::moment::{Held, Moment, MomentThread};
use crate::sampler::task_groups::TaskGroup;

/// What a thread was doing at the end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiveThread {
    /// The thread.
    pub thread: ThreadRef,
    /// Where it was.
    pub stack: StackId,
    /// What it did.
    pub flags: Flags,
}

/// The tasks of a process that run one coroutine function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LiveTasks {
    /// The process.
    pub pid: i32,
    /// Which they are, as of the last look at all.
    pub group: TaskGroup,
    /// In what part of the window's samples one of them was on a CPU, 0 to 1.
    pub running: f64,
}

/// What was seen in a stretch of time.
#[derive(Debug)]
pub(crate) struct LiveWindow {
    /// What the profile has grown by, with the totals of this window; idle threads too. Its metadata counts all samples
    /// so far.
    pub delta: Delta,
    /// What the processes spent its time on.
    pub times: WindowTimes,
    /// How well they were sampled.
    pub pace: WindowPace,
    /// What every thread was doing last.
    pub threads: Vec<LiveThread>,
    /// The event loops that were seen, with the pids of their processes, and how late they were in this window.
    pub loops: Vec<(i32, LoopLag)>,
    /// The tasks of their loops.
    pub tasks: Vec<LiveTasks>,
    /// Why samples could not be made sure of, or a process could not be read, when that is so.
    pub trouble: Option<String>,
}

/// For how long of a window's wall time something was the case.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WindowTimes {
    /// The wall time that the samples stand for, µs.
    pub wall_us: u64,
    /// How much of it some thread was active, µs.
    pub active_us: u64,
    /// How much of it some thread held the GIL, µs.
    pub gil_us: u64,
    /// How long threads waited for the GIL, µs, the sum of all threads.
    pub gil_wait_us: u64,
    /// How much of it some thread ran the garbage collector, µs.
    pub gc_us: u64,
}

impl WindowTimes {
    /// Adds the moments of all processes at one tick, which stand for so many µs.
    pub(super) fn add<'moment>(&mut self, moments: &(impl Iterator<Item = &'moment Moment> + Clone), weight_us: u64) {
        let any = |is: fn(&MomentThread) -> bool| {
            let is_so = moments.clone().any(|moment| moment.threads.iter().any(is));
            if is_so { weight_us } else { 0 }
        };
        let is_native_active = moments.clone().any(|moment| moment.native_threads.iter().any(|thread| thread.active));
        self.active_us += if is_native_active { weight_us } else { any(|thread| thread.active) };
        self.gil_us += any(|thread| thread.stack.holds_gil);
        let waiting = moments.clone().flat_map(|moment| &moment.threads).filter(|thread| thread.waits_for_gil).count();
        self.gil_wait_us += weight_us.saturating_mul(waiting as u64);
        self.gc_us += any(|thread| thread.collecting);
        self.wall_us += weight_us;
    }
}

/// How well the processes were sampled in a window, and what that has cost them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowPace {
    /// How long the window was, µs.
    pub length_us: u64,
    /// How many samples a second there were, for all that ran.
    pub held: f64,
    /// The kernel takes the samples of what runs, of some processes at least.
    pub is_from_kernel: bool,
    /// The rate that is asked for.
    pub rate: u32,
    /// Ticks so far that came too late to be held.
    pub missed: u64,
    /// For how long the thread was stopped that was stopped longest, µs.
    pub stopped_us: u64,
}

/// For how long each thread of each process was held, and for how long all of a process were at once, µs.
#[derive(Debug, Default)]
pub(super) struct Holds(HashMap<(i32, Held), u64>);

impl Holds {
    /// Adds what a moment of a process has needed.
    pub(super) fn add(&mut self, pid: i32, moment: &Moment) {
        for (held, time) in &moment.holds {
            *self.0.entry((pid, *held)).or_default() += micros(*time);
        }
    }

    /// For how long the thread was held that was held longest.
    pub(super) fn longest_us(&self) -> u64 {
        let with_all = self.0.iter().map(|((pid, held), time)| match held {
            Held::AllThreads => *time,
            Held::Thread(_) => time + self.0.get(&(*pid, Held::AllThreads)).copied().unwrap_or(0),
        });
        with_all.max().unwrap_or(0)
    }
}

/// Whole microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_that_was_held_longest_counts_and_not_the_sum() {
        let mut holds = Holds::default();
        assert_eq!(holds.longest_us(), 0);
        let mut moment = Moment::default();
        for (held, ms) in [(Held::Thread(11), 3), (Held::Thread(12), 5), (Held::Thread(11), 4)] {
            moment.add_hold(held, Duration::from_millis(ms));
        }
        holds.add(1, &moment);
        assert_eq!(holds.longest_us(), 7_000);
        // All of another process, for longer than any thread of it alone.
        moment.clear();
        moment.add_hold(Held::AllThreads, Duration::from_millis(6));
        holds.add(2, &moment);
        assert_eq!(holds.longest_us(), 7_000);
        moment.clear();
        moment.add_hold(Held::Thread(21), Duration::from_millis(2));
        holds.add(2, &moment);
        assert_eq!(holds.longest_us(), 8_000);
    }
}
