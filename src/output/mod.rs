//! Writers: a [`Profile`](crate::profile::Profile) in the formats that people's viewers read, one file a format.
//!
//! Each writer is a pure function of a profile, a [`Presentation`] and an `impl Write`. One recording gives every format, and the
//! formats agree: all count the wall time that samples stand for, not how many there are.
//!
//! Limits: knows only the profile; opens no file, prints nothing. Names come from the target and can hold anything: what a format
//! cannot carry is written as a visible escape (`\n`, `\u{0}`), and `;` becomes `:` where it separates frames.

pub mod callgrind;
pub mod chrometrace;
pub mod collapsed;
mod color;
pub mod diff;
pub mod dump;
pub mod firefox;
pub mod flamechart;
pub mod flamegraph;
mod format;
mod functions;
mod input;
mod json;
mod narrow;
mod place;
pub mod pprof;
mod presentation;
pub mod pstats;
pub mod raw;
pub mod recording;
mod runs;
pub mod speedscope;
mod text;
mod tree;

pub use format::Format;
pub use input::{InputError, read};
pub use json::write_safe_json;
pub use presentation::{Lines, Presentation};
pub use text::printable;

#[cfg(test)]
mod readers;
#[cfg(test)]
mod samples;
