//! Which threads run: seen before anything is stopped, after it was read, and by the registers of what is stopped.

use std::collections::HashMap;

use crate::memory::Memory;
use crate::process::{PausedProcess, ThreadId, ThreadLook, ThreadStates};
use crate::python::stack::ThreadStack;
use crate::sampler::consistency::records::ThreadRecords;
use crate::sampler::moment::{Moment, Pausing};
use crate::sampler::os_threads::Threads;

/// What the threads of a process do, as seen in this sample.
#[derive(Debug)]
pub(super) struct Activities {
    states: ThreadStates,
    seen: HashMap<ThreadId, ThreadLook, foldhash::fast::RandomState>,
}

impl Activities {
    pub(super) fn new(states: ThreadStates) -> Self {
        Self { states, seen: HashMap::default() }
    }

    /// Whether a thread runs or wants to, as it was seen last in this sample.
    pub(super) fn is_running(&mut self, os_id: ThreadId) -> bool {
        if let Some(seen) = self.seen.get(&os_id) {
            return seen.is_running;
        }
        self.see(os_id).is_running
    }

    /// The same; `None` where it was not looked at.
    pub(super) fn was_running(&self, os_id: ThreadId) -> Option<bool> {
        self.seen.get(&os_id).map(|seen| seen.is_running)
    }

    /// Whether a thread was not on a CPU between the last look at it and the one of this sample.
    pub(super) fn is_unmoved(&self, os_id: ThreadId) -> bool {
        self.seen.get(&os_id).is_some_and(|seen| seen.is_unmoved)
    }

    /// The futex that a thread waits in, or was just woken from, as it was seen last in this sample.
    pub(super) fn futex(&self, os_id: ThreadId) -> Option<u64> {
        self.seen.get(&os_id)?.futex
    }

    /// Looks at a thread now. What is gone does not run.
    fn see(&mut self, os_id: ThreadId) -> ThreadLook {
        let seen = self.states.look(os_id).unwrap_or_default();
        self.seen.insert(os_id, seen);
        seen
    }

    /// Looks at the known threads before anything is read or stopped. One that ran when it was last looked at, and is
    /// not to be stopped now, is looked at once only, after it was read.
    pub(super) fn observe_before(&mut self, pausing: Pausing, threads: &mut Threads, records: &mut ThreadRecords) {
        self.seen.clear();
        // The next thread may get the same state, and the same number from its C library.
        let mut gone = Vec::new();
        for (thread_state, os_id) in threads.known() {
            let may_be_stopped = match pausing {
                Pausing::Blocking => true,
                Pausing::Adaptive => records.needs_stop(thread_state),
                Pausing::Never => false,
            };
            // A thread with states in several interpreters shows only once that it has moved.
            let seen = match self.seen.get(&os_id) {
                Some(seen) => Ok(*seen),
                None if !may_be_stopped && self.states.was_running(os_id) => {
                    records.note_activity(thread_state, true, true);
                    continue;
                }
                None => self.states.look(os_id),
            };
            if let Ok(seen) = seen {
                self.seen.insert(os_id, seen);
                records.note_activity(thread_state, seen.is_running, !seen.is_unmoved);
            } else {
                gone.push(thread_state);
                records.note_activity(thread_state, false, true);
                records.read_everything();
            }
        }
        for thread_state in gone {
            threads.forget(thread_state);
        }
    }

    /// Looks at a thread that was read, unless it was seen waiting before: one that has gone to sleep since may have
    /// been read asleep, and would count as busy where it waits. Whether it runs.
    pub(super) fn observe_after(&mut self, os_id: ThreadId) -> bool {
        match self.seen.get(&os_id) {
            Some(seen) if !seen.is_running => false,
            _ => self.see(os_id).is_running,
        }
    }

    /// Looks again at the threads that seemed to run when they were looked at before they were all stopped. One that
    /// was just woken, by an earlier stop or by its own clock, and that waits for a CPU, is on its way back to its
    /// call. With `of_all` the others are looked at too: they may have moved before they were stopped, and their
    /// registers tell what they were doing then.
    pub(super) fn observe_stopped(
        &mut self,
        stopped: &PausedProcess,
        of_all: bool,
        threads: &Threads,
        stacks: &[ThreadStack],
        memory: &impl Memory,
        moment: &mut Moment,
    ) {
        for thread in stacks {
            let Some(os_id) = threads.os_id(thread.address) else { continue };
            let Some(seen) = self.seen.get_mut(&os_id).filter(|seen| seen.is_running || of_all) else { continue };
            let registers = stopped.registers(os_id).ok();
            let Some(registers) = registers else { continue };
            let call = registers.waits_in(memory);
            seen.is_running = call.is_none();
            if let Some(call) = call {
                seen.futex = call.resumed("futex").futex();
                moment.calls.insert(os_id, call);
            }
        }
    }

    /// Whether a thread waits, by a look at it now: one that would be stopped without need would see its system call
    /// end early.
    pub(super) fn waits_now(&mut self, os_id: ThreadId) -> bool {
        !self.see(os_id).is_running
    }

    /// Whether a thread sleeps, and whoever looks at it next will know whether it has moved since now.
    pub(super) fn sleeps(&mut self, os_id: ThreadId) -> bool {
        // Of a thread that is new the first look tells its state, the second one keeps what it has used.
        (0..3).any(|_| self.see(os_id).is_unmoved)
    }

    /// Whether a thread has waited all the time since it was last looked at.
    pub(super) fn has_kept_waiting(&mut self, os_id: ThreadId) -> bool {
        self.states.look(os_id).is_ok_and(|seen| seen.is_unmoved)
    }

    /// A thread is stopped: if it waited, it has to run for a moment to go back to its wait.
    pub(super) fn note_stopped(&mut self, os_id: ThreadId) {
        if self.was_running(os_id) == Some(false) {
            self.states.rouse(os_id);
        }
    }

    /// All threads are stopped.
    pub(super) fn note_all_stopped(&mut self) {
        for (os_id, _) in self.seen.iter().filter(|(_, seen)| !seen.is_running) {
            self.states.rouse(*os_id);
        }
    }

    /// The CPU on which a thread is or was last, as the system tells.
    pub(super) fn cpu_of(&mut self, os_id: ThreadId) -> Option<usize> {
        self.states.cpu(os_id)
    }

    /// Forgets the threads for which `keep` says no.
    pub(super) fn retain(&mut self, keep: impl FnMut(ThreadId) -> bool) {
        self.states.retain(keep);
    }
}
