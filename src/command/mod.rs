//! One file a subcommand, each joining the command line, the sampler and the output. The only layer that prints.

pub mod dump;
pub mod failure;
mod output_file;
pub mod record;
mod screen;
pub mod top;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::{Cli, Command, PauseArgs};
use crate::sampler::Pausing;

/// Runs what the command line asks for.
///
/// # Errors
/// Whatever kept it from being done; [`failure::status`] gives the exit status.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Record(arguments) => record::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Dump(arguments) => dump::run(&arguments),
    }
}

/// When the target is to be stopped, given the flags and what is the default.
fn pausing(arguments: PauseArgs, default: Pausing) -> Pausing {
    match (arguments.blocking, arguments.nonblocking) {
        (true, _) => Pausing::Blocking,
        (_, true) => Pausing::Never,
        _ => default,
    }
}

/// Set by SIGINT, SIGTERM and SIGHUP; a second one of them ends the program at once.
#[derive(Debug, Clone, Default)]
struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    fn install() -> std::io::Result<Self> {
        let interrupt = Self::default();
        #[cfg(unix)]
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&interrupt.0))?;
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        #[cfg(not(unix))]
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(interrupt)
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
