//! Threads or tasks that wait for each other in a ring.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::BlockedThread;
use crate::inspect::{InspectedProcess, InspectedTask, InspectedThread};
use crate::watch::event::{Cause, Event};

/// A ring is told when it was seen twice, so far apart.
const CONFIRMED_AFTER: Duration = Duration::from_secs(1);
/// A search is followed by a pause of so many times the CPU time that it took, for each process that is watched.
const PAUSE_FOR_SEARCH: u32 = 4_000;
/// A thread that has waited for so long may be in a ring.
const MAY_BE_IN_RING: Duration = Duration::from_millis(200);
/// Between two searches, at least and at most.
const AT_LEAST: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_secs(30);
/// So many members of a ring are named.
const NAMED: usize = 4;

/// Rings that were seen, by the sorted ids of their members.
#[derive(Debug)]
pub(in crate::watch) struct Rings {
    due: Instant,
    searched: Option<Instant>,
    seen: Vec<(Vec<u64>, Instant)>,
    told: HashSet<Vec<u64>>,
}

struct Ring {
    members: Vec<u64>,
    thread: Option<u64>,
    task: Option<u64>,
    what: String,
}

impl Rings {
    pub(in crate::watch) fn new(now: Instant) -> Self {
        Self { due: now, searched: None, seen: Vec::new(), told: HashSet::new() }
    }

    /// Whether it is time to look for rings again.
    pub(in crate::watch) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// From when on there is reason to look for rings of threads: one was seen that is to be seen again, or a thread
    /// has begun to wait for a lock since the last search. While nobody does, no ring closes.
    pub(in crate::watch) fn suspected_from(&self, blocked: &[BlockedThread]) -> Option<Instant> {
        let is_new = |thread: &&BlockedThread| self.searched.is_none_or(|searched| thread.since > searched);
        let new = blocked.iter().filter(|thread| thread.at_lock).filter(is_new);
        let waits_from = new.map(|thread| thread.since + MAY_BE_IN_RING).min();
        let from = if self.seen.is_empty() { waits_from? } else { self.due };
        Some(from.max(self.due))
    }

    /// A search has ended that has taken so much CPU time; `of` processes are watched.
    pub(in crate::watch) fn has_searched(&mut self, cost: Duration, of: usize, now: Instant) {
        let factor = PAUSE_FOR_SEARCH.saturating_mul(u32::try_from(of.max(1)).unwrap_or(u32::MAX));
        let pause = cost.saturating_mul(factor).clamp(AT_LEAST, AT_MOST);
        self.searched = Some(now);
        // One that waits to be confirmed does not wait longer than it must.
        self.due = now + if self.seen.is_empty() { pause } else { CONFIRMED_AFTER };
    }

    /// Takes in what was found and says which rings were there before, too.
    pub(in crate::watch) fn take_in(&mut self, inspected: &InspectedProcess, now: Instant) -> Vec<Event> {
        let found = rings(inspected);
        self.told.retain(|members| found.iter().any(|ring| ring.members == *members));
        let mut events = Vec::new();
        let mut seen = Vec::new();
        for ring in found {
            if self.told.contains(&ring.members) {
                continue;
            }
            let first = self.seen.iter().find(|(members, _)| *members == ring.members).map(|(_, since)| *since);
            match first {
                Some(since) if now.saturating_duration_since(since) >= CONFIRMED_AFTER => {
                    let Ring { members, thread, task, what } = ring;
                    events.push(Event { cause: Cause::Deadlock, since, thread, task, what });
                    self.told.insert(members);
                }
                first => seen.push((ring.members, first.unwrap_or(now))),
            }
        }
        self.seen = seen;
        events
    }
}

fn rings(inspected: &InspectedProcess) -> Vec<Ring> {
    let of_threads = inspected.deadlocks.iter().map(|ring| {
        let threads: Vec<&InspectedThread> = ring.iter().filter_map(|at| inspected.threads.get(*at)).collect();
        let names = threads.iter().map(|thread| match &thread.name {
            Some(name) => format!("{name:?}"),
            None => thread.os_id.map_or_else(|| format!("{:#x}", thread.python_id), |id| id.to_string()),
        });
        let what = what_of("thread", &names.collect::<Vec<_>>());
        let members = sorted(threads.iter().map(|thread| thread.python_id));
        Ring { thread: threads.first().map(|thread| thread.python_id), task: None, what, members }
    });
    let tasks = inspected.tasks.iter().flat_map(|tasks| {
        tasks.rings.iter().map(|ring| ring.iter().filter_map(|at| tasks.tasks.get(*at)).collect::<Vec<_>>())
    });
    let of_tasks = tasks.map(|tasks: Vec<&InspectedTask>| {
        let names = tasks.iter().map(|task| match &task.name {
            Some(name) => format!("{name:?} ({})", task.coroutine),
            None => task.coroutine.clone(),
        });
        let what = what_of("task", &names.collect::<Vec<_>>());
        let first = tasks.first();
        Ring {
            thread: first.and_then(|task| task.python_id),
            task: first.map(|task| task.id),
            what,
            members: sorted(tasks.iter().map(|task| task.id)),
        }
    });
    of_threads.chain(of_tasks).collect()
}

fn sorted(ids: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut ids: Vec<u64> = ids.collect();
    ids.sort_unstable();
    ids
}

fn what_of(kind: &str, names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named = names.get(..NAMED).unwrap_or(names).join(", ");
    match names.len() {
        1 => format!("deadlock: {kind} {named} waits for itself"),
        count => format!("deadlock: {count} {kind}s wait for each other: {named}{more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadlocked(idents: &[u64]) -> InspectedProcess {
        let thread = |ident: &u64| InspectedThread { python_id: *ident, ..InspectedThread::default() };
        InspectedProcess {
            threads: idents.iter().map(thread).collect(),
            deadlocks: if idents.is_empty() { vec![] } else { vec![(0..idents.len()).collect()] },
            ..InspectedProcess::default()
        }
    }

    #[test]
    fn a_ring_is_told_when_it_is_seen_again() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut rings = Rings::new(start);
        assert!(rings.take_in(&deadlocked(&[2, 1]), at(0)).is_empty());
        rings.has_searched(Duration::from_millis(0), 1, at(1));
        assert!(!rings.is_due(at(900)) && rings.is_due(at(1001)));
        // The ring may be found from another of its members.
        let told = rings.take_in(&deadlocked(&[1, 2]), at(1001));
        assert_eq!(told.iter().map(|event| (event.cause, event.since)).collect::<Vec<_>>(), [(Cause::Deadlock, at(0))]);
        assert!(rings.take_in(&deadlocked(&[1, 2]), at(3000)).is_empty());
        assert!(rings.take_in(&deadlocked(&[]), at(4000)).is_empty());
        assert!(rings.take_in(&deadlocked(&[1, 2]), at(5000)).is_empty());
        assert_eq!(rings.take_in(&deadlocked(&[1, 2]), at(6000)).len(), 1);
    }

    #[test]
    fn only_new_waits_for_locks_are_suspicious() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let thread = |ms, at_lock| BlockedThread { ident: 1, since: at(ms), is_first: false, at_lock };
        let mut rings = Rings::new(start);
        assert_eq!(rings.suspected_from(&[thread(100, false)]), None);
        assert_eq!(rings.suspected_from(&[thread(500, true), thread(100, true)]), Some(at(300)));
        rings.has_searched(Duration::ZERO, 1, at(600));
        assert_eq!(rings.suspected_from(&[thread(500, true)]), None);
        // Not before the next search may be.
        assert_eq!(rings.suspected_from(&[thread(500, true), thread(700, true)]), Some(at(1600)));
        rings.take_in(&deadlocked(&[1, 2]), at(600));
        assert_eq!(rings.suspected_from(&[thread(500, true)]), Some(at(1600)));
    }

    #[test]
    fn the_search_takes_a_small_part_of_the_time() {
        let start = Instant::now();
        let mut rings = Rings::new(start);
        rings.has_searched(Duration::from_micros(500), 2, start);
        assert!(
            !rings.is_due(start + Duration::from_millis(3900)) && rings.is_due(start + Duration::from_millis(4002))
        );
    }
}
