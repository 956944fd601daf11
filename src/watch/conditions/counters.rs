//! CPU time, memory, threads.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Conditions, CpuCondition};
use crate::process::ProcessUsage;
use crate::sampler::Glance;
use crate::watch::event::{Cause, Event};

/// Between two values that are kept: the system counts CPU time in steps of 10 ms.
const STEP: Duration = Duration::from_secs(1);
/// Over so long it is judged whether the process works at all.
const RECENTLY: Duration = Duration::from_secs(2);
/// Who uses more of a CPU than this works, in whichever of its threads.
const WORKS: f64 = 0.02;

/// The CPU time that a process has used, over some time.
#[derive(Debug, Default)]
pub(in crate::watch) struct CpuMeter {
    values: VecDeque<(Instant, Duration)>,
}

impl CpuMeter {
    /// Takes in what has been used by now; what is older than `window` is forgotten.
    pub(in crate::watch) fn take_in(&mut self, now: Instant, used: Duration, window: Duration) {
        if self.values.back().is_none_or(|(last, _)| now.saturating_duration_since(*last) >= STEP) {
            self.values.push_back((now, used));
        }
        // One that is older than the window stays, so that it is covered.
        let is_older = |value: Option<&(Instant, Duration)>| {
            value.is_some_and(|(time, _)| now.saturating_duration_since(*time) >= window.max(RECENTLY))
        };
        while is_older(self.values.get(1)) {
            self.values.pop_front();
        }
    }

    /// The share of one CPU that was used over the last `window`; `None` when it is not known for so long.
    pub(in crate::watch) fn share(&self, now: Instant, used: Duration, window: Duration) -> Option<f64> {
        let begin = self.values.iter().rev().find(|(time, _)| now.saturating_duration_since(*time) >= window)?;
        let span = now.saturating_duration_since(begin.0).as_secs_f64();
        Some(used.saturating_sub(begin.1).as_secs_f64() / span.max(1e-9))
    }

    /// Whether it has used so much CPU time lately that something in it works.
    pub(in crate::watch) fn works(&self, now: Instant, used: Duration) -> bool {
        self.share(now, used, RECENTLY).is_some_and(|share| share > WORKS)
    }
}

/// Which of the plain limits were passed and told.
#[derive(Debug, Default)]
pub(in crate::watch) struct Counters {
    cpu: bool,
    rss: bool,
    threads: bool,
}

impl Counters {
    /// Whether the process uses too much CPU time, and that is not told yet.
    pub(in crate::watch) fn may_have_passed(
        &self,
        conditions: &Conditions,
        glance: &Glance,
        meter: &CpuMeter,
        now: Instant,
    ) -> bool {
        let (Some(cpu), Some(condition)) = (glance.cpu, conditions.cpu) else { return false };
        let is_passed = meter.share(now, cpu, condition.window).is_some_and(|share| share >= condition.share);
        is_passed != self.cpu
    }

    /// What has passed its limit since it was last below.
    pub(in crate::watch) fn judge(
        &mut self,
        conditions: &Conditions,
        usage: &ProcessUsage,
        meter: &CpuMeter,
        threads: usize,
        now: Instant,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let mut tell = |is_told: &mut bool, is_passed: bool, cause, since, what: &dyn Fn() -> String| {
            if is_passed && !*is_told {
                events.push(Event { cause, since, thread: None, task: None, what: what() });
            }
            *is_told = is_passed;
        };
        if let Some(CpuCondition { share, window }) = conditions.cpu {
            let used = meter.share(now, usage.cpu, window);
            let what = || {
                let (used, limit) = (used.unwrap_or_default() * 100.0, share * 100.0);
                format!("uses {used:.0} % of a CPU over {:.0} s (limit {limit:.0} %)", window.as_secs_f64())
            };
            let since = now.checked_sub(window).unwrap_or(now);
            tell(&mut self.cpu, used.is_some_and(|used| used >= share), Cause::Cpu, since, &what);
        }
        if let Some(limit) = conditions.rss {
            let what = || format!("has {} of memory (limit {})", mebibytes(usage.resident_bytes), mebibytes(limit));
            tell(&mut self.rss, usage.resident_bytes >= limit, Cause::Rss, now, &what);
        }
        if let Some(limit) = conditions.threads {
            let what = || format!("has {threads} threads (limit {limit})");
            tell(&mut self.threads, threads > limit, Cause::Threads, now, &what);
        }
        events
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_over_the_whole_window() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut meter = CpuMeter::default();
        let window = Duration::from_secs(10);
        for second in 0..30 {
            // Nothing for 10 s, then a whole CPU.
            let used = Duration::from_secs(u64::from(second > 10) * (second.max(10) - 10));
            meter.take_in(at(second), used, window);
            let share = meter.share(at(second), used, window);
            match second {
                0..10 => assert_eq!(share, None),
                10 => assert_eq!(share, Some(0.0)),
                20.. => assert_eq!(share, Some(1.0)),
                _ => assert!(share.unwrap() < 1.0),
            }
            assert_eq!(meter.works(at(second), used), second > 10, "{second}");
        }
        assert!(meter.values.len() <= 12);
    }

    #[test]
    fn a_limit_is_told_once_until_it_is_kept_again() {
        let conditions = Conditions { rss: Some(1 << 30), threads: Some(10), ..Conditions::default() };
        let (mut counters, meter, now) = (Counters::default(), CpuMeter::default(), Instant::now());
        let mut causes = |resident_bytes, threads| {
            let usage = ProcessUsage { resident_bytes, ..ProcessUsage::default() };
            let events = counters.judge(&conditions, &usage, &meter, threads, now);
            events.into_iter().map(|event| event.cause).collect::<Vec<_>>()
        };
        assert_eq!(causes(1 << 20, 10), []);
        assert_eq!(causes(2 << 30, 11), [Cause::Rss, Cause::Threads]);
        assert_eq!(causes(3 << 30, 12), []);
        assert_eq!(causes(1 << 20, 12), []);
        assert_eq!(causes(1 << 30, 10), [Cause::Rss]);
    }
}
