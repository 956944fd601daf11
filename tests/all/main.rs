//! Everything that is tested from outside of the crate, in one binary.
#![expect(unreachable_pub, reason = "modules of a test binary show each other what is theirs to show")]

mod deep;
mod dump;
mod endings;
mod formats;
mod interpreters;
mod killed;
mod layers;
mod layout_numbers;
mod layout_probes;
mod options;
mod peer;
mod recording;
mod running;
mod start_up;
mod subinterpreters;
mod system_calls;
mod target;
mod trees;
mod truth;
