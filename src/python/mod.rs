//! CPython as it lies in memory.
//!
//! Everything here works on a [`crate::memory::Memory`] and a [`layout::Layout`]; it makes no system call and knows no
//! process id, so it runs from a saved image as well as from a live process. Every loop over target memory has a cap.

pub mod blocked;
pub mod code;
mod cycle;
pub mod data_stack;
mod frame_line;
pub mod interpreter;
pub mod layout;
pub mod line_table;
pub mod locals;
pub mod locate;
pub mod notebook;
pub mod object;
pub mod raised;
pub mod repr;
pub mod runtime;
pub mod stack;
pub mod thread_name;
pub mod version;

#[cfg(test)]
mod test_support;
