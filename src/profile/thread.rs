//! Who was sampled: processes and threads.

use super::text::TextId;

/// A process of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessRef(pub(super) u32);

/// A thread of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadRef(pub(super) u32);

impl ProcessRef {
    /// The position in [`Profile::processes`](super::Profile::processes).
    pub fn number(self) -> u32 {
        self.0
    }
}

impl ThreadRef {
    /// The position in [`Profile::threads`](super::Profile::threads).
    pub fn number(self) -> u32 {
        self.0
    }
}

/// A sampled process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// Its process id, as seen from outside of any namespace.
    pub pid: u32,
    /// The process that started it, when known.
    pub parent_pid: Option<u32>,
    /// Its arguments joined by spaces.
    pub command_line: TextId,
    /// Who runs it: `container 0123456789ab`, `gunicorn.service`; empty when nobody is known to.
    pub supervisor: TextId,
    /// The version of its CPython (`3.11.7`), empty when not known.
    pub python_version: TextId,
    /// When it was first seen, µs since the start of the recording.
    pub start_us: u64,
    /// When it was gone, µs since the start of the recording.
    pub end_us: Option<u64>,
}

impl Process {
    /// The same process with its texts under other numbers, those of another profile.
    pub(crate) fn with_texts(&self, mut number: impl FnMut(TextId) -> TextId) -> Self {
        Self {
            command_line: number(self.command_line),
            supervisor: number(self.supervisor),
            python_version: number(self.python_version),
            ..self.clone()
        }
    }
}

/// A sampled thread. One thread that runs several sub-interpreters is one `Thread` for each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread {
    /// The process that it belongs to.
    pub process: ProcessRef,
    /// The operating system's id of it, as seen from outside of any namespace.
    pub os_id: Option<u64>,
    /// `threading.get_ident()`: on Linux the `pthread_t`.
    pub python_id: u64,
    /// The interpreter's id; 0 is the main one.
    pub interpreter: u64,
    /// The last known name.
    pub name: Option<TextId>,
}
