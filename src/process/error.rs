//! What can go wrong with another process, in types.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::ThreadId;
use super::denial::Denial;
use super::quoted::quoted_path;

/// Why a process cannot be read or looked at.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// There is none of this number, or it is hidden from us.
    #[error("there is no process {0}")]
    NoSuchProcess(i32),
    /// There is no file system of processes at `/proc`, so nothing can be said of any.
    #[error("/proc is not mounted here, and processes are found and read through it")]
    NoProcfs,
    /// The number is that of a thread.
    #[error("{thread} is a thread of process {process}, not a process")]
    IsThread {
        /// The number given.
        thread: i32,
        /// The process that the thread belongs to.
        process: i32,
    },
    /// It has exited, though its number may still be taken.
    #[error("process {0} has exited")]
    Exited(i32),
    /// A kernel thread, or a process that has let go of its memory.
    #[error("process {0} has no memory of its own to read (a kernel thread, or it is exiting)")]
    NoMemory(i32),
    /// The system does not let us read it.
    #[error("{0}")]
    Denied(Box<Denial>),
    /// Anything else.
    #[error("cannot read {what} of process {pid}: {source}")]
    System {
        /// The process.
        pid: i32,
        /// What was being read.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// Why a thread could not be held.
#[derive(Debug, Error)]
pub enum PauseError {
    /// It is no thread of that process, or is no more.
    #[error("thread {0} is gone")]
    Gone(ThreadId),
    /// Another process traces it.
    #[error("thread {thread} is traced already{}", by_process(*.tracer, .name.as_deref()))]
    AlreadyTraced {
        /// The thread.
        thread: ThreadId,
        /// Who traces it, where that can be seen.
        tracer: Option<i32>,
        /// What that is called (chosen by it).
        name: Option<String>,
    },
    /// It waits in the kernel and cannot be stopped now. Its Python frames do not move while it does.
    #[error("thread {0} is in an uninterruptible wait")]
    Uninterruptible(ThreadId),
    /// It did not stop in the time given, as on a machine with far too much to do.
    #[error("thread {0} did not stop in time")]
    TimedOut(ThreadId),
    /// The system does not let us trace it.
    #[error("not permitted to stop thread {0}")]
    Denied(ThreadId),
    /// Anything else.
    #[error("cannot stop thread {thread}: {source}")]
    System {
        /// The thread.
        thread: ThreadId,
        /// The system's error.
        source: io::Error,
    },
}

/// Why a program could not be started.
#[derive(Debug, Error)]
pub(crate) enum SpawnError {
    /// There is no such file, here or in PATH.
    #[error("there is no program {}", quoted_path(.0))]
    NotFound(PathBuf),
    /// The file may not be run.
    #[error("{} is not executable", quoted_path(.0))]
    NotExecutable(PathBuf),
    /// Anything else.
    #[error("cannot start {}: {source}", quoted_path(.program))]
    System {
        /// The program as it was named.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl SpawnError {
    /// The program, where it is a file of Python, which cannot be started by itself.
    pub(crate) fn python_file(&self) -> Option<&Path> {
        let (Self::NotFound(program) | Self::NotExecutable(program) | Self::System { program, .. }) = self;
        program.extension().filter(|extension| *extension == "py").map(|_| program.as_path())
    }

    /// The typed error for what starting `program` failed with.
    pub(super) fn from_start(program: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound(program),
            io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => Self::NotExecutable(program),
            _ => Self::System { program, source },
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_control_characters_in_a_programs_name_is_escaped() {
        let error = SpawnError::from_start("a\u{1b}[2Jb".into(), io::ErrorKind::NotFound.into());
        assert_eq!(error.to_string(), "there is no program \"a\\u{1b}[2Jb\"");
    }
}

fn by_process(tracer: Option<i32>, name: Option<&str>) -> String {
    let name = name.map_or_else(String::new, |name| format!(" ({})", name.escape_debug()));
    tracer.map_or_else(String::new, |tracer| format!(" by process {tracer}{name}"))
}
