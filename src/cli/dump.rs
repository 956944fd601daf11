//! `pyspy dump`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::pause::PauseArgs;
use super::values;

/// `pyspy dump`.
#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// Process to look at, in decimal or hex
    #[arg(short, long, value_name = "pid", value_parser = values::pid)]
    #[arg(required_unless_present_any = ["core", "name", "all", "misplaced"], conflicts_with_all = ["core", "name"])]
    pub pid: Option<i32>,
    /// All Python processes whose program has this name (`gunicorn`), or whose whole command line matches a glob
    /// (`*gunicorn*myapp*`)
    #[arg(long, value_name = "glob", conflicts_with = "core")]
    pub name: Option<String>,
    /// All processes of this machine that run Python and may be read, containers included
    #[arg(long, conflicts_with_all = ["pid", "name", "core"])]
    pub all: bool,
    /// Core file to look at instead of a process; also one compressed with gzip or zstd
    #[arg(short, long, value_name = "file", conflicts_with = "native")]
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
    /// With --locals, show the values too of variables, keys and attributes whose names say that they are secrets
    #[arg(long, requires = "locals")]
    pub show_secrets: bool,
    /// Only threads whose name matches a glob; may be given several times
    #[arg(long, value_name = "glob")]
    pub thread: Vec<String>,
    /// Only the main thread of each process
    #[arg(long)]
    pub main_thread: bool,
    /// Show all processes below too
    #[arg(short, long, conflicts_with = "core")]
    pub subprocesses: bool,
    /// Show the oldest frame first, as Python prints stacks
    #[arg(long)]
    pub reverse: bool,
    /// Show source lines under each frame [default: on a terminal under one of each thread, the newest of the
    /// program's own]
    #[arg(long, conflicts_with = "no_source")]
    pub source: bool,
    /// Show no source lines
    #[arg(long)]
    pub no_source: bool,
    /// How to show the tasks of event loops [default: tree; with --json none]
    #[arg(long, value_enum, value_name = "how")]
    pub tasks: Option<TaskView>,
    /// Show tasks too that have ended and are still in memory
    #[arg(long)]
    pub all_tasks: bool,
    /// Show the frames of event loops too, which are folded where tasks are shown
    #[arg(long)]
    pub full_stacks: bool,
    /// When to stop the process
    #[command(flatten)]
    pub pause: PauseArgs,
    /// What is none of the options: a process's number without `--pid` before it
    #[arg(hide = true)]
    pub misplaced: Option<String>,
}

/// How `dump` shows tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskView {
    /// Below whom they are waited for, equal ones folded
    Tree,
    /// One after the other, equal ones folded
    Flat,
    /// Not at all
    None,
}
