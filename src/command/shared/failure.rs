//! Errors at the edge: which exit status each has, and what the user can do about it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::cli::Status;
use crate::core_file::CoreError;
use crate::output::Format;
use crate::process::{ProcessError, SpawnError, quoted_path};
use crate::python::locate::SUPPORTED;
use crate::sampler::{AttachError, PostMortemError, SampleError};

/// What shows the program of a process.
const HOW_TO_SEE: &str = if cfg!(windows) { "`tasklist /fi \"PID eq PID\"`" } else { "`ps -fp PID`" };

/// A program that is as old as this has started.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// The output cannot be written.
#[derive(Debug, Error)]
#[error("cannot write {}", output_name(.path))]
pub(crate) struct OutputError {
    /// Where to.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: std::io::Error,
}

impl OutputError {
    /// Standard output cannot be written.
    pub(crate) fn of_stdout(source: std::io::Error) -> Self {
        Self { path: PathBuf::from("-"), source }
    }
}

fn output_name(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard output".to_owned() } else { quoted_path(path) }
}

/// The name of the output is that of another kind of file.
#[derive(Debug, Error)]
#[error("no format is written to {suffix} files")]
pub(crate) struct ForeignNameError {
    /// The end of the name, with its dot.
    pub suffix: &'static str,
}

impl ForeignNameError {
    fn advice() -> Vec<String> {
        let names = Format::ALL.map(|format| format!("{} ({})", format.suffix(), format.name()));
        vec![format!("names end in {}", names.join(", ")), "-f FORMAT writes that format under any name".to_owned()]
    }
}

/// The output of a recording could not be written when there was something to write.
#[derive(Debug, Error)]
#[error("cannot write {}; what was recorded is {}", quoted_path(.path), place_of(.kept.as_deref()))]
pub(crate) struct UnfinishedError {
    /// Where to.
    pub path: PathBuf,
    /// The recording in which the data are.
    pub kept: Option<PathBuf>,
    /// Why not.
    #[source]
    pub source: std::io::Error,
}

fn place_of(recording: Option<&Path>) -> String {
    recording.map_or_else(|| "lost".to_owned(), |path| format!("in {}", quoted_path(path)))
}

/// A server has not taken all that was sent to it.
#[derive(Debug, Error)]
#[error("{url} has not taken all profiles: {reason}")]
pub(crate) struct PushError {
    /// Where they were sent.
    pub url: String,
    /// What it answered, or why it did not.
    pub reason: String,
}

/// The server would be open to whom it must not be.
#[derive(Debug, Error)]
pub(crate) enum AccessError {
    /// Other machines could ask.
    #[error("at {0} other machines can ask for profiles, which needs a token")]
    Open(SocketAddr),
    /// There is no token in the file.
    #[error("cannot read a token from {}", quoted_path(.path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It could be guessed.
    #[error("the token in {} is shorter than {shortest} characters", quoted_path(.path))]
    Short {
        /// The file.
        path: PathBuf,
        /// How long it has to be, in bytes.
        shortest: usize,
    },
}

/// The exit status for an error.
pub(crate) fn status(error: &anyhow::Error) -> Status {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<AttachError>() {
            return match error {
                AttachError::Process(error) => process_status(error),
                AttachError::Exited { .. } => Status::Exited,
                _ if error.is_unsupported_version() => Status::Unsupported,
                _ => Status::NotPython,
            };
        }
        if let Some(error) = cause.downcast_ref::<ProcessError>() {
            return process_status(error);
        }
        if let Some(SampleError::Exited) = cause.downcast_ref::<SampleError>() {
            return Status::Exited;
        }
        match cause.downcast_ref::<PostMortemError>() {
            Some(PostMortemError::NotPython { .. }) => return Status::NotPython,
            Some(error) if error.is_unsupported_version() => return Status::Unsupported,
            Some(_) => return Status::CoreFile,
            None => {}
        }
        if cause.is::<ForeignNameError>() || cause.is::<AccessError>() {
            return Status::CommandLine;
        }
        if cause.is::<CoreError>() {
            return Status::CoreFile;
        }
        if cause.is::<OutputError>() || cause.is::<UnfinishedError>() || cause.is::<PushError>() {
            return Status::Output;
        }
        if cause.is::<SpawnError>() {
            return Status::NotStarted;
        }
    }
    Status::Other
}

fn process_status(error: &ProcessError) -> Status {
    match error {
        ProcessError::NoSuchProcess(_) | ProcessError::IsThread { .. } => Status::NoProcess,
        ProcessError::Exited(_) => Status::Exited,
        ProcessError::NoMemory(_) => Status::NotPython,
        ProcessError::Denied(_) => Status::Permission,
        ProcessError::NoProcfs | ProcessError::System { .. } => Status::Other,
    }
}

/// What to do about a process whose children run Python in place of it.
pub(in crate::command) fn below_text(below: &[i32]) -> String {
    const MOST: usize = 8;
    if let [only] = below {
        return format!("process {only} below it runs Python: give that pid, or both with --subprocesses");
    }
    let pids: Vec<String> = below.iter().take(MOST).map(ToString::to_string).collect();
    let more = match below.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let pids = pids.join(", ");
    format!("processes below it run Python ({pids}{more}): give one of these pids, or all with --subprocesses")
}

/// The process's error that a cause is, or that it carries.
fn process_error<'error>(cause: &'error (dyn std::error::Error + 'static)) -> Option<&'error ProcessError> {
    if let Some(AttachError::Process(error)) = cause.downcast_ref() {
        return Some(error);
    }
    let of_system = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    cause.downcast_ref().or_else(|| of_system?.downcast_ref())
}

/// What the user can do about an error, a sentence an entry, without capital and full stop.
pub(crate) fn advice(error: &anyhow::Error) -> Vec<String> {
    let text = |text: &str| vec![text.to_owned()];
    for cause in error.chain() {
        match process_error(cause) {
            Some(ProcessError::Denied(denial)) => return denial.advice(),
            Some(ProcessError::NoProcfs) => {
                return text(
                    "mount it (`mount -t proc proc /proc`); for a chroot, from outside: `mount --bind /proc ROOT/proc`",
                );
            }
            _ => {}
        }
        match cause.downcast_ref::<AttachError>() {
            Some(AttachError::NotPython { below, .. } | AttachError::NotReady { below, .. }) if !below.is_empty() => {
                return vec![below_text(below)];
            }
            Some(AttachError::NotPython { .. }) => {
                return vec![
                    format!("pyspy reads {SUPPORTED}, 64-bit; see what the process runs with {HOW_TO_SEE}"),
                    "if a wrapper or server starts Python as a child process, give the child's pid".to_owned(),
                ];
            }
            Some(AttachError::ThirtyTwoBit { .. }) => return text("only 64-bit interpreters can be read"),
            Some(AttachError::NotReady { age: Some(age), .. }) if *age >= STARTS_WITHIN => {
                return text(
                    "it is a host that starts Python later or in worker processes only; \
                     `record --subprocesses` waits for them",
                );
            }
            Some(AttachError::NotReady { .. }) => return text("try again when the program has started"),
            Some(AttachError::Unusable { .. }) => return vec![format!("pyspy reads {SUPPORTED}, 64-bit")],
            _ => {}
        }
        if let Some(error) = cause.downcast_ref::<PostMortemError>() {
            return error.advice();
        }
        if let Some(program) = cause.downcast_ref().and_then(SpawnError::python_file) {
            return vec![format!("a file of Python is run by an interpreter: `python3 {}`", quoted_path(program))];
        }
        if cause.is::<AccessError>() {
            return text("`--token FILE` names a file whose first line is a secret, such as of `openssl rand -hex 16`");
        }
        if cause.is::<ForeignNameError>() {
            return ForeignNameError::advice();
        }
        if cause.downcast_ref::<OutputError>().is_some_and(|error| error.path.as_os_str() != "-") {
            return text("give another path with --output");
        }
        if let Some(UnfinishedError { kept: Some(kept), .. }) = cause.downcast_ref() {
            return vec![format!("`pyspy convert {} -o OUT` renders what was recorded", quoted_path(kept))];
        }
        if matches!(cause.downcast_ref::<ProcessError>(), Some(ProcessError::NoSuchProcess(_))) {
            return text("it may have ended; inside of a container, give the pid as this side sees it");
        }
    }
    Vec::new()
}
