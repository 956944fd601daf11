//! In which time numbers of code objects were given.

use std::sync::atomic::{AtomicU64, Ordering};

/// The time in which the numbers of code objects mean what they mean. Whoever keeps such numbers compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CodeEpoch {
    /// No two readers have the same.
    pub reader: u64,
    /// How often the reader has forgotten its code.
    pub forgotten: u64,
}

impl CodeEpoch {
    /// That of a new reader.
    pub(super) fn first() -> Self {
        static READERS: AtomicU64 = AtomicU64::new(0);
        Self { reader: READERS.fetch_add(1, Ordering::Relaxed), forgotten: 0 }
    }
}
