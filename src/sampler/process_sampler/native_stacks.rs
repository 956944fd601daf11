//! Native frames beside the Python ones: which threads are stopped for them, and what is copied while they stand still.

use std::collections::HashSet;
use std::io;
use std::time::Instant;

use super::native_threads::NativeThreads;
use super::second_read::RegistersAsleep;
use super::thread_observation::Activities;
use crate::memory::Memory;
use crate::process::{PausedProcess, Process, Registers, ThreadId};
use crate::python::layout::Layout;
use crate::python::stack::{Stacks, ThreadStack};
use crate::sampler::kernel::{Record, Records};
use crate::sampler::moment::{Assurance, Held, Moment, NativeThread, Owner, Pausing};
use crate::sampler::native::Native;
use crate::sampler::os_threads::Threads;

/// Reads the native stacks of a process, where they were asked for.
#[derive(Debug, Default)]
pub(super) struct NativeStacks {
    pub(super) native: Option<Box<Native>>,
    /// The threads without a thread state, where they were asked for.
    pub(super) threads: Option<NativeThreads>,
}

impl NativeStacks {
    /// From now on native frames are read, of idle threads too if `idle`.
    pub(super) fn enable(&mut self, process: &Process, idle: bool) {
        self.native = Some(Box::new(Native::new(process.clone(), idle)));
    }

    /// From now on threads without a thread state are read too, if native frames are.
    pub(super) fn enable_threads(&mut self) {
        self.threads = Some(NativeThreads::default());
    }

    /// Gets ready for a sample. With native frames each thread is stopped for itself, whatever else would be.
    pub(super) fn start_sample(&mut self, pausing: Pausing, moment: &mut Moment) -> Pausing {
        moment.native.clear();
        let Some(native) = &mut self.native else { return pausing };
        native.begin();
        if pausing == Pausing::Blocking { Pausing::Adaptive } else { pausing }
    }

    /// Whether the native frames of a thread are to be read, for which it must be stopped.
    pub(super) fn wants(
        &mut self,
        stacks: &Stacks,
        thread: &ThreadStack,
        threads: &Threads,
        activities: &mut Activities,
        pausing: Pausing,
    ) -> bool {
        let Some(native) = self.native.as_mut().filter(|_| pausing != Pausing::Never) else { return false };
        if thread.is_left_out {
            let wants = native.wants_rested(Owner::State(thread.address));
            return wants && threads.os_id(thread.address).is_some();
        }
        let Some(os_id) = threads.os_id(thread.address) else { return false };
        native.wants(stacks, thread, os_id, activities.is_running(os_id))
    }

    /// Copies the registers and the stack of a thread that is stopped. Whether they could be had.
    pub(super) fn capture(
        &mut self,
        memory: &impl Memory,
        activities: &mut Activities,
        owner: Owner,
        os_id: ThreadId,
        registers: impl FnOnce(ThreadId) -> io::Result<Registers>,
    ) -> bool {
        let Some(native) = &mut self.native else { return false };
        activities.note_stopped(os_id);
        match registers(os_id) {
            Ok(registers) => {
                native.capture(memory, owner, registers);
                true
            }
            Err(error) => {
                log::debug!("thread {os_id}: {error}");
                false
            }
        }
    }

    /// Whether native frames of idle threads are read.
    pub(super) fn are_read_of_idle(&self) -> bool {
        self.native.as_ref().is_some_and(|native| native.wants_idle())
    }

    /// Gets ready to merge stacks that were recorded.
    pub(super) fn prepare(&mut self) {
        if let Some(native) = &mut self.native {
            native.prepare();
        }
    }

    /// Adds the merged stack of the thread of a record to the moment, if the record has a native stack.
    pub(super) fn merge_recorded(
        &mut self,
        (records, record): (&Records, &Record),
        layout: &Layout,
        owner: Owner,
        moment: &mut Moment,
    ) {
        if let Some(native) = &mut self.native
            && let Some(stack) = records.native_stack(record)
        {
            native.merge_recorded(owner, &stack, (records.frames(record), layout), &mut moment.native);
        }
    }

    /// Makes merged stacks of what was captured, now that nothing is stopped.
    pub(super) fn finish_sample(&mut self, stacks: &Stacks, moment: &mut Moment) {
        if let Some(native) = &mut self.native {
            native.finish(stacks, &moment.threads, &moment.native_threads, &mut moment.native);
        }
    }

    /// What the kernel calls a thread without a thread state.
    pub(super) fn thread_name(&self, thread: &NativeThread) -> Option<&str> {
        self.threads.as_ref()?.name(thread.os_id)
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

    /// Reads one after the other the threads without a thread state that run, and those that are idle, if these are
    /// wanted, and puts them into the moment; they are stopped for that where it takes a stop. Only idle ones, where it
    /// is known with which `registers` these went to sleep. They were observed in this sample.
    pub(super) fn read_threads(
        &mut self,
        (process, memory): (&Process, &impl Memory),
        activities: &mut Activities,
        registers: Option<&RegistersAsleep<'_>>,
        moment: &mut Moment,
    ) {
        for index in 0..self.threads.as_ref().map_or(0, |known| known.threads.len()) {
            let Some(os_id) = self.threads.as_ref().map(|known| known.threads[index]) else { return };
            let active = activities.is_running(os_id);
            if active && registers.is_some() {
                continue;
            }
            let Some(native) = &mut self.native else { return };
            let wants_idle = native.wants_idle();
            let known = |registers: &RegistersAsleep<'_>| registers(os_id);
            if native.wants_thread(os_id, active)
                && !self.read_asleep(memory, activities, os_id, registers.and_then(known))
            {
                if registers.is_some() && !activities.waits_now(os_id) {
                    continue;
                }
                let started = Instant::now();
                match process.pause_thread(os_id) {
                    Ok(pause) => {
                        moment.stops += 1;
                        self.capture(memory, activities, Owner::Thread(os_id), os_id, |_| pause.registers());
                        drop(pause);
                        moment.add_hold(Held::Thread(os_id), started.elapsed());
                    }
                    Err(error) => {
                        log::debug!("thread {os_id}: {error}");
                        moment.lost += u32::from(active && !process.has_exited());
                    }
                }
            }
            if active || wants_idle {
                moment.native_threads.push(NativeThread { os_id, active, assurance: Assurance::Stopped });
            }
        }
    }

    /// Reads a thread without a thread state that waits, without a stop. Whether that was possible.
    fn read_asleep(
        &mut self,
        memory: &impl Memory,
        activities: &mut Activities,
        os_id: ThreadId,
        registers: Option<Registers>,
    ) -> bool {
        let Some(native) = &mut self.native else { return false };
        if !activities.sleeps(os_id) {
            return false;
        }
        let sleeper = native.read_asleep(memory, os_id, &[], registers).ok();
        let Some(sleeper) = sleeper.filter(|_| activities.has_kept_waiting(os_id)) else { return false };
        native.keep_asleep(Owner::Thread(os_id), sleeper);
        true
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
                moment.native_threads.push(NativeThread { os_id, active, assurance: Assurance::Stopped });
            }
        }
    }
}
