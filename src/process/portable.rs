//! The other process where there is no `/proc`: Windows and macOS. What differs between the two is in a module each.
//!
//! Has the interface of `linux`, which documents each item.
//!
//! # Limits
//! There are no namespaces or other roots here, so files are opened by their paths. A target that is stopped or traced
//! already is not recognized, and whether a thread has run between two looks is not known.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::denial::Denial;
use super::error::{PauseError, ProcessError};
use super::mapping::{DeviceNumber, Mapping};
use super::thread_state::ThreadReading;
use super::{ChildProcess, ProcessUsage, RestingPlace, SystemCall, ThreadId};
use crate::memory::Memory;

mod absent;
mod descriptors;
mod files;
mod live_memory;
#[cfg(target_os = "macos")]
mod macos;
mod pause;
mod spawn;
mod thread_states;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "macos")]
use self::macos as system;
#[cfg(windows)]
use self::windows as system;

pub use absent::sharpen_sleep;
pub(crate) use absent::{
    ProcessCpuClock, can_trace_all, drop_foreign_rights, monotonic_time, raise_descriptor_limit, release_pending,
    stdout_was_closed, thread_cpu_time,
};
pub(crate) use descriptors::Descriptors;
pub(crate) use live_memory::{ImageIdentity, LiveMemory, MappingsSign};
pub(crate) use pause::{PausedProcess, PausedThread};
pub(crate) use spawn::{Orphans, SpawnedProgram};
pub use thread_states::OwnCpus;
pub(crate) use thread_states::ThreadStates;
#[cfg(windows)]
pub(crate) use windows::listen_to_console;

/// Threads that are held, of either system.
type ThreadHold = system::Held;

/// A range of the target's memory, as either system tells it.
struct Region {
    start: u64,
    end: u64,
    readable: bool,
    writable: bool,
    executable: bool,
    path: Option<PathBuf>,
}

/// How long is slept between two looks at whether a process has exited.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Another process.
#[derive(Clone)]
pub struct Process {
    pid: i32,
    inner: Arc<system::System>,
}

/// The numbers of all processes.
///
/// # Errors
/// With the system's error.
pub(crate) fn all_processes() -> io::Result<Vec<i32>> {
    system::all_processes()
}

impl std::fmt::Debug for Process {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Process").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Process {
    /// Takes hold of a process to read it.
    ///
    /// # Errors
    /// When there is none or it may not be read.
    pub fn open(pid: i32) -> Result<Self, ProcessError> {
        let process = Self::observe(pid)?;
        let mappings = process.maps()?;
        let first = mappings.iter().find(|mapping| mapping.readable).ok_or(ProcessError::NoMemory(pid))?;
        process.memory().read_u8(first.start).map_err(|_| denied_to_read(pid, "the memory"))?;
        Ok(process)
    }

    /// Takes hold of a process only to look at what everyone may see of it.
    ///
    /// # Errors
    /// When there is none, or the system lets nobody but its owner look.
    pub fn observe(pid: i32) -> Result<Self, ProcessError> {
        let inner = system::System::open(pid).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => denied_to_read(pid, "the memory"),
            _ => ProcessError::NoSuchProcess(pid),
        })?;
        let process = Self { pid, inner: Arc::new(inner) };
        if process.has_exited() { Err(ProcessError::NoSuchProcess(pid)) } else { Ok(process) }
    }

    fn error(&self, what: &'static str, source: io::Error) -> ProcessError {
        match source.kind() {
            io::ErrorKind::PermissionDenied => denied_to_read(self.pid, what),
            _ => ProcessError::System { pid: self.pid, what, source },
        }
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its memory.
    pub(crate) fn memory(&self) -> LiveMemory {
        LiveMemory { process: self.clone() }
    }

    /// Its mappings, in the order of addresses.
    ///
    /// # Errors
    /// When it has exited or may not be read.
    pub fn maps(&self) -> Result<Vec<Mapping>, ProcessError> {
        let regions = self.inner.regions().map_err(|error| self.error("the maps", error))?;
        let mut mappings: Vec<Mapping> = regions.into_iter().map(mapping).collect();
        mappings.sort_by_key(|mapping| mapping.start);
        Ok(mappings)
    }

    /// The parts of some of its memory that were touched ever, as far as that is told: here it is not.
    pub(crate) fn touched_memory(&self, ranges: &[std::ops::Range<u64>]) -> Vec<std::ops::Range<u64>> {
        ranges.to_vec()
    }

    /// The error for `refused`, which we may not read.
    pub fn denied(&self, refused: &str) -> ProcessError {
        denied_to_read(self.pid, refused)
    }

    /// Whether the calls that threads are in are shown; registers are not, either.
    pub fn shows_system_calls(&self) -> bool {
        true
    }

    /// Its threads.
    ///
    /// # Errors
    /// When it has exited.
    pub fn threads(&self) -> Result<Vec<ThreadId>, ProcessError> {
        let threads = self.inner.threads().map_err(|error| self.error("the threads", error))?;
        Ok(threads.into_iter().map(|(thread, _)| thread).collect())
    }

    /// What a thread is doing, and its times.
    ///
    /// # Errors
    /// When it is gone.
    pub fn thread_state(&self, thread: ThreadId) -> io::Result<ThreadReading> {
        let mut threads = self.inner.threads()?.into_iter();
        threads.find(|(listed, _)| *listed == thread).map(|(_, reading)| reading).ok_or(io::ErrorKind::NotFound.into())
    }

    /// The system call that a thread is in, which these systems do not tell.
    pub fn system_call(&self, _thread: ThreadId) -> Option<SystemCall> {
        None
    }

    /// What a thread sleeps in, which these systems do not tell.
    pub fn resting_place(&self, _thread: ThreadId) -> Option<RestingPlace> {
        None
    }

    /// Not known here.
    pub fn wait_channel(&self, _thread: ThreadId) -> Option<String> {
        None
    }

    /// What its descriptors are open on.
    pub(crate) fn descriptors(&self) -> Descriptors {
        Descriptors
    }

    /// Thread states at the rate of sampling.
    pub(crate) fn thread_states(&self) -> ThreadStates {
        ThreadStates::of(self.clone())
    }

    /// The name that the program gave the thread.
    ///
    /// # Errors
    /// When it is gone, or has none.
    pub fn thread_name(&self, thread: ThreadId) -> io::Result<OsString> {
        self.inner.thread_name(thread)
    }

    /// The number itself if it is that of a thread of the process: there are no namespaces.
    pub fn outer_thread_id(&self, inner: ThreadId) -> Option<ThreadId> {
        self.thread_state(inner).ok().map(|_| inner)
    }

    /// Each thread's number twice.
    pub fn thread_id_pairs(&self) -> Vec<(ThreadId, ThreadId)> {
        self.threads().unwrap_or_default().into_iter().map(|thread| (thread, thread)).collect()
    }

    /// Its number.
    pub fn namespace_pid(&self) -> Option<u64> {
        u64::try_from(self.pid).ok()
    }

    /// Holds one thread until the value is dropped.
    ///
    /// # Errors
    /// When the thread is gone or may not be held.
    pub(crate) fn pause_thread(&self, thread: ThreadId) -> Result<PausedThread, PauseError> {
        match self.inner.hold_thread(thread) {
            Ok(held) => Ok(PausedThread::new(thread, held)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(PauseError::Gone(thread)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(PauseError::Denied(thread)),
            Err(source) => Err(PauseError::System { thread, source }),
        }
    }

    /// As [`Self::pause_thread`]; `None` where `waits` says that it waits.
    ///
    /// # Errors
    /// As [`Self::pause_thread`].
    pub(crate) fn pause_running_thread(
        &self,
        thread: ThreadId,
        waits: &mut dyn FnMut() -> bool,
    ) -> Result<Option<PausedThread>, PauseError> {
        if waits() { Ok(None) } else { self.pause_thread(thread).map(Some) }
    }

    /// Holds all threads until the value is dropped.
    ///
    /// # Errors
    /// When the process is gone or may not be held.
    pub(crate) fn pause_all(&self) -> Result<PausedProcess, PauseError> {
        let thread = ThreadId::from(self.pid.unsigned_abs());
        let held = self.inner.hold_all().map_err(|source| PauseError::System { thread, source })?;
        Ok(PausedProcess::new(held))
    }

    /// As [`Self::pause_all`]: the systems hold all or none.
    ///
    /// # Errors
    /// As [`Self::pause_all`].
    pub(crate) fn pause_all_but(&self, _spared: &[ThreadId]) -> Result<PausedProcess, PauseError> {
        self.pause_all()
    }

    /// Not known here.
    pub fn asleep_for(&self, _threads: &[ThreadId]) -> HashMap<ThreadId, Duration> {
        HashMap::new()
    }

    /// Not known here.
    pub fn shareable_cpu(&self, _thread: ThreadId) -> Option<usize> {
        None
    }

    /// Whether it has exited.
    pub fn has_exited(&self) -> bool {
        self.inner.has_exited()
    }

    /// The same of several, in their order.
    pub fn have_exited(processes: &[&Self]) -> Vec<bool> {
        processes.iter().map(|process| process.has_exited()).collect()
    }

    /// How it has exited; not known on macOS.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.inner.exit_status()
    }

    /// Waits until it has exited, at most `limit`; whether it has.
    pub fn wait_for_exit(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.has_exited() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        true
    }

    /// Not known here.
    pub fn is_stopped(&self) -> bool {
        false
    }

    /// Not known here.
    pub fn tracer(&self) -> Option<i32> {
        None
    }

    /// Its command line.
    ///
    /// # Errors
    /// When it has exited or may not be looked at.
    pub fn command_line(&self) -> Result<Vec<OsString>, ProcessError> {
        self.inner.command_line().map_err(|error| self.error("the command line", error))
    }

    /// Not known here.
    pub fn environment_variable(&self, _name: &str) -> Option<String> {
        None
    }

    /// There are none here.
    pub fn control_groups(&self) -> Option<String> {
        None
    }

    /// The path of the program that it runs.
    ///
    /// # Errors
    /// When it has exited or may not be looked at.
    pub fn executable(&self) -> Result<PathBuf, ProcessError> {
        self.inner.executable().map_err(|error| self.error("the executable", error))
    }

    /// Its working directory.
    ///
    /// # Errors
    /// When it has exited or may not be looked at.
    pub fn working_directory(&self) -> Result<PathBuf, ProcessError> {
        self.inner.working_directory().map_err(|error| self.error("the working directory", error))
    }

    /// Not known here.
    pub fn user(&self) -> Option<u32> {
        None
    }

    /// The process that started it.
    ///
    /// # Errors
    /// When it has exited.
    pub fn parent(&self) -> Result<i32, ProcessError> {
        self.inner.parent().map_err(|error| self.error("the parent", error))
    }

    /// Its children.
    pub fn children(&self) -> Vec<ChildProcess> {
        self.descendants().into_iter().filter(|child| child.parent == self.pid).collect()
    }

    /// All processes below it.
    pub fn descendants(&self) -> Vec<ChildProcess> {
        self.inner.descendants().into_iter().map(|(pid, parent)| ChildProcess { pid, parent }).collect()
    }

    /// Not known here: always 0.
    pub fn start_ticks(&self) -> u64 {
        0
    }

    /// How long ago it was started.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.start_time()?.elapsed().ok()
    }

    /// When it was started.
    pub fn start_time(&self) -> Option<SystemTime> {
        self.inner.start_time()
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it has exited or may not be looked at.
    pub fn usage(&self) -> Result<ProcessUsage, ProcessError> {
        self.inner.usage().map_err(|error| self.error("the usage", error))
    }

    /// What tells the program that it runs now from the next.
    ///
    /// # Errors
    /// When it has exited or may not be read.
    pub(crate) fn image_identity(&self) -> Result<ImageIdentity, ProcessError> {
        let program = self.executable()?;
        let mappings = self.maps()?;
        let mapping = mappings.iter().find(|mapping| mapping.path.as_ref() == Some(&program));
        let address = mapping.ok_or(ProcessError::NoMemory(self.pid))?.start;
        let bytes = self.memory().read_array(address).map_err(|_| ProcessError::NoMemory(self.pid))?;
        Ok(ImageIdentity { address, bytes })
    }

    /// Not known here.
    pub(crate) fn mappings_sign(&self) -> Option<MappingsSign> {
        None
    }

    /// There are no namespaces here.
    pub fn is_in_our_mount_namespace(&self) -> bool {
        true
    }

    /// There are no namespaces here.
    pub fn is_in_our_pid_namespace(&self) -> bool {
        true
    }
}

fn mapping(region: Region) -> Mapping {
    Mapping {
        start: region.start,
        end: region.end,
        file_offset: 0,
        readable: region.readable,
        writable: region.writable,
        executable: region.executable,
        device: DeviceNumber::default(),
        // Files are told apart by their paths here.
        inode: 0,
        path: region.path,
        deleted: false,
        label: None,
    }
}

fn denied_to_read(pid: i32, refused: &str) -> ProcessError {
    ProcessError::Denied(Box::new(Denial {
        pid,
        refused: refused.to_owned(),
        own_user: own_user(),
        ..Denial::default()
    }))
}

#[cfg(unix)]
fn own_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

#[cfg(not(unix))]
fn own_user() -> u32 {
    u32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::ReadFailure;

    #[cfg(unix)]
    fn start_sleeper() -> Result<SpawnedProgram, crate::process::SpawnError> {
        SpawnedProgram::start("sleep".into(), &["600".into()])
    }

    #[cfg(windows)]
    fn start_sleeper() -> Result<SpawnedProgram, crate::process::SpawnError> {
        SpawnedProgram::start("ping".into(), &["-n".into(), "600".into(), "127.0.0.1".into()])
    }

    #[test]
    fn a_started_program_is_read_held_and_ended() {
        let mut program = start_sleeper().unwrap();
        let process = Process::open(program.pid()).unwrap();
        // The program is mapped a moment after `exec` has returned.
        let identity = loop {
            match process.image_identity() {
                Ok(identity) => break identity,
                Err(error) => assert!(matches!(error, ProcessError::NoMemory(_)), "{error:?}"),
            }
        };
        assert!(identity.is_still_in(&process.memory()));
        assert_eq!(process.memory().read_u8(8).unwrap_err().failure, ReadFailure::Unmapped);
        let threads = process.threads().unwrap();
        assert!(!threads.is_empty());
        assert!(!process.pause_all().unwrap().is_empty());
        assert_eq!(process.parent().unwrap().unsigned_abs(), std::process::id());
        assert!(!process.command_line().unwrap().is_empty());
        assert!(process.usage().unwrap().resident_bytes > 0);
        drop(process.pause_thread(threads[0]).unwrap());
        assert!(process.pause_thread(u64::MAX).is_err());
        assert!(!program.end(Duration::from_secs(30)).unwrap().success());
        assert!(process.wait_for_exit(Duration::from_secs(30)));
        assert!(process.thread_states().look(threads[0]).is_err());
    }
}
