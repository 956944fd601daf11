//! A recording in pieces: what was seen in each interval is a profile of its own, which is handed out when the interval
//! is over. So memory does not grow with time.

use std::time::Instant;

use super::record_options::Intervals;
use super::recorder::Recorder;

impl Recorder<'_> {
    /// Hands out what was seen since the interval began, and begins the next.
    pub(super) fn end_interval(&mut self, intervals: &mut Intervals<'_>) {
        self.describe();
        let mut piece = self.begin_anew();
        // These are of the interval.
        (self.profile.metadata.gil, self.profile.metadata.gc) = Default::default();
        let metadata = &mut piece.metadata;
        let ended_after_us = metadata.duration_us;
        metadata.start_unix_us += intervals.begun_after_us;
        metadata.duration_us = ended_after_us.saturating_sub(intervals.begun_after_us);
        (intervals.begun, intervals.begun_after_us) = (Instant::now(), ended_after_us);
        (intervals.take)(piece);
    }
}
