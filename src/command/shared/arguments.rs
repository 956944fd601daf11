//! What arguments mean that several subcommands have.

use crate::cli::PauseArgs;
use crate::output::Lines;
use crate::process::Registers;
use crate::sampler::{NativeWanted, Pausing};

/// When the target is to be stopped, given the flags and what is the default.
pub(in crate::command) fn pausing(arguments: PauseArgs, default: Pausing) -> Pausing {
    match (arguments.blocking, arguments.nonblocking) {
        (true, _) => Pausing::Blocking,
        (_, true) => Pausing::Never,
        _ => default,
    }
}

/// Whether native frames are wanted.
///
/// # Errors
/// When they are, and this system does not show them.
pub(in crate::command) fn native(arguments: PauseArgs) -> anyhow::Result<NativeWanted> {
    if arguments.native && !Registers::READABLE {
        anyhow::bail!("--native works on Linux with x86-64 or aarch64 only");
    }
    Ok(NativeWanted { frames: arguments.native, threads: arguments.native_threads })
}

/// Which line frames show, from the flags `--function` and `--nolineno`.
pub(in crate::command) fn shown_lines(function: bool, nolineno: bool) -> Lines {
    match (nolineno, function) {
        (true, _) => Lines::None,
        (false, true) => Lines::First,
        (false, false) => Lines::Current,
    }
}
