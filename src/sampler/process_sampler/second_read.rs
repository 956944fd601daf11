//! The second read of a thread whose stack could not be made sure of: it is stopped, read again and let go.

use std::time::{Duration, Instant};

use super::ProcessSampler;
use super::stops::Stop;
use crate::process::{Registers, ThreadId};
use crate::sampler::moment::{Assurance, Held, Moment, Owner, Pausing};
use crate::sampler::native::NotAsleep;

/// How often a thread is stopped until its stack is whole: it may stand in the middle of a call.
const STOPS: u32 = 4;
/// How long it then runs in between: stopped again at once it would stand where it stood.
const BETWEEN_STOPS: Duration = Duration::from_micros(20);

/// Tells with which registers a thread went to sleep the last time, where that is known.
pub(crate) type RegistersAsleep<'a> = dyn Fn(ThreadId) -> Option<Registers> + 'a;

/// What became of reading a thread that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitingRead {
    /// It stood still all the while.
    Whole,
    /// It was running, or has run meanwhile.
    Moved,
    /// It stood still, but its native stack cannot be followed without its registers.
    WithoutNative,
}

impl ProcessSampler {
    /// A thread whose stack could not be made sure of, or whose native frames are wanted: stopped and read again, or
    /// taken for what it is.
    pub(super) fn emit_uncertain(&mut self, index: usize, pausing: Pausing, moment: &mut Moment) {
        let thread = self.reader.stacks.threads[index];
        if !self.threads.exists(thread.address) {
            // Of what it was doing nothing is left: another thread may have its memory.
            self.reader.stacks.threads[index].end_frame = thread.first_frame;
            self.emit(index, Assurance::Unproven, moment);
            return;
        }
        if pausing == Pausing::Never {
            self.reader.read_unstopped_thread(index, &mut self.records);
        } else {
            if self.emit_after_stop(index, moment) {
                return;
            }
            self.reader.stacks.threads[index] = thread;
        }
        // Only a stack that was followed to its end can have been; any other counts as lost.
        if self.reader.stacks.threads[index].is_truncated || !self.reader.knows_codes(index) {
            moment.lost += 1;
        } else {
            self.emit(index, Assurance::Unproven, moment);
        }
    }

    /// Stops one thread, reads its stack again, lets it go and puts it into the moment; one that waits is read as it
    /// stands, if that will do. Whether that was possible.
    pub(super) fn emit_after_stop(&mut self, index: usize, moment: &mut Moment) -> bool {
        let Some(os_id) = self.threads.os_id(self.reader.stacks.threads[index].address) else { return false };
        let with_native = self.natives.native.is_some();
        let (mut is_complete, mut stopped_for) = (false, Duration::ZERO);
        let mut spares_waiting = true;
        for stop in 0..STOPS {
            if stop > 0 {
                std::thread::sleep(BETWEEN_STOPS);
            }
            let started = Instant::now();
            let pause = match self.stopper.stop(&self.process, &mut self.activities, os_id, spares_waiting) {
                Stop::Stopped(pause) => pause,
                Stop::Impossible => break,
                Stop::Spared => {
                    match self.read_waiting(index, os_id, with_native, None) {
                        WaitingRead::Whole => {
                            self.emit(index, Assurance::Proven, moment);
                            return true;
                        }
                        WaitingRead::Moved => {}
                        WaitingRead::WithoutNative => spares_waiting = false,
                    }
                    continue;
                }
            };
            moment.stops += 1;
            is_complete = self.reader.read_stopped_thread(index, &mut self.records);
            if is_complete {
                self.capture_native(index, |_| pause.registers());
            }
            drop(pause);
            stopped_for += started.elapsed();
            self.reader.snapshot.note_resumed();
            if is_complete {
                break;
            }
        }
        moment.add_hold(Held::Thread(os_id), stopped_for);
        if is_complete {
            self.emit(index, Assurance::Stopped, moment);
        }
        is_complete
    }

    /// Reads the stack of a thread again that has run since it was seen waiting, or whose native stack is wanted, and
    /// puts it into the moment if it waits.
    pub(super) fn emit_if_waiting(
        &mut self,
        index: usize,
        registers: &RegistersAsleep<'_>,
        moment: &mut Moment,
    ) -> WaitingRead {
        let thread = self.reader.stacks.threads[index];
        let Some(os_id) = self.threads.os_id(thread.address) else { return WaitingRead::Moved };
        let with_native = self.natives.are_read_of_idle();
        let mut read = WaitingRead::Moved;
        for _ in 0..STOPS {
            if !self.activities.waits_now(os_id) {
                break;
            }
            let known = if with_native { registers(os_id) } else { None };
            read = self.read_waiting(index, os_id, with_native, known);
            match read {
                WaitingRead::Moved => {}
                WaitingRead::Whole => {
                    self.emit(index, Assurance::Proven, moment);
                    return read;
                }
                WaitingRead::WithoutNative => break,
            }
        }
        self.reader.stacks.threads[index] = thread;
        read
    }

    /// Reads the stack of a thread again that was seen waiting just now, `with_native` its native one too, from the
    /// `registers` that it went to sleep with, if they are known. One that was still waiting afterwards, and has not
    /// run meanwhile, has stood as still as if it had been stopped.
    fn read_waiting(
        &mut self,
        index: usize,
        os_id: ThreadId,
        with_native: bool,
        registers: Option<Registers>,
    ) -> WaitingRead {
        let is_complete = self.reader.read_stopped_thread(index, &mut self.records);
        let (stacks, memory) = (&self.reader.stacks, self.reader.snapshot.memory());
        let thread = &stacks.threads[index];
        let native = self.natives.native.as_mut().filter(|_| with_native && is_complete);
        let sleeper = native.map(|native| native.read_asleep(memory, os_id, stacks.frames_of(thread), registers));
        let owner = Owner::State(thread.address);
        self.reader.snapshot.note_resumed();
        if !(is_complete && self.activities.has_kept_waiting(os_id)) {
            return WaitingRead::Moved;
        }
        match (&mut self.natives.native, sleeper) {
            (Some(native), Some(Ok(sleeper))) => native.keep_asleep(owner, sleeper),
            (_, Some(Err(NotAsleep::WithoutRegisters))) => return WaitingRead::WithoutNative,
            (_, Some(Err(NotAsleep::Woken))) => return WaitingRead::Moved,
            (_, None) | (None, _) => {}
        }
        WaitingRead::Whole
    }
}
