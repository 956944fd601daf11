//! `pyspy diff`.

use std::path::PathBuf;

use clap::Args;

use super::format::FormatName;
use super::values::{self, GrowthArg};

/// `pyspy diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The recording or collapsed stacks from before
    pub before: PathBuf,
    /// The recording or collapsed stacks from after
    pub after: PathBuf,
    /// Output filename, `-` for standard output [default: standard output, nothing with --fail-if]
    #[arg(short, long, value_name = "filename")]
    pub output: Option<PathBuf>,
    /// Output file format [default: by the end of the output filename, else flamegraph; without one
    /// summary]
    #[arg(short, long, value_parser = values::diff_format(), ignore_case = true, value_name = "format")]
    pub format: Option<FormatName>,
    /// Fail when a function has grown, by its file, module or name: `app/*:+5%`; may be given several times
    #[arg(long, value_name = "glob:+N%", value_parser = values::growth)]
    pub fail_if: Vec<GrowthArg>,
    /// Compare lines, not functions
    #[arg(long, overrides_with_all = ["function", "nolineno"])]
    pub lines: bool,
    /// Tell functions of the same name in a file apart, by their first line number
    #[arg(short = 'F', long, overrides_with_all = ["lines", "nolineno"])]
    pub function: bool,
    /// Compare functions by name and file, whatever their line numbers, which is the default
    #[arg(long, overrides_with_all = ["lines", "function"])]
    pub nolineno: bool,
    /// Draw callers below what they call
    #[arg(long)]
    pub upward: bool,
}
