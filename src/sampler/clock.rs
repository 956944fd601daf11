//! When to sample: deadlines with jitter, and no backlog when late.

use std::time::{Duration, Instant};

/// Deadlines at a mean rate. Each lies at a random place in its own slot, so that a program that does something
/// periodic is not always met in the same act; a slot that went by unsampled is skipped, never made up for.
#[derive(Debug)]
pub(crate) struct Clock {
    period: Duration,
    slot_start: Instant,
    random: u64,
    missed: u64,
    deadline: Instant,
    /// Nothing is sampled at its ticks, so that they may be periodic.
    is_steady: bool,
    /// There is no tick before this.
    rests_until: Instant,
    /// A bit for each of the last ticks, the latest lowest: set where it came late.
    late: u64,
}

impl Clock {
    /// A clock that ticks `rate` times a second (at least 1) from `start` on.
    pub(crate) fn new(rate: u32, start: Instant) -> Self {
        let seed = std::process::id();
        Self {
            period: Duration::from_secs(1) / rate.max(1),
            slot_start: start,
            random: u64::from(seed) << 32 | 0x9E37_79B9,
            missed: 0,
            deadline: start,
            is_steady: false,
            rests_until: start,
            late: 0,
        }
    }

    /// The same with ticks that are all as far apart, for who takes no samples at them.
    pub(crate) fn steady(rate: u32, start: Instant) -> Self {
        Self { is_steady: true, ..Self::new(rate, start) }
    }

    /// Whether its ticks are all as far apart.
    pub(crate) fn is_steady(&self) -> bool {
        self.is_steady
    }

    /// The mean time between two ticks.
    pub(crate) fn period(&self) -> Duration {
        self.period
    }

    /// Slots that went by without a sample: a count.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// Whether at least a quarter of the last 64 ticks came late by half a period or more: we do not get a CPU when we
    /// need one.
    pub(crate) fn is_often_late(&self) -> bool {
        self.late.count_ones() >= 16
    }

    /// The tick of the last deadline begins now.
    pub(crate) fn begin_tick(&mut self, now: Instant) {
        let is_late = now.saturating_duration_since(self.deadline) > self.period / 2;
        self.late = self.late << 1 | u64::from(is_late);
    }

    /// For so long after `now` there is no tick; what that skips counts as missed.
    pub(crate) fn rest(&mut self, now: Instant, time: Duration) {
        self.rests_until = now + time;
    }

    /// The next deadline, given what time it is.
    pub(crate) fn next_deadline(&mut self, now: Instant) -> Instant {
        let now = now.max(self.rests_until);
        self.slot_start += self.period;
        if let Some(late) = now.checked_duration_since(self.slot_start + self.period) {
            let slots = late.as_nanos() / self.period.as_nanos().max(1) + 1;
            let slots = u32::try_from(slots).unwrap_or(u32::MAX);
            self.missed += u64::from(slots);
            self.slot_start += self.period.checked_mul(slots).unwrap_or(late);
        }
        let within = if self.is_steady { Duration::ZERO } else { self.period.mul_f64(self.next_random()) };
        self.deadline = (self.slot_start + within).max(self.rests_until);
        self.deadline
    }

    /// A number in 0..1 (xorshift64*: jitter needs no better).
    fn next_random(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40;
        bits as f64 / (1u64 << 24) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_rate_is_the_asked_one_and_ticks_are_not_periodic() {
        let start = Instant::now();
        let mut clock = Clock::new(1000, start);
        let mut now = start;
        let mut gaps = Vec::new();
        for _ in 0..10_000 {
            let next = clock.next_deadline(now);
            gaps.push(next - now);
            now = next;
        }
        let elapsed = (now - start).as_secs_f64();
        assert!((9.99..10.01).contains(&elapsed), "{elapsed}");
        assert_eq!(clock.missed(), 0);
        let same = gaps.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(same < 10, "{same} equal gaps");
    }

    #[test]
    fn a_steady_clock_ticks_at_its_period() {
        let start = Instant::now();
        let mut clock = Clock::steady(5, start);
        let mut now = start;
        for _ in 0..10 {
            let next = clock.next_deadline(now);
            assert_eq!(next - now, Duration::from_millis(200));
            now = next;
        }
        assert_eq!(clock.missed(), 0);
    }

    #[test]
    fn it_is_known_whether_ticks_come_late() {
        let mut now = Instant::now();
        let mut clock = Clock::new(100, now);
        for late in [0, 6, 0, 6] {
            for _ in 0..64 {
                now = clock.next_deadline(now) + Duration::from_millis(late);
                clock.begin_tick(now);
            }
            assert_eq!(clock.is_often_late(), late > 5);
        }
    }

    #[test]
    fn a_rest_is_kept_and_what_it_skips_is_missed() {
        let start = Instant::now();
        let mut clock = Clock::new(50_000, start);
        let mut now = start;
        for _ in 0..1000 {
            clock.rest(now, Duration::from_micros(60));
            let next = clock.next_deadline(now);
            assert!(
                next >= now + Duration::from_micros(60) && next < now + Duration::from_micros(101),
                "{:?}",
                next - now
            );
            now = next;
        }
        let slots = ((now - start).as_secs_f64() * 50_000.0).round() as u64;
        assert!((slots - 2..=slots + 2).contains(&(clock.missed() + 1000)), "{slots}, {}", clock.missed());
        // None is asked for.
        let next = clock.next_deadline(now);
        assert!(next < now + Duration::from_micros(41));
    }

    #[test]
    fn a_late_tick_leaves_no_backlog() {
        let start = Instant::now();
        let mut clock = Clock::new(100, start);
        clock.next_deadline(start);
        let late = start + Duration::from_secs(10);
        let next = clock.next_deadline(late);
        assert!(next > late - Duration::from_millis(10) && next < late + Duration::from_millis(20));
        assert!((995..=1000).contains(&clock.missed()), "{}", clock.missed());
    }
}
