//! How a thread is read: a decision over plain values, by what is known of it and what it was seen doing.

use super::history::History;
use super::read_mode::ReadMode;

/// What a thread was seen doing before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It has not been on a CPU since its stack was last read, and that stack is here.
    Unchanged,
    /// It waits.
    Waiting,
    /// It is on a CPU, or waits for one; or it was when the last sample was read, and is looked at after this read
    /// only.
    Running,
    /// It was not looked at.
    Unknown,
}

/// What is the same for all threads in a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// The number of the sample.
    pub(crate) sample: u32,
    /// Single threads may be stopped before they are read.
    pub(crate) may_stop: bool,
    /// Everything is read, whatever has not changed.
    pub(crate) is_whole: bool,
}

/// How to read a thread. `is_pinned` says that we are on its CPU, as its own memory told in the last sample.
pub(crate) fn plan_read(
    history: &History,
    activity: Activity,
    is_pinned: bool,
    circumstances: Circumstances,
) -> ReadMode {
    let Circumstances { sample, may_stop, is_whole } = circumstances;
    if activity == Activity::Unchanged && !is_whole {
        ReadMode::Unchanged
    } else if is_pinned {
        ReadMode::SameCpu
    } else if !history.is_worth_two_copies(sample) {
        if may_stop && activity == Activity::Running { ReadMode::Stopped } else { ReadMode::Unproven }
    } else if history.is_restless(sample) {
        ReadMode::Twice
    } else {
        ReadMode::Once
    }
}
