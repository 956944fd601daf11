//! Objects: what lies at an address that the target calls a `PyObject *`.
//!
//! [`ObjectReader`] joins a memory with a layout; its methods, one file a subject, read text, dicts, the attributes of
//! instances and what a type says about itself. Addresses that come from the target are believed only as far as a read
//! goes: every length is bounded, every chain has a cap, and an object that changes while it is read gives a wrong
//! answer, never an endless one.
//!
//! Limits: 64-bit targets of our own byte order. Nothing here checks that an address really is an object; ask for its
//! type first.

mod dict;
mod instance;
mod number;
mod set;
mod text;
mod type_flags;
mod types;

pub(crate) use dict::DictItems;
pub(crate) use instance::Slot;
pub(crate) use number::{DIGIT_BITS, Integer};
pub(crate) use text::Text;
#[cfg(test)]
pub(crate) use text::escape_lone_surrogates;
pub(crate) use type_flags::TypeFlags;
pub(crate) use types::TypeInfo;

use crate::memory::{Memory, ReadError, ReadFailure};
use crate::python::layout::Layout;

/// Reads objects of one target.
#[derive(Clone, Copy)]
pub(crate) struct ObjectReader<'target> {
    memory: &'target dyn Memory,
    layout: &'target Layout,
}

impl<'target> ObjectReader<'target> {
    /// A reader of objects that lie in `memory` as `layout` describes.
    pub(crate) fn new(memory: &'target dyn Memory, layout: &'target Layout) -> Self {
        Self { memory, layout }
    }

    /// Where things lie.
    pub(crate) fn layout(&self) -> &'target Layout {
        self.layout
    }

    /// What is read from.
    pub(crate) fn memory(&self) -> &'target dyn Memory {
        self.memory
    }

    /// The pointer at `offset` of the struct at `address`; may be 0.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn pointer(&self, address: u64, offset: u32) -> Result<u64, ReadError> {
        self.memory.read_u64(address.wrapping_add(u64::from(offset)))
    }

    /// The `Py_ssize_t` or `long long` at `offset` of the struct at `address`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn signed(&self, address: u64, offset: u32) -> Result<i64, ReadError> {
        self.pointer(address, offset).map(u64::cast_signed)
    }

    /// The `int` at `offset` of the struct at `address`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn int(&self, address: u64, offset: u32) -> Result<i32, ReadError> {
        self.memory.read_u32(address.wrapping_add(u64::from(offset))).map(u32::cast_signed)
    }

    /// The byte at `offset` of the struct at `address`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn byte(&self, address: u64, offset: u32) -> Result<u8, ReadError> {
        self.memory.read_u8(address.wrapping_add(u64::from(offset)))
    }

    /// `count` pointers from `address` on. The caller has bounded `count`.
    ///
    /// # Errors
    /// When not all of them can be read.
    pub(crate) fn pointers(&self, address: u64, count: usize) -> Result<Vec<u64>, ReadError> {
        let length = count.checked_mul(8).ok_or_else(|| ReadError::implausible(address))?;
        let mut bytes = vec![0; length];
        self.memory.read(address, &mut bytes)?;
        Ok(words(&bytes).collect())
    }

    /// `ob_size` of an object of variable size, which must not be negative.
    ///
    /// # Errors
    /// When it cannot be read or is negative.
    pub(crate) fn size(&self, object: u64) -> Result<u64, ReadError> {
        let size = self.signed(object, self.layout.object.ob_size)?;
        u64::try_from(size).map_err(|_| ReadError::implausible(object))
    }

    /// The first items of a tuple, `limit` at most, and how many there are.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn tuple_items(&self, tuple: u64, limit: usize) -> Result<(Vec<u64>, u64), ReadError> {
        let size = self.size(tuple)?;
        let first = tuple.wrapping_add(u64::from(self.layout.object.tuple_items));
        Ok((self.pointers(first, at_most(size, limit))?, size))
    }

    /// The first items of a list, `limit` at most, and how many there are.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn list_items(&self, list: u64, limit: usize) -> Result<(Vec<u64>, u64), ReadError> {
        let size = self.size(list)?;
        let wanted = at_most(size, limit);
        if wanted == 0 {
            return Ok((Vec::new(), size));
        }
        let first = self.pointer(list, self.layout.object.list_items)?;
        Ok((self.pointers(first, wanted)?, size))
    }

    /// The first bytes of a bytes object (2.7: `str`), `limit` at most, and how many there are.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn bytes(&self, object: u64, limit: usize) -> Result<(Vec<u8>, u64), ReadError> {
        let size = self.size(object)?;
        let data = object.wrapping_add(u64::from(self.layout.object.bytes_data));
        let wanted = size.min(limit as u64);
        Ok((self.memory.read_bytes(data, wanted, limit)?, size))
    }
}

/// `size`, a number from the target, made small enough to use.
pub(crate) fn at_most(size: u64, limit: usize) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX).min(limit)
}

/// The 8-byte words of `bytes`; what is left over is dropped.
pub(crate) fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (chunks, _) = bytes.as_chunks::<8>();
    chunks.iter().map(|chunk| u64::from_ne_bytes(*chunk))
}

/// An error for something at `address` that is not what it should be.
pub(crate) fn implausible(address: u64, length: usize) -> ReadError {
    ReadError::new(address, length, ReadFailure::Implausible)
}

#[cfg(test)]
mod tests;
