//! Everything that is tested from outside of the crate, in one binary.

mod core_files;
mod dump_text;
mod dump_waits;
mod interpreters;
mod layout_numbers;
mod layout_probes;
mod target;
