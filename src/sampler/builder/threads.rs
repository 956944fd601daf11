//! The threads of one process as the profile has them.

use std::collections::HashSet;

use foldhash::{HashMap, HashMapExt};

use crate::process::ThreadId;
use crate::profile::{ProcessRef, Profile, Renumbering, Thread, ThreadRef};
use crate::sampler::async_stacks::Shares;
use crate::sampler::moment::{Moment, MomentThread, NativeThread};
use crate::sampler::process_sampler::ProcessSampler;

/// Functions of which it is counted how many tasks run them.
const MOST_COUNTERS: usize = 200;

/// A thread state is freed and its address used again; with the ident it is one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ThreadKey {
    address: u64,
    thread_id: u64,
    interpreter: i64,
}

/// A process in the profile, with its threads there.
#[derive(Debug)]
pub(super) struct ThreadTable {
    process: ProcessRef,
    with_states: HashMap<ThreadKey, ThreadRef>,
    native: HashMap<ThreadId, ThreadRef>,
    /// What stands for a thread of tasks that wait, by the names of their coroutines.
    of_tasks: HashMap<String, ThreadRef>,
}

impl ThreadTable {
    /// Of a process that none is known of.
    pub(super) fn new(process: ProcessRef) -> Self {
        Self { process, with_states: HashMap::new(), native: HashMap::new(), of_tasks: HashMap::new() }
    }

    /// The process in the profile.
    pub(super) fn process(&self) -> ProcessRef {
        self.process
    }

    /// Those that come are others.
    pub(super) fn clear(&mut self) {
        self.with_states.clear();
        self.native.clear();
        self.of_tasks.clear();
    }

    /// The threads of a moment, and what stands for those of tasks.
    pub(super) fn of(&self, moment: &Moment) -> Vec<ThreadRef> {
        let with_states = moment.threads.iter().filter_map(|thread| self.with_states.get(&key(thread)));
        let native = moment.native_threads.iter().filter_map(|thread| self.native.get(&thread.os_id));
        with_states.chain(native).chain(self.of_tasks.values()).copied().collect()
    }

    /// Goes on with the numbers of a condensed profile. Threads that are not in the last `moment` are forgotten.
    pub(super) fn renumber(&mut self, by: &Renumbering, moment: &Moment) {
        self.process = by.process(self.process);
        let living: HashSet<ThreadKey> = moment.threads.iter().map(key).collect();
        self.with_states.retain(|thread, _| living.contains(thread));
        let native: HashSet<ThreadId> = moment.native_threads.iter().map(|thread| thread.os_id).collect();
        self.native.retain(|thread, _| native.contains(thread));
        let references = self.with_states.values_mut().chain(self.native.values_mut());
        references.chain(self.of_tasks.values_mut()).for_each(|thread| *thread = by.thread(*thread));
    }

    /// Puts the last known names of all threads of a moment into the profile.
    pub(super) fn name(&self, profile: &mut Profile, sampler: &ProcessSampler, moment: &Moment) {
        for thread in &moment.threads {
            if let Some(reference) = self.with_states.get(&key(thread)).copied()
                && let Some(name) = sampler.thread_name(thread)
            {
                profile.set_thread_name(reference, name);
            }
        }
    }

    /// A thread that has a thread state; it is put into the profile where it is new.
    pub(super) fn enter(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        thread: &MomentThread,
    ) -> ThreadRef {
        if let Some(reference) = self.with_states.get(&key(thread)) {
            return *reference;
        }
        let reference = profile.add_thread(Thread {
            process: self.process,
            os_id: thread.os_id,
            python_id: thread.stack.thread_id,
            interpreter: u64::try_from(thread.interpreter.id).unwrap_or(0),
            name: None,
        });
        if let Some(name) = sampler.thread_name(thread) {
            profile.set_thread_name(reference, name);
        }
        self.with_states.insert(key(thread), reference);
        reference
    }

    /// The same for one without a thread state.
    pub(super) fn enter_native(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        thread: &NativeThread,
    ) -> ThreadRef {
        let process = self.process;
        let entry = self.native.entry(thread.os_id);
        let reference = *entry.or_insert_with(|| {
            profile.add_thread(Thread { process, os_id: Some(thread.os_id), python_id: 0, interpreter: 0, name: None })
        });
        if let Some(name) = sampler.native_thread_name(thread) {
            profile.set_thread_name(reference, name);
        }
        reference
    }

    /// The same for what stands for a thread of the tasks that run a coroutine function.
    pub(super) fn enter_task(&mut self, profile: &mut Profile, coroutine: &str) -> ThreadRef {
        if let Some(known) = self.of_tasks.get(coroutine) {
            return *known;
        }
        let thread = Thread { process: self.process, os_id: None, python_id: 0, interpreter: 0, name: None };
        let reference = profile.add_thread(thread);
        profile.set_thread_name(reference, &task_track(coroutine));
        self.of_tasks.insert(coroutine.to_owned(), reference);
        reference
    }

    /// Counts in the profile how many tasks there are, in all and of each function.
    pub(super) fn count_tasks(&mut self, profile: &mut Profile, shares: &Shares, time_us: u64) {
        for coroutine in shares.coroutines() {
            self.enter_task(profile, coroutine);
        }
        for coroutine in self.of_tasks.keys().take(MOST_COUNTERS) {
            profile.set_counter(self.process, &task_track(coroutine), time_us, shares.count(coroutine));
        }
        profile.set_counter(self.process, "tasks", time_us, shares.total());
    }
}

/// What stands for a thread of the tasks that run a function is called so, and so is the counter of them.
fn task_track(coroutine: &str) -> String {
    format!("tasks {coroutine}")
}

fn key(thread: &MomentThread) -> ThreadKey {
    let MomentThread { stack, interpreter, .. } = thread;
    ThreadKey { address: stack.address, thread_id: stack.thread_id, interpreter: interpreter.id }
}
