//! CPython as it lies in memory.
//!
//! Everything here works on a [`crate::memory::Memory`] and a [`layout::Layout`]; it makes no system call and knows no
//! process id, so it runs from a saved image as well as from a live process. Every loop over target memory has a cap.

pub(crate) mod code;
mod cycle;
pub(crate) mod data_stack;
mod frame_line;
pub(crate) mod gc_stats;
pub(crate) mod gil;
pub(crate) mod greenlets;
pub(crate) mod hand_over;
pub(crate) mod interpreter;
pub mod layout;
pub(crate) mod line_table;
pub(crate) mod locals;
pub(crate) mod locate;
pub(crate) mod lock_waits;
pub(crate) mod notebook;
pub(crate) mod object;
pub(crate) mod raised;
pub(crate) mod repr;
pub(crate) mod runtime;
pub(crate) mod stack;
pub(crate) mod tasks;
pub(crate) mod thread_name;
pub(crate) mod version;

#[cfg(test)]
pub(crate) mod test_support;
