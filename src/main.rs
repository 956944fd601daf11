//! The `pyspy` program.
fn main() {}
