//! What has become of our children and tracees: `waitid` and `waitpid`, for one of them at a time.
//!
//! To wait for any child would take the stops of threads that are held elsewhere, and the exits that whoever started
//! the child waits for. nix's wrappers are not used: they refuse real-time signals, which a program may well be
//! stopped or killed by.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// A change that `waitid` reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// Its kind: `CLD_EXITED`, `CLD_TRAPPED` and so on (waitid(2)).
    pub(super) code: i32,
    /// The exit code or the signal; of a stop by ptrace, with the event in the bits above the signal.
    pub(super) status: i32,
}

impl Change {
    /// Whether this is the end, in whichever way.
    pub(super) fn is_exit(self) -> bool {
        matches!(self.code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED)
    }
}

/// Asks for a change of one child or tracee, with the options of waitid(2); `None` when there was none.
#[expect(unsafe_code, reason = "nix's waitid refuses real-time signals")]
pub(super) fn change_of(thread: i32, options: i32) -> io::Result<Option<Change>> {
    // SAFETY: all-zero bytes are a valid siginfo_t, which is made of numbers and raw pointers.
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `information` lives through the call, which writes one siginfo_t to it.
    let result = unsafe { libc::waitid(libc::P_PID, thread.unsigned_abs(), &raw mut information, options) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: waitid has filled in the fields of SIGCHLD, or left them zero.
    let process = unsafe { information.si_pid() };
    // SAFETY: as above.
    let status = unsafe { information.si_status() };
    Ok((process != 0).then_some(Change { code: information.si_code, status }))
}

/// Whether a child of ours has exited. Its status is left to be collected; a stop of a thread that we hold is not
/// taken for an exit.
pub(super) fn has_child_exited(child: i32) -> io::Result<bool> {
    let change = change_of(child, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL)?;
    Ok(change.is_some_and(Change::is_exit))
}

/// Collects the exit status of a child that has exited.
#[expect(unsafe_code, reason = "nix's waitpid refuses a child that was killed by a real-time signal")]
pub(super) fn collect_exit(child: i32) -> io::Result<ExitStatus> {
    let mut status = 0;
    // SAFETY: `status` lives through the call, which writes one int to it.
    let result = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(ExitStatus::from_raw(status)),
    }
}
