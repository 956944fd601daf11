//! Dicts of all versions: the table of 2.7, the compact dict of 3.6+, its split form that shares keys among instances,
//! and the orders of insertion that 3.11+ keeps beside shared values.
//!
//! Limits: a dict may change while it is read. Each step looks only at what it has read itself, so the items are those
//! of some moments between beginning and end; a key or value may be of an object that is gone by now.

use super::{ObjectReader, at_most};
use crate::memory::{ReadError, Request};
use crate::python::layout::{DictFormat, DictKeys, TextFormat};

/// How many places for entries of one dict are looked at, used or not.
const ENTRIES_LIMIT: usize = 1 << 22;

/// How many entries are read at a time.
const ENTRIES_AT_ONCE: usize = 256;

/// `DICT_KEYS_GENERAL` (3.11+): entries have a hash before key and value.
const KIND_GENERAL: u8 = 0;

/// More keys are never shared (`SHARED_KEYS_MAX_SIZE`, 30); older versions had no such limit, but their values are in
/// order.
const SHARED_KEYS_LIMIT: usize = 254;

/// The items of one dict, in the order in which Python iterates over them: addresses of key and value.
///
/// Ends at the first place that cannot be read; [`DictItems::error`] then says why.
pub(crate) struct DictItems<'target> {
    objects: ObjectReader<'target>,
    /// The entries that are not read yet.
    next: u64,
    left: usize,
    entry_words: usize,
    /// Where in an entry the key is, in words; the value is behind it.
    key_word: usize,
    /// Read already, the next one last.
    pending: Vec<(u64, u64)>,
    error: Option<ReadError>,
}

impl DictItems<'_> {
    /// What ended the items early, if anything did.
    pub(crate) fn error(&self) -> Option<ReadError> {
        self.error
    }

    fn refill(&mut self) -> Result<(), ReadError> {
        let count = self.left.min(ENTRIES_AT_ONCE);
        let entries = self.objects.pointers(self.next, count * self.entry_words)?;
        let entries = entries.chunks_exact(self.entry_words).filter_map(|entry| {
            let (key, value) = (*entry.get(self.key_word)?, *entry.get(self.key_word + 1)?);
            (key != 0 && value != 0).then_some((key, value))
        });
        self.pending.extend(entries);
        self.pending.reverse();
        self.left -= count;
        self.next = self.next.wrapping_add((count * self.entry_words * 8) as u64);
        Ok(())
    }
}

impl Iterator for DictItems<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        while self.pending.is_empty() && self.left > 0 {
            if let Err(error) = self.refill() {
                self.error = Some(error);
                self.left = 0;
            }
        }
        self.pending.pop()
    }
}

/// The parts of a `PyDictKeysObject` that matter here.
#[derive(Clone, Copy)]
struct Keys {
    entries: u64,
    count: usize,
    entry_words: usize,
    key_word: usize,
}

impl<'target> ObjectReader<'target> {
    /// The items of a dict or of an instance of a subclass, in order.
    ///
    /// # Errors
    /// When the dict itself cannot be read.
    pub(crate) fn dict_items(&self, dict: u64) -> Result<DictItems<'target>, ReadError> {
        match self.layout.object.dict {
            DictFormat::Table { mask, table, .. } => {
                let slots = u64::try_from(self.signed(dict, mask)?).map_err(|_| ReadError::implausible(dict))?;
                let slots = at_most(slots, ENTRIES_LIMIT) + 1;
                Ok(self.items_at(Keys {
                    entries: self.pointer(dict, table)?,
                    count: slots,
                    entry_words: 3,
                    key_word: 1,
                }))
            }
            DictFormat::Keys { keys, values, .. } => {
                let (keys, values) = (self.pointer(dict, keys)?, self.pointer(dict, values)?);
                let keys = self.dict_keys(keys)?;
                if values == 0 { Ok(self.items_at(keys)) } else { self.split_items(&keys, values) }
            }
        }
    }

    /// How many items a dict says it has.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn dict_length(&self, dict: u64) -> Result<u64, ReadError> {
        let (DictFormat::Table { used, .. } | DictFormat::Keys { used, .. }) = self.layout.object.dict;
        self.pointer(dict, used)
    }

    /// The value of the ASCII key `name` in a dict.
    ///
    /// # Errors
    /// When the dict cannot be read.
    pub(crate) fn find_in_dict(&self, dict: u64, name: &str) -> Result<Option<u64>, ReadError> {
        let mut items = self.dict_items(dict)?;
        let found = self.find_among(&mut items, name);
        match (found, items.error()) {
            (None, Some(error)) => Err(error),
            (found, _) => Ok(found),
        }
    }

    /// The dict of a module object.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn module_dict(&self, module: u64) -> Result<u64, ReadError> {
        self.pointer(module, self.layout.object.module_dict)
    }

    /// The value of the first of `items` whose key is the ASCII text `name`. Many keys are compared with one read.
    pub(super) fn find_among(&self, items: &mut dyn Iterator<Item = (u64, u64)>, name: &str) -> Option<u64> {
        // All that tells an ASCII `str` of this text from another object: length, kind, and the characters behind the
        // head.
        let (head, length) = match self.layout.object.text {
            TextFormat::Python2 { .. } => (self.layout.object.bytes_data, self.layout.object.ob_size),
            TextFormat::Compact { ascii_size, length, .. } => (ascii_size, length),
        };
        let (head, length) = (head as usize, length as usize);
        let size = head + name.len();
        let is_name = |bytes: &[u8]| {
            let says_length = bytes.get(length..length + 8) == Some((name.len() as u64).to_ne_bytes().as_slice());
            says_length && bytes.get(head..) == Some(name.as_bytes())
        };
        let mut buffer = vec![0; size * ENTRIES_AT_ONCE];
        loop {
            let batch: Vec<(u64, u64)> = items.take(ENTRIES_AT_ONCE).collect();
            if batch.is_empty() {
                return None;
            }
            let buffers = buffer.chunks_exact_mut(size);
            let mut requests: Vec<Request<'_>> =
                batch.iter().zip(buffers).map(|((key, _), buffer)| Request::new(*key, buffer)).collect();
            self.memory.read_many(&mut requests);
            // A shorter key at the end of mapped memory cannot be read at this length, and is not the one.
            let found = requests.iter().zip(&batch).find(|(request, _)| request.complete && is_name(request.buffer));
            if let Some((_, (_, value))) = found {
                return Some(*value);
            }
        }
    }

    /// The items of an instance whose values lie apart from the keys that its class shares: `keys` as in
    /// `ht_cached_keys`, `values` a `PyDictValues`.
    pub(super) fn shared_items(&self, keys: u64, values: u64) -> Result<DictItems<'target>, ReadError> {
        self.split_items(&self.dict_keys(keys)?, values)
    }

    fn items_at(&self, keys: Keys) -> DictItems<'target> {
        DictItems {
            objects: *self,
            next: keys.entries,
            left: keys.count,
            entry_words: keys.entry_words,
            key_word: keys.key_word,
            pending: Vec::new(),
            error: None,
        }
    }

    fn dict_keys(&self, keys: u64) -> Result<Keys, ReadError> {
        let DictFormat::Keys { keys_format, .. } = self.layout.object.dict else {
            return Err(ReadError::implausible(keys));
        };
        let (index_bytes, entry_words, entry_count, indices) = match keys_format {
            DictKeys::Size { size, entry_count, indices } => {
                let slots = self.pointer(keys, size)?;
                // The width of an index follows from the number of slots (DK_IXSIZE, Objects/dictobject.c).
                let width = match slots {
                    0..=0xFF => 1,
                    0x100..=0xFFFF => 2,
                    0x1_0000..=0xFFFF_FFFF => 4,
                    _ => return Err(ReadError::implausible(keys)),
                };
                (slots * width, 3, entry_count, indices)
            }
            DictKeys::Log2 { log2_index_bytes, kind, entry_count, indices } => {
                let index_bytes = 1_u64.checked_shl(u32::from(self.byte(keys, log2_index_bytes)?));
                let index_bytes = index_bytes.ok_or_else(|| ReadError::implausible(keys))?;
                let entry_words = if self.byte(keys, kind)? == KIND_GENERAL { 3 } else { 2 };
                (index_bytes, entry_words, entry_count, indices)
            }
        };
        let count = u64::try_from(self.signed(keys, entry_count)?).map_err(|_| ReadError::implausible(keys))?;
        Ok(Keys {
            entries: keys.wrapping_add(u64::from(indices)).wrapping_add(index_bytes),
            count: at_most(count, ENTRIES_LIMIT),
            entry_words,
            key_word: entry_words - 2,
        })
    }

    /// Keys from one place, values from another.
    fn split_items(&self, keys: &Keys, values: u64) -> Result<DictItems<'target>, ReadError> {
        let mut items = self.items_at(Keys { entries: 0, count: 0, ..*keys });
        let count = keys.count.min(ENTRIES_AT_ONCE);
        if count == 0 {
            return Ok(items);
        }
        let entries = self.pointers(keys.entries, count * keys.entry_words)?;
        let first_value = values.wrapping_add(u64::from(self.layout.object.dict_values_offset));
        let found = self.pointers(first_value, count)?;
        let item = |index: usize| {
            let key = *entries.get(index * keys.entry_words + keys.key_word)?;
            let value = *found.get(index)?;
            (key != 0 && value != 0).then_some((key, value))
        };
        items.pending = match self.insertion_order(values, first_value)? {
            Some(order) => order.iter().filter_map(|index| item(usize::from(*index))).collect(),
            None => (0..count).filter_map(item).collect(),
        };
        items.pending.reverse();
        Ok(items)
    }

    /// The indices of values in the order in which they were set; `None` where that is the order of the keys (≤ 3.10).
    fn insertion_order(&self, values: u64, first_value: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let DictFormat::Keys { keys_format: DictKeys::Log2 { .. }, .. } = self.layout.object.dict else {
            return Ok(None);
        };
        if self.layout.object.dict_values_valid.is_some() {
            // 3.13+: {capacity, size, embedded, valid}, the values, then one byte for each (internal/pycore_dict.h).
            let [capacity, size, _, _] = self.memory.read_u32(values)?.to_ne_bytes();
            let order = first_value.wrapping_add(u64::from(capacity) * 8);
            return self.memory.read_bytes(order, u64::from(size.min(capacity)), SHARED_KEYS_LIMIT).map(Some);
        }
        // 3.11 and 3.12: before the values, backwards: the size of this prefix, how many, then one byte for each.
        let size = usize::from(self.memory.read_u8(values.wrapping_sub(2))?).min(SHARED_KEYS_LIMIT);
        let mut order = vec![0; size];
        self.memory.read(values.wrapping_sub(2).wrapping_sub(size as u64), &mut order)?;
        order.reverse();
        Ok(Some(order))
    }
}

impl std::fmt::Debug for DictItems<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DictItems")
            .field("left", &self.left)
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}
