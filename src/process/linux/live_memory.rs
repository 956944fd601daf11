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
use std::time::{Duration, Instant};

use super::address_space::living_thread;
use super::handle::Handle;
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
    last_read_time: Cell<Option<Duration>>,
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
        Self { handle, way, ranges: RefCell::default(), statistics: Cell::default(), last_read_time: Cell::default() }
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
                self.count(1, 0);
                return read_from_file(file, address, buffer);
            }
        };
        let mut ranges = self.ranges.borrow_mut();
        ranges.fill(batch);
        self.count(1, 0);
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

    fn count(&self, calls: u64, failures: u64) {
        let mut statistics = self.statistics.get();
        statistics.calls += calls;
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
                self.count(0, 1);
                fail(ReadFailure::Unmapped)
            }
            Err(error) => {
                self.count(0, 1);
                fail(failure(&error))
            }
        }
    }

    fn read_many(&self, requests: &mut [Request<'_>]) {
        let begun = Instant::now();
        self.read_in_batches(requests);
        self.last_read_time.set(Some(begun.elapsed()));
    }

    fn last_read_time(&self) -> Option<Duration> {
        self.last_read_time.get()
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
                    next += self.settle(batch.get_mut(..served).unwrap_or_default(), bytes);
                }
                Err(error) if failure(&error) == ReadFailure::Unmapped => {
                    self.count(0, 1);
                    next += 1;
                }
                Err(_) => {
                    // No range of this process can be read.
                    self.count(0, rest.len() as u64);
                    return;
                }
            }
        }
    }

    /// Marks what a call has brought; returns how many requests it has settled, the one that failed included.
    fn settle(&self, batch: &mut [Request<'_>], bytes: usize) -> usize {
        let mut left = bytes;
        let mut settled = 0;
        for request in batch {
            settled += 1;
            if !is_reachable(request.address, request.buffer.len()) {
                // It went into the call as an empty range.
                self.count(0, 1);
                continue;
            }
            match left.checked_sub(request.buffer.len()) {
                Some(rest) => {
                    left = rest;
                    request.complete = true;
                }
                None => {
                    self.count(0, 1);
                    break;
                }
            }
        }
        settled
    }
}

impl Ranges {
    fn fill(&mut self, batch: &mut [Request<'_>]) {
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

fn failure(error: &io::Error) -> ReadFailure {
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
mod tests {
    use super::*;
    use crate::process::Mapping;
    use crate::process::ThreadActivity;
    use crate::process::linux::testing::{Target, forbid_process_vm_readv, wait_until};

    /// A Python process with a buffer of known bytes; its memory and the buffer's address.
    fn target_with_buffer(length: usize) -> (Target, LiveMemory, u64) {
        let mut target = Target::python(&format!(
            "
import ctypes
block = ctypes.create_string_buffer(bytes(i % 251 for i in range({length})))
ready()
say(str(ctypes.addressof(block)))
sys.stdin.readline()"
        ));
        let address = target.line().parse().unwrap();
        let memory = target.process().memory();
        (target, memory, address)
    }

    fn expected(range: std::ops::Range<usize>) -> Vec<u8> {
        range.map(|place| u8::try_from(place % 251).unwrap()).collect()
    }

    fn read_all<M: Memory>(memory: &M, wanted: &[(u64, usize)]) -> Vec<Option<Vec<u8>>> {
        let mut buffers: Vec<Vec<u8>> = wanted.iter().map(|(_, length)| vec![0; *length]).collect();
        let mut requests: Vec<Request<'_>> =
            wanted.iter().zip(&mut buffers).map(|((address, _), buffer)| Request::new(*address, buffer)).collect();
        memory.read_many(&mut requests);
        let complete: Vec<bool> = requests.iter().map(|request| request.complete).collect();
        buffers.into_iter().zip(complete).map(|(buffer, complete)| complete.then_some(buffer)).collect()
    }

    fn check_mixed_batch(memory: &LiveMemory, address: u64) {
        // Unmapped ones first, last, next to each other; empty ones; ones of the kernel's half; one that runs over the
        // end of all.
        let wanted = [
            (0, 8),
            (address, 16),
            (8, 1),
            (u64::MAX - 3, 8),
            (0xffff_8000_0000_0000, 64),
            (address + 100, 400),
            (address + 7, 0),
            (0x0001_0000_0000_0000, 4),
            (address + 4000, 1000),
            (1 << 62, 4),
            (address + 1, 1),
            (0, 8),
        ];
        let found = read_all(memory, &wanted);
        let complete: Vec<usize> = (0..wanted.len()).filter(|index| found[*index].is_some()).collect();
        assert_eq!(complete, [1, 5, 6, 8, 10]);
        assert_eq!(found[1], Some(expected(0..16)));
        assert_eq!(found[5], Some(expected(100..500)));
        assert_eq!(found[8], Some(expected(4000..5000)));
        assert_eq!(found[10], Some(expected(1..2)));
    }

    #[test]
    fn requests_that_fail_do_not_cost_the_others() {
        let (_target, memory, address) = target_with_buffer(8192);
        check_mixed_batch(&memory, address);
        let statistics = memory.statistics();
        assert_eq!((statistics.ranges, statistics.failures), (12, 7));
        assert!(statistics.calls <= 12, "{statistics:?}");
    }

    #[test]
    fn many_requests_take_one_call_per_1024() {
        let (_target, memory, address) = target_with_buffer(4096);
        let wanted: Vec<(u64, usize)> = (0..2500).map(|index| (address + index, 8)).collect();
        let found = read_all(&memory, &wanted);
        for (index, bytes) in found.into_iter().enumerate() {
            assert_eq!(bytes, Some(expected(index..index + 8)));
        }
        let statistics = memory.statistics();
        assert_eq!((statistics.calls, statistics.bytes, statistics.failures), (3, 20_000, 0));
    }

    #[test]
    fn the_lists_of_ranges_are_kept_from_call_to_call() {
        let (_target, memory, address) = target_with_buffer(4096);
        let wanted: Vec<(u64, usize)> = (0..500).map(|index| (address + index, 8)).collect();
        read_all(&memory, &wanted);
        let place = memory.ranges.borrow().local.as_ptr();
        for length in [1, 500, 20, 499] {
            read_all(&memory, &wanted[..length]);
            assert_eq!(memory.ranges.borrow().local.as_ptr(), place);
        }
    }

    #[test]
    fn a_range_that_runs_into_a_hole_is_not_complete() {
        let (target, memory, _) = target_with_buffer(1);
        let maps = target.process().maps().unwrap();
        let next_is_hole = |pair: &[Mapping]| pair[0].readable && pair[0].inode != 0 && pair[0].end < pair[1].start;
        let mapping = &maps.windows(2).find(|pair| next_is_hole(pair)).unwrap()[0];
        // Pages past the end of the file fault as well, so take the first page, and the last byte before the hole by
        // its failure alone.
        assert!(memory.read_u64(mapping.start).is_ok());
        let mut buffer = vec![0; usize::try_from(mapping.size()).unwrap() + 4096];
        assert_eq!(memory.read(mapping.start, &mut buffer).unwrap_err().failure, ReadFailure::Unmapped);
        let found = read_all(&memory, &[(mapping.start, buffer.len()), (mapping.start, 8)]);
        assert_eq!((found[0].is_some(), found[1].is_some()), (false, true));
    }

    #[test]
    fn a_process_that_has_exited_is_gone() {
        let (mut target, memory, address) = target_with_buffer(64);
        assert!(memory.read_u64(address).is_ok());
        target.end();
        assert_eq!(memory.read_u64(address).unwrap_err().failure, ReadFailure::Gone);
        assert_eq!(read_all(&memory, &[(address, 8), (address, 8)]), [None, None]);
        assert_eq!(memory.clone().read_u64(address).unwrap_err().failure, ReadFailure::Gone);
    }

    #[test]
    fn memory_is_read_through_the_file_where_the_call_is_forbidden() {
        let (mut target, memory, address) = target_with_buffer(8192);
        let sandboxed = std::thread::spawn(move || {
            forbid_process_vm_readv();
            check_mixed_batch(&memory, address);
            assert!(memory.reads_through_file());
            assert_eq!(memory.read_u64(0).unwrap_err().failure, ReadFailure::Unmapped);
            assert_eq!(memory.read_bytes(address, 100, 100).unwrap(), expected(0..100));
            memory
        });
        let memory = sandboxed.join().unwrap();
        target.end();
        assert_eq!(memory.read_u64(address).unwrap_err().failure, ReadFailure::Gone);
    }

    #[test]
    fn the_file_is_opened_anew_after_an_exec() {
        let mut target =
            Target::python("ready(); sys.stdin.readline(); os.execvp('sh', ['sh', '-c', 'echo executed; read line'])");
        let process = target.process();
        let memory = process.memory();
        let before = process.image_identity().unwrap();
        *memory.way.borrow_mut() = Way::File(memory.open_file().unwrap());
        assert!(before.is_still_in(&memory));
        target.tell("go");
        assert_eq!(target.line(), "executed");
        assert!(!before.is_still_in(&memory));
        let after = process.image_identity().unwrap();
        assert!(after.is_still_in(&memory));
        assert!(memory.reads_through_file());
    }

    #[test]
    fn memory_is_read_when_only_the_first_thread_has_exited() {
        let mut target = Target::python(&format!(
            "
import ctypes
block = ctypes.create_string_buffer(b'still here')
def other():
    ready()
    say(str(ctypes.addressof(block)))
    sys.stdin.readline()
threading.Thread(target=other).start()
ctypes.CDLL(None).syscall({}, 0)",
            libc::SYS_exit
        ));
        let address = target.line().parse().unwrap();
        let handle = target.handle();
        wait_until("the first thread exits", || handle.stat_line().unwrap().activity == ThreadActivity::Zombie);
        let process = target.process();
        assert!(!process.has_exited());
        assert_eq!(&process.memory().read_array::<10>(address).unwrap(), b"still here");
        assert!(!process.maps().unwrap().is_empty());
        assert!(process.executable().unwrap().to_string_lossy().contains("python"));
        assert!(process.image_identity().unwrap().is_still_in(&process.memory()));
        let mapping = process.maps().unwrap().into_iter().find(|mapping| mapping.path.is_some()).unwrap();
        assert!(process.open_mapping(&mapping).is_ok());
        // The exited first thread counts as gone, the other is held.
        assert_eq!(process.pause_all().unwrap().len(), 1);
    }
}
