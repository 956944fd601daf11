//! What options are chosen from.

use clap::ValueEnum;

/// Who takes samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SamplerArg {
    /// The kernel where it can, else the reader.
    Auto,
    /// The kernel, or nobody.
    Kernel,
    /// Reads from outside.
    Reader,
}

/// What counts as a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// All threads, also idle ones.
    Wall,
    /// Threads that run or want to.
    Cpu,
    /// Threads that hold the GIL.
    Gil,
    /// Threads that wait for the GIL.
    GilWait,
    /// Threads that are blocked.
    Offcpu,
}
