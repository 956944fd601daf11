//! Which thread of the operating system runs a Python thread, and what it is called.

use std::collections::{HashMap, HashSet};

use super::identity::{Identity, KernelThreads, identify};
use crate::memory::{Cached, Memory};
use crate::process::{Process, ThreadId};
use crate::python::interpreter::InterpreterState;
use crate::python::object::ObjectReader;
use crate::python::runtime::Runtime;
use crate::python::stack::ThreadStack;
use crate::python::thread_name::{active_threads, thread_names};

/// glibc keeps a thread's kernel id here in its `struct pthread`, on 64-bit machines (nptl/descr.h).
const GLIBC_THREAD_ID: u64 = 720;
/// Where else it is looked for: musl's is near the beginning of its structure.
const SEARCHED: u64 = 1024;
/// A thread whose kernel thread was not found is looked for again after pauses that grow up to so many samples.
const LONGEST_PAUSE: u64 = 256;
/// How often the dict of threads is used before it is looked up in `sys.modules` anew, which means to compare some hundred names.
const SEARCH_ANEW: u32 = 30;

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

/// Kernel thread ids of thread states, and the names of threads, as last known.
#[derive(Debug, Default)]
pub(super) struct Threads {
    ids: HashMap<u64, Known, foldhash::fast::RandomState>,
    /// Where in what `thread_id` points to the kernel's id is (before 3.11).
    offset: Option<u64>,
    /// Counts the samples, for the pauses after which those that were not found are looked for again.
    sample: u64,
    names: HashMap<(u64, u64), String>,
    /// `threading._active` of each interpreter, which stays where it is, and how often it was used without a new search.
    active: HashMap<u64, (u64, u32)>,
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
            thread.rests || self.ids.get(&thread.address).is_some_and(|known| known.is_settled(thread, self.sample))
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

    /// Forgets the names of all threads but these, each the interpreter state and what `threading` calls the thread's ident.
    pub(super) fn retain_names(&mut self, living: &HashSet<(u64, u64)>) {
        self.names.retain(|thread, _| living.contains(thread));
    }

    /// Reads the names anew. A name that is no longer there stays as it was last known while the thread lives.
    pub(super) fn read_names(&mut self, memory: &impl Memory, runtime: &Runtime, interpreters: &[InterpreterState]) {
        let memory = Cached::new(memory);
        let layout = &runtime.layout;
        let objects = ObjectReader::new(&memory, layout);
        for interpreter in interpreters {
            let active = match self.active.get_mut(&interpreter.address) {
                Some((active, uses)) if *uses < SEARCH_ANEW => {
                    *uses += 1;
                    Some(*active)
                }
                _ => {
                    let place = interpreter.address.wrapping_add(u64::from(layout.interpreter.modules));
                    let modules = memory.read_u64(place).ok();
                    let found = modules.and_then(|modules| active_threads(objects, modules).ok().flatten());
                    if let Some(active) = found {
                        self.active.insert(interpreter.address, (active, 0));
                    }
                    found
                }
            };
            let Some(names) = active.and_then(|active| thread_names(objects, active).ok()) else {
                self.active.remove(&interpreter.address);
                continue;
            };
            for (ident, name) in names {
                self.names.insert((interpreter.address, ident), name);
            }
        }
    }

    /// The name of a thread of the interpreter state `interpreter`, as `threading` last said it.
    pub(super) fn known_name(&self, interpreter: u64, thread_id: u64) -> Option<&str> {
        self.names.get(&(interpreter, thread_id)).map(String::as_str)
    }

    /// The name of a thread: what `threading` says, else what must be so: the thread that is the process is the main one.
    pub(super) fn name(&self, process: &Process, interpreter: &InterpreterState, thread: &ThreadStack) -> Option<&str> {
        if let Some(name) = self.names.get(&(interpreter.address, thread.thread_id)) {
            return Some(name);
        }
        let is_process = self.os_id(thread.address) == Some(u64::from(process.pid().unsigned_abs()));
        (is_process && interpreter.id == 0).then_some("MainThread")
    }
}
