//! What several subcommands do alike.

pub(super) mod arguments;
pub(super) mod attach;
pub(super) mod below_notes;
pub(super) mod failure;
mod format;
pub(super) mod interrupt;
pub(super) mod left_behind;
pub(super) mod output_file;
pub(super) mod own_cpu;
pub(super) mod profile_file;
pub(super) mod program_ending;
pub(super) mod program_names;
pub(super) mod prometheus;
pub(super) mod python_processes;
pub(super) mod source_finder;
pub(super) mod standard_streams;
