//! One file a subcommand, each joining the command line, the sampler and the output; what several of them do alike is
//! in `shared`, and `program` has the whole from its arguments to its exit status. The only layer that prints.

mod completions;
mod convert;
mod diff;
mod dump;
mod program;
mod record;
mod serve;
mod shared;
mod top;
mod watch;

use std::process::ExitCode;

#[cfg(any(fuzzing, test))]
pub(crate) use self::dump::dump_as_written;
pub use self::program::run_program;
use crate::cli::{Cli, Command};

/// Runs what the command line asks for.
///
/// # Errors
/// Whatever kept it from being done; [`shared::failure::status`] gives the exit status.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Record(arguments) => record::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Dump(arguments) => dump::run(&arguments),
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Completions { shell } => completions::print_script(shell),
        Command::Man { subcommand } => completions::print_page(subcommand.as_deref()),
    }
}
