//! Holding threads still with ptrace(2), and reading their registers while they are held.

pub(super) mod pause_guards;
mod registers;
pub(super) mod thread_stop;
