//! What a process has used so far.

use std::time::Duration;

/// What a process has used, as the operating system counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessUsage {
    /// CPU time of all its threads, in the program and in the kernel; of a grain of some 10 ms.
    pub cpu: Duration,
    /// Memory that is there for it, in bytes (resident set).
    pub resident_bytes: u64,
}
