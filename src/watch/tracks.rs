//! What each thread has been doing from look to look.

use std::time::Instant;

/// A thread that was at rest in at least so many of its last 32 looks does not work when it is met elsewhere: it is one
/// that wakes up now and then.
const MOSTLY: u32 = 28;

/// One thread over the looks so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThreadTrack {
    place: u64,
    /// Since when it stands there without having run, as far as looks can tell.
    since: Instant,
    /// At the last look it neither ran nor wanted to.
    is_asleep: bool,
    /// At the last look it was at rest.
    rests: bool,
    /// A bit for each of the last looks, the latest lowest: it was at rest.
    rested: u32,
    looks: u32,
}

impl ThreadTrack {
    /// A thread that is seen for the first time.
    pub(super) fn new(place: u64, now: Instant) -> Self {
        Self { place, since: now, is_asleep: false, rests: false, rested: 0, looks: 0 }
    }

    /// Whether it was asleep at that place at the last look.
    pub(super) fn is_at(&self, place: u64) -> bool {
        self.is_asleep && self.place == place
    }

    /// Whether it was at rest at the last look.
    pub(super) fn rests(&self) -> bool {
        self.rests
    }

    /// Takes in a look; whether it has shown that the thread works.
    pub(super) fn take_in(&mut self, place: u64, is_asleep: bool, rests: bool, now: Instant) -> bool {
        let was_there = self.looks > 0 && self.is_at(place);
        if !(was_there && is_asleep) {
            self.since = now;
        }
        let mostly_rests = self.rested.count_ones() >= MOSTLY;
        (self.place, self.is_asleep, self.rests) = (place, is_asleep, rests);
        self.rested = self.rested << 1 | u32::from(rests);
        self.looks = self.looks.saturating_add(1);
        !rests && !(was_there && is_asleep) && !mostly_rests
    }

    /// Since when it waits for something without a move, if it does.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        (self.is_asleep && !self.rests).then_some(self.since)
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
        assert!(track.take_in(7, true, false, start));
        assert!(!track.take_in(7, true, false, after(start, 250)));
        assert_eq!(track.blocked_since(), Some(start));
        assert!(track.take_in(8, true, false, after(start, 500)));
        assert_eq!(track.blocked_since(), Some(after(start, 500)));
        // Computing in one place, in C, is work.
        assert!(track.take_in(8, false, false, after(start, 750)));
        assert_eq!(track.blocked_since(), None);
        assert!(track.take_in(8, true, false, after(start, 1000)));
        assert_eq!(track.blocked_since(), Some(after(start, 1000)));
    }

    #[test]
    fn who_wakes_up_now_and_then_does_not_work() {
        let start = Instant::now();
        let mut track = ThreadTrack::new(7, start);
        for look in 0..40 {
            assert!(!track.take_in(7, true, true, after(start, 250 * look)));
        }
        assert!(track.rests() && track.blocked_since().is_none());
        assert!(!track.take_in(9, false, false, after(start, 10_000)));
        // It goes on: that is work.
        let works = (0..8).map(|look| track.take_in(9 + look, false, false, after(start, 10_250 + 250 * look)));
        assert!(works.collect::<Vec<_>>().contains(&true));
    }
}
