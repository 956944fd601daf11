//! The flags of a type (`tp_flags`).

use std::ops::BitOr;

/// `tp_flags`: what kind of object the type makes (object.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TypeFlags(pub u64);

impl TypeFlags {
    /// `Py_TPFLAGS_INLINE_VALUES` (3.13+): attributes lie in the object itself.
    pub(crate) const INLINE_VALUES: Self = Self(1 << 2);
    /// `Py_TPFLAGS_MANAGED_DICT` (3.11+): attributes are reached through a word before the object.
    pub(crate) const MANAGED_DICT: Self = Self(1 << 4);
    /// `Py_TPFLAGS_HEAPTYPE`: made at run time, so the type object is a `PyHeapTypeObject`.
    pub(crate) const HEAP_TYPE: Self = Self(1 << 9);
    /// `Py_TPFLAGS_INT_SUBCLASS` (2.7): `int`.
    pub(crate) const PLAIN_INT: Self = Self(1 << 23);
    /// `Py_TPFLAGS_LONG_SUBCLASS`: `int` (2.7: `long`).
    pub(crate) const INT: Self = Self(1 << 24);
    /// `Py_TPFLAGS_LIST_SUBCLASS`.
    pub(crate) const LIST: Self = Self(1 << 25);
    /// `Py_TPFLAGS_TUPLE_SUBCLASS`.
    pub(crate) const TUPLE: Self = Self(1 << 26);
    /// `Py_TPFLAGS_BYTES_SUBCLASS` (2.7: `Py_TPFLAGS_STRING_SUBCLASS`).
    pub(crate) const BYTES: Self = Self(1 << 27);
    /// `Py_TPFLAGS_UNICODE_SUBCLASS`: `str` (2.7: `unicode`).
    pub(crate) const TEXT: Self = Self(1 << 28);
    /// `Py_TPFLAGS_DICT_SUBCLASS`.
    pub(crate) const DICT: Self = Self(1 << 29);
    /// `Py_TPFLAGS_BASE_EXC_SUBCLASS`.
    pub(crate) const EXCEPTION: Self = Self(1 << 30);
    /// `Py_TPFLAGS_TYPE_SUBCLASS`.
    pub(crate) const TYPE: Self = Self(1 << 31);

    /// Whether all of `flags` are set.
    pub(crate) fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl BitOr for TypeFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
