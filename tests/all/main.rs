//! Everything that is tested from outside of the crate, in one binary.
#![expect(unreachable_pub, reason = "modules of a test binary show each other what is theirs to show")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::explicit_write, reason = "what is skipped is said past the capture of output")]

mod async_stacks;
mod below;
mod command_line;
mod core_files;
mod daemons;
mod deep;
mod dump;
mod dump_text;
mod dump_threads;
mod dump_waits;
mod embed;
mod endings;
mod foreign_threads;
mod forked;
mod formats;
mod frame_lines;
mod free_threaded;
mod hosts;
mod interpreters;
mod killed;
mod late_hosts;
mod layers;
mod layout_numbers;
mod layout_probes;
mod names;
mod native;
mod native_names;
mod native_threads;
mod options;
mod packages;
mod peer;
mod pictures;
mod places;
mod readme;
mod record;
mod recording;
mod running;
mod start_up;
mod subinterpreters;
mod system_calls;
mod target;
mod tasks;
mod terminal;
mod top;
mod top_keys;
mod top_manners;
mod trees;
mod truth;
mod unobserved;
mod unread;
mod widths;
