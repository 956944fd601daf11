//! Everything that is tested from outside of the crate, in one binary.

mod core_files;
mod deep;
mod dump;
mod dump_text;
mod dump_waits;
mod endings;
mod formats;
mod interpreters;
mod killed;
mod layers;
mod layout_numbers;
mod layout_probes;
mod options;
mod peer;
mod places;
mod record;
mod recording;
mod running;
mod start_up;
mod subinterpreters;
mod system_calls;
mod target;
mod top;
mod trees;
mod truth;
