//! Puts the threads of a sample into a moment. One whose stack could not be made sure of is stopped and read again
//! first.

use std::time::{Duration, Instant};

use super::ProcessSampler;
use super::doing::Doing;
use super::stops::StoppedThreads;
use crate::process::{PausedProcess, ThreadId};
use crate::python::code::Place;
use crate::python::stack::ThreadStack;
use crate::sampler::consistency::verdict::Verdict;
use crate::sampler::moment::{Assurance, FrameSpan, Held, Moment, MomentFrame, MomentThread, Owner, Pausing};

/// How often a thread is stopped until its stack is whole: it may stand in the middle of a call.
const STOPS: u32 = 4;
/// How long it then runs in between: stopped again at once it would stand where it stood.
const BETWEEN_STOPS: Duration = Duration::from_micros(20);

impl ProcessSampler {
    /// Puts a thread into the moment, by whatever means make sure of its stack.
    pub(super) fn emit_thread(
        &mut self,
        index: usize,
        pausing: Pausing,
        stopped: &StoppedThreads,
        moment: &mut Moment,
    ) {
        let thread = self.reader.stacks.threads[index];
        if thread.is_left_out {
            if !(self.wants_native(index, pausing) && self.emit_after_stop(index, moment)) {
                self.reader.stacks.threads[index] = thread;
                self.emit_unchanged(index, moment);
            }
        } else if self.reader.readings[index].verdict != Verdict::Consistent || self.wants_native(index, pausing) {
            self.emit_uncertain(index, pausing, moment);
        } else {
            let was_stopped = stopped.included(thread.address);
            self.emit(index, if was_stopped { Assurance::Stopped } else { Assurance::Proven }, moment);
        }
    }

    /// Puts all threads into the moment whose stacks are whole, while everything is stopped; the others' indices.
    pub(super) fn emit_stopped(&mut self, stopped: &PausedProcess, moment: &mut Moment) -> Vec<usize> {
        let mut torn = Vec::new();
        for index in 0..self.reader.stacks.threads.len() {
            if self.reader.readings[index].verdict == Verdict::Consistent {
                self.emit(index, Assurance::Stopped, moment);
                self.capture_native(index, |os_id| stopped.registers(os_id));
            } else {
                torn.push(index);
            }
        }
        let memory = self.reader.snapshot.memory();
        self.natives.read_stopped_threads(stopped, memory, &mut self.activities, moment);
        torn
    }

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

    /// Stops one thread, reads its stack again, lets it go and puts it into the moment. Whether that was possible.
    fn emit_after_stop(&mut self, index: usize, moment: &mut Moment) -> bool {
        let Some(os_id) = self.threads.os_id(self.reader.stacks.threads[index].address) else { return false };
        let (mut is_complete, mut stopped_for) = (false, Duration::ZERO);
        for stop in 0..STOPS {
            if stop > 0 {
                std::thread::sleep(BETWEEN_STOPS);
            }
            // Registers are those of a stop; for its frames alone one that waits need not be disturbed.
            if self.natives.native.is_none() && self.activities.waits_now(os_id) {
                if self.read_waiting(index, os_id) {
                    self.emit(index, Assurance::Proven, moment);
                    return true;
                }
                continue;
            }
            let started = Instant::now();
            let Some(pause) = self.stopper.stop(&self.process, &self.activities, os_id) else { break };
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

    /// Reads the stack of a thread again that was seen waiting just now. Whether it was still waiting afterwards, and
    /// has not run meanwhile, so that it stood as still as one that is stopped.
    fn read_waiting(&mut self, index: usize, os_id: ThreadId) -> bool {
        let is_complete = self.reader.read_stopped_thread(index, &mut self.records);
        self.reader.snapshot.note_resumed();
        is_complete && self.activities.has_kept_waiting(os_id)
    }

    /// Puts a thread with its frames into the moment.
    fn emit(&mut self, index: usize, assurance: Assurance, moment: &mut Moment) {
        let stack = self.reader.stacks.threads[index];
        let os_id = self.threads.os_id(stack.address);
        let exists = self.threads.exists(stack.address);
        let is_running = match os_id {
            Some(os_id) => self.activities.is_running(os_id),
            // Who holds the GIL runs, whoever it is.
            None => exists && stack.holds_gil,
        };
        let mut doing = self.doing(&stack, os_id, is_running);
        let first_frame = moment.frames.len();
        for place in stack.first_frame..stack.end_frame {
            let frame = self.reader.stacks.frames[place];
            let Some(Place { code, line, offset }) = self.reader.resolve(&frame) else {
                moment.frames.truncate(first_frame);
                if exists {
                    moment.lost += 1;
                    return;
                }
                break;
            };
            let (address, code_address) = (frame.address, frame.code);
            let interpreter = self.reader.stacks.interpreters[frame.interpreter].id;
            moment.frames.push(MomentFrame { address, code_address, code, line, offset, interpreter });
        }
        let newest = moment.frames[first_frame..].first();
        if let Some(frame) = newest.filter(|_| self.may_take_gil(&stack, &doing)) {
            let (memory, layout) = (self.reader.snapshot.memory(), &self.reader.runtime.layout);
            if self.hand_overs.is_at(memory, layout, frame.code, frame.code_address, frame.offset) {
                (doing.is_active, doing.waits_for_gil) = (false, true);
            }
        }
        let stacks = &self.reader.stacks;
        moment.threads.push(MomentThread {
            stack,
            interpreter: stacks.interpreters[stack.interpreter],
            running_in: stacks.interpreters[stack.running_in],
            os_id,
            exists,
            active: doing.is_active,
            waits_for_gil: doing.waits_for_gil,
            takes_gil: doing.takes_gil,
            is_unmoved: os_id.is_some_and(|os_id| self.activities.is_unmoved(os_id)),
            collecting: stacks.collects(&stack).unwrap_or(doing.is_active),
            assurance,
            frames: FrameSpan::since(first_frame, &moment.frames),
        });
        // Without an id nobody would notice that it moves again.
        if os_id.is_some() && assurance != Assurance::Unproven && !is_running {
            self.records.keep_frames(stack.address, &moment.frames[first_frame..]);
        }
    }

    /// Puts a thread that was left out of the read into the moment, as it was last seen.
    fn emit_unchanged(&mut self, index: usize, moment: &mut Moment) {
        let stacks = &self.reader.stacks;
        let stack = stacks.threads[index];
        let os_id = self.threads.os_id(stack.address);
        let doing = self.doing(&stack, os_id, false);
        let first_frame = moment.frames.len();
        moment.frames.extend_from_slice(self.records.kept_frames(stack.address));
        let running_in = stacks.interpreters[stack.running_in];
        moment.threads.push(MomentThread {
            stack,
            interpreter: stacks.interpreters[stack.interpreter],
            running_in,
            os_id,
            exists: true,
            active: doing.is_active,
            waits_for_gil: doing.waits_for_gil,
            takes_gil: doing.takes_gil,
            is_unmoved: true,
            collecting: running_in.collecting && stack.holds_gil,
            assurance: Assurance::Proven,
            frames: FrameSpan::since(first_frame, &moment.frames),
        });
    }

    /// Whether a thread runs without the GIL that there is, so that it takes it unless it runs C code.
    fn may_take_gil(&self, stack: &ThreadStack, doing: &Doing) -> bool {
        let gil = &self.reader.stacks.interpreters[stack.running_in].gil;
        doing.is_active && !stack.holds_gil && gil.exists && gil.tells_holder
    }

    pub(super) fn doing(&self, stack: &ThreadStack, os_id: Option<ThreadId>, is_running: bool) -> Doing {
        let gil = &self.reader.stacks.interpreters[stack.running_in].gil;
        let futex = os_id.and_then(|os_id| self.activities.futex(os_id));
        Doing::new(stack, gil, &self.reader.runtime, is_running, futex)
    }

    /// Whether the native frames of a thread are to be read, for which it must be stopped.
    fn wants_native(&mut self, index: usize, pausing: Pausing) -> bool {
        let stacks = &self.reader.stacks;
        self.natives.wants(stacks, &stacks.threads[index], &self.threads, &mut self.activities, pausing)
    }

    /// Copies the registers and the stack of a thread that is stopped.
    fn capture_native(
        &mut self,
        index: usize,
        registers: impl FnOnce(ThreadId) -> std::io::Result<crate::process::Registers>,
    ) {
        let thread = self.reader.stacks.threads[index].address;
        if let Some(os_id) = self.threads.os_id(thread) {
            let memory = self.reader.snapshot.memory();
            self.natives.capture(memory, &mut self.activities, Owner::State(thread), os_id, registers);
        }
    }
}
