//! What only Linux knows, or needs: here it is always the same answer.

use std::io;
use std::time::Duration;

/// Nothing is ever pending here.
pub(crate) fn release_pending() -> usize {
    0
}

/// No descriptor is held open for a thread here.
pub(crate) fn raise_descriptor_limit() {}

/// Sleeps are as exact as they are here.
pub fn sharpen_sleep() {}

/// The clock of the CPU time of a process: there is none here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ProcessCpuClock {}

impl ProcessCpuClock {
    /// None.
    pub(crate) fn of(_pid: i32) -> Option<Self> {
        None
    }

    /// Nothing.
    pub(crate) fn time(self) -> Option<Duration> {
        match self {}
    }
}

/// The CPU time that the calling thread has used: not known here.
pub(crate) fn thread_cpu_time() -> Option<Duration> {
    None
}

/// Rights that the caller has not are not known here.
pub(crate) fn drop_foreign_rights() -> io::Result<()> {
    Ok(())
}

/// Whether we hold a right without which a program that we stop loses rights that it has by its file: nothing is lost
/// here.
pub(crate) fn can_trace_all() -> bool {
    true
}

/// Whether standard output was closed when we were started: not known here.
pub(crate) fn stdout_was_closed() -> bool {
    false
}

/// What time it is for other processes: not known here.
pub(crate) fn monotonic_time() -> Option<Duration> {
    None
}
