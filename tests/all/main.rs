//! Everything that is tested from outside of the crate, in one binary.

mod interpreters;
mod layout_numbers;
mod layout_probes;
mod target;
mod top;
