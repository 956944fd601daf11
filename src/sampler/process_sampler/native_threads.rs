//! Threads that CPython does not know: those of libraries, which have no thread state. Each is stopped for its native
//! stack as the others are.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::activity::Activities;
use super::native_stacks::NativeStacks;
use crate::memory::Memory;
use crate::process::{PausedProcess, Process, ThreadId};
use crate::sampler::moment::Owner;
use crate::sampler::moment::{Moment, NativeThread};
use crate::sampler::threads::Threads;

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
    threads: Vec<ThreadId>,
    names: HashMap<ThreadId, (String, Instant)>,
}

impl NativeThreads {
    /// Lists the threads of the process, but for those in `known`, if that is due.
    fn list(&mut self, process: &Process, known: &HashSet<ThreadId>) {
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

    /// Whether a thread was among them when they were last listed.
    pub(super) fn has(&self, thread: ThreadId) -> bool {
        self.threads.contains(&thread)
    }
}

impl NativeStacks {
    /// What the kernel calls a thread without a thread state.
    pub(super) fn thread_name(&self, thread: &NativeThread) -> Option<&str> {
        let (name, _) = self.threads.as_ref()?.names.get(&thread.os_id)?;
        Some(name)
    }

    /// Lists the threads without a thread state and looks at what they are doing, before anything is stopped that is
    /// stopped for long.
    pub(super) fn observe_threads(&mut self, process: &Process, threads: &Threads, activities: &mut Activities) {
        let Some(native_threads) = &mut self.threads else { return };
        let known: HashSet<ThreadId> = threads.known().map(|(_, os_id)| os_id).collect();
        native_threads.list(process, &known);
        for thread in &native_threads.threads {
            activities.is_running(*thread);
        }
    }

    /// Stops one after the other the threads without a thread state that run, or all if idle ones are wanted, and puts
    /// them into the moment. They were observed in this sample.
    pub(super) fn read_threads(
        &mut self,
        process: &Process,
        memory: &impl Memory,
        activities: &mut Activities,
        moment: &mut Moment,
    ) {
        for index in 0..self.threads.as_ref().map_or(0, |known| known.threads.len()) {
            let Some(os_id) = self.threads.as_ref().map(|known| known.threads[index]) else { return };
            let active = activities.is_running(os_id);
            let Some(native) = &mut self.native else { return };
            let wants_idle = native.wants_idle();
            if native.wants_thread(os_id, active) {
                let started = Instant::now();
                match process.pause_thread(os_id) {
                    Ok(pause) => {
                        moment.stops += 1;
                        self.capture(memory, activities, Owner::Thread(os_id), os_id, |_| pause.registers());
                        drop(pause);
                        moment.add_hold(started.elapsed());
                    }
                    Err(error) => {
                        log::debug!("thread {os_id}: {error}");
                        moment.lost += u32::from(active && !process.has_exited());
                    }
                }
            }
            if active || wants_idle {
                moment.native_threads.push(NativeThread { os_id, active });
            }
        }
    }

    /// The same while all threads are stopped.
    pub(super) fn read_stopped_threads(
        &mut self,
        stopped: &PausedProcess,
        memory: &impl Memory,
        activities: &mut Activities,
        moment: &mut Moment,
    ) {
        for index in 0..self.threads.as_ref().map_or(0, |known| known.threads.len()) {
            let Some(os_id) = self.threads.as_ref().map(|known| known.threads[index]) else { return };
            let active = activities.was_running(os_id) == Some(true);
            let owner = Owner::Thread(os_id);
            if self.capture(memory, activities, owner, os_id, |os_id| stopped.registers(os_id)) {
                moment.native_threads.push(NativeThread { os_id, active });
            }
        }
    }
}
