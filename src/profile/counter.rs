//! Numbers that go up and down in the course of a recording.

use super::text::TextId;
use super::thread::ProcessRef;

/// Points of all counters together.
const MOST_POINTS: usize = 1 << 20;

/// A number of one process over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counter {
    /// The process.
    pub process: ProcessRef,
    /// What is counted.
    pub name: TextId,
    /// When it changed, µs since the start, and what it was from then on, in time order.
    pub points: Vec<(u64, u64)>,
}

/// All counters of a profile.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) all: Vec<Counter>,
    points: usize,
}

impl Counters {
    /// Notes what a number is at a time. Past the cap nothing more is kept.
    pub(super) fn set(&mut self, process: ProcessRef, name: TextId, time_us: u64, value: u64) {
        let known = self.all.iter().position(|counter| (counter.process, counter.name) == (process, name));
        if self.points >= MOST_POINTS {
            return;
        }
        let place = known.unwrap_or_else(|| {
            self.all.push(Counter { process, name, points: Vec::new() });
            self.all.len() - 1
        });
        let points = &mut self.all[place].points;
        if points.last().is_none_or(|(_, last)| *last != value) {
            points.push((time_us, value));
            self.points += 1;
        }
    }
}
