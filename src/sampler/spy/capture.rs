//! Native frames beside the Python ones: which threads are stopped for them, and what is copied while they stand still.

use std::io;

use super::Spy;
use crate::process::{Registers, ThreadId};
use crate::sampler::moment::Owner;
use crate::sampler::moment::{Moment, Pausing};

impl Spy {
    /// Gets ready for native frames, if they are read: then each thread is stopped for itself, whatever else would be.
    pub(super) fn begin_native(&mut self, pausing: Pausing, moment: &mut Moment) -> Pausing {
        moment.native.clear();
        let Some(native) = &mut self.native else { return pausing };
        native.begin();
        if pausing == Pausing::Blocking { Pausing::Adaptive } else { pausing }
    }

    /// Whether the native frames of a thread are to be read, for which it must be stopped.
    pub(super) fn wants_native(&mut self, index: usize, pausing: Pausing) -> bool {
        let thread = self.stacks.threads[index];
        let Some(native) = self.native.as_mut().filter(|_| pausing != Pausing::Never) else { return false };
        if thread.rests {
            let wants = native.wants_rested(Owner::State(thread.address));
            return wants && self.threads.os_id(thread.address).is_some();
        }
        let Some(os_id) = self.threads.os_id(thread.address) else { return false };
        let running = self.is_running(os_id);
        let native = self.native.as_mut();
        native.is_some_and(|native| native.wants(&self.stacks, &thread, os_id, running))
    }

    /// Copies the registers and the stack of a thread that is held.
    pub(super) fn capture(&mut self, index: usize, registers: impl FnOnce(ThreadId) -> io::Result<Registers>) {
        if self.native.is_some()
            && let Some(os_id) = self.threads.os_id(self.stacks.threads[index].address)
        {
            let owner = Owner::State(self.stacks.threads[index].address);
            self.capture_thread(owner, os_id, registers);
        }
    }

    /// The same for a thread by its kernel's id. Whether it could be had.
    pub(super) fn capture_thread(
        &mut self,
        owner: Owner,
        os_id: ThreadId,
        registers: impl FnOnce(ThreadId) -> io::Result<Registers>,
    ) -> bool {
        let Some(native) = &mut self.native else { return false };
        if self.looks.get(&os_id).is_some_and(|look| !look.is_running) {
            self.states.rouse(os_id);
        }
        match registers(os_id) {
            Ok(registers) => {
                native.capture(self.snapshot.memory(), owner, registers);
                true
            }
            Err(error) => {
                log::debug!("thread {os_id}: {error}");
                false
            }
        }
    }

    /// Makes merged stacks of what was captured, now that nothing is held.
    pub(super) fn finish_native(&mut self, moment: &mut Moment) {
        if let Some(native) = &mut self.native {
            native.finish(&self.stacks, &moment.threads, &moment.native_threads, &mut moment.native);
        }
    }
}
