//! Integers: `int` of all versions, 2.7's `int` and `long`.

use super::{ObjectReader, TypeFlags, implausible};
use crate::memory::ReadError;

/// Bits of an integer in each digit of CPython's (`PyLong_SHIFT` of 64-bit builds).
pub(crate) const DIGIT_BITS: u32 = 30;

/// An integer of any size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Integer {
    pub(crate) negative: bool,
    /// [`DIGIT_BITS`] bits each, the lowest digit first, no zero digits at the end.
    pub(crate) digits: Vec<u32>,
}

impl Integer {
    /// From a number of ours.
    pub(crate) fn from_i64(value: i64) -> Self {
        let mut rest = value.unsigned_abs();
        let mut digits = Vec::new();
        while rest != 0 {
            digits.push((rest & ((1 << DIGIT_BITS) - 1)) as u32);
            rest >>= DIGIT_BITS;
        }
        Self { negative: value < 0, digits }
    }

    /// As a number of ours, if it is not too large.
    pub(crate) fn to_i128(&self) -> Option<i128> {
        if self.digits.len() > 4 {
            return None;
        }
        let magnitude = self.digits.iter().rev().fold(0_i128, |sum, digit| sum << DIGIT_BITS | i128::from(*digit));
        Some(if self.negative { -magnitude } else { magnitude })
    }
}

impl ObjectReader<'_> {
    /// The value of an `int` (2.7: `int` or `long`) that fits; `None` for one that does not.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn small_int(&self, object: u64) -> Result<Option<i128>, ReadError> {
        self.integer(object, 5).map(|integer| integer.and_then(|integer| integer.to_i128()))
    }

    /// An `int` (2.7: `int` or `long`), `None` if it has more digits than `digits_limit`.
    pub(crate) fn integer(&self, object: u64, digits_limit: usize) -> Result<Option<Integer>, ReadError> {
        if let Some(offset) = self.layout.object.plain_int_value
            && self.flags_of(object)?.contains(TypeFlags::PLAIN_INT)
        {
            let value = if cfg!(windows) { i64::from(self.int(object, offset)?) } else { self.signed(object, offset)? };
            return Ok(Some(Integer::from_i64(value)));
        }
        let size = self.signed(object, self.layout.object.int_size)?;
        let (negative, count) = if self.layout.object.int_tagged {
            // The sign in the two low bits (0 positive, 1 zero, 2 negative), the count above the third
            // (cpython/longintrepr.h).
            let tag = size.cast_unsigned();
            (tag & 3 == 2, if tag & 3 == 1 { 0 } else { tag >> 3 })
        } else {
            (size < 0, size.unsigned_abs())
        };
        let Some(count) = usize::try_from(count).ok().filter(|count| *count <= digits_limit) else { return Ok(None) };
        let first = object.wrapping_add(u64::from(self.layout.object.int_digits));
        let bytes = self.memory.read_bytes(first, count as u64 * 4, count * 4)?;
        let (words, _) = bytes.as_chunks::<4>();
        let mut digits: Vec<u32> = words.iter().map(|word| u32::from_ne_bytes(*word)).collect();
        if digits.iter().any(|digit| *digit >> DIGIT_BITS != 0) {
            return Err(implausible(object, count * 4));
        }
        while digits.last() == Some(&0) {
            digits.pop();
        }
        Ok(Some(Integer { negative: negative && !digits.is_empty(), digits }))
    }
}
