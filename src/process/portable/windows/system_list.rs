//! The list of all processes and their threads, with what each thread waits for: `NtQuerySystemInformation`.
//!
//! The structs are those of `SYSTEM_PROCESS_INFORMATION` and `SYSTEM_THREAD_INFORMATION` of 64-bit Windows, which have
//! been the same since Windows 7.

use std::io;
use std::time::Duration;

use windows_sys::Wdk::System::SystemInformation::{NtQuerySystemInformation, SystemProcessInformation};
use windows_sys::Win32::Foundation::{NTSTATUS, STATUS_INFO_LENGTH_MISMATCH};

use crate::process::{ThreadActivity, ThreadId, ThreadReading};

/// Where the fields lie in a process's entry.
mod of_process {
    pub(super) const NEXT_ENTRY: usize = 0;
    pub(super) const THREADS: usize = 4;
    pub(super) const CREATED: usize = 32;
    pub(super) const USER_TIME: usize = 40;
    pub(super) const KERNEL_TIME: usize = 48;
    pub(super) const PID: usize = 80;
    pub(super) const PARENT: usize = 88;
    pub(super) const WORKING_SET: usize = 144;
    pub(super) const SIZE: usize = 256;
}

/// Where the fields lie in a thread's entry.
mod of_thread {
    pub(super) const KERNEL_TIME: usize = 0;
    pub(super) const USER_TIME: usize = 8;
    pub(super) const ID: usize = 48;
    pub(super) const STATE: usize = 68;
    pub(super) const WAIT_REASON: usize = 72;
    pub(super) const SIZE: usize = 80;
}

/// The first try; a machine with many processes needs more.
const FIRST_SIZE: usize = 256 << 10;
/// A list of this size is an error.
const LARGEST_SIZE: usize = 256 << 20;
/// Times are counted in 100 ns; ours in hundredths of a second.
const UNITS_IN_TICK: u64 = 100_000;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedProcess {
    /// Its number.
    pub(super) pid: u32,
    /// Who started it.
    pub(super) parent: u32,
    /// When, in units of 100 ns since 1601.
    pub(super) created: u64,
    /// What it has used.
    pub(super) cpu: Duration,
    /// Memory that is there for it.
    pub(super) resident_bytes: u64,
    /// Its threads.
    pub(super) threads: Vec<(ThreadId, ThreadReading)>,
}

/// All processes.
///
/// # Errors
/// With the system's error.
pub(super) fn list_processes() -> io::Result<Vec<ListedProcess>> {
    let mut size = FIRST_SIZE;
    while size <= LARGEST_SIZE {
        // In words, for the system wants the list to be aligned.
        let mut words = vec![0_u64; size / 8];
        match query(&mut words) {
            Ok(()) => return Ok(parse(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>())),
            Err(STATUS_INFO_LENGTH_MISMATCH) => size *= 2,
            Err(status) => return Err(io::Error::other(format!("NtQuerySystemInformation failed with {status:#x}"))),
        }
    }
    Err(io::ErrorKind::OutOfMemory.into())
}

fn parse(list: &[u8]) -> Vec<ListedProcess> {
    let mut processes = Vec::new();
    let mut at = 0;
    while let Some(entry) = list.get(at..).filter(|entry| entry.len() >= of_process::SIZE) {
        let threads = entry[of_process::SIZE..].chunks_exact(of_thread::SIZE);
        let time = |offset| u64_at(entry, offset);
        processes.push(ListedProcess {
            pid: u32_at(entry, of_process::PID),
            parent: u32_at(entry, of_process::PARENT),
            created: time(of_process::CREATED),
            cpu: Duration::from_nanos(
                time(of_process::USER_TIME).saturating_add(time(of_process::KERNEL_TIME)).saturating_mul(100),
            ),
            resident_bytes: u64_at(entry, of_process::WORKING_SET),
            threads: threads.take(u32_at(entry, of_process::THREADS) as usize).map(thread).collect(),
        });
        match u32_at(entry, of_process::NEXT_ENTRY) as usize {
            0 => break,
            next => at += next,
        }
    }
    processes
}

fn thread(entry: &[u8]) -> (ThreadId, ThreadReading) {
    let activity = activity(u32_at(entry, of_thread::STATE), u32_at(entry, of_thread::WAIT_REASON));
    let ticks = |offset| u64_at(entry, offset) / UNITS_IN_TICK;
    let reading = ThreadReading {
        activity,
        user_ticks: ticks(of_thread::USER_TIME),
        system_ticks: ticks(of_thread::KERNEL_TIME),
    };
    (u64_at(entry, of_thread::ID), reading)
}

/// By `KTHREAD_STATE` and `KWAIT_REASON` of the kernel.
fn activity(state: u32, wait_reason: u32) -> ThreadActivity {
    const INITIALIZED: u32 = 0;
    const READY: u32 = 1;
    const RUNNING: u32 = 2;
    const STANDBY: u32 = 3;
    const TERMINATED: u32 = 4;
    const WAITING: u32 = 5;
    const TRANSITION: u32 = 6;
    const DEFERRED_READY: u32 = 7;
    const SUSPENDED: [u32; 2] = [5, 12];
    // The processor gives way to another thread, or a page is brought: the thread wants to run.
    const WANTS_TO_RUN: [u32; 8] = [1, 2, 8, 9, 18, 30, 32, 33];
    match state {
        // Wine tells no states; then all count as running, so that nothing is left out.
        INITIALIZED | READY | RUNNING | STANDBY | TRANSITION | DEFERRED_READY => ThreadActivity::Running,
        TERMINATED => ThreadActivity::Zombie,
        WAITING if SUSPENDED.contains(&wait_reason) => ThreadActivity::Stopped,
        WAITING if WANTS_TO_RUN.contains(&wait_reason) => ThreadActivity::Running,
        _ => ThreadActivity::Sleeping,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[expect(unsafe_code, reason = "a call of the system")]
fn query(words: &mut [u64]) -> Result<(), NTSTATUS> {
    let length = u32::try_from(size_of_val(words)).unwrap_or(u32::MAX);
    let mut needed = 0;
    let list = words.as_mut_ptr().cast();
    // SAFETY: the list is ours, aligned for 64-bit numbers, and has that length.
    let status = unsafe { NtQuerySystemInformation(SystemProcessInformation, list, length, &raw mut needed) };
    if status < 0 { Err(status) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_reasons_are_told_apart() {
        // A thread in `Sleep` waits with the reason DelayExecution, one for a lock with UserRequest or
        // WrAlertByThreadId.
        for reason in [4, 6, 37] {
            assert_eq!(activity(5, reason), ThreadActivity::Sleeping, "{reason}");
        }
        assert_eq!(activity(2, 0), ThreadActivity::Running);
        assert_eq!(activity(5, 5), ThreadActivity::Stopped);
        assert_eq!(activity(5, 32), ThreadActivity::Running, "it has used its time on the CPU up");
        assert_eq!(activity(4, 0), ThreadActivity::Zombie);
    }

    #[test]
    fn we_are_in_the_list_with_this_thread() {
        let list = list_processes().unwrap();
        let ourselves = list.iter().find(|process| process.pid == std::process::id()).unwrap();
        assert!(!ourselves.threads.is_empty() && ourselves.resident_bytes > 0, "{ourselves:?}");
        assert!(list.iter().any(|process| process.pid == ourselves.parent) || ourselves.parent != 0);
    }

    #[test]
    fn a_list_that_is_cut_or_leads_astray_ends() {
        let mut entry = vec![0; of_process::SIZE];
        entry[of_process::THREADS] = 200;
        entry[of_process::PID] = 7;
        let found = parse(&entry);
        assert_eq!((found[0].pid, found[0].threads.len()), (7, 0));
        entry[of_process::NEXT_ENTRY..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(parse(&entry).len(), 1);
        assert!(parse(&entry[..100]).is_empty());
    }
}
