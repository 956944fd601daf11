//! [`Process`]: what can be asked of another process, each answer from the module that knows it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use nix::unistd::{SysconfVar, sysconf};

use super::cpu::shareable_cpu;
use super::files;
use super::live_memory::LiveMemory;
use super::procfs::address_space::{self, ImageIdentity, MappingsSign};
use super::procfs::descriptors::Descriptors;
use super::procfs::handle::Handle;
use super::procfs::stat::status_field;
use super::procfs::thread_states::ThreadStates;
use super::procfs::{children, page_map, permission, syscall, thread_ids};
use super::ptrace::pause_guards::{PausedProcess, PausedThread};
use super::sleep_times::asleep_for;
use crate::memory::{Memory, ReadFailure};
use crate::process::{
    ChildProcess, Mapping, PauseError, ProcessError, ProcessUsage, RestingPlace, SystemCall, ThreadActivity, ThreadId,
    ThreadReading, page_size,
};

/// How long a thread is given to stop. It takes some ten microseconds once the thread gets a CPU; a machine that has
/// far too much to do may let it wait, and to give up then would be worse, as the thread stops all the same some time
/// later.
const PAUSE_LIMIT: Duration = Duration::from_secs(5);

/// How long an exit takes at most of a process that has no memory any more.
const EXITING: Duration = Duration::from_millis(200);

/// How much of a command line is taken: a process may make its own as long as it likes.
const COMMAND_LINE_LIMIT: u64 = 1 << 20;
/// A longer list of control groups is cut, in bytes.
const CONTROL_GROUPS_LIMIT: u64 = 64 << 10;

/// How many mappings the probe for permission tries; some cannot be read by anyone.
const PROBES: usize = 16;
/// How often the mappings are listed anew for that when the process executes one program after another.
const PROGRAMS: usize = 8;

/// Another process. Stays that process, whoever gets its number after it.
///
/// A clone is another handle on the same process.
#[derive(Debug, Clone)]
pub struct Process {
    handle: Arc<Handle>,
}

impl Process {
    /// Takes hold of a process to read it. That its memory may be read is tried at once, by reading one byte.
    ///
    /// # Errors
    /// When there is none, it has exited, it has no memory of its own, or it may not be read.
    pub fn open(pid: i32) -> Result<Self, ProcessError> {
        let process = Self::observe(pid)?;
        process.probe()?;
        Ok(process)
    }

    /// Takes hold of a process only to look at what everyone may see of it: its command line, state, parent and
    /// children.
    ///
    /// # Errors
    /// When there is none.
    pub fn observe(pid: i32) -> Result<Self, ProcessError> {
        Ok(Self { handle: Arc::new(Handle::open(pid)?) })
    }

    /// Reads one byte of the process for the sake of knowing whether we may.
    fn probe(&self) -> Result<(), ProcessError> {
        let pid = self.pid();
        if self.handle.stat_line()?.activity == ThreadActivity::Zombie && self.has_exited() {
            return Err(ProcessError::Exited(pid));
        }
        // The first ones will do nearly always, and a process may have thousands.
        let mut result = self.read_one_of(&self.list_mappings(address_space::first_mappings)?);
        for _ in 0..PROGRAMS {
            // It may have begun to execute another program since its mappings were listed.
            if !matches!(result, Err(ProcessError::NoMemory(_) | ProcessError::System { .. })) {
                break;
            }
            result = self.read_one_of(&self.maps()?);
        }
        result
    }

    /// Reads a byte at the start of the first of some mappings that can be read.
    fn read_one_of(&self, mappings: &[Mapping]) -> Result<(), ProcessError> {
        let (pid, memory) = (self.pid(), self.memory());
        let readable = mappings.iter().filter(|mapping| mapping.readable && mapping.label.as_deref() != Some("[vvar]"));
        let mut result = Err(ProcessError::NoMemory(pid));
        for mapping in readable.take(PROBES) {
            match memory.read_u8(mapping.start) {
                Ok(_) => return Ok(()),
                Err(error) if error.failure == ReadFailure::Denied => {
                    return Err(permission::denied(self.handle.directory(), "the memory (process_vm_readv)"));
                }
                Err(error) if error.failure == ReadFailure::Gone => return Err(ProcessError::Exited(pid)),
                Err(error) => {
                    let source = io::Error::other(error);
                    result = Err(ProcessError::System { pid, what: "memory", source });
                }
            }
        }
        result
    }

    /// The error for `refused`, which we may not read.
    pub(crate) fn denied(&self, refused: &str) -> ProcessError {
        permission::denied(self.handle.directory(), refused)
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.handle.pid()
    }

    /// Its memory.
    pub fn memory(&self) -> LiveMemory {
        LiveMemory::new(Arc::clone(&self.handle))
    }

    /// Its mappings, in the order of addresses.
    ///
    /// # Errors
    /// When it has exited, has no memory of its own, or may not be read.
    pub fn maps(&self) -> Result<Vec<Mapping>, ProcessError> {
        self.list_mappings(address_space::mappings)
    }

    /// The parts of some of its memory, whole pages, that were touched ever; all of it where that is not told.
    pub(crate) fn touched_memory(&self, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        page_map::touched(&self.handle, ranges)
    }

    fn list_mappings(&self, list: impl Fn(&Handle) -> io::Result<Vec<Mapping>>) -> Result<Vec<Mapping>, ProcessError> {
        let mappings = list(&self.handle).map_err(|error| self.handle.error("the maps (/proc/PID/maps)", error))?;
        if mappings.is_empty() {
            let pid = self.pid();
            // One that exits has let its memory go a moment before it is gone.
            return Err(if self.wait_for_exit(EXITING) {
                ProcessError::Exited(pid)
            } else {
                ProcessError::NoMemory(pid)
            });
        }
        Ok(mappings)
    }

    /// Opens the file behind a mapping: that very file, also when it was deleted, replaced, or lies in another root; or
    /// none.
    ///
    /// # Errors
    /// When it cannot be reached any more.
    pub fn open_mapping(&self, mapping: &Mapping) -> io::Result<File> {
        files::open_mapping(&self.handle, mapping)
    }

    /// Opens the regular file that the target finds at `path`: in its own root, or below its working directory if
    /// relative.
    ///
    /// # Errors
    /// When there is none or it may not be read.
    pub fn open_in_root(&self, path: &Path) -> io::Result<File> {
        files::open_in_root(&self.handle, path)
    }

    /// Opens a regular file at `path` as [`Self::open_in_root`] does, if the target's user may read it too: what a
    /// hostile target calls its source may be a file that only we may read.
    ///
    /// # Errors
    /// As [`Self::open_in_root`], and when the target may not read it.
    pub(crate) fn open_source(&self, path: &Path) -> io::Result<File> {
        files::open_as_target(&self.handle, path)
    }

    /// Whether the target finds a regular file at `path`, as [`Self::open_in_root`] would.
    pub fn is_file_in_root(&self, path: &Path) -> bool {
        files::is_file_in_root(&self.handle, path)
    }

    /// Its threads, by their numbers outside of its namespace.
    ///
    /// # Errors
    /// When it has exited.
    pub fn threads(&self) -> Result<Vec<ThreadId>, ProcessError> {
        let threads = self.handle.threads().map_err(|error| self.handle.error("the threads", error))?;
        Ok(threads.into_iter().map(|thread| ThreadId::from(thread.unsigned_abs())).collect())
    }

    /// What a thread is doing. For many looks see [`Self::thread_states`].
    ///
    /// # Errors
    /// When it is gone or is no thread of this process.
    pub fn thread_state(&self, thread: ThreadId) -> io::Result<ThreadReading> {
        let line = self.handle.thread_stat(thread)?;
        Ok(ThreadReading { activity: line.activity, user_ticks: line.user_ticks, system_ticks: line.system_ticks })
    }

    /// For how long a thread has waited for a CPU in all its life, but for the wait that goes on; `None` when it is
    /// gone or the system does not count that (the second number of `schedstat`).
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn run_delay_ns(&self, thread: ThreadId) -> Option<u64> {
        let line = self.handle.read_file(&format!("task/{thread}/schedstat"), 4096).ok()?;
        str::from_utf8(&line).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
    }

    /// The system call that a thread is in; `None` when it runs, is in none, or the system does not tell. While we hold
    /// the thread, what it was in cannot be told: look first, then pause.
    pub fn system_call(&self, thread: ThreadId) -> Option<SystemCall> {
        syscall::system_call(&self.handle, thread)
    }

    /// Whether the system lets us know the calls that its threads are in; where it does not, their registers tell.
    pub(crate) fn shows_system_calls(&self) -> bool {
        syscall::shows_system_calls(&self.handle)
    }

    /// Where a thread sleeps; `None` when it runs or the system does not tell. While we hold the thread it cannot be
    /// told.
    pub fn resting_place(&self, thread: ThreadId) -> Option<RestingPlace> {
        syscall::resting_place(&self.handle, thread)
    }

    /// The kernel's name for what a thread sleeps in, where the kernel shows it.
    pub fn wait_channel(&self, thread: ThreadId) -> Option<String> {
        syscall::wait_channel(&self.handle, thread)
    }

    /// What its descriptors are open on.
    pub fn descriptors(&self) -> Descriptors {
        Descriptors::new(Arc::clone(&self.handle))
    }

    /// Thread states at the rate of sampling.
    pub fn thread_states(&self) -> ThreadStates {
        ThreadStates::new(Arc::clone(&self.handle))
    }

    /// The name that a thread has with the system (at most 15 bytes; chosen by the target).
    ///
    /// # Errors
    /// When it is gone.
    pub fn thread_name(&self, thread: ThreadId) -> io::Result<OsString> {
        let name = self.handle.read_file(&format!("task/{thread}/comm"), 4096)?;
        Ok(OsStr::from_bytes(name.strip_suffix(b"\n").unwrap_or(&name)).to_owned())
    }

    /// The number outside of a thread that goes by `inner` in the target's own pid namespace.
    pub fn outer_thread_id(&self, inner: ThreadId) -> Option<ThreadId> {
        // A process stays in the pid namespace that it was made in (pid_namespaces(7)).
        let has_our_numbers =
            || self.namespace_pid() == Some(self.pid().unsigned_abs().into()) && self.is_in_our_pid_namespace();
        if *self.handle.has_our_numbers.get_or_init(has_our_numbers) {
            return self.handle.thread_stat(inner).ok().map(|_| inner);
        }
        self.thread_id_pairs().into_iter().find(|(number, _)| *number == inner).map(|(_, outer)| outer)
    }

    /// Each thread's number in the target's own pid namespace, with the one outside.
    pub fn thread_id_pairs(&self) -> Vec<(ThreadId, ThreadId)> {
        thread_ids::id_pairs(&self.handle)
    }

    /// The number by which the process knows itself (`os.getpid()` in it).
    pub fn namespace_pid(&self) -> Option<u64> {
        thread_ids::inner_number(&self.handle.status().ok()?)
    }

    /// Holds one thread until the value is dropped, which must be done by the thread of ours that called this. `thread`
    /// may be any number; one that is no thread of this process is refused.
    ///
    /// A thread that sleeps in `epoll_wait` and a few other system calls sees them end with `EINTR`, which CPython 2.7
    /// and some C code do not expect; prefer to hold threads that run.
    ///
    /// After an error of [`PauseError::Uninterruptible`] or [`PauseError::TimedOut`] call
    /// [`release_pending`](crate::process::release_pending) soon and until it returns 0: such a thread may stop later
    /// and must then be let go.
    ///
    /// # Errors
    /// When the thread is gone, traced by another, deaf to signals, or may not be traced.
    pub fn pause_thread(&self, thread: ThreadId) -> Result<PausedThread, PauseError> {
        PausedThread::new(&self.handle, thread, PAUSE_LIMIT)
    }

    /// As [`Self::pause_thread`], for a thread that has just been seen running through [`ThreadStates`]: it is not
    /// looked at again, which saves about half of the cost. `None` where `waits`, asked at the last moment, says that
    /// it waits by now. If it goes into an uninterruptible wait after that, this takes up to 20 ms and an error.
    ///
    /// # Errors
    /// As [`Self::pause_thread`].
    pub fn pause_running_thread(
        &self,
        thread: ThreadId,
        waits: &mut dyn FnMut() -> bool,
    ) -> Result<Option<PausedThread>, PauseError> {
        PausedThread::new_unless(&self.handle, thread, waits, PAUSE_LIMIT)
    }

    /// Holds all threads until the value is dropped, as [`Self::pause_thread`].
    ///
    /// # Errors
    /// When no thread is left, or one is traced by another or may not be traced; then none is held.
    pub fn pause_all(&self) -> Result<PausedProcess, PauseError> {
        self.pause_all_but(&[])
    }

    /// Holds all threads but `spared`.
    ///
    /// # Errors
    /// As [`Self::pause_all`].
    pub fn pause_all_but(&self, spared: &[ThreadId]) -> Result<PausedProcess, PauseError> {
        PausedProcess::new(&self.handle, spared, PAUSE_LIMIT)
    }

    /// For how long each of `threads` has not been on a CPU; those are missing of which the system does not tell.
    pub fn asleep_for(&self, threads: &[ThreadId]) -> HashMap<ThreadId, Duration> {
        asleep_for(&self.handle, threads)
    }

    /// The CPU that a thread is on or was on last, if the calling thread would get it from that thread whenever it
    /// wakes there.
    pub fn shareable_cpu(&self, thread: ThreadId) -> Option<usize> {
        shareable_cpu(&self.handle, thread)
    }

    /// Whether it has exited, all threads of it.
    pub fn has_exited(&self) -> bool {
        self.handle.has_exited()
    }

    /// The same of several, in their order, which costs hardly more than of one.
    pub fn have_exited(processes: &[&Self]) -> Vec<bool> {
        Handle::have_exited(&processes.iter().map(|process| &*process.handle).collect::<Vec<_>>())
    }

    /// How it has ended; `None` while it has not, and when that cannot be known: it is not our child, and its parent
    /// has collected it.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.handle.exit_status()
    }

    /// Waits until it has exited, at most `limit`; whether it has.
    pub fn wait_for_exit(&self, limit: Duration) -> bool {
        self.handle.wait_for_exit(limit)
    }

    /// What becomes readable when it exits, where the kernel has such.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "waited for beside rings of the kernel"))]
    pub(crate) fn exit_event(&self) -> Option<BorrowedFd<'_>> {
        self.handle.pidfd()
    }

    /// Whether a signal has stopped it (SIGSTOP, Ctrl-Z): it is read as it is, without being paused.
    pub fn is_stopped(&self) -> bool {
        self.handle.stat_line().is_ok_and(|line| line.activity == ThreadActivity::Stopped)
    }

    /// The process that traces it (a debugger), if any and if we can see it. We cannot pause it then.
    pub fn tracer(&self) -> Option<i32> {
        let status = self.handle.status().ok()?;
        let tracer = status_field(&status, "TracerPid:")?.parse().ok()?;
        (tracer != 0).then_some(tracer)
    }

    /// Its command line as it shows it, which it may have changed.
    ///
    /// # Errors
    /// When it has exited.
    pub fn command_line(&self) -> Result<Vec<OsString>, ProcessError> {
        let text = address_space::read_file(&self.handle, "cmdline", COMMAND_LINE_LIMIT)
            .map_err(|error| self.handle.error("the command line", error))?;
        let text = text.strip_suffix(b"\0").unwrap_or(&text);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(text.split(|byte| *byte == 0).map(|argument| OsStr::from_bytes(argument).to_owned()).collect())
    }

    /// A variable of the environment that it was started with. What it has set itself since is not seen.
    pub fn environment_variable(&self, name: &str) -> Option<String> {
        let text = address_space::read_file(&self.handle, "environ", COMMAND_LINE_LIMIT).ok()?;
        let mut variables = text.split(|byte| *byte == 0);
        let value = variables.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// The control groups that it is in, a line a hierarchy, as `/proc/PID/cgroup` has them.
    pub fn control_groups(&self) -> Option<String> {
        let text = self.handle.read_file("cgroup", CONTROL_GROUPS_LIMIT).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// The path of the program that it runs, as it was when it was started: perhaps of another root, perhaps deleted
    /// since.
    ///
    /// # Errors
    /// When it has exited or may not be looked at.
    pub fn executable(&self) -> Result<PathBuf, ProcessError> {
        address_space::program_path(&self.handle).map_err(|error| self.handle.error("the executable", error))
    }

    /// Its working directory; the path may be one of another root.
    ///
    /// # Errors
    /// When it has exited or may not be looked at.
    pub fn working_directory(&self) -> Result<PathBuf, ProcessError> {
        self.handle.read_link("cwd").map_err(|error| self.handle.error("the working directory", error))
    }

    /// The user that it acts as.
    pub fn user(&self) -> Option<u32> {
        status_field(&self.handle.status().ok()?, "Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()
    }

    /// Its parent now.
    ///
    /// # Errors
    /// When it has exited.
    pub fn parent(&self) -> Result<i32, ProcessError> {
        Ok(self.handle.stat_line()?.parent)
    }

    /// Its children, zombies included; empty when it has exited.
    pub fn children(&self) -> Vec<ChildProcess> {
        children::children(&self.handle)
    }

    /// All processes below it, parents before their children; empty when it has exited.
    pub fn descendants(&self) -> Vec<ChildProcess> {
        children::descendants(&self.handle)
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it has exited.
    pub fn usage(&self) -> Result<ProcessUsage, ProcessError> {
        let line = self.handle.stat_line()?;
        let number = |name| sysconf(name).ok().flatten().and_then(|number| u64::try_from(number).ok());
        let ticks_a_second = number(SysconfVar::CLK_TCK).filter(|ticks| *ticks > 0).unwrap_or(100);
        let ticks = line.user_ticks.saturating_add(line.system_ticks);
        let milliseconds = ticks.saturating_mul(1000) / ticks_a_second;
        Ok(ProcessUsage {
            cpu: Duration::from_millis(milliseconds),
            resident_bytes: line.resident_pages.saturating_mul(page_size()),
        })
    }

    /// When it was started, in clock ticks since the machine was: with the number, what tells it from every other
    /// process.
    pub fn start_ticks(&self) -> u64 {
        self.handle.start_ticks()
    }

    /// How long ago it was started, to about 10 ms; `None` where the clock of the machine cannot be read.
    pub(crate) fn age(&self) -> Option<Duration> {
        let ticks_a_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok().filter(|ticks| *ticks > 0)?;
        let started_ms = self.start_ticks().saturating_mul(1000) / ticks_a_second;
        Some(super::timer::boot_time()?.saturating_sub(Duration::from_millis(started_ms)))
    }

    /// When it was started, to about 10 ms; `None` where the clock of the machine cannot be read.
    pub fn start_time(&self) -> Option<SystemTime> {
        let ticks_a_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok().filter(|ticks| *ticks > 0)?;
        let stat = fs::read("/proc/stat").ok()?;
        let machine_start: u64 = status_field(&stat, "btime ")?.parse().ok()?;
        let ticks = self.start_ticks();
        let since_machine_start = Duration::from_secs(ticks / ticks_a_second)
            + Duration::from_secs(1) * u32::try_from(ticks % ticks_a_second).ok()?
                / u32::try_from(ticks_a_second).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(machine_start) + since_machine_start)
    }

    /// What tells the program that it runs now from the next that it may `exec`.
    ///
    /// # Errors
    /// When it has exited or may not be read.
    pub fn image_identity(&self) -> Result<ImageIdentity, ProcessError> {
        address_space::image_identity(&self.handle, &self.memory())
            .map_err(|error| self.handle.error("the identity of its program (/proc/PID/exe and auxv)", error))
    }

    /// What tells cheaply whether it may have mapped something or run another program since; `None` when that cannot be
    /// told.
    pub fn mappings_sign(&self) -> Option<MappingsSign> {
        address_space::mappings_sign(&self.handle)
    }

    /// Whether it sees the same mounts as we do.
    pub fn is_in_our_mount_namespace(&self) -> bool {
        self.is_in_our_namespace("mnt")
    }

    /// Whether its process numbers are ours.
    pub fn is_in_our_pid_namespace(&self) -> bool {
        self.is_in_our_namespace("pid")
    }

    fn is_in_our_namespace(&self, kind: &str) -> bool {
        let theirs = fstatat(self.handle.directory(), format!("ns/{kind}").as_str(), AtFlags::empty());
        let ours = fs::metadata(format!("/proc/self/ns/{kind}"));
        match (theirs, ours) {
            (Ok(theirs), Ok(ours)) => (theirs.st_dev, theirs.st_ino) == (ours.dev(), ours.ino()),
            // Without the right to look, the usual case is the best guess.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests;
