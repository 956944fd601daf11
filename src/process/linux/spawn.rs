//! A program that we start ourselves.
//!
//! It keeps our standard streams, our environment and our process group: at a terminal it stays in the foreground, may
//! read from it, and gets Ctrl-C itself, as it would without us. When we die in any way it lives on; nothing ends it
//! but [`SpawnedProgram::end`], also not dropping the value. It runs as we do, or as who called us through sudo
//! ([`SpawnedProgram::user`]).
//!
//! # Why not `std::process::Child::wait`
//! It takes whatever `waitpid` reports for the exit, also the stop of a thread that we hold at that moment. Here the
//! exit is looked at first and collected only if it is one.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, signal};

use super::caller::Caller;
use super::orphans::{Before, Orphans};
#[cfg(test)]
use super::process::Process;
use super::procfs::children;
use super::procfs::handle::Handle;
use super::ptrace::thread_stop;
use super::waitpid;
#[cfg(test)]
use crate::process::ProcessError;
use crate::process::SpawnError;

/// A started program, which is our child.
#[derive(Debug)]
pub(crate) struct SpawnedProgram {
    pid: i32,
    handle: Option<Handle>,
    status: Option<ExitStatus>,
    orphans: Orphans,
}

impl SpawnedProgram {
    /// Starts `program`, looked for in PATH if it has no slash, with `arguments`. Returns once `exec` cannot fail any
    /// more, which is a moment before the program is mapped: until then its maps hold little and its identity cannot be
    /// read.
    ///
    /// # Errors
    /// When it cannot be run; also for what only `exec` finds out.
    pub(crate) fn start(program: OsString, arguments: &[OsString]) -> Result<Self, SpawnError> {
        Self::run(Command::new(&program).args(arguments))
            .map_err(|source| SpawnError::from_start(PathBuf::from(program), source))
    }

    /// Starts `program` as [`Self::start`] does, but what it writes on standard output comes out on our standard error:
    /// ours is taken.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn start_to_stderr(program: &OsStr, arguments: &[OsString]) -> Result<Self, SpawnError> {
        Self::run(Command::new(program).args(arguments).stdout(io::stderr()))
            .map_err(|source| SpawnError::from_start(PathBuf::from(program), source))
    }

    /// As whom a program would be started, if not as ourselves: who called us through sudo.
    pub(crate) fn user() -> Option<String> {
        Caller::find().map(|caller| caller.name)
    }

    /// Does `work` with the rights that this user has to files; what it makes is his. `None` where there is no such
    /// user, or we may not act as him.
    pub(crate) fn with_rights_of_user<T>(work: impl FnOnce() -> T) -> Option<T> {
        Caller::find()?.with_rights(work)
    }

    /// Starts `program` as [`Self::start`] does, but apart from our terminal: its standard input is empty and what it
    /// writes on standard output and standard error comes out of the pipe that is returned, which must be read or the
    /// program will wait.
    ///
    /// # Errors
    /// As [`Self::start`], and when no pipe can be made.
    pub(crate) fn start_captured(program: &OsStr, arguments: &[OsString]) -> Result<(Self, PipeReader), SpawnError> {
        let failed = |source| SpawnError::from_start(PathBuf::from(program), source);
        let (reader, writer) = io::pipe().map_err(failed)?;
        let second = writer.try_clone().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(second);
        let started = Self::run(&mut command).map_err(failed)?;
        // The command holds the pipe's other end; the reader sees its end only when nobody does.
        drop(command);
        Ok((started, reader))
    }

    fn run(command: &mut Command) -> io::Result<Self> {
        // Where our parent ignored SIGCHLD the kernel would throw exit statuses away.
        restore_child_signal();
        if let Some(caller) = Caller::find() {
            caller.run_as(command);
        }
        let before = Before::become_reaper();
        let pid = command.spawn()?.id().cast_signed();
        // As our child it keeps its number until we collect it. A handle is missing only where there is no /proc.
        Ok(Self { pid, handle: Handle::open(pid).ok(), status: None, orphans: before.started(pid) })
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// The process, to be read.
    ///
    /// # Errors
    /// As [`Process::open`].
    #[cfg(test)]
    pub(crate) fn process(&self) -> Result<Process, ProcessError> {
        Process::open(self.pid)
    }

    /// What it leaves behind, now or later.
    pub(crate) fn orphans(&self) -> Orphans {
        self.orphans.clone()
    }

    /// The exit status, if it has exited.
    ///
    /// # Errors
    /// When somebody else has collected it.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() && waitpid::has_child_exited(self.pid)? {
            self.status = Some(waitpid::collect_exit(self.pid)?);
        }
        Ok(self.status)
    }

    /// Waits for the exit, at most `limit`; `None` if it did not come.
    ///
    /// # Errors
    /// As [`Self::try_wait`].
    pub(crate) fn wait_at_most(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            match &self.handle {
                Some(handle) if !handle.has_exited() => {
                    handle.wait_for_exit(left);
                }
                _ => std::thread::sleep(left.min(Duration::from_millis(1))),
            }
            // A child that was killed while we held a thread of it is not done before that thread is let go.
            thread_stop::release_pending();
        }
    }

    /// Waits for the exit.
    ///
    /// # Errors
    /// As [`Self::try_wait`].
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.wait_at_most(Duration::from_secs(3600))? {
                return Ok(status);
            }
        }
    }

    /// Ends the program: SIGTERM, and SIGKILL after `grace`. What it started is ended with it as long as it is below it
    /// and in the same process group, so that a program behind a shell or a launcher ends too while a daemon of its own
    /// session lives on. What it has left behind by then ([`Self::orphans`]) is not ended.
    ///
    /// # Errors
    /// As [`Self::try_wait`].
    pub(crate) fn end(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        if let Some(status) = self.try_wait()? {
            return Ok(status);
        }
        let deadline = Instant::now() + grace;
        let below = self.same_group_below();
        self.ask_to_end(Signal::SIGTERM);
        let mut status = self.wait_at_most(grace)?;
        if status.is_none() {
            self.ask_to_end(Signal::SIGKILL);
            status = Some(self.wait()?);
        }
        // Launchers pass the signal on, so what is below gets its own only now.
        for handle in below.iter().filter(|handle| !handle.has_exited()) {
            send_and_continue(handle, Signal::SIGTERM);
        }
        for handle in &below {
            if !handle.wait_for_exit(deadline.saturating_duration_since(Instant::now())) {
                send_and_continue(handle, Signal::SIGKILL);
            }
        }
        status.ok_or_else(|| io::ErrorKind::TimedOut.into())
    }

    fn ask_to_end(&self, signal: Signal) {
        match &self.handle {
            Some(handle) => send_and_continue(handle, signal),
            // Not collected yet, so the number is still that of our child.
            None => {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), signal);
            }
        }
    }

    fn same_group_below(&self) -> Vec<Handle> {
        let Some(handle) = &self.handle else { return Vec::new() };
        let Ok(group) = handle.stat_line().map(|line| line.group) else { return Vec::new() };
        let below = children::descendants(handle).into_iter().filter_map(|child| Handle::open(child.pid).ok());
        below.filter(|handle| handle.stat_line().is_ok_and(|line| line.group == group)).collect()
    }
}

/// Sends a signal to a process that may be stopped: it would not act on SIGTERM before it goes on.
fn send_and_continue(handle: &Handle, signal: Signal) {
    for signal in [signal, Signal::SIGCONT] {
        if let Err(error) = handle.send_signal(signal as i32) {
            log::debug!("cannot send {signal} to process {}: {error}", handle.pid());
        }
    }
}

fn restore_child_signal() {
    if child_signal_is_ignored() {
        use_default_action(Signal::SIGCHLD);
    }
}

#[expect(unsafe_code, reason = "nix cannot ask for the action of a signal without setting another")]
fn child_signal_is_ignored() -> bool {
    // SAFETY: all-zero bytes are a valid sigaction, which is made of numbers.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null new action only asks; `action` lives through the call, which writes one sigaction to it.
    let result = unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut action) };
    result == 0 && (action.sa_sigaction == libc::SIG_IGN || action.sa_flags & libc::SA_NOCLDWAIT != 0)
}

#[expect(unsafe_code, reason = "to set the action of a signal is unsafe, as a handler could be anything")]
fn use_default_action(number: Signal) {
    // SAFETY: the default action runs no code of ours.
    if let Err(error) = unsafe { signal(number, SigHandler::SigDfl) } {
        log::debug!("cannot set the action of {number}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::process::linux::testing::wait_until;

    fn start(script: &str) -> SpawnedProgram {
        SpawnedProgram::start("sh".into(), &["-c".into(), script.into()]).unwrap()
    }

    #[test]
    fn a_program_that_cannot_be_run_is_an_error_at_once() {
        let error = SpawnedProgram::start("no-such-program-anywhere".into(), &[]).unwrap_err();
        assert!(matches!(error, SpawnError::NotFound(_)), "{error:?}");
        let error = SpawnedProgram::start("/etc/passwd".into(), &[]).unwrap_err();
        assert!(matches!(error, SpawnError::NotExecutable(_)), "{error:?}");
        let directory = tempfile::tempdir().unwrap();
        let error = SpawnedProgram::start(directory.path().into(), &[]).unwrap_err();
        assert!(matches!(error, SpawnError::NotExecutable(_)), "{error:?}");
    }

    #[test]
    fn exit_codes_and_signals_are_reported() {
        assert_eq!(start("exit 42").wait().unwrap().code(), Some(42));
        assert_eq!(start("kill -KILL $$").wait().unwrap().signal(), Some(libc::SIGKILL));
        // A real-time signal, which nix's own enumeration does not know.
        assert_eq!(start("kill -40 $$").wait().unwrap().signal(), Some(40));
        let mut program = start("exit 0");
        program.wait().unwrap();
        assert!(program.try_wait().unwrap().unwrap().success());
    }

    #[test]
    fn a_program_that_runs_has_no_status() {
        let mut program = start("sleep 600");
        assert_eq!(program.try_wait().unwrap(), None);
        assert_eq!(program.wait_at_most(Duration::from_millis(10)).unwrap(), None);
        assert_eq!(program.end(Duration::from_secs(30)).unwrap().signal(), Some(libc::SIGTERM));
    }

    #[test]
    fn a_program_that_ignores_the_request_is_killed() {
        let mut program = start("trap '' TERM; while :; do sleep 0.01; done");
        let handle = Handle::open(program.pid()).unwrap();
        wait_until("the shell ignores SIGTERM", || {
            let status = handle.status().unwrap();
            let ignored = crate::process::linux::procfs::stat::status_field(&status, "SigIgn:").unwrap().to_owned();
            u64::from_str_radix(&ignored, 16).unwrap() & (1 << (libc::SIGTERM - 1)) != 0
        });
        assert_eq!(program.end(Duration::from_millis(50)).unwrap().signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_stopped_program_is_ended_too() {
        let mut program = start("sleep 600; true");
        let process = program.process().unwrap();
        Handle::open(program.pid()).unwrap().send_signal(libc::SIGSTOP).unwrap();
        wait_until("the program stops", || process.is_stopped());
        assert_eq!(program.end(Duration::from_secs(30)).unwrap().signal(), Some(libc::SIGTERM));
    }

    #[test]
    fn what_a_launcher_started_is_ended_with_it() {
        let mut program = start("sh -c 'sleep 600; true'; true");
        let handle = Handle::open(program.pid()).unwrap();
        wait_until("the inner shell has started its program", || children::descendants(&handle).len() == 2);
        let below: Vec<Handle> =
            children::descendants(&handle).into_iter().map(|child| Handle::open(child.pid).unwrap()).collect();
        program.end(Duration::from_secs(30)).unwrap();
        for handle in below {
            wait_until("nothing is left", || handle.has_exited());
        }
    }
}
