//! Memory that notes what was read from it, so that the very same bytes can be looked at again.

use std::cell::RefCell;

use super::{Memory, ReadError};

/// Notes every successful read of `memory`.
#[derive(Debug)]
pub(crate) struct Recording<M> {
    memory: M,
    reads: RefCell<Vec<(u64, Vec<u8>)>>,
}

impl<M: Memory> Recording<M> {
    /// A recording of nothing yet.
    pub(crate) fn new(memory: M) -> Self {
        Self { memory, reads: RefCell::new(Vec::new()) }
    }

    /// What was read: addresses in the target and their bytes, in the order of the reads.
    pub(crate) fn into_reads(self) -> Vec<(u64, Vec<u8>)> {
        self.reads.into_inner()
    }
}

impl<M: Memory> Memory for Recording<M> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.memory.read(address, buffer)?;
        self.reads.borrow_mut().push((address, buffer.to_vec()));
        Ok(())
    }
}
