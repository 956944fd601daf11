//! The program from its arguments to its exit status.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
#[cfg(unix)]
use std::sync::{Arc, atomic::AtomicBool};

use clap::Parser;

use super::failure;
use crate::cli::Cli;
use crate::process::drop_foreign_rights;

/// The whole program: reads the command line, does what it says, prints an error once. The exit status is one of
/// [`failure`]'s.
pub fn run_program() -> ExitCode {
    if let Err(error) = drop_foreign_rights() {
        let text = "pyspy is set-uid or set-gid and cannot give up rights that its caller has not";
        let _ = writeln!(io::stderr(), "pyspy: {text}: {error}");
        return ExitCode::from(crate::cli::Status::Other as u8);
    }
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    #[cfg(unix)]
    if let Err(error) = survive_file_limits() {
        log::warn!("cannot take over SIGXFSZ: {error}");
    }
    let cli = Cli::parse();
    match super::run(cli) {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(failure::status(&error) as u8)
        }
    }
}

/// A write beyond the limit on files (`ulimit -f`) fails as one to a full disk does, instead of killing us. A handler,
/// unlike a signal that is ignored, is not inherited by programs that we start.
#[cfg(unix)]
fn survive_file_limits() -> io::Result<()> {
    if !super::is_ignored(libc::SIGXFSZ) {
        signal_hook::flag::register(libc::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

fn report(error: &anyhow::Error) {
    let mut lines = format!("pyspy: {error:#}\n");
    for sentence in failure::advice(error) {
        lines.push_str(&format!("  {sentence}\n"));
    }
    // Where nobody can be told, the exit status says it.
    let _ = io::stderr().write_all(lines.as_bytes());
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe))
}
