//! Puts the threads of a sample into a moment. One whose stack could not be made sure of is stopped and read again
//! first (`second_read`).

use super::ProcessSampler;
use super::cpu_and_gil::CpuAndGil;
use super::stops::StoppedThreads;
use crate::process::{PausedProcess, ThreadId};
use crate::python::code::Place;
use crate::python::stack::ThreadStack;
use crate::sampler::consistency::verdict::Verdict;
use crate::sampler::moment::{Assurance, FrameSpan, Moment, MomentFrame, MomentThread, Owner, Pausing};

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
        } else if self.reader.judged_stacks[index].verdict != Verdict::Consistent || self.wants_native(index, pausing) {
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
            if self.reader.judged_stacks[index].verdict == Verdict::Consistent {
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

    /// Puts a thread with its frames into the moment.
    pub(super) fn emit(&mut self, index: usize, assurance: Assurance, moment: &mut Moment) {
        let stack = self.reader.stacks.threads[index];
        let os_id = self.threads.os_id(stack.address);
        let exists = self.threads.exists(stack.address);
        let is_running = match os_id {
            Some(os_id) => self.activities.is_running(os_id),
            // Who holds the GIL runs, whoever it is.
            None => exists && stack.holds_gil,
        };
        let mut cpu_and_gil = self.cpu_and_gil(&stack, os_id, is_running);
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
        if let Some(frame) = newest.filter(|_| self.may_take_gil(&stack, &cpu_and_gil)) {
            let (memory, layout) = (self.reader.snapshot.memory(), &self.reader.runtime.layout);
            if self.hand_overs.is_at(memory, layout, frame.code, frame.code_address, frame.offset) {
                (cpu_and_gil.is_active, cpu_and_gil.waits_for_gil) = (false, true);
            }
        }
        let stacks = &self.reader.stacks;
        moment.threads.push(MomentThread {
            stack,
            interpreter: stacks.interpreters[stack.interpreter],
            running_in: stacks.interpreters[stack.running_in],
            os_id,
            exists,
            active: cpu_and_gil.is_active,
            waits_for_gil: cpu_and_gil.waits_for_gil,
            takes_gil: cpu_and_gil.takes_gil,
            is_unmoved: os_id.is_some_and(|os_id| self.activities.is_unmoved(os_id)),
            collecting: stacks.collects(&stack).unwrap_or(cpu_and_gil.is_active),
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
        let cpu_and_gil = self.cpu_and_gil(&stack, os_id, false);
        let first_frame = moment.frames.len();
        moment.frames.extend_from_slice(self.records.kept_frames(stack.address));
        let running_in = stacks.interpreters[stack.running_in];
        moment.threads.push(MomentThread {
            stack,
            interpreter: stacks.interpreters[stack.interpreter],
            running_in,
            os_id,
            exists: true,
            active: cpu_and_gil.is_active,
            waits_for_gil: cpu_and_gil.waits_for_gil,
            takes_gil: cpu_and_gil.takes_gil,
            is_unmoved: true,
            collecting: running_in.collecting && stack.holds_gil,
            assurance: Assurance::Proven,
            frames: FrameSpan::since(first_frame, &moment.frames),
        });
    }

    /// Whether a thread runs without the GIL that there is, so that it takes it unless it runs C code.
    fn may_take_gil(&self, stack: &ThreadStack, cpu_and_gil: &CpuAndGil) -> bool {
        let gil = &self.reader.stacks.interpreters[stack.running_in].gil;
        cpu_and_gil.is_active && !stack.holds_gil && gil.exists && gil.tells_holder
    }

    /// What a thread with this stack does now.
    pub(super) fn cpu_and_gil(&self, stack: &ThreadStack, os_id: Option<ThreadId>, is_running: bool) -> CpuAndGil {
        let gil = &self.reader.stacks.interpreters[stack.running_in].gil;
        let futex = os_id.and_then(|os_id| self.activities.futex(os_id));
        CpuAndGil::new(stack, gil, &self.reader.runtime, is_running, futex)
    }

    /// Whether the native frames of a thread are to be read, for which it must be stopped.
    pub(super) fn wants_native(&mut self, index: usize, pausing: Pausing) -> bool {
        let stacks = &self.reader.stacks;
        self.natives.wants(stacks, &stacks.threads[index], &self.threads, &mut self.activities, pausing)
    }

    /// Copies the registers and the stack of a thread that is stopped.
    pub(super) fn capture_native(
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
