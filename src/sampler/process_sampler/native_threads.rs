//! Threads that CPython does not know: those of libraries, which have no thread state.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::process::{Process, ThreadId};

/// Between two lists of the threads of the process.
const LIST_EVERY: Duration = Duration::from_millis(10);
/// Between two looks at what a thread is called: it may name itself after it has begun.
const NAME_EVERY: Duration = Duration::from_secs(1);
/// More threads than a process has.
const MOST_THREADS: usize = 1 << 16;

/// The threads without a thread state, as they were last listed.
#[derive(Debug, Default)]
pub(super) struct NativeThreads {
    listed: Option<Instant>,
    pub(super) threads: Vec<ThreadId>,
    names: HashMap<ThreadId, (String, Instant)>,
}

impl NativeThreads {
    /// Lists the threads of the process, but for those in `known`, if that is due.
    pub(super) fn list(&mut self, process: &Process, known: &HashSet<ThreadId>) {
        if self.listed.is_none_or(|listed| listed.elapsed() >= LIST_EVERY) {
            self.listed = Some(Instant::now());
            self.threads = process.threads().unwrap_or_default();
            self.threads.truncate(MOST_THREADS);
        }
        self.threads.retain(|thread| !known.contains(thread));
        if self.names.len() > self.threads.len() {
            let threads: HashSet<ThreadId> = self.threads.iter().copied().collect();
            self.names.retain(|thread, _| threads.contains(thread));
        }
        for thread in &self.threads {
            if self.names.get(thread).is_none_or(|(_, read)| read.elapsed() >= NAME_EVERY)
                && let Ok(name) = process.thread_name(*thread)
            {
                self.names.insert(*thread, (name.to_string_lossy().into_owned(), Instant::now()));
            }
        }
    }

    /// What the kernel calls a thread.
    pub(super) fn name(&self, thread: ThreadId) -> Option<&str> {
        self.names.get(&thread).map(|(name, _)| name.as_str())
    }

    /// Whether a thread was among them when they were last listed.
    pub(super) fn has(&self, thread: ThreadId) -> bool {
        self.threads.contains(&thread)
    }
}
