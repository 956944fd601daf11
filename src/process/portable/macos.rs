//! macOS: a process by its Mach task, and what `proc_info` tells of it.
//!
//! # Limits
//! Written against the documentation and checked by the compiler; it has never run. Suspensions of a task are not let
//! go by the system when we are killed.

mod information;
mod task;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use self::information::{arguments_block, base_information, bytes_to_zero, executable_of, task_information};
use self::task::{Task, Thread};
use super::{Region, ThreadHold};
use crate::process::{ProcessUsage, ThreadActivity, ThreadId, ThreadReading};

/// More processes than this below one are an error.
const MOST_DESCENDANTS: usize = 1 << 16;

/// A process.
pub(super) struct System {
    pid: i32,
    /// When it was started, in microseconds; tells it from the next process of the same number.
    started_us: u64,
    /// `None` where the system does not hand it out: then the process can only be looked at.
    task: Option<Task>,
}

/// Nothing moves in these threads until this is dropped.
pub(super) struct Held {
    threads: usize,
    _held: What,
}

enum What {
    Thread(#[expect(dead_code, reason = "resumes when dropped")] task::SuspendedThread),
    Task(#[expect(dead_code, reason = "resumes when dropped")] task::SuspendedTask),
}

impl Held {
    /// How many threads are held.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }
}

impl System {
    /// Takes hold of a process; of one that may not be read, to look at it.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn open(pid: i32) -> io::Result<Self> {
        let started_us = base_information(pid)?.started_us;
        Ok(Self { pid, started_us, task: Task::of(pid).ok() })
    }

    fn task(&self) -> io::Result<&Task> {
        self.task.as_ref().ok_or(io::ErrorKind::PermissionDenied.into())
    }

    /// Reads memory, all or nothing.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn read(&self, address: usize, buffer: &mut [u8]) -> io::Result<()> {
        self.task()?.read(address as u64, buffer)
    }

    /// The ranges that are there, in the order of addresses.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn regions(&self) -> io::Result<Vec<Region>> {
        let task = self.task()?;
        let mut regions = Vec::new();
        let mut address = 0;
        while let Some(found) = task.region_from(address) {
            let Some(end) = found.start.checked_add(found.size).filter(|end| *end > address) else { break };
            address = end;
            regions.push(Region {
                start: found.start,
                end,
                readable: found.readable,
                writable: found.writable,
                executable: found.executable,
                path: information::file_of_region(self.pid, found.start),
            });
        }
        Ok(regions)
    }

    /// Its threads and what each is doing.
    ///
    /// # Errors
    /// When it has exited or may not be read.
    pub(super) fn threads(&self) -> io::Result<Vec<(ThreadId, ThreadReading)>> {
        let threads = self.task()?.threads()?;
        Ok(threads.iter().filter_map(|thread| Some((thread.id()?, reading(thread)?))).collect())
    }

    fn thread(&self, wanted: ThreadId) -> io::Result<Thread> {
        let mut threads = self.task()?.threads()?.into_iter();
        threads.find(|thread| thread.id() == Some(wanted)).ok_or(io::ErrorKind::NotFound.into())
    }

    /// The name that the program gave the thread.
    ///
    /// # Errors
    /// When it is gone, or has none.
    pub(super) fn thread_name(&self, thread: ThreadId) -> io::Result<OsString> {
        self.thread(thread)?.name().ok_or(io::ErrorKind::NotFound.into())
    }

    /// Holds one thread.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn hold_thread(&self, thread: ThreadId) -> io::Result<ThreadHold> {
        Ok(Held { threads: 1, _held: What::Thread(self.thread(thread)?.suspend()?) })
    }

    /// Holds all threads.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn hold_all(&self) -> io::Result<Held> {
        let task = self.task()?;
        let held = task.suspend()?;
        Ok(Held { threads: task.threads().map_or(1, |threads| threads.len()), _held: What::Task(held) })
    }

    /// Whether it has exited.
    pub(super) fn has_exited(&self) -> bool {
        base_information(self.pid).map_or(true, |now| now.started_us != self.started_us || now.is_zombie)
    }

    /// Not known here: only a parent is told.
    #[expect(clippy::unused_self, reason = "other systems know it")]
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        None
    }

    /// The arguments.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn command_line(&self) -> io::Result<Vec<OsString>> {
        arguments(&arguments_block(self.pid)?).ok_or(io::ErrorKind::InvalidData.into())
    }

    /// The path of the program.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn executable(&self) -> io::Result<PathBuf> {
        executable_of(self.pid)
    }

    /// The working directory.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn working_directory(&self) -> io::Result<PathBuf> {
        information::working_directory(self.pid)
    }

    /// The process that started it, or that got it.
    ///
    /// # Errors
    /// When it has exited.
    pub(super) fn parent(&self) -> io::Result<i32> {
        Ok(base_information(self.pid)?.parent)
    }

    /// When it was started.
    pub(super) fn start_time(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(self.started_us))
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it has exited or may not be looked at.
    pub(super) fn usage(&self) -> io::Result<ProcessUsage> {
        task_information(self.pid)
    }

    /// All processes below it, with the parent of each.
    pub(super) fn descendants(&self) -> Vec<(i32, i32)> {
        let all: Vec<(i32, i32)> = information::all_pids()
            .unwrap_or_default()
            .into_iter()
            .filter_map(|pid| Some((pid, base_information(pid).ok()?.parent)))
            .collect();
        let mut found: Vec<(i32, i32)> = Vec::new();
        let mut parents = vec![self.pid];
        while let Some(parent) = parents.pop() {
            for child in all.iter().filter(|(pid, its_parent)| *its_parent == parent && *pid != parent) {
                if found.len() < MOST_DESCENDANTS && !found.contains(child) {
                    found.push(*child);
                    parents.push(child.0);
                }
            }
        }
        found
    }
}

/// The numbers of all processes.
///
/// # Errors
/// With the system's error.
pub(super) fn all_processes() -> io::Result<Vec<i32>> {
    information::all_pids()
}

fn reading(thread: &Thread) -> Option<ThreadReading> {
    let basic = thread.basic_information()?;
    // `pth_run_state` of Mach; a thread that was suspended by us still has the state that it had.
    let activity = match basic.run_state {
        libc::TH_STATE_RUNNING => ThreadActivity::Running,
        libc::TH_STATE_STOPPED | libc::TH_STATE_HALTED => ThreadActivity::Stopped,
        libc::TH_STATE_UNINTERRUPTIBLE => ThreadActivity::DiskWait,
        _ => ThreadActivity::Sleeping,
    };
    // In hundredths of a second.
    let ticks = |time: libc::time_value_t| {
        let [seconds, micros] = [time.seconds, time.microseconds].map(|part| u64::try_from(part).unwrap_or(0));
        seconds.saturating_mul(100).saturating_add(micros / 10_000)
    };
    Some(ThreadReading { activity, user_ticks: ticks(basic.user_time), system_ticks: ticks(basic.system_time) })
}

/// The arguments in a block of `KERN_PROCARGS2`: their number, the path of the program, zeros, and each with a zero
/// behind it. The environment comes after them.
fn arguments(block: &[u8]) -> Option<Vec<OsString>> {
    let (count, rest) = block.split_first_chunk()?;
    let count = usize::try_from(i32::from_ne_bytes(*count)).ok()?;
    let path = bytes_to_zero(rest).len();
    let after_path = rest.get(path..)?;
    let padding = after_path.iter().take_while(|byte| **byte == 0).count();
    let words = after_path.get(padding..)?.split(|byte| *byte == 0);
    Some(words.take(count).map(|word| OsStr::from_bytes(word).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_told_from_the_environment() {
        let block = [&2_i32.to_ne_bytes()[..], b"/usr/bin/python3\0\0\0\0python3\0app.py\0HOME=/x\0"].concat();
        assert_eq!(arguments(&block).unwrap(), ["python3", "app.py"]);
        assert_eq!(arguments(&[1]), None);
    }
}
