//! What binds us to one process: its directory in `/proc` and a pidfd.
//!
//! The directory stays that of the process for which it was opened. When the process is gone, everything below it fails
//! (`ESRCH` or `ENOENT`), whoever has the number now. The pidfd tells when it exits; kernels before 5.3 have none, and
//! then `stat` does.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::stat::Mode;
use nix::sys::time::TimeSpec;

use super::exit_status;
use super::stat::{STAT_LINE_LIMIT, StatLine};
use crate::process::{ProcessError, ThreadActivity, ThreadId};

/// More entries than a directory of `/proc` can have: the kernel's limit on process numbers.
const ENTRY_LIMIT: usize = 4 << 20;

/// Room for most files of `/proc`, in bytes. To begin with less costs a call for each doubling, as these files do not tell their size.
const USUAL_SIZE: u64 = 16 << 10;

/// Files of `/proc` are never waited for.
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK);

/// One process, for as long as this lives.
#[derive(Debug)]
pub(super) struct Handle {
    pid: i32,
    directory: OwnedFd,
    pidfd: Option<OwnedFd>,
    start_ticks: u64,
    is_our_child: OnceLock<bool>,
    /// Whether its threads go by the same numbers inside its pid namespace and outside.
    pub(super) has_our_numbers: OnceLock<bool>,
    exit_status: OnceLock<ExitStatus>,
    /// Its status was looked for when its exit was first noticed.
    exit_was_noticed: AtomicBool,
}

impl Handle {
    /// Takes hold of process `pid`, in whatever state it is and whether or not it may be read.
    pub(super) fn open(pid: i32) -> Result<Self, ProcessError> {
        if pid <= 0 {
            return Err(ProcessError::NoSuchProcess(pid));
        }
        let path = format!("/proc/{pid}");
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(path.as_str(), flags, Mode::empty()).map_err(|error| match error {
            Errno::ENOENT | Errno::ESRCH => ProcessError::NoSuchProcess(pid),
            error => ProcessError::System { pid, what: "the directory in /proc", source: error.into() },
        })?;
        let mut handle = Self {
            pid,
            directory,
            pidfd: None,
            start_ticks: 0,
            is_our_child: OnceLock::new(),
            has_our_numbers: OnceLock::new(),
            exit_status: OnceLock::new(),
            exit_was_noticed: AtomicBool::new(false),
        };
        let status = handle.status()?;
        let owner = super::stat::status_field(&status, "Tgid:").and_then(|field| field.parse().ok());
        if let Some(process) = owner.filter(|process| *process != pid) {
            return Err(ProcessError::IsThread { thread: pid, process });
        }
        handle.pidfd = open_pidfd(pid);
        // After the pidfd: when our directory still answers, the number has been that of one process all the while.
        handle.start_ticks = handle.stat_line()?.start_ticks;
        Ok(handle)
    }

    /// The number of the process.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// When it was started, in clock ticks since the machine was.
    pub(super) fn start_ticks(&self) -> u64 {
        self.start_ticks
    }

    /// The directory in `/proc`.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Opens a file below the directory in `/proc` for reading.
    pub(super) fn open_file(&self, name: &str) -> io::Result<File> {
        Ok(File::from(openat(&self.directory, name, READ, Mode::empty())?))
    }

    /// The bytes of a file below the directory in `/proc`, at most `limit`.
    pub(super) fn read_file(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(limit.min(USUAL_SIZE)).unwrap_or(0));
        self.open_file(name)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Where a link below the directory in `/proc` points to.
    pub(super) fn read_link(&self, name: &str) -> io::Result<PathBuf> {
        Ok(PathBuf::from(readlinkat(&self.directory, name)?))
    }

    /// The entries of a directory below the directory in `/proc` that are numbers.
    pub(super) fn numbers(&self, name: &str) -> io::Result<Vec<i32>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut directory = Dir::openat(&self.directory, name, flags, Mode::empty())?;
        let mut numbers = Vec::new();
        for entry in directory.iter().take(ENTRY_LIMIT) {
            if let Some(number) = entry?.file_name().to_str().ok().and_then(|name| name.parse().ok()) {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// The `status` file of the process.
    pub(super) fn status(&self) -> Result<Vec<u8>, ProcessError> {
        self.read_file("status", 64 << 10).map_err(|error| self.error("the status", error))
    }

    /// The `stat` line of the process (of its first thread).
    pub(super) fn stat_line(&self) -> Result<StatLine, ProcessError> {
        self.read_stat("stat").map_err(|error| self.error("the state", error))
    }

    /// The `stat` line of a thread.
    pub(super) fn thread_stat(&self, thread: ThreadId) -> io::Result<StatLine> {
        self.read_stat(&format!("task/{thread}/stat"))
    }

    fn read_stat(&self, name: &str) -> io::Result<StatLine> {
        let file = self.open_file(name)?;
        let mut line = [0; STAT_LINE_LIMIT];
        let length = file.read_at(&mut line, 0)?;
        StatLine::parse(line.get(..length).unwrap_or_default()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The numbers of the threads.
    pub(super) fn threads(&self) -> io::Result<Vec<i32>> {
        let threads = self.numbers("task")?;
        if threads.is_empty() {
            return Err(Errno::ESRCH.into());
        }
        Ok(threads)
    }

    /// Whether `thread` is a living thread of the process. Far cheaper than to read its `stat`; false also where we may
    /// not ask.
    pub(super) fn is_thread(&self, thread: i32) -> bool {
        thread > 0 && signal_could_be_sent(self.pid, thread) && !self.has_exited()
    }

    /// Whether the process is a child of ours, so that its exit status is for us to collect.
    pub(super) fn is_our_child(&self) -> bool {
        // A child of ours stays one as long as we live. What the program leaves behind may become one later
        // (`orphans`), but nobody waits for the status of that.
        *self
            .is_our_child
            .get_or_init(|| self.stat_line().is_ok_and(|line| line.parent == std::process::id().cast_signed()))
    }

    /// The pidfd, where the kernel has such.
    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// How the process has ended, if it has and that can be known.
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        if self.exit_status.get().is_none()
            && self.is_over()
            && let Some(status) = exit_status::of(self)
        {
            return Some(*self.exit_status.get_or_init(|| status));
        }
        self.exit_status.get().copied()
    }

    /// Whether the process has exited, all threads of it.
    pub(super) fn has_exited(&self) -> bool {
        let exited = self.is_over();
        // Its status is best looked for at once: its parent may be about to collect it.
        if exited && !self.exit_was_noticed.swap(true, Ordering::Relaxed) {
            self.exit_status();
        }
        exited
    }

    /// As [`Self::has_exited`], with nothing noted.
    fn is_over(&self) -> bool {
        match &self.pidfd {
            Some(pidfd) => is_readable(pidfd.as_fd()),
            None => match self.stat_line() {
                // The first thread may be gone while others run.
                Ok(line) => line.activity == ThreadActivity::Zombie && line.threads <= 1,
                Err(_) => true,
            },
        }
    }

    /// Waits until the process has exited, at most `limit`; whether it has.
    pub(super) fn wait_for_exit(&self, limit: Duration) -> bool {
        let Some(pidfd) = &self.pidfd else { return self.poll_for_exit(limit) };
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            // Not in whole milliseconds: a sampler's deadline should take one wake-up, not two.
            match ppoll(&mut polled, Some(TimeSpec::from_duration(left)), None) {
                Ok(0) => return false,
                Ok(_) => return self.has_exited(),
                Err(Errno::EINTR) => {}
                Err(_) => return self.poll_for_exit(left),
            }
        }
    }

    /// As [`Handle::wait_for_exit`], where the kernel tells nobody.
    fn poll_for_exit(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.has_exited() {
                return true;
            }
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(left.min(Duration::from_millis(5)));
        }
    }

    /// Sends a signal to the process and to no other that got its number.
    pub(super) fn send_signal(&self, signal: i32) -> io::Result<()> {
        match &self.pidfd {
            Some(pidfd) => pidfd_send_signal(pidfd.as_fd(), signal),
            None if self.has_exited() => Err(Errno::ESRCH.into()),
            None => {
                let signal = nix::sys::signal::Signal::try_from(signal)?;
                Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), signal)?)
            }
        }
    }

    /// The error for reading `what`, told apart by whether the process is still there.
    pub(super) fn error(&self, what: &'static str, source: io::Error) -> ProcessError {
        match source.raw_os_error() {
            Some(libc::ESRCH) => ProcessError::Exited(self.pid),
            Some(libc::ENOENT) if self.has_exited() => ProcessError::Exited(self.pid),
            Some(libc::EACCES | libc::EPERM) => super::permission::denied(self),
            _ => ProcessError::System { pid: self.pid, what, source },
        }
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(count) if count > 0)
}

#[expect(unsafe_code, reason = "pidfd_open has no safe wrapper in nix")]
fn open_pidfd(pid: i32) -> Option<OwnedFd> {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just made this descriptor for us, so nobody else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether signals could be sent to a thread of a process; none is.
#[expect(unsafe_code, reason = "tgkill has no safe wrapper in nix")]
fn signal_could_be_sent(process: i32, thread: i32) -> bool {
    // SAFETY: the call takes three numbers; signal 0 only asks whether the thread is there.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) == 0 }
}

#[expect(unsafe_code, reason = "pidfd_send_signal has no safe wrapper in nix")]
fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_information = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means that of kill(2); the descriptor is borrowed for the call.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_information, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::linux::testing::Target;

    impl Handle {
        /// As on a kernel that has none.
        pub(in crate::process::linux) fn without_pidfd(self) -> Self {
            Self { pidfd: None, ..self }
        }

        /// As [`Handle::has_exited`], with its status not looked for.
        pub(in crate::process::linux) fn has_exited_quietly(&self) -> bool {
            self.is_over()
        }
    }

    #[test]
    fn an_exit_is_noticed_on_kernels_without_pidfds() {
        let mut target = Target::shell("echo ready; read line");
        let handle = target.handle().without_pidfd();
        assert!(!handle.has_exited());
        assert!(!handle.wait_for_exit(Duration::from_millis(1)));
        handle.send_signal(libc::SIGKILL).unwrap();
        // A zombie as yet.
        assert!(handle.wait_for_exit(Duration::from_secs(30)));
        target.end();
        assert!(handle.has_exited());
        assert_eq!(handle.send_signal(libc::SIGKILL).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
