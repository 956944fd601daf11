//! When the threads of a process are looked at again.
//!
//! A look tells all that has happened since the last one: a thread that has run in between has used CPU time, a GIL
//! that went round has counted it, a loop notes itself when it was in its selector. So a look is needed only so often
//! that what begins is seen in time, and at the very moment at which something that was seen will have lasted too long.

use std::time::{Duration, Instant};

use super::conditions::Conditions;
use crate::sampler::Glance;

/// Of the time after which something is wrong, this part may pass before its beginning is seen.
const PART_OF_LIMIT: (u32, u32) = (4, 5);
/// The same of functions and tasks, whose beginning nothing tells but looks: not more than this.
const CALLS_EVERY: Duration = Duration::from_millis(500);
const PART_OF_CALL: u32 = 20;
/// Memory and threads are counted so often.
const COUNTERS_EVERY: Duration = Duration::from_secs(1);

/// When the threads of one process were looked at, and when that is due again.
#[derive(Debug, Default)]
pub(super) struct LookPace {
    last: Option<Instant>,
    /// When something that was seen will have lasted too long.
    due: Option<Instant>,
    /// Something was seen that the very next look may tell more of.
    is_curious: bool,
    /// There are event loops, which may be late before they are looked at again.
    has_loops: bool,
}

impl LookPace {
    /// Whether the threads are to be looked at now.
    pub(super) fn wants_look(&self, glance: &Glance, conditions: &Conditions, now: Instant) -> bool {
        let Some(last) = self.last else { return true };
        let is_due = self.due.is_some_and(|due| now >= due);
        let interval = glance.interval.min(longest_interval(conditions, self.has_loops));
        // What has not run since stands where it stood.
        is_due || self.is_curious || !conditions.calls.is_empty() || !glance.is_resting && now >= last + interval
    }

    /// They were looked at. Something will have lasted too long at `due`.
    pub(super) fn has_looked(&mut self, due: Option<Instant>, is_curious: bool, now: Instant) {
        (self.last, self.due, self.is_curious) = (Some(now), due, is_curious);
    }

    /// Event loops were looked for, and there are some or none.
    pub(super) fn note_loops(&mut self, has_loops: bool) {
        self.has_loops = has_loops;
    }
}

/// The longest time between two looks with which everything is seen in time.
fn longest_interval(conditions: &Conditions, has_loops: bool) -> Duration {
    let lag = conditions.lag.filter(|_| has_loops);
    let limits = [conditions.stuck, conditions.idle, lag, conditions.gil_held];
    let limits = limits.into_iter().flatten().map(|limit| limit / PART_OF_LIMIT.1 * PART_OF_LIMIT.0);
    let calls = conditions.calls.iter().map(|call| (call.limit / PART_OF_CALL).min(CALLS_EVERY));
    let has_counters = conditions.rss.is_some() || conditions.threads.is_some();
    limits.chain(calls).chain(has_counters.then_some(COUNTERS_EVERY)).min().unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_due_when_something_may_have_begun_or_lasted_too_long() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let conditions = Conditions { lag: Some(Duration::from_secs(5)), ..Conditions::default() };
        let glance = |is_resting, seconds| {
            let interval = Duration::from_secs(seconds);
            Glance { cpu: None, is_resting, still_since: start, interval }
        };
        let mut pace = LookPace::default();
        assert!(pace.wants_look(&glance(true, 1), &conditions, at(0)));
        pace.has_looked(None, false, at(0));
        let wants = |pace: &LookPace, is_resting, seconds, ms| {
            pace.wants_look(&glance(is_resting, seconds), &conditions, at(ms))
        };
        assert!(!wants(&pace, false, 1, 900) && wants(&pace, false, 1, 1000));
        // However dear: with the limit it would be too late, if there is a loop.
        assert!(!wants(&pace, false, 60, 4000));
        pace.note_loops(true);
        assert!(!wants(&pace, false, 60, 3900) && wants(&pace, false, 60, 4000));
        assert!(!wants(&pace, true, 1, 600_000));
        pace.has_looked(Some(at(5000)), false, at(0));
        assert!(!wants(&pace, true, 60, 4999) && wants(&pace, true, 60, 5000));
        pace.has_looked(None, true, at(0));
        assert!(wants(&pace, true, 60, 250));
    }

    #[test]
    fn calls_are_looked_for_often() {
        use crate::profile::Below;
        use crate::watch::CallCondition;
        let call = |seconds| CallCondition { function: Below::new("f"), limit: Duration::from_secs(seconds) };
        let interval = |seconds| {
            longest_interval(&Conditions { calls: vec![call(seconds)], ..Conditions::default() }, false).as_millis()
        };
        assert_eq!((interval(2), interval(60)), (100, 500));
    }
}
