//! Writers: a [`Profile`](crate::profile::Profile) in the formats that people's viewers read, one file a format
//! below `formats`. What they share lies beside that folder: labels, places, calls, colours.
//!
//! Each writer is a pure function of a profile, a [`Presentation`] and an `impl Write`. One recording gives every
//! format, and the formats agree: all count the wall time that samples stand for, not how many there are.
//!
//! Limits: knows only the profile; opens no file, prints nothing. Names come from the target and can hold anything:
//! what a format cannot carry is written as a visible escape (`\n`, `\u{0}`), and `;` becomes `:` where it separates
//! frames.

mod changed_functions;
mod collections;
mod color;
mod comparison;
pub(crate) mod dump;
pub(crate) mod formats;
mod functions;
mod growth;
mod heading;
mod input;
mod json;
mod narrow;
mod place;
mod presentation;
pub(crate) mod recording;
mod runs;
mod sort;
mod source_text;
mod stack_sums;
mod summary;
mod text;
mod tree;

#[cfg(test)]
pub(crate) use formats::collapsed;
pub use formats::{Format, flamegraph, pprof, raw, speedscope};
pub(crate) use formats::{otlp, value_name as profile_value_name, write_difference};
pub(crate) use growth::{GrowthLimit, growth};
pub(crate) use input::read;
pub(crate) use json::write_safe_json;
pub(crate) use place::is_of_program;
pub(crate) use presentation::Lines;
pub use presentation::Presentation;
pub(crate) use sort::{sort_by, sort_by_cached_key, sort_by_key};
pub(crate) use source_text::{SourceText, no_source};
pub(crate) use text::{duration_text, printable, xml as escape_markup};

#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod test_profiles;
