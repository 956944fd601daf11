//! The command line: clap definitions and nothing else. The flags are py-spy's, so that its users need not learn new ones.

mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use values::Limit;

/// What the whole program is asked to do.
#[derive(Debug, Parser)]
#[command(
    name = "pyspy",
    version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("PYSPY_BUILD"), ")"),
    about = "Sampling profiler for Python programs: reads them from outside, without changing or restarting them",
    after_help = EXIT_STATUS,
    max_term_width = 100
)]
pub struct Cli {
    /// Which face.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  failed in a way that has no number of its own
  2  the command line makes no sense
  3  there is no such process
  4  not permitted to read the process
  5  the process runs no CPython that can be read
  6  its version of CPython is not supported
  7  the output cannot be written
  8  the process exited before it could be read
  9  the program could not be started
  10 the core file cannot be read";

/// The faces on the sampler.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record a profile to a file: a flame graph or another format
    Record(RecordArgs),
    /// Print what every thread of a process is doing right now
    Dump(DumpArgs),
}

/// How to treat the target while it is read.
#[derive(Debug, Clone, Copy, Args)]
pub struct PauseArgs {
    /// Stop the process for each sample instead of only when a sample cannot be proven consistent
    #[arg(long, conflicts_with = "nonblocking")]
    pub blocking: bool,
    /// Never stop the process, not even where a stack moves too fast to be read consistently
    #[arg(long)]
    pub nonblocking: bool,
}

/// `pyspy record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Process to attach to, in decimal or hex
    #[arg(short, long, value_name = "pid", value_parser = values::pid, required_unless_present = "program", conflicts_with = "program")]
    pub pid: Option<i32>,
    /// Show full Python filenames, instead of only the part from the package on
    #[arg(long)]
    pub full_filenames: bool,
    /// Output filename [default: from the process, the time and the format]
    #[arg(short, long, value_name = "filename")]
    pub output: Option<PathBuf>,
    /// Output file format
    #[arg(short, long, value_enum, value_name = "format", default_value_t = FormatName::Flamegraph)]
    pub format: FormatName,
    /// How long to sample for: seconds, or a number with s, m or h [default: unlimited]
    #[arg(short, long, value_name = "duration", value_parser = values::duration, default_value = "unlimited", hide_default_value = true)]
    pub duration: Limit,
    /// Samples to take each second
    #[arg(short, long, value_name = "rate", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// Aggregate samples by function's first line number, instead of current line number
    #[arg(short = 'F', long)]
    pub function: bool,
    /// Do not show line numbers
    #[arg(long)]
    pub nolineno: bool,
    /// Show threads in the output
    #[arg(short, long)]
    pub threads: bool,
    /// Only include threads that hold the GIL
    #[arg(short, long)]
    pub gil: bool,
    /// Include idle threads
    #[arg(short, long)]
    pub idle: bool,
    /// When to stop the process
    #[command(flatten)]
    pub pause: PauseArgs,
    /// Exit with the status of the program that was started
    #[arg(long, requires = "program")]
    pub exit_status: bool,
    /// Leave the program running when --duration is over, instead of ending it
    #[arg(long, requires = "program")]
    pub keep: bool,
    /// Command line of a Python program to run
    #[arg(value_name = "python_program", trailing_var_arg = true, allow_hyphen_values = true)]
    pub program: Vec<std::ffi::OsString>,
}

/// `pyspy dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// Process to look at, in decimal or hex
    #[arg(short, long, value_name = "pid", value_parser = values::pid, required_unless_present = "core", conflicts_with = "core")]
    pub pid: Option<i32>,
    /// Core file to look at instead of a process; also one compressed with gzip or zstd
    #[arg(short, long, value_name = "file")]
    pub core: Option<PathBuf>,
    /// With --core, the program that dumped it [default: where it was]
    #[arg(long, value_name = "file", requires = "core")]
    pub exe: Option<PathBuf>,
    /// With --core, the directory that has the files of the machine where it was dumped
    #[arg(long, value_name = "directory", requires = "core")]
    pub root: Option<PathBuf>,
    /// Show full Python filenames, instead of only the part from the package on
    #[arg(long)]
    pub full_filenames: bool,
    /// Print JSON
    #[arg(short, long)]
    pub json: bool,
    /// Show the variables of each frame; more of each value when given two or three times
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub locals: u8,
    /// Show all processes below this one too
    #[arg(short, long, conflicts_with = "core")]
    pub subprocesses: bool,
    /// Show the oldest frame first, as Python prints stacks
    #[arg(long)]
    pub reverse: bool,
    /// Show source lines under each frame, also when the output is no terminal
    #[arg(long, conflicts_with = "no_source")]
    pub source: bool,
    /// Show no source lines
    #[arg(long)]
    pub no_source: bool,
    /// When to stop the process
    #[command(flatten)]
    pub pause: PauseArgs,
}

/// The formats of `record`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// Interactive flame graph (SVG)
    Flamegraph,
    /// Collapsed stacks, one a line with its count
    Raw,
    /// JSON for the speedscope viewer
    Speedscope,
}
