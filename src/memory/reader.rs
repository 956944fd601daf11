//! What a walk through linked structs reads through: memory as it is, or a [`Snapshot`](super::Snapshot) that notes
//! what the walk depended on.

use super::{Memory, ReadError};

/// Whose bytes a value is part of: any number that the caller keeps for one thing that changes as a whole, such as a
/// thread.
pub(crate) type Unit = u64;

/// The unit of what belongs to no thread.
pub(crate) const COMMON: Unit = 0;

/// Reads values for a walk.
///
/// A walk is of one [`Unit`]. It has a *head*, which says where its chain begins and may move on meanwhile, and a
/// *chain*, all of which must be of one moment. A reader of memory that stands still has no use for the marks between
/// them.
pub trait Reader {
    /// An 8-byte word that the walk depends on, in the target.
    ///
    /// # Errors
    /// When it cannot be read.
    fn word(&mut self, address: u64) -> Result<u64, ReadError>;

    /// An 8-byte word that may change without harm to the walk, such as the instruction pointer of the newest frame.
    ///
    /// # Errors
    /// When it cannot be read.
    fn volatile_word(&mut self, address: u64) -> Result<u64, ReadError>;

    /// A 4-byte word that the walk depends on.
    ///
    /// # Errors
    /// When it cannot be read.
    fn half(&mut self, address: u64) -> Result<u32, ReadError>;

    /// A 4-byte word that may change without harm to the walk.
    ///
    /// # Errors
    /// When it cannot be read.
    fn volatile_half(&mut self, address: u64) -> Result<u32, ReadError>;

    /// A byte that may change without harm to the walk.
    ///
    /// # Errors
    /// When it cannot be read.
    fn volatile_byte(&mut self, address: u64) -> Result<u8, ReadError>;

    /// A walk begins: what is read until [`Reader::finish_walk`] is part of the unit, first of its head.
    fn start_walk(&mut self, _unit: Unit) {}

    /// What is read from now on in this walk is kept for `owner`, which is or will be part of the unit.
    fn start_owner(&mut self, _owner: Unit) {}

    /// What is read from now on is a head.
    fn start_head(&mut self) {}

    /// What is read from now on is the chain.
    fn start_chain(&mut self) {}

    /// The walk has come to its end.
    fn finish_walk(&mut self) {}
}

/// Memory that stands still.
impl<M: Memory> Reader for &M {
    fn word(&mut self, address: u64) -> Result<u64, ReadError> {
        self.read_u64(address)
    }

    fn volatile_word(&mut self, address: u64) -> Result<u64, ReadError> {
        self.read_u64(address)
    }

    fn half(&mut self, address: u64) -> Result<u32, ReadError> {
        self.read_u32(address)
    }

    fn volatile_half(&mut self, address: u64) -> Result<u32, ReadError> {
        self.read_u32(address)
    }

    fn volatile_byte(&mut self, address: u64) -> Result<u8, ReadError> {
        self.read_u8(address)
    }
}
