//! Time without us: how much of it a late sample stands for, and how much nobody has seen.
//!
//! A sample stands for the time since the last one. When we got no CPU for seconds (a throttled container, SIGSTOP, a
//! machine that was paused), that time is not known to have been like the one stack seen after it; so there is a limit,
//! and what is beyond counts for nothing.

use std::time::Duration;

/// A late sample stands for so many ticks at most,
const TICKS: u32 = 5;
/// or for so long, whichever is more.
const AT_LEAST: Duration = Duration::from_millis(100);

/// The longest time that one sample stands for, given the time between two ticks, µs.
pub(super) fn longest_weight_us(period: Duration) -> u64 {
    u64::try_from(period.saturating_mul(TICKS).max(AT_LEAST).as_micros()).unwrap_or(u64::MAX)
}

/// The time in which something that should have been sampled was not: a sum over all processes in which no moment
/// counts twice. Times are µs since the start of the recording.
#[derive(Debug, Default)]
pub(super) struct Unobserved {
    counted_to_us: u64,
    sum_us: u64,
    /// When the last tick was, whether or not anything could be read.
    last_tick_us: Option<u64>,
}

impl Unobserved {
    /// The time that a sample at `to_us` stands for, when the last one was at `from_us` and none stands for more than
    /// `longest_us`.
    pub(super) fn weight_us(&mut self, from_us: u64, to_us: u64, longest_us: u64) -> u64 {
        let seen_from_us = to_us.saturating_sub(longest_us).max(from_us);
        let first_us = from_us.max(self.counted_to_us);
        if seen_from_us > first_us {
            self.sum_us += seen_from_us - first_us;
            self.counted_to_us = seen_from_us;
        }
        to_us.saturating_sub(seen_from_us)
    }

    /// Takes note of the time since the last tick, if that is longer than a sample can stand for.
    pub(super) fn add_until(&mut self, now_us: u64, longest_us: u64) {
        if let Some(last_us) = self.last_tick_us {
            self.weight_us(last_us, now_us, longest_us);
        }
    }

    /// A tick is over.
    pub(super) fn end_tick(&mut self, now_us: u64) {
        self.last_tick_us = Some(now_us);
    }

    /// All of it so far, µs.
    pub(super) fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_sample_stands_for_five_ticks_or_a_tenth_of_a_second() {
        assert_eq!(longest_weight_us(Duration::from_millis(1)), 100_000);
        assert_eq!(longest_weight_us(Duration::from_millis(10)), 100_000);
        assert_eq!(longest_weight_us(Duration::from_secs(1)), 5_000_000);
    }

    #[test]
    fn what_is_beyond_the_limit_is_unobserved() {
        let mut unobserved = Unobserved::default();
        assert_eq!(unobserved.weight_us(0, 10_000, 100_000), 10_000);
        assert_eq!(unobserved.weight_us(10_000, 110_000, 100_000), 100_000);
        assert_eq!(unobserved.sum_us(), 0);
        assert_eq!(unobserved.weight_us(110_000, 5_110_000, 100_000), 100_000);
        assert_eq!(unobserved.sum_us(), 4_900_000);
        // A clock that went back is none of ours, but must not make time.
        assert_eq!(unobserved.weight_us(7, 3, 100_000), 0);
    }

    #[test]
    fn a_moment_that_several_processes_miss_counts_once() {
        let mut unobserved = Unobserved::default();
        for _ in 0..3 {
            assert_eq!(unobserved.weight_us(1_000_000, 3_000_000, 100_000), 100_000);
        }
        assert_eq!(unobserved.sum_us(), 1_900_000);
        // Looked at before the late sample came, and then when it has come.
        unobserved.weight_us(3_000_000, 4_000_000, 100_000);
        assert_eq!(unobserved.weight_us(3_000_000, 5_000_000, 100_000), 100_000);
        assert_eq!(unobserved.sum_us(), 1_900_000 + 1_900_000);
    }
}
