//! Which threads run: looked at before anything is stopped, after it was read, and by the registers of what is stopped.

use super::{Held, Spy};
use crate::process::{PausedProcess, ThreadId};
use crate::sampler::moment::{Moment, Pausing};

impl Spy {
    pub(super) fn is_running(&mut self, os_id: ThreadId) -> bool {
        if let Some(look) = self.looks.get(&os_id) {
            return look.is_running;
        }
        let look = self.states.look(os_id).unwrap_or_default();
        self.looks.insert(os_id, look);
        look.is_running
    }

    /// Looks at the known threads before anything is read or stopped. One that ran when it was last looked at, and is
    /// not to be stopped now, is looked at once only, after it was read.
    pub(super) fn look_at_threads(&mut self, pausing: Pausing) {
        self.looks.clear();
        self.rest.begin_sample();
        // The next thread may get the same state, and the same number from its C library.
        let mut gone = Vec::new();
        for (thread_state, os_id) in self.threads.known() {
            let may_be_held = match pausing {
                Pausing::Blocking => true,
                Pausing::Adaptive => self.snapshot.needs_hold(thread_state),
                Pausing::Never => false,
            };
            // A thread with states in several interpreters shows only once that it has moved.
            let look = match self.looks.get(&os_id) {
                Some(look) => Ok(*look),
                None if !may_be_held && self.states.was_running(os_id) => {
                    self.rest.has_moved(thread_state);
                    continue;
                }
                None => self.states.look(os_id),
            };
            match look {
                Ok(look) => {
                    self.looks.insert(os_id, look);
                    if look.is_unmoved {
                        self.snapshot.calm(thread_state);
                    } else {
                        self.rest.has_moved(thread_state);
                    }
                }
                Err(_) => {
                    gone.push(thread_state);
                    self.rest.has_moved(thread_state);
                    self.rest.leave_out_nothing();
                }
            }
        }
        for thread_state in gone {
            self.threads.forget(thread_state);
        }
    }

    /// Looks at the threads that were read, before one of them is stopped: at those that were not looked at yet, and
    /// once more at those that ran. One that has gone to sleep since may have been read asleep, and would count as busy
    /// where it waits.
    pub(super) fn look_at_threads_again(&mut self, held: &Held) {
        for index in 0..self.stacks.threads.len() {
            let thread = self.stacks.threads[index];
            if thread.rests {
                continue;
            }
            let Some(os_id) = self.threads.os_id(thread.address) else { continue };
            let is_settled = self.looks.get(&os_id).is_some_and(|look| !look.is_running);
            if !is_settled && !held.included(thread.address) {
                let look = self.states.look(os_id).unwrap_or_default();
                self.looks.insert(os_id, look);
            }
        }
    }

    /// Looks again at the threads that seemed to run when they were looked at before they were all stopped. One that
    /// was just woken, by an earlier stop or by its own clock, and that waits for a CPU, is on its way back to its
    /// call.
    pub(super) fn look_at_interrupted(&mut self, held: &PausedProcess, moment: &mut Moment) {
        for thread in &self.stacks.threads {
            let Some(os_id) = self.threads.os_id(thread.address) else { continue };
            let Some(look) = self.looks.get_mut(&os_id).filter(|look| look.is_running) else { continue };
            let registers = held.registers(os_id).ok();
            if let Some(call) = registers.and_then(|registers| registers.waits_in(self.snapshot.memory())) {
                look.is_running = false;
                moment.interrupted.push((os_id, call));
            }
        }
    }
}
