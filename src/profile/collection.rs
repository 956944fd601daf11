//! When the garbage collector ran.

use super::thread::ProcessRef;

/// Collections of all processes together.
const MOST_COLLECTIONS: usize = 1 << 18;

/// A run of the garbage collector of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Collection {
    /// The process.
    pub process: ProcessRef,
    /// When it began, µs since the start of the recording.
    pub start_us: u64,
    /// When it was over.
    pub end_us: u64,
    /// Which generation it was for, 0 the youngest; `None` where only samples have shown it.
    pub generation: Option<u8>,
    /// How many objects it has freed, where that is known.
    pub collected: Option<u64>,
}

/// All that were noted.
#[derive(Debug, Default)]
pub(super) struct Collections(pub(super) Vec<Collection>);

impl Collections {
    /// Notes one. Past the cap nothing more is kept.
    pub(super) fn add(&mut self, collection: Collection) {
        if self.0.len() < MOST_COLLECTIONS {
            self.0.push(collection);
        }
    }
}
