//! The `pyspy` program.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: pyspy::internals::ReservingAllocator = pyspy::internals::ReservingAllocator;

fn main() -> ExitCode {
    pyspy::internals::run_program()
}
