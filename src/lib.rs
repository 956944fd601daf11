//! pyspy: a sampling profiler for CPython that reads another process from outside.
//!
//! The layers, and the one direction in which imports run (each may use what stands to its right or below):
//!
//! ```text
//! cli ◀─ command ─▶ tui ────▶ output ─▶ profile
//!           ├─────▶ inspect ─▶ sampler
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

pub mod binary;
pub mod cli;
pub mod command;
pub mod core_file;
pub mod embed;
pub mod inspect;
pub mod memory;
pub mod native;
pub mod output;
pub mod process;
pub mod profile;
pub mod python;
pub mod sampler;
pub mod tui;
