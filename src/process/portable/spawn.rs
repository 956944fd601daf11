//! A program that we start ourselves.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::BETWEEN_LOOKS;
use crate::process::{ChildProcess, SpawnError};

/// What a program has left behind: not known here, where it does not come to us.
#[derive(Debug, Clone)]
pub(crate) struct Orphans;

impl Orphans {
    /// None that would be known.
    pub(crate) fn living(&self) -> Vec<ChildProcess> {
        Vec::new()
    }

    /// None that would be known.
    pub(crate) fn with_descendants(&self) -> Vec<ChildProcess> {
        Vec::new()
    }
}

/// A program that we started.
#[derive(Debug)]
pub(crate) struct SpawnedProgram {
    child: Child,
}

impl SpawnedProgram {
    /// Starts `program` with `arguments`; it keeps our standard streams.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(crate) fn start(program: OsString, arguments: &[OsString]) -> Result<Self, SpawnError> {
        let started = Command::new(&program).args(arguments).spawn();
        Ok(Self { child: started.map_err(|source| SpawnError::from_start(program.into(), source))? })
    }

    /// Starts `program`; what it writes on standard output comes out on our standard error.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(crate) fn start_to_stderr(program: &OsStr, arguments: &[OsString]) -> Result<Self, SpawnError> {
        let started = Command::new(program).args(arguments).stdout(io::stderr()).spawn();
        Ok(Self { child: started.map_err(|source| SpawnError::from_start(program.into(), source))? })
    }

    /// As whom a program would be started, if not as ourselves: nobody, here.
    pub(crate) fn user() -> Option<String> {
        None
    }

    /// Does `work` with the rights that this user has to files: never, here.
    pub(crate) fn with_rights_of_user<T>(_work: impl FnOnce() -> T) -> Option<T> {
        None
    }

    /// Starts `program` with no standard input; what it writes comes out of the pipe.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(crate) fn start_captured(program: &OsStr, arguments: &[OsString]) -> Result<(Self, PipeReader), SpawnError> {
        let failed = |source| SpawnError::from_start(PathBuf::from(program), source);
        let (reader, writer) = io::pipe().map_err(failed)?;
        let second = writer.try_clone().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(second);
        let child = command.spawn().map_err(failed)?;
        Ok((Self { child }, reader))
    }

    /// What it leaves behind.
    pub(crate) fn orphans(&self) -> Orphans {
        Orphans
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The exit status, if it has exited.
    ///
    /// # Errors
    /// With the system's error.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for the exit, at most `limit`; `None` if it did not come.
    ///
    /// # Errors
    /// With the system's error.
    pub(crate) fn wait_at_most(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.try_wait()?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// Waits for the exit.
    ///
    /// # Errors
    /// With the system's error.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Ends the program: SIGTERM, and SIGKILL after `grace`; on Windows at once.
    ///
    /// # Errors
    /// With the system's error.
    pub(crate) fn end(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        #[cfg(unix)]
        {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), nix::sys::signal::Signal::SIGTERM);
            if let Some(status) = self.wait_at_most(grace)? {
                return Ok(status);
            }
        }
        #[cfg(not(unix))]
        let _ = grace;
        self.child.kill()?;
        self.child.wait()
    }
}
