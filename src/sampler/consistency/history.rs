//! What is kept of a thread from sample to sample: above all whether it moves so fast that equal copies of its stack
//! mean nothing.
//!
//! A thread that comes back to the same values within the time of a read shows equal copies of what never was. So
//! equal copies are believed of a *steady* thread only, one whose copies are hardly ever torn.

use super::read_mode::ReadMode;
use crate::memory::{CopiesFound, Evidence};

/// With so many torn reads of its last eight a thread is not steady any more.
const TORN_LIMIT_OF_8: u32 = 4;
/// Nor with so many of its last 32: of what changes in nearly every read some reads show equal copies by chance, most
/// of all where it happens to stand still.
const TORN_LIMIT_OF_32: u32 = 8;
/// It is believed again when at most so many of the last 16 were.
const TORN_LIMIT_TO_RECOVER: u32 = 2;
/// A thread that is new, or has waited, is on trial for so many reads: the first torn one is enough.
const TRIAL: u32 = 32;
/// A thread that is new, or moved too fast until lately, has to be read so many times while it runs on another CPU than
/// ours before equal copies of it are believed there. Where the time between two copies is that of a round of a loop,
/// they are equal again and again, and always wrong.
const PROBATION: u32 = 32;
/// A thread that is not believed is read twice all the same in one of so many samples: at first,
const PROBE_EVERY_AT_FIRST: u32 = 2;
/// and after several torn probes in a row.
const PROBE_EVERY_AT_LAST: u32 = 16;
/// For so many samples after its last change a thread is read twice in a call.
const RESTLESS: u32 = 64;

/// A thread in its last samples, which are numbered from some number far above 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct History {
    /// The last sample in which something of its stack may have changed.
    changed_at: u32,
    /// The last sample in which its stack was made sure of.
    consistent_at: u32,
    /// Two equal copies mean that nothing has changed in between, rather than that it changed and changed back.
    is_steady: bool,
    /// It was seen to be too fast until we ran on its CPU: only that speaks for it when it runs.
    is_fast: bool,
    /// A bit for each of its last reads with two copies, the latest lowest: set where these differed, and all of them
    /// after it has failed its trial.
    torn: u32,
    /// For so many reads more it is on trial.
    trial: u32,
    /// For so many samples more in which it runs on another CPU than ours it is not believed there.
    probation: u32,
    /// In one of so many samples it is read twice though it is not steady.
    probe_every: u32,
}

impl History {
    /// Of a thread that is new in a sample.
    pub(crate) fn new(sample: u32) -> Self {
        Self {
            changed_at: sample,
            consistent_at: 0,
            is_steady: true,
            is_fast: false,
            torn: 0,
            trial: TRIAL,
            probation: PROBATION,
            probe_every: PROBE_EVERY_AT_FIRST,
        }
    }

    /// Takes note of what a read has shown.
    pub(crate) fn record_read(&mut self, sample: u32, mode: ReadMode, evidence: &Evidence) {
        match mode {
            ReadMode::Once | ReadMode::Twice => {
                if !evidence.is_as_before && self.was_consistent_before(sample) {
                    self.changed_at = sample;
                }
                match evidence.copies {
                    CopiesFound::Single => {}
                    CopiesFound::Equal => self.record_copies(true),
                    CopiesFound::Torn => self.record_copies(false),
                }
            }
            // Nobody looks whether it has.
            ReadMode::SameCpu => self.changed_at = sample,
            ReadMode::Unchanged | ReadMode::Unproven | ReadMode::Stopped => {}
        }
    }

    fn record_copies(&mut self, are_equal: bool) {
        self.torn = self.torn << 1 | u32::from(!are_equal);
        let torn_of = |last: u32| (self.torn & (u32::MAX >> (32 - last))).count_ones();
        if self.is_steady {
            let has_failed = self.trial > 0 && !are_equal;
            self.is_steady = !has_failed && torn_of(8) < TORN_LIMIT_OF_8 && torn_of(32) < TORN_LIMIT_OF_32;
            self.trial = self.trial.saturating_sub(1);
            self.probe_every = PROBE_EVERY_AT_FIRST;
            if has_failed {
                // What it has not shown yet does not speak for it.
                self.torn = u32::MAX;
            }
            return;
        }
        self.is_steady = torn_of(16) <= TORN_LIMIT_TO_RECOVER;
        self.probe_every =
            if are_equal { PROBE_EVERY_AT_FIRST } else { (self.probe_every * 2).min(PROBE_EVERY_AT_LAST) };
        if self.is_steady {
            self.torn &= u32::from(u16::MAX);
            self.probation = PROBATION;
        }
    }

    /// Takes note of whether its stack of a sample could be made sure of.
    pub(crate) fn record_outcome(&mut self, sample: u32, is_consistent: bool) {
        if is_consistent {
            self.consistent_at = sample;
        } else {
            self.changed_at = sample;
            self.consistent_at = 0;
        }
    }

    /// Its stack was whole in a sample in which it ran on another CPU than ours.
    pub(crate) fn record_pass(&mut self) {
        if self.is_steady {
            self.probation = self.probation.saturating_sub(1);
        }
    }

    /// It has waited for some time, however fast it moved before.
    pub(crate) fn record_wait(&mut self) {
        if !self.is_steady {
            self.probation = PROBATION;
        }
        (self.is_steady, self.torn, self.trial) = (true, 0, TRIAL);
    }

    /// It is to be found out again whether it moves fast; meanwhile it is not believed.
    pub(crate) fn start_probation(&mut self) {
        (self.is_steady, self.is_fast) = (true, false);
        (self.torn, self.trial, self.probation) = (0, TRIAL, PROBATION);
    }

    /// We run on its CPU from now on: that makes sure of it, though equal copies are still asked for.
    pub(crate) fn record_pinning(&mut self) {
        (self.is_steady, self.is_fast) = (true, true);
        (self.torn, self.trial, self.probation) = (0, 0, 0);
    }

    /// Whether two equal copies mean that nothing has changed in between.
    pub(crate) fn is_steady(&self) -> bool {
        self.is_steady
    }

    /// Whether only our being on its CPU speaks for it when it runs.
    pub(crate) fn is_fast(&self) -> bool {
        self.is_fast
    }

    /// Whether it is not to be believed yet where it runs on another CPU than ours.
    pub(crate) fn is_on_probation(&self) -> bool {
        self.probation > 0
    }

    /// Whether two copies of it say anything in a sample: it is steady, or it is time to probe it.
    pub(crate) fn is_worth_two_copies(&self, sample: u32) -> bool {
        self.is_steady || sample.is_multiple_of(self.probe_every)
    }

    /// Whether something of it has changed lately, so that it may be changing now.
    pub(crate) fn is_restless(&self, sample: u32) -> bool {
        sample - self.changed_at < RESTLESS
    }

    /// Whether its stack was made sure of in the sample before this one.
    pub(crate) fn was_consistent_before(&self, sample: u32) -> bool {
        self.consistent_at + 1 == sample
    }
}
