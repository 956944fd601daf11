//! A function or a task runs for too long.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::CallCondition;
use crate::inspect::InspectedTask;
use crate::watch::event::{Cause, Event};

/// A function of a stack: as [`crate::profile::Below`] is asked for it.
#[derive(Debug, Clone, Copy)]
pub(in crate::watch) struct Function<'text> {
    /// Its frame in the target.
    pub frame: u64,
    /// Its code object in the target.
    pub code: u64,
    /// Its name, qualified where the version has that.
    pub name: &'text str,
    /// The short form of its file.
    pub short_file: &'text str,
}

/// The functions of one condition that were on a thread's stack in each look.
#[derive(Debug, Default)]
pub(in crate::watch) struct LongCalls {
    /// By condition and `threading.get_ident()`.
    seen: HashMap<(usize, u64), Seen>,
}

#[derive(Debug)]
struct Seen {
    frame: u64,
    code: u64,
    since: Instant,
    looks: u64,
    is_told: bool,
    /// In the look that is taken in now.
    is_there: bool,
}

impl LongCalls {
    /// Takes in the stack of one thread, newest frame first, and says what has run for too long. The outermost frame
    /// that matches counts: while it stays, so does the call.
    pub(in crate::watch) fn take_in<'text>(
        &mut self,
        conditions: &[CallCondition],
        ident: u64,
        stack: &(impl DoubleEndedIterator<Item = Function<'text>> + Clone),
        now: Instant,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        for (index, condition) in conditions.iter().enumerate() {
            let matches =
                |function: &Function<'_>| condition.function.matches_function(function.name, function.short_file);
            let Some(function) = stack.clone().rev().find(matches) else { continue };
            let begun = Seen {
                frame: function.frame,
                code: function.code,
                since: now,
                looks: 0,
                is_told: false,
                is_there: true,
            };
            let seen = self.seen.entry((index, ident)).or_insert(begun);
            if (seen.frame, seen.code) != (function.frame, function.code) {
                (seen.frame, seen.code) = (function.frame, function.code);
                (seen.since, seen.looks, seen.is_told) = (now, 0, false);
            }
            seen.looks += 1;
            seen.is_there = true;
            if !seen.is_told && now.saturating_duration_since(seen.since) >= condition.limit {
                seen.is_told = true;
                let what = format!("{} in all {} looks", function.name, seen.looks);
                events.push(Event { cause: Cause::Call, since: seen.since, thread: Some(ident), task: None, what });
            }
        }
        events
    }

    /// The look is over: what was in none of its stacks has ended.
    pub(in crate::watch) fn end_look(&mut self) {
        self.seen.retain(|_, seen| std::mem::replace(&mut seen.is_there, false));
    }
}

/// The tasks of one condition, since when they are there.
#[derive(Debug, Default)]
pub(in crate::watch) struct LongTasks {
    /// By `id()`, name and coroutine: an address may be used again.
    seen: HashMap<(u64, Option<String>, String), (Instant, bool)>,
}

impl LongTasks {
    /// Takes in all tasks of a process and says which are too old.
    pub(in crate::watch) fn take_in(
        &mut self,
        conditions: &[CallCondition],
        tasks: &[InspectedTask],
        now: Instant,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let mut seen = HashMap::new();
        for task in tasks {
            let Some(limit) = limit_of(conditions, task) else { continue };
            let key = (task.id, task.name.clone(), task.coroutine.clone());
            let (since, mut is_told) = self.seen.get(&key).copied().unwrap_or((now, false));
            if !is_told && now.saturating_duration_since(since) >= limit {
                is_told = true;
                let name = task.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
                let what = format!("task{name} ({}) has not ended", task.coroutine);
                events.push(Event { cause: Cause::Call, since, thread: task.python_id, task: Some(task.id), what });
            }
            seen.insert(key, (since, is_told));
        }
        self.seen = seen;
        events
    }
}

/// The shortest limit of those that are for the coroutine of a task.
fn limit_of(conditions: &[CallCondition], task: &InspectedTask) -> Option<Duration> {
    let short_file = task.frames.iter().rev().find_map(|frame| match frame {
        crate::inspect::InspectedFrame::Python(frame) => Some(frame.short_file.as_str()),
        _ => None,
    });
    let matches = |condition: &&CallCondition| {
        condition.function.matches_function(&task.coroutine, short_file.unwrap_or_default())
    };
    conditions.iter().filter(matches).map(|condition| condition.limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Below;

    fn function(frame: u64, name: &str) -> Function<'_> {
        Function { frame, code: 1, name, short_file: "app/db.py" }
    }

    #[test]
    fn a_call_is_long_while_its_frame_stays() {
        let start = Instant::now();
        let limit = Duration::from_secs(1);
        let conditions = [CallCondition { function: Below::new("app.db.query*"), limit }];
        let mut calls = LongCalls::default();
        let mut look = |ms: u64, stack: &[Function<'static>]| {
            let now = start + Duration::from_millis(ms);
            let events = calls.take_in(&conditions, 7, &stack.iter().copied(), now);
            calls.end_look();
            events.into_iter().map(|event| event.what).collect::<Vec<_>>()
        };
        let query = function(10, "query");
        for ms in [0, 250, 500, 750] {
            assert!(look(ms, &[function(11, "recv"), query, function(9, "main")]).is_empty());
        }
        assert_eq!(look(1000, &[query, function(9, "main")]), ["query in all 5 looks"]);
        assert!(look(1250, &[query]).is_empty());
        // Another call.
        assert!(look(1500, &[function(12, "query")]).is_empty());
        // Gone, and back in the same frame: it begins anew.
        assert!(look(2400, &[function(9, "main")]).is_empty());
        assert!(look(2500, &[function(12, "query")]).is_empty());
        assert_eq!(look(3500, &[function(12, "query")]), ["query in all 2 looks"]);
    }
}
