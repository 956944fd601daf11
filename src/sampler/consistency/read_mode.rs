//! The ways of reading a thread.

use crate::memory::Copies;

/// How a thread is read in a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// Not at all: it has not run since its stack was last read.
    Unchanged,
    /// Once, to be compared with the previous sample.
    Once,
    /// Twice in one call, with the head between the two copies of the chain.
    Twice,
    /// Once while it runs, which proves nothing: it moves too fast.
    Unproven,
    /// Once, while we run on its CPU and it cannot.
    SameCpu,
    /// Once, while it is stopped.
    Stopped,
}

impl ReadMode {
    /// How often its bytes are fetched.
    pub(crate) fn copies(self) -> Copies {
        match self {
            Self::Unchanged => Copies::None,
            Self::Once => Copies::OneIfKnown,
            Self::Twice => Copies::Two,
            Self::Unproven | Self::SameCpu | Self::Stopped => Copies::One,
        }
    }
}
