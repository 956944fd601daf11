//! What threads are called: by `threading`, else by the kernel.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use super::moment::MomentThread;
use super::native_thread_names::KernelNames;
use super::os_threads::Threads;
use crate::memory::{Memory, PageCache};
use crate::process::Process;
use crate::python::interpreter::InterpreterState;
use crate::python::object::ObjectReader;
use crate::python::runtime::Runtime;
use crate::python::stack::Stacks;
use crate::python::thread_name::{active_threads, thread_names};

/// How often names are read, if no thread comes or goes: after so long,
const READ_EVERY: Duration = Duration::from_secs(1);
/// and so many samples. To read them takes longer than a sample.
const SAMPLES_BETWEEN: u32 = 30;
/// How often the dict of threads is used before it is looked up in `sys.modules` anew, which means to compare some
/// hundred names.
const SEARCH_ANEW: u32 = 30;

/// The names of the threads of a process, as last read.
#[derive(Debug, Default)]
pub(super) struct ThreadNames {
    names: HashMap<ThreadIdent, String>,
    dicts: HashMap<u64, ThreadDict>,
    kernel: KernelNames,
    read_at: Option<Instant>,
    /// Samples since then.
    samples: u32,
    /// Which threads there were then: a sum of their identities, which does not depend on their order.
    threads: u64,
}

/// A thread as `threading` knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ThreadIdent {
    /// Its `PyInterpreterState`, in the target.
    interpreter: u64,
    /// `threading.Thread.ident`, which is the `pthread_t`.
    ident: u64,
}

/// `threading._active` of an interpreter, which stays where it is.
#[derive(Debug, Clone, Copy)]
struct ThreadDict {
    /// The dict, in the target.
    address: u64,
    /// How often it was used without a new search.
    uses: u32,
}

impl ThreadNames {
    /// The names are read at the next sample, however new those are that are known.
    pub(super) fn make_due(&mut self) {
        self.read_at = None;
    }

    /// Reads the names when there are new threads, and from time to time. Whether it did.
    pub(super) fn read_when_due(
        &mut self,
        process: &Process,
        memory: &impl Memory,
        runtime: &Runtime,
        stacks: &Stacks,
        threads: &Threads,
    ) -> bool {
        self.samples = self.samples.saturating_add(1);
        let is_old = |last: Instant| self.samples >= SAMPLES_BETWEEN && last.elapsed() >= READ_EVERY;
        let hasher = foldhash::fast::FixedState::default();
        let identities = stacks.threads.iter().map(|thread| hasher.hash_one((thread.address, thread.thread_id)));
        let identities = identities.fold(0, u64::wrapping_add);
        if !self.read_at.is_none_or(is_old) && identities == self.threads {
            return false;
        }
        (self.read_at, self.samples, self.threads) = (Some(Instant::now()), 0, identities);
        self.read(memory, runtime, &stacks.interpreters);
        let ident_of = |thread: &crate::python::stack::ThreadStack| ThreadIdent {
            interpreter: stacks.interpreters[thread.interpreter].address,
            ident: thread.thread_id,
        };
        let living: HashSet<ThreadIdent> = stacks.threads.iter().map(ident_of).collect();
        self.names.retain(|thread, _| living.contains(thread));
        let is_nameless = |thread: &&crate::python::stack::ThreadStack| {
            let is_first = threads.os_id(thread.address) == Some(u64::from(process.pid().unsigned_abs()));
            let is_main = is_first && stacks.interpreters[thread.interpreter].id == 0;
            !is_main && !self.names.contains_key(&ident_of(thread))
        };
        let nameless = stacks.threads.iter().filter(is_nameless);
        self.kernel.read(process, nameless.filter_map(|thread| threads.os_id(thread.address)));
        true
    }

    /// Reads the names anew. A name that is no longer there stays as it was last known while the thread lives.
    pub(super) fn read(&mut self, memory: &impl Memory, runtime: &Runtime, interpreters: &[InterpreterState]) {
        let memory = PageCache::new(memory);
        let layout = &runtime.layout;
        let objects = ObjectReader::new(&memory, layout);
        for interpreter in interpreters {
            let interpreter = interpreter.address;
            let known = self.dicts.get_mut(&interpreter).filter(|dict| dict.uses < SEARCH_ANEW);
            let dict = match known {
                Some(dict) => {
                    dict.uses += 1;
                    Some(dict.address)
                }
                None => {
                    let place = interpreter.wrapping_add(u64::from(layout.interpreter.modules));
                    let modules = memory.read_u64(place).ok();
                    let found = modules.and_then(|modules| active_threads(objects, modules).ok().flatten());
                    self.dicts.extend(found.map(|address| (interpreter, ThreadDict { address, uses: 0 })));
                    found
                }
            };
            let Some(names) = dict.and_then(|dict| thread_names(objects, dict).ok()) else {
                self.dicts.remove(&interpreter);
                continue;
            };
            self.names.extend(names.into_iter().map(|(ident, name)| (ThreadIdent { interpreter, ident }, name)));
        }
    }

    /// The name of a thread, as last known. One without a name that is the first of its process, in the main
    /// interpreter, is the main thread.
    pub(super) fn name(&self, thread: &MomentThread, is_first: bool) -> Option<&str> {
        let ident = ThreadIdent { interpreter: thread.interpreter.address, ident: thread.stack.thread_id };
        let name = self.names.get(&ident).map(String::as_str);
        let name = name.or((is_first && thread.interpreter.id == 0).then_some("MainThread"));
        name.or_else(|| self.kernel.of(thread.os_id?))
    }
}
