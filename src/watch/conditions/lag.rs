//! An event loop does not come back to its selector.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::sampler::{LoopBlocker, LoopLag};
use crate::watch::event::{Cause, Event};

/// Loops whose present turn was told, by `threading.get_ident()` of their threads.
#[derive(Debug, Default)]
pub(in crate::watch) struct LateLoops(HashSet<u64>);

impl LateLoops {
    /// Takes in the loops of one look, and says which have become too late.
    pub(in crate::watch) fn take_in<'lags>(
        &mut self,
        loops: impl Iterator<Item = &'lags LoopLag>,
        limit: Duration,
        now: Instant,
    ) -> Vec<Event> {
        let is_late = |lag: &&LoopLag| lag.busy_for.is_some_and(|busy| busy >= limit);
        let late: Vec<&LoopLag> = loops.filter(is_late).collect();
        let events = late.iter().filter(|lag| !self.0.contains(&lag.python_id)).map(|lag| Event {
            cause: Cause::Lag,
            since: lag.busy_for.and_then(|busy| now.checked_sub(busy)).unwrap_or(now),
            thread: Some(lag.python_id),
            task: None,
            what: format!("event loop of {} blocked{}", lag.library.name(), blocker_text(lag.blocker.as_ref())),
        });
        let events = events.collect();
        self.0 = late.iter().map(|lag| lag.python_id).collect();
        events
    }
}

impl LateLoops {
    /// When the next loop of these will be too late, if it stays where it is.
    pub(in crate::watch) fn due<'lags>(
        &self,
        loops: impl Iterator<Item = &'lags LoopLag>,
        limit: Duration,
        now: Instant,
    ) -> Option<Instant> {
        let untold = loops.filter(|lag| !self.0.contains(&lag.python_id));
        untold.filter_map(|lag| Some(now + limit.saturating_sub(lag.busy_for?))).min()
    }
}

fn blocker_text(blocker: Option<&LoopBlocker>) -> String {
    match blocker {
        Some(LoopBlocker { task: Some(task), function, .. }) => format!(" by task {task:?} ({function})"),
        Some(LoopBlocker { task: None, function, .. }) => format!(" by {function}"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::LoopLibrary;

    #[test]
    fn a_turn_is_told_once() {
        let now = Instant::now();
        let limit = Duration::from_secs(5);
        let mut late = LateLoops::default();
        let mut told = |seconds: Option<u64>| {
            let busy_for = seconds.map(Duration::from_secs);
            let function = "handler".to_owned();
            let blocker = Some(LoopBlocker { task: Some("req-17".to_owned()), function, running: None });
            let (library, longest) = (LoopLibrary::Asyncio, busy_for.unwrap_or_default());
            let lag = LoopLag { library, python_id: 7, os_id: None, busy_for, longest, blocker };
            let events = late.take_in([&lag].into_iter(), limit, now);
            let due = late.due([&lag].into_iter(), limit, now).map(|due| (due - now).as_secs());
            assert_eq!(due, seconds.filter(|busy| *busy < 5).map(|busy| 5 - busy));
            events.into_iter().map(|event| event.what).collect::<Vec<_>>()
        };
        assert!(told(None).is_empty() && told(Some(4)).is_empty());
        assert_eq!(told(Some(5)), ["event loop of asyncio blocked by task \"req-17\" (handler)"]);
        assert!(told(Some(6)).is_empty() && told(None).is_empty());
        assert_eq!(told(Some(7)).len(), 1);
    }
}
