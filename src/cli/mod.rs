//! The command line: clap definitions and nothing else, one file a subcommand. The flags are py-spy's, so that its
//! users need not learn new ones.

mod convert;
mod diff;
mod dump;
mod exit_status;
mod format;
mod help;
mod pause;
mod push;
mod record;
mod serve;
mod top;
mod values;
mod watch;

use clap::{Parser, Subcommand};

pub(crate) use convert::ConvertArgs;
pub(crate) use diff::DiffArgs;
pub(crate) use dump::{DumpArgs, TaskView};
pub(crate) use exit_status::Status;
pub(crate) use format::FormatName;
pub(crate) use help::command;
pub(crate) use pause::PauseArgs;
pub(crate) use push::{PushArgs, PushProtocol, PushUrl};
pub(crate) use record::{AsyncTasks, Mode, RecordArgs, SamplerArg};
pub(crate) use serve::ServeArgs;
pub(crate) use top::TopArgs;
pub(crate) use values::{GrowthArg, Limit};
pub(crate) use watch::{CommandWords, WatchArgs};

/// What the whole program is asked to do.
#[derive(Debug, Parser)]
#[command(
    name = "pyspy",
    version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("PYSPY_BUILD"), ")"),
    about = "Sampling profiler for Python programs: reads them from outside, without changing or restarting them",
    after_help = exit_status::help(),
    infer_subcommands = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// Which face.
    #[command(subcommand)]
    pub command: Command,
}

/// The faces on the sampler.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Record a profile to a file: a flame graph or another format
    Record(RecordArgs),
    /// Show live where a process spends its time
    Top(TopArgs),
    /// Print what every thread of a process is doing right now
    #[command(alias = "d")]
    Dump(DumpArgs),
    /// Wait until a process hangs, and keep the evidence
    Watch(WatchArgs),
    /// Serve profiles, dumps and metrics over HTTP
    Serve(ServeArgs),
    /// Render a recording in another format
    Convert(ConvertArgs),
    /// Show what changed between two recordings
    Diff(DiffArgs),
    /// Print a script that completes the command line
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print a page of the manual, for `man -l`
    #[command(hide = true)]
    Man {
        /// Of which subcommand [default: of the whole]
        subcommand: Option<String>,
    },
}
