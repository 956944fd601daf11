//! Units that stand still while they are read, so that one look at them is enough: those that the caller holds, and the one of which he finds out
//! afterwards.

use super::values::{Place, array};
use super::{Memory, Snapshot, Unit, Walk};

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

    /// A 4-byte word that tells something of a unit without being part of any walk, as it was right after the unit's chain was fetched in this sample's
    /// own call. `None` where it was not, as in the first sample that asks for it; then the next ones fetch it.
    pub fn aside(&mut self, unit: Unit, address: u64) -> Option<u32> {
        let walk = std::mem::replace(&mut self.current, Walk::new(unit, self.dependencies.len()));
        let place = self.place(address, 4);
        self.current = walk;
        match place {
            Ok(Place::Learned { span, offset }) if self.spans[span].unit == unit && self.spans[span].is_head => {
                Some(u32::from_ne_bytes(array(&self.now, offset)))
            }
            _ => None,
        }
    }
}
