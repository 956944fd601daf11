//! A thread keeps the GIL from others.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::watch::event::{Cause, Event};

/// A GIL at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::watch) struct GilLook {
    /// Its address in the target, which interpreters that share it have in common.
    pub address: u64,
    /// The thread state that holds it; 0 is none.
    pub holder: u64,
    /// `threading.get_ident()` of that thread.
    pub ident: u64,
    /// How often it has changed hands; `None` where the version does not tell.
    pub switches: Option<u64>,
    /// Threads that wait for it.
    pub waiting: usize,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    holder: u64,
    switches: Option<u64>,
    since: Instant,
    is_told: bool,
}

/// Who holds each GIL while others wait, by the GIL's address.
#[derive(Debug, Default)]
pub(in crate::watch) struct HeldGils(HashMap<u64, Held>);

impl HeldGils {
    /// Takes in the GILs of one look. It counts as held when somebody waited in every look and it went to nobody
    /// between two: whoever gives it up gives it to one who waits.
    pub(in crate::watch) fn take_in(&mut self, looks: &[GilLook], limit: Duration, now: Instant) -> Vec<Event> {
        let kept = |look: &&GilLook| look.holder != 0 && look.waiting > 0;
        let mut events = Vec::new();
        let mut held = HashMap::new();
        for look in looks.iter().filter(kept) {
            let begun = Held { holder: look.holder, switches: look.switches, since: now, is_told: false };
            let same = |known: &&Held| (known.holder, known.switches) == (look.holder, look.switches);
            let mut known = self.0.get(&look.address).filter(same).copied().unwrap_or(begun);
            if !known.is_told && now.saturating_duration_since(known.since) >= limit {
                known.is_told = true;
                let threads = if look.waiting == 1 { "thread waits" } else { "threads wait" };
                let what = format!("GIL held by one thread while {} {threads}", look.waiting);
                let (since, thread) = (known.since, Some(look.ident));
                events.push(Event { cause: Cause::GilHeld, since, thread, task: None, what });
            }
            held.insert(look.address, known);
        }
        self.0 = held;
        events
    }

    /// When the next GIL will have been held for too long, if it stays where it is.
    pub(in crate::watch) fn due(&self, limit: Duration) -> Option<Instant> {
        self.0.values().filter(|held| !held.is_told).map(|held| held.since + limit).min()
    }

    /// Whether one is held of which only frequent looks tell that it does not change hands.
    pub(in crate::watch) fn needs_every_look(&self) -> bool {
        self.0.values().any(|held| held.switches.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_while_it_goes_to_nobody_and_somebody_waits() {
        let start = Instant::now();
        let limit = Duration::from_secs(1);
        let mut gils = HeldGils::default();
        let mut look = |ms: u64, holder: u64, switches: u64, waiting: usize| {
            let gil = GilLook { address: 5, holder, ident: holder + 100, switches: Some(switches), waiting };
            gils.take_in(&[gil], limit, start + Duration::from_millis(ms))
        };
        for ms in [0, 250, 500, 750] {
            assert!(look(ms, 1, 7, 2).is_empty());
        }
        let told = look(1000, 1, 7, 2);
        assert_eq!(told.iter().map(|event| (event.thread, event.since)).collect::<Vec<_>>(), [(Some(101), start)]);
        assert!(look(5000, 1, 7, 2).is_empty());
        assert_eq!((gils.due(limit), gils.needs_every_look()), (None, false));
        let mut look = |ms: u64, holder: u64, switches: u64, waiting: usize| {
            let gil = GilLook { address: 5, holder, ident: holder + 100, switches: Some(switches), waiting };
            gils.take_in(&[gil], limit, start + Duration::from_millis(ms))
        };
        // It went round and came back.
        assert!(look(5250, 1, 9, 2).is_empty());
        assert!(look(6000, 1, 9, 2).is_empty());
        // Nobody waits: nobody is kept from it.
        assert!(look(6250, 1, 9, 0).is_empty());
        assert!(look(7000, 1, 9, 1).is_empty());
        assert!(look(7900, 1, 9, 1).is_empty());
        assert_eq!(look(8000, 1, 9, 1).len(), 1);
        assert!(look(9000, 1, 10, 1).is_empty());
        assert_eq!(gils.due(limit), Some(start + Duration::from_secs(10)));
    }
}
