//! Which thread of the operating system runs a Python thread.

use std::collections::HashMap;

use super::os_thread_evidence::{Identity, KernelThreads, identify};
use crate::memory::Memory;
use crate::process::{Process, ThreadId};
use crate::python::stack::ThreadStack;

/// glibc keeps a thread's kernel id here in its `struct pthread`, on 64-bit machines (nptl/descr.h).
const GLIBC_THREAD_ID: u64 = 720;
/// Where else it is looked for: musl's is near the beginning of its structure.
const SEARCHED: u64 = 1024;
/// A thread whose kernel thread was not found is looked for again after pauses that grow up to so many samples.
const LONGEST_PAUSE: u64 = 256;

/// The kernel's id of a thread from its C library's `struct pthread`, looked for at `offset` or, where that is not
/// known yet, all over the beginning of that struct. `known` tells which numbers are threads, and what they are called.
pub(super) fn id_in_pthread(
    memory: &impl Memory,
    pthread: u64,
    offset: &mut Option<u64>,
    known: impl Fn(u64) -> Option<ThreadId>,
) -> Option<ThreadId> {
    let at = |offset: u64| known(u64::from(memory.read_u32(pthread.wrapping_add(offset)).ok()?));
    if let Some(offset) = *offset {
        return at(offset);
    }
    let found =
        std::iter::once(GLIBC_THREAD_ID).chain((0..SEARCHED).step_by(4)).find(|offset| at(*offset).is_some())?;
    *offset = Some(found);
    at(found)
}

/// Kernel thread ids of thread states, as last known.
#[derive(Debug, Default)]
pub(super) struct Threads {
    ids: HashMap<u64, Known, foldhash::fast::RandomState>,
    /// Where in what `thread_id` points to the kernel's id is (before 3.11).
    offset: Option<u64>,
    /// Counts the samples, for the pauses after which those that were not found are looked for again.
    sample: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    thread_id: u64,
    native: Option<u64>,
    identity: Identity,
    /// The pause after which it is looked for again, if it was not found: in samples.
    pause: u64,
    /// In which sample that is.
    again: u64,
}

impl Known {
    fn is_of(&self, thread: &ThreadStack) -> bool {
        (self.thread_id, self.native) == (thread.thread_id, thread.native_thread_id)
    }

    fn is_settled(&self, thread: &ThreadStack, sample: u64) -> bool {
        self.is_of(thread) && (self.identity.os_id.is_some() || sample < self.again)
    }

    fn next_pause(&self) -> u64 {
        (self.pause * 2).min(LONGEST_PAUSE)
    }
}

/// The threads of a running process.
struct LiveThreads<'process, M> {
    process: &'process Process,
    memory: &'process M,
    offset: &'process mut Option<u64>,
    /// The numbers of all threads, inside and outside; listed once, for with many threads that takes long.
    pairs: Option<Vec<(ThreadId, ThreadId)>>,
}

impl<M: Memory> KernelThreads for LiveThreads<'_, M> {
    fn named(&mut self, native: u64) -> Option<ThreadId> {
        self.process.outer_thread_id(native)
    }

    fn by_pthread(&mut self, pthread: u64) -> Option<ThreadId> {
        let pairs = self.pairs.get_or_insert_with(|| self.process.thread_id_pairs());
        let outer = |inner: u64| pairs.iter().find(|(number, _)| *number == inner).map(|(_, outer)| *outer);
        id_in_pthread(self.memory, pthread, self.offset, outer)
    }

    fn all(&mut self) -> Vec<ThreadId> {
        self.process.threads().unwrap_or_default()
    }

    fn leader(&self) -> ThreadId {
        ThreadId::from(self.process.pid().unsigned_abs())
    }
}

impl Threads {
    /// Nothing known yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Finds the kernel threads of those that are not known yet or are other ones by now, before they are asked for.
    pub(super) fn identify(&mut self, process: &Process, memory: &impl Memory, threads: &[ThreadStack]) {
        self.sample += 1;
        let is_settled = |thread: &ThreadStack| {
            thread.is_left_out
                || self.ids.get(&thread.address).is_some_and(|known| known.is_settled(thread, self.sample))
        };
        if threads.iter().all(is_settled) {
            return;
        }
        let ids = std::mem::take(&mut self.ids);
        let of = |thread: &ThreadStack| ids.get(&thread.address).filter(|known| known.is_of(thread)).copied();
        let mut kernel = LiveThreads { process, memory, offset: &mut self.offset, pairs: None };
        let found = identify(threads, |thread| of(thread).map(|known| known.identity), &mut kernel);
        for (thread, identity) in threads.iter().zip(found) {
            let pause = of(thread).filter(|_| identity.os_id.is_none()).map_or(1, |known| known.next_pause());
            let (thread_id, native) = (thread.thread_id, thread.native_thread_id);
            self.ids.insert(thread.address, Known { thread_id, native, identity, pause, again: self.sample + pause });
        }
    }

    /// Whether there is or may be a kernel thread that runs a thread state.
    pub(super) fn exists(&self, thread_state: u64) -> bool {
        self.ids.get(&thread_state).is_none_or(|known| known.identity.exists)
    }

    /// The kernel's id of the thread of a thread state, outside of any namespace; `None` when it cannot be told.
    pub(super) fn os_id(&self, thread_state: u64) -> Option<ThreadId> {
        self.ids.get(&thread_state)?.identity.os_id
    }

    /// The thread states whose kernel ids are known, with these.
    pub(super) fn known(&self) -> impl Iterator<Item = (u64, ThreadId)> {
        self.ids.iter().filter_map(|(thread_state, known)| Some((*thread_state, known.identity.os_id?)))
    }

    /// Forgets the thread states for which `keep` says no.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.ids.retain(|thread_state, _| keep(*thread_state));
    }

    /// Forgets which thread runs a thread state, for it is gone.
    pub(super) fn forget(&mut self, thread_state: u64) {
        self.ids.remove(&thread_state);
    }
}
