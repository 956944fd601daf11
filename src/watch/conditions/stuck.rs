//! Nothing moves.

use std::time::{Duration, Instant};

use crate::watch::event::{Cause, Event};

/// Whether the process as a whole still moves.
#[derive(Debug)]
pub(in crate::watch) struct Stuck {
    last_progress: Instant,
    /// It was told since.
    is_told: bool,
}

/// A thread that waits without a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::watch) struct BlockedThread {
    /// `threading.get_ident()`.
    pub ident: u64,
    /// Since when.
    pub since: Instant,
    /// It is the first thread of the process.
    pub is_first: bool,
    /// It waits for what another thread may have.
    pub at_lock: bool,
}

impl Stuck {
    pub(in crate::watch) fn new(now: Instant) -> Self {
        Self { last_progress: now, is_told: false }
    }

    /// Something has moved, at that time.
    pub(in crate::watch) fn progress(&mut self, time: Instant) {
        if time > self.last_progress {
            (self.last_progress, self.is_told) = (time, false);
        }
    }

    /// When nothing has moved for too long if nothing moves until then; `None` when that was told, or is not watched.
    pub(in crate::watch) fn due(
        &self,
        blocked: &[BlockedThread],
        stuck: Option<Duration>,
        idle: Option<Duration>,
    ) -> Option<Instant> {
        let longest = blocked.iter().map(|thread| thread.since).min();
        let due = match longest {
            Some(longest) => longest.max(self.last_progress) + stuck?,
            None => self.last_progress + idle?,
        };
        (!self.is_told).then_some(due)
    }

    /// For how long nothing has moved.
    pub(in crate::watch) fn still_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_progress)
    }

    /// What has happened, if nothing has moved for longer than `stuck` although threads wait for something (`blocked`),
    /// or for longer than `idle` while all rest.
    pub(in crate::watch) fn judge(
        &mut self,
        blocked: &[BlockedThread],
        stuck: Option<Duration>,
        idle: Option<Duration>,
        now: Instant,
    ) -> Option<Event> {
        let still = self.still_for(now);
        if self.is_told {
            return None;
        }
        // The first thread is the program; of others the one that has waited longest is the likeliest to hold up the
        // rest.
        let first = blocked.iter().min_by_key(|thread| (!thread.is_first, thread.since));
        let longest = blocked.iter().map(|thread| thread.since).min();
        let event = match (first, longest) {
            (Some(first), Some(longest)) => {
                let limit = stuck?;
                if still < limit || now.saturating_duration_since(longest) < limit {
                    return None;
                }
                let others = match blocked.len() {
                    1 => String::new(),
                    count => format!(", {count} threads wait"),
                };
                let what = format!("nothing moves{others}");
                Event { cause: Cause::Stuck, since: longest, thread: Some(first.ident), task: None, what }
            }
            _ => {
                if still < idle? {
                    return None;
                }
                let what = "nothing moves, and all threads rest".to_owned();
                Event { cause: Cause::Idle, since: self.last_progress, thread: None, task: None, what }
            }
        };
        self.is_told = true;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_until_something_moves() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut stuck = Stuck::new(start);
        let thread = |ident, since, is_first| BlockedThread { ident, since: at(since), is_first, at_lock: false };
        let blocked = [thread(1, 2, false), thread(2, 5, true), thread(3, 1, false)];
        let limit = Some(Duration::from_secs(60));
        assert_eq!(stuck.judge(&blocked, limit, None, at(59)), None);
        assert_eq!(stuck.judge(&blocked, limit, None, at(60)), None);
        assert_eq!((stuck.due(&blocked, limit, None), stuck.due(&[], limit, None)), (Some(at(61)), None));
        let event = stuck.judge(&blocked, limit, None, at(61)).unwrap();
        assert_eq!((event.cause, event.thread, event.since), (Cause::Stuck, Some(2), at(1)));
        assert_eq!((stuck.judge(&blocked, limit, None, at(300)), stuck.due(&blocked, limit, None)), (None, None));
        stuck.progress(at(301));
        assert_eq!(stuck.judge(&blocked, limit, None, at(302)), None);
        assert!(stuck.judge(&blocked, limit, None, at(361)).is_some());
    }

    #[test]
    fn who_rests_is_not_stuck_unless_that_is_asked_for() {
        let start = Instant::now();
        let mut stuck = Stuck::new(start);
        let late = start + Duration::from_secs(1000);
        assert_eq!(stuck.judge(&[], Some(Duration::from_secs(60)), None, late), None);
        let event = stuck.judge(&[], Some(Duration::from_secs(60)), Some(Duration::from_secs(600)), late).unwrap();
        assert_eq!((event.cause, event.since), (Cause::Idle, start));
    }
}
