//! What is kept of a unit from sample to sample, above all whether it moves so fast that equal copies of it mean nothing; and what callers may ask and
//! know of that.

use super::{Snapshot, Unit};

/// A unit of which at least so many of the last eight reads, or of the last 32, were torn is not believed any more: what changes in nearly every read
/// changes back in some, and what is seen only when it holds still is seen too often where it does.
const DISTRUST: (u32, u32) = (4, 8);
/// One that is new, or has been calm, is on trial for so many reads: the first torn one is enough.
const TRIAL: u32 = 32;
/// One that is new, or moved too fast until lately, has to show for so many samples in which it ran while it was read that it does not: until then,
/// equal copies of it are not believed. Where the time between two copies is that of a round of a loop, they are equal again and again.
const PROBATION: u32 = 32;
/// It is believed again when at most so many of the last 16 were.
const TRUST: u32 = 2;
/// When at most so many of the last 32 were torn, equal copies are believed however far apart they are.
const SURE: u32 = 1;
/// A unit that is not believed is read twice all the same in one of so many samples: at first, and when nothing has changed for long.
const PROBE_EVERY: (u32, u32) = (2, 16);

impl<M> Snapshot<M> {
    /// Whether two copies of the unit would not be compared, or not be believed, in the next sample: it moves so fast that it has to be held.
    pub fn needs_hold(&self, unit: Unit) -> bool {
        self.units.get(&unit).is_some_and(|state| !state.is_steady && !state.is_looked_at(self.sample + 1))
    }

    /// Whether a unit moves so fast that equal copies of it are not believed.
    pub fn is_unsteady(&self, unit: Unit) -> bool {
        self.units.get(&unit).is_some_and(|state| !state.is_steady)
    }

    /// Whether a unit is one of which equal copies are believed, and nothing has shown in this sample that it moves fast.
    pub fn is_worth_another_read(&self, unit: Unit) -> bool {
        let state = self.units.get(&unit);
        state.is_some_and(|state| state.is_steady && !state.is_on_probation() && state.torn_at != self.sample)
    }

    /// Tells that a unit has not moved for some time, however fast it moved before.
    pub fn calm(&mut self, unit: Unit) {
        if let Some(state) = self.units.get_mut(&unit) {
            state.calm();
        }
    }

    /// Tells that it is to be found out again whether a unit moves fast, without trusting it meanwhile.
    pub fn judge_anew(&mut self, unit: Unit) {
        if let Some(state) = self.units.get_mut(&unit) {
            state.judge_anew();
        }
    }

    /// Whether a unit has not been seen running for long enough to believe that it does not move fast.
    pub fn is_on_probation(&self, unit: Unit) -> bool {
        self.units.get(&unit).is_some_and(UnitState::is_on_probation)
    }

    /// Tells that a unit whose walk was proven by equal copies ran in this sample while it was read.
    pub fn has_passed(&mut self, unit: Unit) {
        if let Some(state) = self.units.get_mut(&unit) {
            state.has_passed();
        }
    }

    /// Tells that it is known in another way whether a unit moved while it was read: equal copies are believed at once.
    pub fn trust(&mut self, unit: Unit) {
        if let Some(state) = self.units.get_mut(&unit) {
            state.trust();
        }
    }
}

/// A unit in its last samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnitState {
    /// The last sample in which a value of it was seen to have changed.
    pub(super) moved_at: u32,
    /// The last sample in which its walk was proven.
    pub(super) proven_at: u32,
    /// The last sample in which its two copies differed.
    pub(super) torn_at: u32,
    /// Whether two equal copies mean that nothing has changed in between, rather than that it changed and changed back.
    pub(super) is_steady: bool,
    /// Something of its last walk was read for it alone, after the rest.
    pub(super) has_missed: bool,
    /// A bit for each of its last walks with two copies, the latest lowest: set where these differed.
    torn: u32,
    /// For so many reads more it is on trial.
    trial: u32,
    /// For so many samples more in which it runs while it is read it is not believed.
    probation: u32,
    /// In one of so many samples it is read twice though it is not steady.
    probe_every: u32,
    /// Its dependencies of this sample, a range of `dependencies`.
    pub(super) first: usize,
    pub(super) last: usize,
}

impl UnitState {
    pub(super) fn new(sample: u32) -> Self {
        Self {
            moved_at: sample,
            proven_at: 0,
            torn_at: 0,
            is_steady: true,
            has_missed: false,
            torn: 0,
            trial: TRIAL,
            probation: PROBATION,
            probe_every: PROBE_EVERY.0,
            first: 0,
            last: 0,
        }
    }

    /// It has not moved for some time, however fast it moved before.
    pub(super) fn calm(&mut self) {
        if !self.is_steady {
            self.probation = PROBATION;
        }
        (self.is_steady, self.torn, self.trial) = (true, 0, TRIAL);
    }

    /// What was known of it holds no longer.
    pub(super) fn judge_anew(&mut self) {
        (self.is_steady, self.torn, self.trial, self.probation) = (true, 0, TRIAL, PROBATION);
    }

    /// Something else than equal copies makes sure of it from now on, though these are still asked for.
    pub(super) fn trust(&mut self) {
        (self.is_steady, self.torn, self.trial, self.probation) = (true, 0, 0, 0);
    }

    /// Whether it is not to be believed yet where it runs.
    pub(super) fn is_on_probation(&self) -> bool {
        self.probation > 0
    }

    /// Its copies were equal in a sample in which it ran.
    pub(super) fn has_passed(&mut self) {
        if self.is_steady {
            self.probation = self.probation.saturating_sub(1);
        }
    }

    /// Takes note of whether a walk found the two copies of this sample equal.
    pub(super) fn note(&mut self, same: bool) {
        self.torn = self.torn << 1 | u32::from(!same);
        let torn_of = |last: u32| (self.torn & (u32::MAX >> (32 - last))).count_ones();
        if self.is_steady {
            let has_failed = self.trial > 0 && !same;
            self.is_steady = !has_failed && torn_of(8) < DISTRUST.0 && torn_of(32) < DISTRUST.1;
            self.trial = self.trial.saturating_sub(1);
            self.probe_every = PROBE_EVERY.0;
            if has_failed {
                // What it has not shown yet does not speak for it.
                self.torn = u32::MAX;
            }
        } else {
            self.is_steady = torn_of(16) <= TRUST;
            self.probe_every = if same { PROBE_EVERY.0 } else { (self.probe_every * 2).min(PROBE_EVERY.1) };
            if self.is_steady {
                self.torn &= u32::from(u16::MAX);
                self.probation = PROBATION;
            }
        }
    }

    /// Whether two equal copies mean that also when they are far apart.
    pub(super) fn is_sure(&self) -> bool {
        self.torn.count_ones() <= SURE
    }

    /// Whether its two copies are to be compared in this sample.
    pub(super) fn is_looked_at(&self, sample: u32) -> bool {
        self.is_steady || sample.is_multiple_of(self.probe_every)
    }
}
