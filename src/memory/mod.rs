//! Bytes of another address space: the [`Memory`] trait and everything that is true of any such memory.
//!
//! Knows nothing of CPython and nothing of how the bytes are reached. Addresses are always of the *target*; a plain
//! `u64`, never a pointer, so that nothing here can be dereferenced by accident.

mod image;
mod noted_reads;
mod page_cache;
mod reader;
mod snapshot;

pub use image::Image;
pub(crate) use noted_reads::Recording;
pub(crate) use page_cache::PageCache;
#[cfg(any(fuzzing, test))]
pub(crate) use page_cache::reads_through_caches;
pub(crate) use reader::{COMMON, Reader, Unit};
pub use snapshot::{Copies, ReadPlan, Snapshot};
pub(crate) use snapshot::{CopiesFound, Evidence, LastWord};

use thiserror::Error;

/// Why bytes of the target could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReadFailure {
    /// Nothing is mapped there, or the page cannot be read.
    #[error("not mapped")]
    Unmapped,
    /// The process is gone.
    #[error("the process has exited")]
    Gone,
    /// The operating system refuses to let us read this process.
    #[error("permission denied")]
    Denied,
    /// A length or a chain in the target went past the limit that we set for it.
    #[error("implausible size")]
    Implausible,
    /// Anything else; the number is the operating system's error code.
    #[error("error {0}")]
    Other(i32),
}

/// A read that did not bring all of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("cannot read {length} bytes at {address:#x}: {failure}")]
pub struct ReadError {
    /// Where the read began, in the target.
    pub address: u64,
    /// How many bytes were wanted.
    pub length: usize,
    /// Why it failed.
    pub failure: ReadFailure,
}

impl ReadError {
    /// A read error at `address` for `length` bytes.
    pub fn new(address: u64, length: usize, failure: ReadFailure) -> Self {
        Self { address, length, failure }
    }

    /// The error for a value of the target that is beyond any sane limit.
    pub fn implausible(address: u64) -> Self {
        Self::new(address, 0, ReadFailure::Implausible)
    }
}

/// One of several reads that are done together.
#[derive(Debug)]
pub struct Request<'buffer> {
    /// Where to read, in the target.
    pub address: u64,
    /// What to fill; its length is the length of the read.
    pub buffer: &'buffer mut [u8],
    /// Set by [`Memory::read_many`]: whether the whole buffer was filled.
    pub complete: bool,
}

impl<'buffer> Request<'buffer> {
    /// A request that has not been served.
    pub fn new(address: u64, buffer: &'buffer mut [u8]) -> Self {
        Self { address, buffer, complete: false }
    }
}

/// A readable address space.
///
/// # Contract
/// - A read either fills the whole buffer or fails; what the buffer holds after a failure means nothing.
/// - [`read_many`](Memory::read_many) serves the requests in their order: a later request never holds older bytes
///   than an earlier one. No two requests are promised to be of the same instant; callers that need that stop the
///   target, or read twice and compare.
/// - Bytes of one aligned 8-byte word are not torn on the systems that we support.
/// - Nothing is ever written.
pub trait Memory {
    /// Fills `buffer` from `address`.
    ///
    /// # Errors
    /// When any byte of the range cannot be read.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError>;

    /// Serves many requests with as few system calls as can be; each request says itself whether it succeeded.
    fn read_many(&self, requests: &mut [Request<'_>]) {
        for request in requests {
            request.complete = self.read(request.address, request.buffer).is_ok();
        }
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_array<const N: usize>(&self, address: u64) -> Result<[u8; N], ReadError>
    where
        Self: Sized,
    {
        let mut bytes = [0; N];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a native-endian 8-byte word.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_u64(&self, address: u64) -> Result<u64, ReadError> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Reads a native-endian 4-byte word.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_u32(&self, address: u64) -> Result<u32, ReadError> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_u8(&self, address: u64) -> Result<u8, ReadError> {
        let mut bytes = [0; 1];
        self.read(address, &mut bytes)?;
        Ok(bytes[0])
    }

    /// Reads `length` bytes, refusing more than `limit`: the way to read anything whose length the target named.
    ///
    /// # Errors
    /// As [`Memory::read`], and [`ReadFailure::Implausible`] past the limit.
    fn read_bytes(&self, address: u64, length: u64, limit: usize) -> Result<Vec<u8>, ReadError> {
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        if wanted > limit {
            return Err(ReadError::new(address, wanted, ReadFailure::Implausible));
        }
        let mut bytes = vec![0; wanted];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }
}

impl<M: Memory + ?Sized> Memory for &M {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        (**self).read(address, buffer)
    }

    fn read_many(&self, requests: &mut [Request<'_>]) {
        (**self).read_many(requests);
    }
}
