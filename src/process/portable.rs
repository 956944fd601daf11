//! The other process where there is no `/proc`: macOS and Windows, through the crates `remoteprocess` and `proc-maps`.
//!
//! Has the interface of `linux`, which documents each item. It is also compiled into the tests on Linux, where the same
//! crates work and are dependencies of the tests only, so that it does not fall behind.
//!
//! # Limits
//! Proven on neither system. There are no namespaces or other roots here, so files are opened by their paths. A target
//! that is stopped or traced already is not recognized; the CPU times of threads are not known (0). `remoteprocess`'s
//! `copy_vec` is not used: it frees with another alignment than it took.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::denial::Denial;
use super::error::{PauseError, ProcessError};
use super::mapping::{DeviceNumber, Mapping};
use super::thread_state::{ThreadActivity, ThreadReading};
use super::{ChildProcess, ProcessUsage, RestingPlace, SystemCall, ThreadId};
use crate::memory::Memory;

mod descriptors;
mod live_memory;
mod pause;
mod spawn;
mod thread_states;

pub use descriptors::Descriptors;
pub use live_memory::{ImageIdentity, LiveMemory, MappingsSign, ReadStatistics};
pub use pause::{PausedProcess, PausedThread};
pub use spawn::{Orphans, SpawnedProgram};
pub use thread_states::{OwnCpus, ThreadStates};

/// How long is slept between two looks at whether a process has exited.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Another process.
#[derive(Clone)]
pub struct Process {
    pid: i32,
    inner: Arc<remoteprocess::Process>,
}

/// The numbers of all processes: not known here.
///
/// # Errors
/// Always.
pub fn all_processes() -> io::Result<Vec<i32>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing is ever pending here.
pub fn release_pending() -> usize {
    0
}

/// No descriptor is held open for a thread here.
pub fn raise_descriptor_limit() {}

/// Sleeps are as exact as they are here.
pub fn sharpen_sleep() {}

/// The clock of the CPU time of a process: there is none here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ProcessCpuClock {}

impl ProcessCpuClock {
    /// None.
    pub(crate) fn of(_pid: i32) -> Option<Self> {
        None
    }

    /// Nothing.
    pub(crate) fn time(self) -> Option<Duration> {
        match self {}
    }
}

/// The CPU time that the calling thread has used: not known here.
pub(crate) fn thread_cpu_time() -> Option<Duration> {
    None
}

/// Rights that the caller has not are not known here.
pub(crate) fn drop_foreign_rights() -> io::Result<()> {
    Ok(())
}

/// Whether standard output was closed when we were started: not known here.
pub(crate) fn stdout_was_closed() -> bool {
    false
}

/// What time it is for other processes: not known here.
pub(crate) fn monotonic_time() -> Option<Duration> {
    None
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
        // The type of a process number is another on Windows.
        let number = pid.try_into().map_err(|_| ProcessError::NoSuchProcess(pid))?;
        let inner = remoteprocess::Process::new(number).map_err(|error| match error {
            remoteprocess::Error::IOError(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                denied_to_read(pid, "the memory")
            }
            _ => ProcessError::NoSuchProcess(pid),
        })?;
        let process = Self { pid, inner: Arc::new(inner) };
        if process.has_exited() { Err(ProcessError::NoSuchProcess(pid)) } else { Ok(process) }
    }

    fn error(&self, what: &'static str, error: remoteprocess::Error) -> ProcessError {
        ProcessError::System { pid: self.pid, what, source: io_error(error) }
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its memory.
    pub fn memory(&self) -> LiveMemory {
        LiveMemory { process: self.clone(), statistics: Cell::default() }
    }

    /// Its mappings, in the order of addresses.
    ///
    /// # Errors
    /// When it has exited or may not be read.
    pub fn maps(&self) -> Result<Vec<Mapping>, ProcessError> {
        let number = self.pid.try_into().map_err(|_| ProcessError::NoSuchProcess(self.pid))?;
        let ranges = proc_maps::get_process_maps(number).map_err(|source| ProcessError::System {
            pid: self.pid,
            what: "the maps",
            source,
        })?;
        let mut mappings: Vec<Mapping> = ranges.iter().map(mapping).collect();
        mappings.sort_by_key(|mapping| mapping.start);
        Ok(mappings)
    }

    /// Opens the file at the path of a mapping.
    ///
    /// # Errors
    /// When there is none or it may not be read.
    pub fn open_mapping(&self, mapping: &Mapping) -> io::Result<File> {
        self.open_in_root(mapping.path.as_deref().ok_or(io::ErrorKind::NotFound)?)
    }

    /// Opens the regular file at `path`, from the target's working directory if relative and if that is known.
    ///
    /// # Errors
    /// When there is none or it may not be read.
    pub fn open_in_root(&self, path: &Path) -> io::Result<File> {
        let path = self.absolute(path);
        if !path.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        File::open(path)
    }

    /// Whether there is a regular file at `path`.
    /// The error for `refused`, which we may not read.
    pub fn denied(&self, refused: &str) -> ProcessError {
        denied_to_read(self.pid, refused)
    }

    /// Whether the calls that threads are in are shown; registers are not, either.
    pub fn shows_system_calls(&self) -> bool {
        true
    }

    /// Opens a source file.
    pub fn open_source(&self, path: &Path) -> io::Result<File> {
        self.open_in_root(path)
    }

    pub fn is_file_in_root(&self, path: &Path) -> bool {
        self.absolute(path).is_file()
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        self.working_directory().map_or_else(|_| path.to_owned(), |directory| directory.join(path))
    }

    /// Its threads.
    ///
    /// # Errors
    /// When it has exited.
    pub fn threads(&self) -> Result<Vec<ThreadId>, ProcessError> {
        let threads = self.inner.threads().map_err(|error| self.error("the threads", error))?;
        Ok(threads.iter().filter_map(thread_id).collect())
    }

    fn thread(&self, thread: ThreadId) -> Option<remoteprocess::Thread> {
        self.inner.threads().ok()?.into_iter().find(|candidate| thread_id(candidate) == Some(thread))
    }

    /// What a thread is doing; the times are not known.
    ///
    /// # Errors
    /// When it is gone.
    pub fn thread_state(&self, thread: ThreadId) -> io::Result<ThreadReading> {
        let active = self.thread(thread).ok_or(io::ErrorKind::NotFound)?.active().map_err(io_error)?;
        let activity = if active { ThreadActivity::Running } else { ThreadActivity::Sleeping };
        Ok(ThreadReading { activity, user_ticks: 0, system_ticks: 0 })
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
    pub fn descriptors(&self) -> Descriptors {
        Descriptors
    }

    /// Thread states at the rate of sampling.
    pub fn thread_states(&self) -> ThreadStates {
        ThreadStates { process: self.clone() }
    }

    /// The systems' names of threads are not read here.
    ///
    /// # Errors
    /// Always.
    pub fn thread_name(&self, _thread: ThreadId) -> io::Result<OsString> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The number itself if it is that of a thread of the process: there are no namespaces.
    pub fn outer_thread_id(&self, inner: ThreadId) -> Option<ThreadId> {
        self.thread(inner).map(|_| inner)
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
    pub fn pause_thread(&self, thread: ThreadId) -> Result<PausedThread, PauseError> {
        let found = self.thread(thread).ok_or(PauseError::Gone(thread))?;
        let lock = found.lock().map_err(|error| PauseError::System { thread, source: io_error(error) })?;
        Ok(PausedThread { thread, _lock: lock, not_send: PhantomData })
    }

    /// As [`Self::pause_thread`].
    ///
    /// # Errors
    /// As [`Self::pause_thread`].
    pub fn pause_seen_thread(&self, thread: ThreadId, _seen: ThreadActivity) -> Result<PausedThread, PauseError> {
        self.pause_thread(thread)
    }

    /// Holds all threads until the value is dropped.
    ///
    /// # Errors
    /// When the process is gone or may not be held.
    pub fn pause_all(&self) -> Result<PausedProcess, PauseError> {
        let thread = ThreadId::from(self.pid.unsigned_abs());
        let lock = self.inner.lock().map_err(|error| PauseError::System { thread, source: io_error(error) })?;
        let threads = self.threads().map_or(1, |threads| threads.len());
        Ok(PausedProcess { threads, _lock: lock, not_send: PhantomData })
    }

    /// As [`Self::pause_all`]: the systems hold all or none.
    ///
    /// # Errors
    /// As [`Self::pause_all`].
    pub fn pause_all_but(&self, _spared: &[ThreadId]) -> Result<PausedProcess, PauseError> {
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
        self.inner.threads().map_or(true, |threads| threads.is_empty())
    }

    /// The same of several, in their order.
    pub fn have_exited(processes: &[&Self]) -> Vec<bool> {
        processes.iter().map(|process| process.has_exited()).collect()
    }

    /// Not known here.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        None
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

    /// Its command line; on Windows in one piece.
    ///
    /// # Errors
    /// When it has exited or may not be looked at.
    pub fn command_line(&self) -> Result<Vec<OsString>, ProcessError> {
        let arguments = self.inner.cmdline().map_err(|error| self.error("the command line", error))?;
        Ok(arguments.into_iter().map(OsString::from).collect())
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
        Ok(self.inner.exe().map_err(|error| self.error("the executable", error))?.into())
    }

    /// Its working directory; not known on Windows.
    ///
    /// # Errors
    /// When it has exited or may not be looked at.
    pub fn working_directory(&self) -> Result<PathBuf, ProcessError> {
        if cfg!(windows) {
            // `remoteprocess` panics when it is asked for it there.
            return Err(ProcessError::System {
                pid: self.pid,
                what: "the working directory",
                source: io::ErrorKind::Unsupported.into(),
            });
        }
        Ok(self.inner.cwd().map_err(|error| self.error("the working directory", error))?.into())
    }

    /// Not known here.
    pub fn user(&self) -> Option<u32> {
        None
    }

    /// Not known here.
    ///
    /// # Errors
    /// Always.
    pub fn parent(&self) -> Result<i32, ProcessError> {
        let source = io::ErrorKind::Unsupported.into();
        Err(ProcessError::System { pid: self.pid, what: "the parent", source })
    }

    /// Its children.
    pub fn children(&self) -> Vec<ChildProcess> {
        self.descendants().into_iter().filter(|child| child.parent == self.pid).collect()
    }

    /// All processes below it.
    pub fn descendants(&self) -> Vec<ChildProcess> {
        let all = self.inner.child_processes().unwrap_or_default().into_iter();
        all.filter_map(|(pid, parent)| {
            Some(ChildProcess { pid: pid.try_into().ok()?, parent: parent.try_into().ok()? })
        })
        .collect()
    }

    /// Not known here: always 0.
    pub fn start_ticks(&self) -> u64 {
        0
    }

    /// Not known here.
    pub(crate) fn age(&self) -> Option<Duration> {
        None
    }

    /// Not known here.
    pub fn start_time(&self) -> Option<SystemTime> {
        None
    }

    /// What it has used so far: not known here.
    ///
    /// # Errors
    /// Always.
    pub fn usage(&self) -> Result<ProcessUsage, ProcessError> {
        Err(ProcessError::System { pid: self.pid, what: "the usage", source: io::ErrorKind::Unsupported.into() })
    }

    /// What tells the program that it runs now from the next.
    ///
    /// # Errors
    /// When it has exited or may not be read.
    pub fn image_identity(&self) -> Result<ImageIdentity, ProcessError> {
        let program = self.executable()?;
        let mappings = self.maps()?;
        let mapping = mappings.iter().find(|mapping| mapping.path.as_ref() == Some(&program));
        let address = mapping.ok_or(ProcessError::NoMemory(self.pid))?.start;
        let bytes = self.memory().read_array(address).map_err(|_| ProcessError::NoMemory(self.pid))?;
        Ok(ImageIdentity { address, bytes })
    }

    /// Not known here.
    pub fn mappings_sign(&self) -> Option<MappingsSign> {
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

fn mapping(range: &proc_maps::MapRange) -> Mapping {
    let start = range.start() as u64;
    Mapping {
        start,
        end: start.saturating_add(range.size() as u64),
        file_offset: 0,
        readable: range.is_read(),
        writable: range.is_write(),
        executable: range.is_exec(),
        device: DeviceNumber::default(),
        inode: 0,
        path: range.filename().map(Path::to_owned),
        deleted: false,
        label: None,
    }
}

/// The number by which CPython knows the thread.
#[cfg(target_os = "macos")]
fn thread_id(thread: &remoteprocess::Thread) -> Option<ThreadId> {
    // Not the Mach port, which is a number of ours: CPython has that of `pthread_threadid_np`.
    Some(thread.get_thread_identifier_info().ok()?.thread_id)
}

/// The number by which CPython knows the thread.
#[cfg(not(target_os = "macos"))]
fn thread_id(thread: &remoteprocess::Thread) -> Option<ThreadId> {
    thread.id().ok()?.try_into().ok()
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

fn io_error(error: remoteprocess::Error) -> io::Error {
    match error {
        remoteprocess::Error::IOError(error) => error,
        error => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::ReadFailure;

    #[test]
    fn a_started_program_is_read_held_and_ended() {
        let mut program = SpawnedProgram::start("sleep".into(), &["600".into()]).unwrap();
        let process = program.process().unwrap();
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
        assert_eq!(threads.len(), 1);
        assert_eq!(process.pause_all().unwrap().len(), 1);
        drop(process.pause_thread(threads[0]).unwrap());
        assert!(process.pause_thread(u64::MAX).is_err());
        assert!(!program.end(Duration::from_secs(30)).unwrap().success());
        assert!(process.wait_for_exit(Duration::from_secs(30)));
        assert!(process.thread_states().look(threads[0]).is_err());
    }
}
