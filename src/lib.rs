//! pyspy: a sampling profiler for CPython that reads another process from outside.
//!
//! The layers, and the one direction in which imports run (each may use what stands to its right or below):
//!
//! ```text
//! cli ◀─ command ─▶ tui ────▶ output ─▶ profile
//!           ├─────▶ http
//!           ├─────▶ watch ───▶ inspect ─▶ sampler
//!           └─────▶ sampler ─▶ python ─▶ binary, memory
//!                      ├─────▶ native ─▶ process, binary
//!                      ├─────▶ core_file ─▶ process, binary
//!                      ├─────▶ process ─▶ memory
//!                      └─────▶ profile
//! ```
//!
//! [`embed`] stands beside `command`: the face for other programs.
//!
//! Invariants: `python` makes no system call. Nothing below `command` prints. A failed read loses a frame or a thread,
//! never the run. Every loop over target memory has a cap. The target is resumed on every path. Nothing is ever written
//! to the target.

mod binary;
mod cli;
mod command;
mod core_file;
pub mod embed;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod http;
mod inspect;
mod memory;
mod native;
mod output;
mod process;
mod profile;
mod python;
mod sampler;
mod tui;
mod watch;

/// What the program, its benches and its tests use of the crate's inside. It is no part of the face, and changes
/// whenever the inside does.
#[doc(hidden)]
pub mod internals {
    pub use crate::command::run_program;
    pub use crate::memory::{Copies, Image, Memory, ReadPlan, Request, Snapshot};
    pub use crate::output::{Presentation, flamegraph, pprof, raw, speedscope};
    pub use crate::process::{OwnCpus, Process, ReservingAllocator, sharpen_sleep};
    pub use crate::profile::{Flags, Frame, Keep, Process as ProfileProcess, Profile, StackId, Thread};
    pub use crate::python::layout::{self, Layout, debug_offsets, up_to_3_12};
    pub use crate::python::line_table::LineTable;
    pub use crate::python::runtime::Runtime;
    pub use crate::python::stack::Stacks;
    pub use crate::python::version::Version;
}
