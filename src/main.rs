//! The `pyspy` program: parses, runs, prints an error once.

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;
use pyspy::cli::Cli;
use pyspy::command::{self, failure};

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let cli = Cli::parse();
    match command::run(cli) {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(failure::status(&error) as u8)
        }
    }
}

#[expect(clippy::print_stderr, reason = "the one place where errors are printed")]
fn report(error: &anyhow::Error) {
    eprintln!("pyspy: {error:#}");
    for sentence in failure::advice(error) {
        eprintln!("  {sentence}");
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe))
}
