//! Units that stand still while they are read, so that one look at them is enough: those that the caller holds, and the one of which he finds out
//! afterwards.

use super::{Memory, Snapshot, Unit};

impl<M: Memory> Snapshot<M> {
    /// Tells that these units do not change while the next [`Snapshot::begin`] fetches them, until the next call: their walks prove themselves as
    /// far as they find everything there.
    pub fn hold(&mut self, units: &[Unit]) {
        self.held.clear();
        self.held.extend_from_slice(units);
    }

    /// Tells that this unit is not expected to change from the next [`Snapshot::begin`] on, until the next call or
    /// [`Snapshot::begin_unit_again`]: it is fetched once, and its walks count as proven. It is for the caller to make sure of that afterwards.
    pub fn presume_still(&mut self, unit: Option<Unit>) {
        self.presumed_still = unit;
    }

    /// Whether something was missing for the last walk of a unit in what its sample had fetched, so that it was read later.
    pub fn has_missed(&self, unit: Unit) -> bool {
        self.units.get(&unit).is_none_or(|state| state.has_missed)
    }

    /// Tells which 4-byte word is to be read last in the call of each [`Snapshot::begin`], after everything else, until the next call.
    pub fn read_last(&mut self, address: Option<u64>) {
        self.last_word_at = address;
    }

    /// That word, as of this sample; `None` where it was not read.
    pub fn last_word(&self) -> Option<u32> {
        self.last_word
    }

    /// Tells that the unit has changed all the same: its walk of this sample proves nothing for the next one.
    pub fn was_not_still(&mut self, unit: Unit) {
        if let Some(state) = self.units.get_mut(&unit) {
            state.proven_at = 0;
        }
    }
}
