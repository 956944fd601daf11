//! How much CPU time of a process was in threads that were not sampled: those that run no Python.

use std::time::{Duration, Instant};

use super::moment::Moment;
use crate::process::Process;

/// The next look at a process comes after a further such part of the time for which it has been looked at, but no later
/// than after this.
const LOOK_SHARE: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Less CPU time than this, in threads that were not sampled, is not worth a word.
const LEAST: Duration = Duration::from_millis(100);

/// Of less CPU time than so many samples stand for nothing is said: that its threads were not met running may be
/// chance.
const LEAST_SAMPLES: u64 = 30;
/// Of less of the time than this share nothing is said: in the rest sampled threads may have run.
const LEAST_OBSERVED: f64 = 0.9;

/// The CPU time of a process, beside that of its samples.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CpuTime {
    /// What the process had used when it was looked at first, and when that was.
    start: Option<(Duration, Instant)>,
    /// What it has used since, and for how long that is.
    used: Duration,
    elapsed: Duration,
    /// When it is to be looked at next.
    due: Option<Instant>,
    /// The wall time that samples stand for, and how many there were.
    observed_us: u64,
    samples: u64,
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
    /// Takes note of what the process has used by now, seldomer the longer it has been looked at.
    pub(super) fn look_when_due(&mut self, process: &Process) {
        let now = Instant::now();
        if self.due.is_none_or(|due| now >= due) {
            self.look(process);
            self.due = Some(now + (self.elapsed / LOOK_SHARE).min(LONGEST_PAUSE));
        }
    }

    /// Takes note of what the process has used by now; of one that has ended the last number stays.
    pub(super) fn look(&mut self, process: &Process) {
        if let Ok(usage) = process.usage() {
            let (start, at) = *self.start.get_or_insert((usage.cpu, Instant::now()));
            self.used = self.used.max(usage.cpu.saturating_sub(start));
            self.elapsed = at.elapsed();
        }
    }

    /// Takes note of a sample that stands for `weight_us`, whatever of it is shown. What could not be read is taken to
    /// have run.
    pub(super) fn add(&mut self, moment: &Moment, weight_us: u64) {
        let running = moment.threads.iter().filter(|thread| thread.active && moment.has_stack(thread)).count();
        let native = moment.native_threads.iter().filter(|thread| thread.active).count();
        let threads = (running + native) as u64 + u64::from(moment.lost);
        let stateful = moment.threads.iter().filter(|thread| thread.active).count() - running;
        self.observed_us = self.observed_us.saturating_add(weight_us);
        self.samples += 1;
        self.stateful_us = self.stateful_us.saturating_add((stateful as u64).saturating_mul(weight_us));
        self.sampled_us = self.sampled_us.saturating_add(threads.saturating_mul(weight_us));
    }

    /// All the time so far was observed: the kernel samples the threads that run, each time that they have run for
    /// `period_us`.
    pub(super) fn observe_all(&mut self, period_us: u64) {
        self.observed_us = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX);
        self.samples = self.observed_us / period_us.max(1);
    }

    /// Takes note of the thread of a moment, which ran or wanted to for so long, as the kernel has seen it.
    pub(super) fn add_ran(&mut self, ran_us: u64) {
        self.sampled_us = self.sampled_us.saturating_add(ran_us);
    }

    /// The same of a thread with a thread state but without frames.
    pub(super) fn add_frameless(&mut self, ran_us: u64) {
        self.stateful_us = self.stateful_us.saturating_add(ran_us);
    }

    /// What was not sampled, if it is the most; not what nobody looked at.
    pub(super) fn unsampled(&self, pid: i32) -> Option<Unsampled> {
        if Duration::from_micros(self.observed_us) < self.elapsed.mul_f64(LEAST_OBSERVED) {
            return None;
        }
        let interval_us = self.observed_us.checked_div(self.samples)?;
        if self.used < Duration::from_micros(interval_us.saturating_mul(LEAST_SAMPLES)) {
            return None;
        }
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
            start: None,
            used: Duration::from_millis(used),
            elapsed: Duration::from_millis(used),
            due: None,
            observed_us: used * 1000,
            samples: used,
            sampled_us: sampled * 1000,
            stateful_us: 0,
        };
        let told = |used, sampled| time(used, sampled).unsampled(7).map(|unsampled| unsampled.time.as_millis());
        assert_eq!(told(2000, 0), Some(2000));
        assert_eq!(told(2000, 900), Some(1100));
        assert_eq!(told(2000, 1000), None);
        assert_eq!(told(2000, 3000), None);
        assert_eq!((told(99, 0), told(100, 0)), (None, Some(100)));
        assert_eq!(CpuTime { samples: 25, ..time(2000, 0) }.unsampled(7), None, "80 ms a sample");
        assert_eq!(CpuTime { observed_us: 1_500_000, ..time(2000, 0) }.unsampled(7), None, "a quarter was not seen");
        assert_eq!(time(2000, 0).unsampled(7).map(|unsampled| (unsampled.pid, unsampled.of.as_secs())), Some((7, 2)));
    }
}
