//! `pyspy convert`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::format::FormatName;

/// `pyspy convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// A recording (`record -f pyspy`), or collapsed stacks (`record -f raw`)
    #[arg(value_name = "in")]
    pub input: PathBuf,
    /// Output filename, `-` for standard output
    #[arg(short, long, value_name = "filename")]
    pub output: PathBuf,
    /// Output file format [default: by the end of the output filename, else flamegraph]
    #[arg(short, long, value_enum, ignore_case = true, value_name = "format")]
    pub format: Option<FormatName>,
    /// Show full Python filenames
    #[arg(long)]
    pub full_filenames: bool,
    /// Aggregate by function's first line number
    #[arg(short = 'F', long)]
    pub function: bool,
    /// Do not show line numbers
    #[arg(long)]
    pub nolineno: bool,
    /// Only what happens below a function, rooted there: `handle`, `Server.handle` or `app.views.*`
    #[arg(long, value_name = "glob", value_parser = NonEmptyStringValueParser::new())]
    pub below: Option<String>,
    /// Show threads
    #[arg(short, long)]
    pub threads: bool,
    /// Show processes
    #[arg(short, long)]
    pub subprocesses: bool,
    /// In pictures, draw callers below what they call
    #[arg(long)]
    pub upward: bool,
}
