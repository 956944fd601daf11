//! What each thread has been doing from look to look.

use std::time::Instant;

/// A thread that was at rest in at least so many of its last 32 looks does not work when it is met elsewhere: it is one
/// that wakes up now and then.
const MOSTLY: u32 = 28;

/// What a thread is doing, as far as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It waits for work.
    Rests,
    /// It waits for what another thread may have: a lock.
    AtLock,
    /// It runs, or waits for anything else.
    Elsewhere,
}

/// A thread at one look.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrackLook {
    /// Where it stands, as a number.
    pub place: u64,
    /// It neither runs nor wants to.
    pub is_asleep: bool,
    /// It has run since the look before.
    pub has_run: bool,
    /// What it is doing.
    pub standing: Standing,
}

/// One thread over the looks so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThreadTrack {
    place: u64,
    /// Since when it stands there without having run, as far as looks can tell.
    since: Instant,
    /// At the last look it neither ran nor wanted to.
    is_asleep: bool,
    /// What it was doing at the last look.
    standing: Standing,
    /// A bit for each of the last looks, the latest lowest: it was at rest.
    rested: u32,
}

impl ThreadTrack {
    /// A thread that is seen for the first time.
    pub(super) fn new(place: u64, now: Instant) -> Self {
        Self { place, since: now, is_asleep: false, standing: Standing::Elsewhere, rested: 0 }
    }

    /// Whether it was asleep at that place at the last look.
    pub(super) fn is_at(&self, place: u64) -> bool {
        self.is_asleep && self.place == place
    }

    /// What it was doing at the last look.
    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    /// Takes in a look; whether it has shown that the thread works. If the thread has run since the look before, that
    /// was at `ran_until` at the latest.
    pub(super) fn take_in(&mut self, look: TrackLook, ran_until: Instant) -> bool {
        let TrackLook { place, is_asleep, has_run, standing } = look;
        let is_still = self.is_at(place) && is_asleep && !has_run;
        if !is_still {
            self.since = ran_until;
        }
        let rests = standing == Standing::Rests;
        let mostly_rests = self.rested.count_ones() >= MOSTLY;
        (self.place, self.is_asleep, self.standing) = (place, is_asleep, standing);
        self.rested = self.rested << 1 | u32::from(rests);
        !rests && !is_still && !mostly_rests
    }

    /// Since when it waits for something without a move, if it does.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        (self.is_asleep && self.standing != Standing::Rests).then_some(self.since)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_thread_is_blocked_since_it_was_first_seen_asleep_there() {
        let start = Instant::now();
        let mut track = ThreadTrack::new(7, start);
        let mut look = |place, is_asleep, has_run, ms| {
            let look = TrackLook { place, is_asleep, has_run, standing: Standing::Elsewhere };
            let works = track.take_in(look, after(start, ms));
            (works, track.blocked_since())
        };
        // Whether it ran before it was first seen is not known.
        assert_eq!(look(7, true, true, 0), (true, Some(start)));
        assert_eq!(look(7, true, false, 250), (false, Some(start)));
        assert_eq!(look(8, true, true, 500), (true, Some(after(start, 500))));
        // Computing in one place, in C, is work.
        assert_eq!(look(8, false, true, 750), (true, None));
        assert_eq!(look(8, true, true, 1000), (true, Some(after(start, 1000))));
        // So is a wait that has ended and begun again.
        assert_eq!(look(8, true, false, 1250), (false, Some(after(start, 1000))));
        assert_eq!(look(8, true, true, 1500), (true, Some(after(start, 1500))));
    }

    #[test]
    fn who_wakes_up_now_and_then_does_not_work() {
        let start = Instant::now();
        let mut track = ThreadTrack::new(7, start);
        for look in 0..40 {
            let rest = TrackLook { place: 7, is_asleep: true, has_run: true, standing: Standing::Rests };
            assert!(!track.take_in(rest, after(start, 250 * look)));
        }
        assert!(track.standing() == Standing::Rests && track.blocked_since().is_none());
        let at = |place| TrackLook { place, is_asleep: false, has_run: true, standing: Standing::Elsewhere };
        assert!(!track.take_in(at(9), after(start, 10_000)));
        // It goes on: that is work.
        let works = (0..8).map(|look| track.take_in(at(9 + look), after(start, 10_250 + 250 * look)));
        assert!(works.collect::<Vec<_>>().contains(&true));
    }
}
