//! How much may be held before it is condensed.

use crate::profile::{self, Profile};

/// Stacks (some 100 bytes each, here and in the sampler) and totals (some 60 bytes) that there may be. Of totals there
/// are as many as threads times stacks in time; joined they lose only which thread they were of.
const MOST: profile::Room = profile::Room { stacks: 200_000, totals: 57_000 };
/// Frames that there may be, and threads, also those that have ended, and processes.
const MOST_FRAMES: usize = 100_000;
const MOST_THREADS: usize = 2000;
/// When it was condensed, and what could not be dropped still is this part of the room, the room grows.
const AT_MOST_FILLED: usize = 2;
/// Sources kept; the text of a file can be some megabytes long.
pub(super) const MOST_SOURCES: usize = 16;

/// What condensing leaves room for: half of what there may be, so that it is not soon done again.
pub(super) const CONDENSED: profile::Room = profile::Room { stacks: MOST.stacks / 4, totals: MOST.totals / 2 };

/// How much there may be before it is condensed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    stacks: usize,
    totals: usize,
    frames: usize,
    threads: usize,
    /// The sampler was asked to begin anew.
    pub(super) is_asked: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self { stacks: MOST.stacks, totals: MOST.totals, frames: MOST_FRAMES, threads: MOST_THREADS, is_asked: false }
    }
}

impl Room {
    /// Whether there is more than there may be, and nothing is done about that yet.
    pub(super) fn is_exceeded(&self, profile: &Profile) -> bool {
        let sizes = profile.table_sizes();
        !self.is_asked
            && (sizes.stacks > self.stacks
                || sizes.frames > self.frames
                || profile.totals().len() > self.totals
                || profile.threads().len() > self.threads
                || profile.processes().len() > self.threads)
    }

    /// The room once a profile has been condensed: larger than usual if much could not be dropped.
    pub(super) fn after_condensing(profile: &Profile) -> Self {
        let sizes = profile.table_sizes();
        Self {
            stacks: MOST.stacks.max(sizes.stacks * AT_MOST_FILLED),
            totals: MOST.totals.max(profile.totals().len() * AT_MOST_FILLED),
            frames: MOST_FRAMES.max(sizes.frames * AT_MOST_FILLED),
            threads: MOST_THREADS.max(profile.threads().len() * AT_MOST_FILLED),
            is_asked: false,
        }
    }
}
