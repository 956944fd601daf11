//! What binds us to one process: its directory in `/proc` and a pidfd.
//!
//! The directory stays that of the process for which it was opened. When the process is gone, everything below it fails
//! (`ESRCH` or `ENOENT`), whoever has the number now. The pidfd tells when it exits; kernels before 5.3 have none, and
//! then `stat` does.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::time::TimeSpec;

use super::directory::{Directory, is_mounted};
use super::stat::{StatLine, status_field};
use super::{permission, target_exit_status};
use crate::process::{ProcessError, ThreadActivity, ThreadId};

/// Why there is no directory of process `pid`.
fn why_missing(pid: i32) -> ProcessError {
    if !is_mounted() {
        return ProcessError::NoProcfs;
    }
    permission::hidden(pid).unwrap_or(ProcessError::NoSuchProcess(pid))
}

/// One process, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Handle {
    directory: Directory,
    pidfd: Option<OwnedFd>,
    start_ticks: u64,
    is_our_child: OnceLock<bool>,
    /// Whether its threads go by the same numbers inside its pid namespace and outside.
    pub(crate) has_our_numbers: OnceLock<bool>,
    exit_status: OnceLock<ExitStatus>,
    /// Its status was looked for when its exit was first noticed.
    exit_was_noticed: AtomicBool,
}

impl Handle {
    /// Takes hold of process `pid`, in whatever state it is and whether or not it may be read.
    pub(crate) fn open(pid: i32) -> Result<Self, ProcessError> {
        if pid <= 0 {
            return Err(ProcessError::NoSuchProcess(pid));
        }
        let directory = Directory::open(pid).map_err(|error| match error {
            Errno::ENOENT | Errno::ESRCH => why_missing(pid),
            error => ProcessError::System { pid, what: "the directory in /proc", source: error.into() },
        })?;
        let mut handle = Self {
            directory,
            pidfd: None,
            start_ticks: 0,
            is_our_child: OnceLock::new(),
            has_our_numbers: OnceLock::new(),
            exit_status: OnceLock::new(),
            exit_was_noticed: AtomicBool::new(false),
        };
        let status = handle.status()?;
        let owner = status_field(&status, "Tgid:").and_then(|field| field.parse().ok());
        if let Some(process) = owner.filter(|process| *process != pid) {
            return Err(ProcessError::IsThread { thread: pid, process });
        }
        handle.pidfd = open_pidfd(pid);
        // After the pidfd: when our directory still answers, the number has been that of one process all the while.
        handle.start_ticks = handle.stat_line()?.start_ticks;
        Ok(handle)
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> i32 {
        self.directory.pid()
    }

    /// When it was started, in clock ticks since the machine was.
    pub(crate) fn start_ticks(&self) -> u64 {
        self.start_ticks
    }

    /// The directory in `/proc`.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Opens a file below the directory in `/proc` for reading.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<File> {
        self.directory.open_file(name)
    }

    /// The bytes of a file below the directory in `/proc`, at most `limit`.
    pub(crate) fn read_file(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        self.directory.read_file(name, limit)
    }

    /// Where a link below the directory in `/proc` points to.
    pub(crate) fn read_link(&self, name: &str) -> io::Result<PathBuf> {
        self.directory.read_link(name)
    }

    /// The `status` file of the process.
    pub(crate) fn status(&self) -> Result<Vec<u8>, ProcessError> {
        self.read_file("status", 64 << 10).map_err(|error| self.error("the status", error))
    }

    /// The `stat` line of the process (of its first thread).
    pub(crate) fn stat_line(&self) -> Result<StatLine, ProcessError> {
        self.directory.read_stat("stat").map_err(|error| self.error("the state", error))
    }

    /// The `stat` line of a thread.
    pub(crate) fn thread_stat(&self, thread: ThreadId) -> io::Result<StatLine> {
        self.directory.read_stat(&format!("task/{thread}/stat"))
    }

    /// The numbers of the threads.
    pub(crate) fn threads(&self) -> io::Result<Vec<i32>> {
        let threads = self.directory.numbers("task")?;
        if threads.is_empty() {
            return Err(Errno::ESRCH.into());
        }
        Ok(threads)
    }

    /// Whether `thread` is a living thread of the process. Far cheaper than to read its `stat`; false also where we may
    /// not ask.
    pub(crate) fn is_thread(&self, thread: i32) -> bool {
        thread > 0 && signal_could_be_sent(self.pid(), thread) && !self.has_exited()
    }

    /// Whether the process is a child of ours, so that its exit status is for us to collect.
    pub(crate) fn is_our_child(&self) -> bool {
        // A child of ours stays one as long as we live. What the program leaves behind may become one later
        // (`orphans`), but nobody waits for the status of that.
        *self
            .is_our_child
            .get_or_init(|| self.stat_line().is_ok_and(|line| line.parent == std::process::id().cast_signed()))
    }

    /// The pidfd, where the kernel has such.
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// How the process has ended, if it has and that can be known.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        if self.exit_status.get().is_none()
            && self.is_over()
            && let Some(status) = target_exit_status::exit_status_of(&self.directory, self.pidfd())
        {
            return Some(*self.exit_status.get_or_init(|| status));
        }
        self.exit_status.get().copied()
    }

    /// Whether the process has exited, all threads of it.
    pub(crate) fn has_exited(&self) -> bool {
        let exited = self.is_over();
        // Its status is best looked for at once: its parent may be about to collect it.
        if exited && !self.exit_was_noticed.swap(true, Ordering::Relaxed) {
            self.exit_status();
        }
        exited
    }

    /// The same of several at once, in their order: one system call where the kernel has pidfds.
    pub(crate) fn have_exited(handles: &[&Self]) -> Vec<bool> {
        let pidfds =
            handles.iter().filter_map(|handle| Some(PollFd::new(handle.pidfd.as_ref()?.as_fd(), PollFlags::POLLIN)));
        let mut polled: Vec<PollFd<'_>> = pidfds.collect();
        if polled.len() < handles.len() || poll(&mut polled, PollTimeout::ZERO).is_err() {
            return handles.iter().map(|handle| handle.has_exited()).collect();
        }
        // Only of those that have is there more to find out.
        let has_exited = |(handle, fd): (&&Self, &PollFd<'_>)| fd.any().unwrap_or(true) && handle.has_exited();
        handles.iter().zip(&polled).map(has_exited).collect()
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
    pub(crate) fn wait_for_exit(&self, limit: Duration) -> bool {
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
    pub(crate) fn send_signal(&self, signal: i32) -> io::Result<()> {
        match &self.pidfd {
            Some(pidfd) => pidfd_send_signal(pidfd.as_fd(), signal),
            None if self.has_exited() => Err(Errno::ESRCH.into()),
            None => {
                let signal = nix::sys::signal::Signal::try_from(signal)?;
                Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal)?)
            }
        }
    }

    /// The error for reading `what`, told apart by whether the process is still there.
    pub(crate) fn error(&self, what: &'static str, source: io::Error) -> ProcessError {
        match source.raw_os_error() {
            Some(libc::ESRCH) => ProcessError::Exited(self.pid()),
            Some(libc::ENOENT) if self.has_exited() => ProcessError::Exited(self.pid()),
            Some(libc::EACCES | libc::EPERM) => permission::denied(&self.directory, what),
            _ => ProcessError::System { pid: self.pid(), what, source },
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
        pub(crate) fn without_pidfd(self) -> Self {
            Self { pidfd: None, ..self }
        }

        /// As [`Handle::has_exited`], with its status not looked for.
        pub(crate) fn has_exited_quietly(&self) -> bool {
            self.is_over()
        }
    }

    #[test]
    fn exits_are_noticed_in_one_look_at_several() {
        let mut targets: Vec<Target> = (0..3).map(|_| Target::shell("echo ready; read line")).collect();
        let handles: Vec<_> = targets.iter().map(|target| target.handle()).collect();
        let have_exited = || Handle::have_exited(&handles.iter().collect::<Vec<_>>());
        assert_eq!(have_exited(), [false; 3]);
        targets[1].end();
        assert_eq!(have_exited(), [false, true, false]);
        targets[0].end();
        assert_eq!(have_exited(), [true, true, false]);
        assert!(Handle::have_exited(&[]).is_empty());
        let without = targets[2].handle().without_pidfd();
        assert_eq!(Handle::have_exited(&[&without, &handles[0]]), [false, true]);
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
