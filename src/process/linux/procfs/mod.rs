//! What `/proc` tells of a process and its threads, and the hold on that process by which it is asked.
//!
//! Everything is read below the directory that a [`Handle`](handle::Handle) keeps open, so that a process which has
//! got the same number since is never read instead.

pub(super) mod address_space;
pub(super) mod children;
pub(super) mod descriptors;
mod directory;
pub(super) mod handle;
pub(super) mod maps;
pub(super) mod page_map;
pub(super) mod permission;
pub(super) mod stat;
pub(super) mod syscall;
mod target_exit_status;
pub(super) mod thread_ids;
pub(super) mod thread_states;
