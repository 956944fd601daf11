//! Sets of all versions: a table of keys and hashes.

use super::{ObjectReader, at_most};
use crate::memory::ReadError;

/// How many places for items of one set are looked at, used or not.
const SLOTS_LIMIT: usize = 1 << 20;
/// How many are read at a time.
const SLOTS_AT_ONCE: usize = 256;

impl ObjectReader<'_> {
    /// The items of a set in the order of its table, as Python iterates; of one that has more than `limit` some more
    /// than that.
    ///
    /// # Errors
    /// When the set cannot be read.
    pub(crate) fn set_items(&self, set: u64, limit: usize) -> Result<Vec<u64>, ReadError> {
        let layout = &self.layout.object;
        let slots = at_most(self.pointer(set, layout.set_mask)?, SLOTS_LIMIT - 1) + 1;
        let table = self.pointer(set, layout.set_table)?;
        let key = (layout.set_entry_key / 8) as usize;
        let mut items = Vec::new();
        for first in (0..slots).step_by(SLOTS_AT_ONCE) {
            let count = (slots - first).min(SLOTS_AT_ONCE);
            let entries = self.pointers(table.wrapping_add(first as u64 * 16), count * 2)?;
            let (entries, _) = entries.as_chunks::<2>();
            for entry in entries {
                if entry[key] != 0 && !self.is_removed_entry(entry[key], entry[1 - key]) {
                    items.push(entry[key]);
                }
            }
            if items.len() > limit {
                break;
            }
        }
        Ok(items)
    }

    /// What a set leaves where an item was (Objects/setobject.c): a key that is no real object, with the hash −1 that
    /// no object has; 2.7 a certain `str`.
    fn is_removed_entry(&self, key: u64, hash: u64) -> bool {
        if self.layout.version.major == 2 {
            return self.text_or_none(key, 20).as_deref() == Some("<dummy key>");
        }
        hash == u64::MAX
    }
}
