//! The memory of a running process: `process_vm_readv`, and `/proc/PID/mem` where a sandbox forbids the call.
//!
//! # What the kernel does (`mm/process_vm_access.c`)
//! It copies the ranges of a call one after another, page by page, and stops at the first page that it cannot read:
//! what lies before is copied and counted. So a call that brought fewer bytes than asked names the request that failed;
//! it is passed over and the call repeated for those behind it. Each call settles at least one request, which bounds
//! the number of calls.
//!
//! # Limits
//! At most `IOV_MAX` (1024) ranges go into one call; more are served by several, in order. Nothing is allocated once
//! the two lists of ranges have grown to the longest batch seen.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::procfs::address_space::living_thread;
use super::procfs::handle::Handle;
use crate::memory::{Memory, ReadError, ReadFailure, Request};

/// The most ranges of one call on each side (kernel: `include/uapi/linux/uio.h`, `UIO_MAXIOV`).
const RANGES_PER_CALL: usize = 1024;

/// How often one read may change the way by which it reads: another thread, the file, the file opened anew.
const WAYS: usize = 3;

/// How much was read from a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadStatistics {
    /// System calls.
    pub calls: u64,
    /// Ranges asked for.
    pub ranges: u64,
    /// Bytes that came, those of ranges cut short included.
    pub bytes: u64,
    /// Ranges that did not come whole.
    pub failures: u64,
}

/// The memory of a live process. Nothing can be written through it.
///
/// A clone reads the same process and counts for itself.
#[derive(Debug)]
pub struct LiveMemory {
    handle: Arc<Handle>,
    way: RefCell<Way>,
    ranges: RefCell<Ranges>,
    statistics: Cell<ReadStatistics>,
}

/// By which way the bytes come.
#[derive(Debug)]
enum Way {
    /// The system call, naming this thread of the process.
    Call(i32),
    /// The file `mem`. It stays that of the image for which it was opened, and reads as empty after an exec.
    File(File),
}

/// A range of memory, of ours or of the target; has the layout of the C struct `iovec`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Range {
    start: usize,
    length: usize,
}

/// The ranges of one call on both sides, kept so that a call allocates nothing.
#[derive(Debug, Default)]
struct Ranges {
    local: Vec<Range>,
    remote: Vec<Range>,
}

impl Clone for LiveMemory {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.handle))
    }
}

impl LiveMemory {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        let way = RefCell::new(Way::Call(handle.pid()));
        Self { handle, way, ranges: RefCell::default(), statistics: Cell::default() }
    }

    /// What has been read through this handle so far.
    pub fn statistics(&self) -> ReadStatistics {
        self.statistics.get()
    }

    /// Whether the bytes come from `/proc/PID/mem`, one call a range, because the system call is forbidden.
    pub fn reads_through_file(&self) -> bool {
        matches!(*self.way.borrow(), Way::File(_))
    }

    /// Serves a batch of at most [`RANGES_PER_CALL`] requests. Returns how many bytes came, in order.
    fn transfer(&self, batch: &mut [Request<'_>]) -> io::Result<usize> {
        let mut last_error = io::Error::from_raw_os_error(libc::ESRCH);
        for _ in 0..=WAYS {
            match self.transfer_once(batch) {
                Err(error) if self.change_way(&error) => last_error = error,
                result => return result,
            }
        }
        Err(last_error)
    }

    fn transfer_once(&self, batch: &mut [Request<'_>]) -> io::Result<usize> {
        let way = self.way.borrow();
        let thread = match &*way {
            Way::Call(thread) => *thread,
            Way::File(file) => {
                let first = batch.first_mut().map(|request| (request.address, &mut *request.buffer));
                let (address, buffer) = first.unwrap_or((0, &mut []));
                self.count_call();
                return read_from_file(file, address, buffer);
            }
        };
        let mut ranges = self.ranges.borrow_mut();
        ranges.set_to(batch);
        self.count_call();
        call_process_vm_readv(thread, &ranges)
    }

    /// Finds another way to read after `error`; whether there is one. What was found is kept.
    fn change_way(&self, error: &io::Error) -> bool {
        let mut way = self.way.borrow_mut();
        let found = match (error.raw_os_error(), &*way) {
            // A sandbox forbids the call, or the kernel was built without it.
            (Some(libc::EPERM | libc::ENOSYS), Way::Call(_)) => self.open_file().map(Way::File),
            // The first thread has exited while others go on.
            (Some(libc::ESRCH), Way::Call(thread)) if !self.handle.has_exited() => {
                let tried = *thread;
                living_thread(&self.handle).ok().filter(|living| *living != tried).map(Way::Call)
            }
            // The process runs another image than when the file was opened.
            (Some(libc::ESRCH), Way::File(_)) if !self.handle.has_exited() => self.open_file().map(Way::File),
            _ => None,
        };
        match found {
            Some(found) => {
                log::debug!("process {}: reading memory in another way after: {error}", self.handle.pid());
                *way = found;
                true
            }
            None => false,
        }
    }

    fn open_file(&self) -> Option<File> {
        let first = self.handle.open_file("mem").ok();
        first.or_else(|| self.handle.open_file(&format!("task/{}/mem", living_thread(&self.handle).ok()?)).ok())
    }

    fn count_call(&self) {
        let mut statistics = self.statistics.get();
        statistics.calls += 1;
        self.statistics.set(statistics);
    }

    fn count_failures(&self, failures: u64) {
        let mut statistics = self.statistics.get();
        statistics.failures += failures;
        self.statistics.set(statistics);
    }

    fn count_asked(&self, ranges: usize) {
        let mut statistics = self.statistics.get();
        statistics.ranges += ranges as u64;
        self.statistics.set(statistics);
    }

    fn count_bytes(&self, bytes: usize) {
        let mut statistics = self.statistics.get();
        statistics.bytes += bytes as u64;
        self.statistics.set(statistics);
    }
}

impl Memory for LiveMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len();
        let fail = |failure| Err(ReadError::new(address, length, failure));
        self.count_asked(1);
        let mut request = [Request::new(address, buffer)];
        match self.transfer(&mut request) {
            Ok(bytes) => {
                self.count_bytes(bytes);
                if bytes == length && is_reachable(address, length) {
                    return Ok(());
                }
                self.count_failures(1);
                fail(ReadFailure::Unmapped)
            }
            Err(error) => {
                self.count_failures(1);
                fail(failure_kind(&error))
            }
        }
    }

    fn read_many(&self, requests: &mut [Request<'_>]) {
        self.read_in_batches(requests);
    }
}

impl LiveMemory {
    fn read_in_batches(&self, requests: &mut [Request<'_>]) {
        self.count_asked(requests.len());
        for request in requests.iter_mut() {
            request.complete = false;
        }
        let mut next = 0;
        while let Some(rest) = requests.get_mut(next..).filter(|rest| !rest.is_empty()) {
            // The file serves one range a call.
            let batch_length = if self.reads_through_file() { 1 } else { rest.len().min(RANGES_PER_CALL) };
            let Some(batch) = rest.get_mut(..batch_length) else { return };
            match self.transfer(batch) {
                Ok(bytes) => {
                    self.count_bytes(bytes);
                    // `transfer` may have changed over to the file, which serves the first range only.
                    let served = if self.reads_through_file() { 1 } else { batch_length };
                    next += self.mark_complete(batch.get_mut(..served).unwrap_or_default(), bytes);
                }
                Err(error) if failure_kind(&error) == ReadFailure::Unmapped => {
                    self.count_failures(1);
                    next += 1;
                }
                Err(_) => {
                    // No range of this process can be read.
                    self.count_failures(rest.len() as u64);
                    return;
                }
            }
        }
    }

    /// Marks what a call has brought; returns how many requests it has settled, the one that failed included.
    fn mark_complete(&self, batch: &mut [Request<'_>], bytes: usize) -> usize {
        let mut left = bytes;
        let mut settled = 0;
        for request in batch {
            settled += 1;
            if !is_reachable(request.address, request.buffer.len()) {
                // It went into the call as an empty range.
                self.count_failures(1);
                continue;
            }
            match left.checked_sub(request.buffer.len()) {
                Some(rest) => {
                    left = rest;
                    request.complete = true;
                }
                None => {
                    self.count_failures(1);
                    break;
                }
            }
        }
        settled
    }
}

impl Ranges {
    fn set_to(&mut self, batch: &mut [Request<'_>]) {
        self.local.clear();
        self.remote.clear();
        for request in batch {
            let reachable = is_reachable(request.address, request.buffer.len());
            let length = if reachable { request.buffer.len() } else { 0 };
            let start = if reachable { usize::try_from(request.address).unwrap_or(0) } else { 0 };
            self.local.push(Range { start: request.buffer.as_mut_ptr().expose_provenance(), length });
            self.remote.push(Range { start, length });
        }
    }
}

/// Whether a range can be of a program at all: the upper half of the addresses is the kernel's.
fn is_reachable(address: u64, length: usize) -> bool {
    let end = address.checked_add(length as u64);
    end.is_some_and(|end| end <= isize::MAX as u64)
}

fn failure_kind(error: &io::Error) -> ReadFailure {
    match error.raw_os_error() {
        // EIO is what the file `mem` answers for a page that is not there.
        Some(libc::EFAULT | libc::EIO) => ReadFailure::Unmapped,
        Some(libc::ESRCH) => ReadFailure::Gone,
        Some(libc::EPERM | libc::EACCES) => ReadFailure::Denied,
        other => ReadFailure::Other(other.unwrap_or(0)),
    }
}

/// Reads one range from the file `mem`; an empty answer means that the address space is gone.
fn read_from_file(file: &File, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    if buffer.is_empty() || !is_reachable(address, buffer.len()) {
        return Ok(0);
    }
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, address + filled as u64) {
            Ok(0) => return Err(io::Error::from_raw_os_error(libc::ESRCH)),
            Ok(count) => filled += count,
            Err(error) if filled > 0 && error.raw_os_error() == Some(libc::EIO) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[expect(
    unsafe_code,
    reason = "nix's wrapper borrows its lists of ranges, so that they could not be kept from call to call"
)]
fn call_process_vm_readv(thread: i32, ranges: &Ranges) -> io::Result<usize> {
    let local = ranges.local.as_ptr().cast::<libc::iovec>();
    let remote = ranges.remote.as_ptr().cast::<libc::iovec>();
    let (local_count, remote_count) = (ranges.local.len() as libc::c_ulong, ranges.remote.len() as libc::c_ulong);
    // SAFETY: `Range` has the layout of `iovec`, and both lists have the lengths given. The local ranges are buffers of
    // the requests that the caller holds mutably and whose provenance was exposed when the ranges were made in the same
    // call of `transfer_once`; the remote ones are not of our memory.
    let count = unsafe { libc::process_vm_readv(thread, local, local_count, remote, remote_count, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests;
