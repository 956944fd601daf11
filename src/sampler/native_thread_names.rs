//! What the kernel calls threads of which Python knows no name: those that C, C++ or Rust code started.

use std::collections::HashMap;

use crate::process::{Process, ThreadId};

/// Names as last read.
#[derive(Debug, Default)]
pub(super) struct KernelNames {
    names: HashMap<ThreadId, String, foldhash::fast::RandomState>,
}

impl KernelNames {
    /// Reads the names of `threads` anew and forgets those of all others. A thread that nobody has named has inherited
    /// the name of the thread that started it, in the end that of the process, which says nothing of it.
    pub(super) fn read(&mut self, process: &Process, threads: impl Iterator<Item = ThreadId>) {
        self.names.clear();
        let mut threads = threads.peekable();
        if threads.peek().is_none() {
            return;
        }
        let of_process = process.thread_name(u64::from(process.pid().unsigned_abs())).unwrap_or_default();
        for thread in threads {
            if let Ok(name) = process.thread_name(thread)
                && !name.is_empty()
                && name != of_process
            {
                self.names.insert(thread, name.to_string_lossy().into_owned());
            }
        }
    }

    /// The name of a thread, if it has one of its own. It is as the program gave it: escape it before it is shown.
    pub(super) fn of(&self, thread: ThreadId) -> Option<&str> {
        self.names.get(&thread).map(String::as_str)
    }
}
