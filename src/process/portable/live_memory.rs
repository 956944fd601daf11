//! The memory of the other process, and what tells one run of a program in it from the next.

use super::Process;
use crate::memory::{Memory, ReadError, ReadFailure};

/// The memory of a live process.
#[derive(Debug, Clone)]
pub(crate) struct LiveMemory {
    pub(super) process: Process,
}

/// What tells one run of a program in a process from the next: the first bytes of the program where it is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ImageIdentity {
    pub(super) address: u64,
    pub(super) bytes: [u8; 16],
}

impl Memory for LiveMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len();
        let start = usize::try_from(address).ok().filter(|start| start.checked_add(length).is_some());
        let result = start.map(|start| self.process.inner.read(start, buffer));
        match result {
            Some(Ok(())) => Ok(()),
            _ if self.process.has_exited() => Err(ReadError::new(address, length, ReadFailure::Gone)),
            _ => Err(ReadError::new(address, length, ReadFailure::Unmapped)),
        }
    }
}

/// What moves when a process maps something: not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MappingsSign;

impl MappingsSign {
    /// Nothing is known of the program.
    pub(crate) fn is_of_same_program(&self, _other: &Self) -> bool {
        true
    }
}

impl ImageIdentity {
    /// Whether the process still runs this image, by one small read of its memory.
    pub(crate) fn is_still_in<M: Memory>(&self, memory: &M) -> bool {
        memory.read_array(self.address) == Ok(self.bytes)
    }

    /// Where the 16 bytes lie in the target that prove the image.
    pub(crate) fn proof_address(&self) -> u64 {
        self.address
    }

    /// Whether the bytes found at [`Self::proof_address`] are those of this image.
    pub(crate) fn is_proven_by(&self, bytes: [u8; 16]) -> bool {
        bytes == self.bytes
    }
}
