//! The `pyspy` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    pyspy::internals::run_program()
}
