//! Why a process cannot be read, in the terms of the crate's face.

use std::error;

use thiserror::Error;

use crate::process::ProcessError;
use crate::sampler::{AttachError, SampleError};

/// What went wrong in detail: its text names the process, its sources say the rest.
type Cause = Box<dyn error::Error + Send + Sync>;

/// Why a process cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such process, or the number is that of a thread.
    #[error(transparent)]
    NoSuchProcess(Cause),
    /// We may not read it.
    #[error("{cause}")]
    Denied {
        /// What was refused.
        cause: Cause,
        /// What would help, a sentence an entry, without capital and full stop.
        advice: Vec<String>,
    },
    /// It runs no 64-bit CPython whose interpreter is up.
    #[error(transparent)]
    NotPython(Cause),
    /// Its version of CPython is not supported.
    #[error(transparent)]
    UnsupportedVersion(Cause),
    /// It has exited.
    #[error("the process has exited")]
    Exited,
    /// It is there and cannot be read: it is ending, or the system refused something else than permission.
    #[error(transparent)]
    Unreadable(Cause),
}

impl From<ProcessError> for Error {
    fn from(error: ProcessError) -> Self {
        match &error {
            ProcessError::NoSuchProcess(_) | ProcessError::IsThread { .. } => Self::NoSuchProcess(error.into()),
            ProcessError::Denied(denial) => Self::Denied { advice: denial.advice(), cause: error.into() },
            ProcessError::NoMemory(_) => Self::NotPython(error.into()),
            ProcessError::Exited(_) => Self::Exited,
            ProcessError::NoProcfs | ProcessError::System { .. } => Self::Unreadable(error.into()),
        }
    }
}

impl From<AttachError> for Error {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Process(error) => error.into(),
            AttachError::Exited { .. } => Self::Exited,
            error if error.is_unsupported_version() => Self::UnsupportedVersion(error.into()),
            error => Self::NotPython(error.into()),
        }
    }
}

impl From<SampleError> for Error {
    fn from(error: SampleError) -> Self {
        match error {
            SampleError::Exited => Self::Exited,
            error => Self::Unreadable(error.into()),
        }
    }
}
