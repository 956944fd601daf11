//! `pyspy top`.

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};

use super::pause::PauseArgs;
use super::values;

/// `pyspy top`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").args(["pid", "name", "all", "program"]).required(true).multiple(true))]
pub(crate) struct TopArgs {
    /// Process to attach to, in decimal or hex; may be given several times
    #[arg(short, long, value_name = "pid", value_parser = values::pid, conflicts_with = "program")]
    pub pid: Vec<i32>,
    /// All Python processes whose program has this name (`gunicorn`), or whose whole command line matches a glob
    /// (`*gunicorn*myapp*`)
    #[arg(long, value_name = "glob", conflicts_with = "program")]
    pub name: Option<String>,
    /// All processes of this machine that run Python and may be read, containers included, also those that start later
    #[arg(long, conflicts_with_all = ["pid", "name", "program"])]
    pub all: bool,
    /// Show full Python filenames, instead of only the part from the package on
    #[arg(long)]
    pub full_filenames: bool,
    /// Samples to take each second
    ///
    /// The header says how many were taken (`held`): fewer on a busy machine, or where threads would have been stopped
    /// for too long
    #[arg(short, long, value_name = "rate", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// Profile all processes below the given ones, too, and those that a started program leaves behind
    #[arg(short, long)]
    pub subprocesses: bool,
    /// Only include threads that hold the GIL
    #[arg(short, long)]
    pub gil: bool,
    /// Include idle threads
    #[arg(short, long)]
    pub idle: bool,
    /// Only what happens below a function, rooted there: `handle`, `Server.handle` or `app.views.*`
    #[arg(long, value_name = "glob", value_parser = NonEmptyStringValueParser::new())]
    pub below: Option<String>,
    /// Time between refreshes: seconds, or a number with ms, s or m
    #[arg(long, value_name = "delay", value_parser = values::delay, default_value = "1.0")]
    pub delay: std::time::Duration,
    /// When to stop the process
    #[command(flatten)]
    pub pause: PauseArgs,
    /// Print one window as plain text, or with --json as JSON, and end
    #[arg(long)]
    pub once: bool,
    /// Print a line of JSON for each window instead of drawing
    #[arg(long)]
    pub json: bool,
    /// Command line of a Python program to run; what it writes is shown in a view of its own
    #[arg(value_name = "python_program", trailing_var_arg = true)]
    pub program: Vec<std::ffi::OsString>,
}
