//! How much CPU time of a process was in threads that were not sampled: those that run no Python.

use std::time::Duration;

use super::moment::Moment;
use crate::process::Process;

/// Less CPU time than this, in threads that were not sampled, is not worth a word.
const LEAST: Duration = Duration::from_millis(100);

/// The CPU time of a process, beside that of its samples.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CpuTime {
    /// What the process had used when its first sample was taken.
    start: Option<Duration>,
    used: Duration,
    /// The wall time for which sampled threads ran or wanted to.
    sampled_us: u64,
    /// The same for threads with a thread state but without Python frames.
    stateful_us: u64,
}

/// A process that spent most of its CPU time in threads that were not sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsampled {
    /// The process.
    pub pid: i32,
    /// The CPU time of those threads.
    pub time: Duration,
    /// The CPU time of all.
    pub of: Duration,
    /// Most of those threads have a thread state: their native frames are what there is to show.
    pub have_states: bool,
}

impl CpuTime {
    /// Takes note of what the process has used by now; of one that has ended the last number stays.
    pub(super) fn look(&mut self, process: &Process) {
        if let Ok(usage) = process.usage() {
            let start = *self.start.get_or_insert(usage.cpu);
            self.used = self.used.max(usage.cpu.saturating_sub(start));
        }
    }

    /// Takes note of a sample that stands for `weight_us`, whatever of it is shown. What could not be read is taken to
    /// have run.
    pub(super) fn add(&mut self, moment: &Moment, weight_us: u64) {
        let running = moment.threads.iter().filter(|thread| thread.active && moment.has_stack(thread)).count();
        let native = moment.native_threads.iter().filter(|thread| thread.active).count();
        let threads = (running + native) as u64 + u64::from(moment.lost);
        let stateful = moment.threads.iter().filter(|thread| thread.active).count() - running;
        self.stateful_us = self.stateful_us.saturating_add((stateful as u64).saturating_mul(weight_us));
        self.sampled_us = self.sampled_us.saturating_add(threads.saturating_mul(weight_us));
    }

    /// What was not sampled, if it is the most.
    pub(super) fn unsampled(&self, pid: i32) -> Option<Unsampled> {
        let time = self.used.saturating_sub(Duration::from_micros(self.sampled_us));
        let have_states = Duration::from_micros(self.stateful_us) > time / 2;
        (time >= LEAST && time > self.used / 2).then_some(Unsampled { pid, time, of: self.used, have_states })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_most_is_told() {
        let time = |used: u64, sampled: u64| CpuTime {
            start: Some(Duration::ZERO),
            used: Duration::from_millis(used),
            sampled_us: sampled * 1000,
            stateful_us: 0,
        };
        let told = |used, sampled| time(used, sampled).unsampled(7).map(|unsampled| unsampled.time.as_millis());
        assert_eq!(told(2000, 0), Some(2000));
        assert_eq!(told(2000, 900), Some(1100));
        assert_eq!(told(2000, 1000), None);
        assert_eq!(told(2000, 3000), None);
        assert_eq!((told(99, 0), told(100, 0)), (None, Some(100)));
        assert_eq!(time(2000, 0).unsampled(7).map(|unsampled| (unsampled.pid, unsampled.of.as_secs())), Some((7, 2)));
    }
}
