//! Puts what the kernel has recorded of a thread into a moment.

use super::ProcessSampler;
use super::recorded_frame_names::CodeReader;
use super::second_read::{RegistersAsleep, WaitingRead};
use super::stops::StoppedThreads;
use crate::python::interpreter::InterpreterState;
use crate::python::stack::ThreadStack;
use crate::sampler::consistency::verdict::Verdict;
use crate::sampler::kernel::{CodeNews, Record, Records};
use crate::sampler::moment::{
    Assurance, FrameSpan, Moment, MomentFrame, MomentThread, NativeThread, Owner, Pausing, SampleError,
};

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FromKernel {
    /// The thread is in the moment.
    Emitted,
    /// There is nothing to show of a thread without a thread state.
    NotActive,
    /// The thread has a thread state, and no frames to show.
    Frameless,
    /// Its stack could not be read or named.
    Lost,
}

impl ProcessSampler {
    /// Takes a sample of what the kernel does not see: which threads there are, and what those do that wait. Those that
    /// run are in the moment without their frames. Nothing is stopped, unless native frames of idle threads are wanted
    /// and `pausing` lets it: then each that sleeps is whose native stack cannot be followed without its registers,
    /// once where it sleeps. `registers` tells those with which threads went to sleep.
    ///
    /// # Errors
    /// As [`ProcessSampler::sample`].
    pub(crate) fn sample_waiting(
        &mut self,
        pausing: Pausing,
        registers: &RegistersAsleep<'_>,
        moment: &mut Moment,
    ) -> Result<(), SampleError> {
        moment.clear();
        self.natives.start_sample(pausing, moment);
        let pausing = if self.natives.are_read_of_idle() { pausing } else { Pausing::Never };
        if self.reader.stacks.threads.is_empty() {
            self.find_threads();
        }
        self.records.start_sample();
        // So that each is looked at before it is read, not afterwards.
        self.activities.observe_before(Pausing::Blocking, &mut self.threads, &mut self.records);
        self.records.plan(false, None);
        self.records.leave_out_running();
        let mut stopped = StoppedThreads::default();
        self.read_planned(&mut stopped, moment)?;
        self.read_names_when_due();
        self.judge(&stopped);
        for index in 0..self.reader.stacks.threads.len() {
            let address = self.reader.stacks.threads[index].address;
            let is_still = self.reader.judged_stacks[index].verdict == Verdict::Consistent;
            if self.records.was_running(address) {
                self.emit_running(index, moment);
            } else if !self.threads.exists(address) || is_still && !self.wants_native(index, pausing) {
                self.emit_thread(index, Pausing::Never, &stopped, moment);
            } else {
                match self.emit_if_waiting(index, registers, moment) {
                    WaitingRead::Whole => {}
                    // It has run meanwhile, and still does or does again: that is the kernel's.
                    WaitingRead::Moved => self.emit_running(index, moment),
                    WaitingRead::WithoutNative => self.emit_thread(index, pausing, &stopped, moment),
                }
            }
        }
        self.natives.observe_threads(&self.process, &self.threads, &mut self.activities);
        if pausing != Pausing::Never {
            let memory = self.reader.snapshot.memory();
            self.natives.read_threads((&self.process, memory), &mut self.activities, Some(registers), moment);
        }
        self.natives.finish_sample(&self.reader.stacks, moment);
        Ok(())
    }

    /// Puts a thread into the moment that runs, without its frames.
    fn emit_running(&self, index: usize, moment: &mut Moment) {
        let stacks = &self.reader.stacks;
        let stack = stacks.threads[index];
        let running_in = stacks.interpreters[stack.running_in];
        let os_id = self.threads.os_id(stack.address);
        let cpu_and_gil = self.cpu_and_gil(&stack, os_id, true);
        moment.threads.push(MomentThread {
            stack,
            interpreter: stacks.interpreters[stack.interpreter],
            running_in,
            os_id,
            exists: self.threads.exists(stack.address),
            active: cpu_and_gil.is_active,
            waits_for_gil: cpu_and_gil.waits_for_gil,
            takes_gil: cpu_and_gil.takes_gil,
            is_unmoved: false,
            collecting: false,
            assurance: Assurance::Proven,
            frames: FrameSpan::since(moment.frames.len(), &moment.frames),
        });
    }

    /// Looks at all code that the records of this process name, and gets ready for their native stacks. What the
    /// program in the kernel is to be told.
    pub(crate) fn check_kernel_codes(&mut self, records: &Records) -> Vec<CodeNews> {
        self.natives.prepare();
        let pid = self.process.pid().unsigned_abs();
        let of_exec = records.iter().filter(|record| record.pid == pid).any(Record::executed);
        let has_ended = of_exec || self.process.has_exited();
        let reader = &mut self.reader;
        let mut codes = CodeReader {
            memory: reader.snapshot.memory(),
            layout: &reader.runtime.layout,
            codes: &mut reader.codes,
            has_ended,
        };
        self.kernel_stacks.check_codes(records, pid, &mut codes);
        self.kernel_stacks.take_news()
    }

    /// Whether the thread of a record was there when it was last looked which there are.
    pub(crate) fn knows_thread_of(&self, record: &Record) -> bool {
        self.reader.stacks.threads.iter().any(|thread| is_of(thread, record))
    }

    /// Fills the moment with the thread of a record, whose code was [looked at](Self::check_kernel_codes).
    pub(crate) fn emit_from_kernel(&mut self, records: &Records, record: &Record, moment: &mut Moment) -> FromKernel {
        moment.clear();
        moment.native.clear();
        if record.state == 0 {
            return self.emit_stateless(records, record, moment);
        }
        if !self.put_recorded(records, record, moment) {
            return FromKernel::Lost;
        }
        let [thread] = &mut moment.threads[..] else { return FromKernel::Lost };
        let gil = &thread.interpreter.gil;
        let may_wait = gil.exists && gil.tells_holder && !thread.stack.holds_gil;
        let layout = &self.reader.runtime.layout;
        let memory = self.reader.snapshot.memory();
        let mut hands_over = |newest: &MomentFrame| {
            self.hand_overs.is_at(memory, layout, newest.code, newest.code_address, newest.offset)
        };
        // It wants a CPU to look whether it may have the GIL by now, or has one for that.
        let waits_for_gil =
            may_wait && (thread.stack.requests_gil || moment.frames.first().is_some_and(&mut hands_over));
        (thread.active, thread.waits_for_gil) = (!waits_for_gil, waits_for_gil);
        let owner = Owner::State(thread.stack.address);
        self.natives.merge_recorded((records, record), layout, owner, moment);
        if moment.frames.is_empty() && moment.native.frames.is_empty() {
            return FromKernel::Frameless;
        }
        FromKernel::Emitted
    }

    /// Puts the thread of a record into the moment, as the only one: as one that runs and does not wait for the GIL,
    /// with its Python frames. Whether these could be read and named.
    pub(super) fn put_recorded(&mut self, records: &Records, record: &Record, moment: &mut Moment) -> bool {
        let stacks = &self.reader.stacks;
        let Some(interpreter) = stacks.interpreters.first().filter(|_| !record.is_truncated()) else { return false };
        let interpreter = interpreter_at(*interpreter, record);
        let reader = &mut self.reader;
        let mut codes = CodeReader {
            memory: reader.snapshot.memory(),
            layout: &reader.runtime.layout,
            codes: &mut reader.codes,
            has_ended: false,
        };
        let frames = &mut moment.frames;
        if !self.kernel_stacks.name_frames(records, record, interpreter.id, &mut codes, frames) {
            return false;
        }
        let holds_gil = interpreter.gil.holder == record.state;
        let known = reader.stacks.threads.iter().find(|thread| is_of(thread, record));
        // One that has ended since may never have been seen by us.
        let thread = known.copied().unwrap_or_else(|| thread_of(record));
        moment.threads.push(MomentThread {
            stack: ThreadStack { holds_gil, requests_gil: record.requests_gil(), is_left_out: false, ..thread },
            interpreter,
            running_in: interpreter,
            os_id: Some(u64::from(record.os_id)),
            exists: true,
            active: true,
            waits_for_gil: false,
            takes_gil: false,
            is_unmoved: false,
            collecting: collects(&interpreter, holds_gil, frames),
            assurance: Assurance::Proven,
            frames: FrameSpan::since(0, frames),
        });
        true
    }

    /// The same for a thread without a thread state, of which only a native stack is of use.
    fn emit_stateless(&mut self, records: &Records, record: &Record, moment: &mut Moment) -> FromKernel {
        let os_id = u64::from(record.os_id);
        let layout = &self.reader.runtime.layout;
        self.natives.merge_recorded((records, record), layout, Owner::Thread(os_id), moment);
        if moment.native.frames.is_empty() {
            return FromKernel::NotActive;
        }
        moment.native_threads.push(NativeThread { os_id, active: true, assurance: Assurance::Proven });
        FromKernel::Emitted
    }
}

/// An interpreter as it was when a record was made.
fn interpreter_at(mut interpreter: InterpreterState, record: &Record) -> InterpreterState {
    (interpreter.collecting, interpreter.collecting_frame) = (record.collects(), record.collecting_frame);
    let gil = &mut interpreter.gil;
    gil.holder = if gil.exists && gil.tells_holder { record.holder } else { 0 };
    interpreter
}

/// Whether the thread with these frames runs the garbage collector of its interpreter.
pub(in crate::sampler) fn collects(interpreter: &InterpreterState, holds_gil: bool, frames: &[MomentFrame]) -> bool {
    let gil = &interpreter.gil;
    interpreter.collecting
        && match (interpreter.collecting_frame, gil.exists && gil.tells_holder) {
            (0, true) => holds_gil,
            (0, false) => true,
            (address, _) => frames.iter().any(|frame| frame.address == address),
        }
}

/// Whether it is the thread of a record: thread states are freed, and their memory is used again.
fn is_of(thread: &ThreadStack, record: &Record) -> bool {
    (thread.address, thread.thread_id) == (record.state, record.thread_id)
}

/// The thread of a record, as far as that tells of it.
fn thread_of(record: &Record) -> ThreadStack {
    ThreadStack {
        address: record.state,
        interpreter: 0,
        innermost: record.state,
        running_in: 0,
        thread_id: record.thread_id,
        native_thread_id: None,
        holds_gil: false,
        requests_gil: false,
        attachment: None,
        first_frame: 0,
        end_frame: 0,
        is_truncated: false,
        is_left_out: false,
    }
}
