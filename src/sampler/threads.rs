//! Which thread of the operating system runs a Python thread, and what it is called.

use std::collections::{HashMap, HashSet};

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
/// How often the dict of threads is used before it is looked up in `sys.modules` anew, which means to compare some hundred names.
const SEARCH_ANEW: u32 = 30;

/// The kernel's id of a thread from its C library's `struct pthread`, looked for at `offset` or, where that is not known yet, all over the
/// beginning of that struct. `known` tells which numbers are threads, and what they are called.
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
    /// The numbers of all threads, inside and outside; listed once a sample, for with many threads that takes long.
    pairs: Option<Vec<(ThreadId, ThreadId)>>,
    names: HashMap<(u64, u64), String>,
    /// `threading._active` of each interpreter, which stays where it is, and how often it was used without a new search.
    active: HashMap<u64, (u64, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    thread_id: u64,
    native: Option<u64>,
    os_id: Option<ThreadId>,
}

impl Threads {
    /// Nothing known yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The kernel's id of a thread, outside of any namespace; cached by thread state. `None` when it cannot be told: it is asked again then.
    pub(super) fn os_id(&mut self, process: &Process, memory: &impl Memory, thread: &ThreadStack) -> Option<ThreadId> {
        if let Some(known) = self.ids.get(&thread.address)
            && known.thread_id == thread.thread_id
            && known.native == thread.native_thread_id
            && known.os_id.is_some()
        {
            return known.os_id;
        }
        let os_id = match thread.native_thread_id {
            Some(native) => process.outer_thread_id(native),
            None => self.by_pthread(process, memory, thread.thread_id),
        };
        // A thread state that outlived a fork, or is about to be taken by its thread, says nothing; with one thread there is no choice.
        let os_id = os_id.or_else(|| match process.threads().unwrap_or_default()[..] {
            [only] => Some(only),
            _ => None,
        });
        self.ids.insert(thread.address, Known { thread_id: thread.thread_id, native: thread.native_thread_id, os_id });
        os_id
    }

    /// What [`Threads::os_id`] last said for a thread state.
    pub(super) fn last_os_id(&self, thread_state: u64) -> Option<ThreadId> {
        self.ids.get(&thread_state)?.os_id
    }

    /// The thread states whose kernel ids are known, with these.
    pub(super) fn known(&self) -> impl Iterator<Item = (u64, ThreadId)> {
        self.ids.iter().filter_map(|(thread_state, known)| Some((*thread_state, known.os_id?)))
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

    /// What was listed of the process is no longer as of now.
    pub(super) fn begin_sample(&mut self) {
        self.pairs = None;
    }

    fn by_pthread(&mut self, process: &Process, memory: &impl Memory, pthread: u64) -> Option<ThreadId> {
        let pairs = self.pairs.get_or_insert_with(|| process.thread_id_pairs());
        let outer = |inner: u64| pairs.iter().find(|(number, _)| *number == inner).map(|(_, outer)| *outer);
        id_in_pthread(memory, pthread, &mut self.offset, outer)
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
        let is_process = self.last_os_id(thread.address) == Some(u64::from(process.pid().unsigned_abs()));
        (is_process && interpreter.id == 0).then_some("MainThread")
    }
}
