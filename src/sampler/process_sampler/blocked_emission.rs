//! Puts a thread into a moment that goes to sleep, as the kernel has recorded it.

use super::ProcessSampler;
use super::kernel_emission::{FromKernel, collects, interpreter_at, is_of, thread_of};
use super::kernel_stacks::CodeReader;
use crate::python::stack::ThreadStack;
use crate::sampler::kernel::{Record, Records};
use crate::sampler::moment::{Assurance, FrameSpan, Moment, MomentThread};

impl ProcessSampler {
    /// Fills the moment with the thread of a record of one that goes to sleep, whose code was
    /// [looked at](Self::check_kernel_codes).
    pub(crate) fn emit_blocked(&mut self, records: &Records, record: &Record, moment: &mut Moment) -> FromKernel {
        moment.clear();
        let stacks = &self.reader.stacks;
        let Some(interpreter) = stacks.interpreters.first().filter(|_| !record.is_truncated()) else {
            return FromKernel::Lost;
        };
        let interpreter = interpreter_at(*interpreter, record);
        let known = stacks.threads.iter().find(|thread| is_of(thread, record));
        let thread = known.copied().unwrap_or_else(|| thread_of(record));
        let gil = interpreter.gil;
        let holds_gil = gil.holder == record.state;
        let stack = ThreadStack { holds_gil, requests_gil: record.requests_gil(), is_left_out: false, ..thread };
        let reader = &mut self.reader;
        let mut codes = CodeReader {
            memory: reader.snapshot.memory(),
            layout: &reader.runtime.layout,
            codes: &mut reader.codes,
            has_ended: false,
        };
        let frames = &mut moment.frames;
        if !self.kernel_stacks.name_frames(records, record, interpreter.id, &mut codes, frames) {
            return FromKernel::Lost;
        }
        if moment.frames.is_empty() {
            return FromKernel::NotActive;
        }
        // The futex is of the same moment as its memory, so it alone is enough: 3.15 says that a thread wants the GIL,
        // and not that it waits until another has taken it.
        let futex = records.call(record).and_then(|call| call.futex());
        let is_at_gil = futex.is_some_and(|futex| gil.is_waited_for_at(&reader.runtime, futex));
        let collecting = collects(&interpreter, holds_gil, &moment.frames);
        moment.threads.push(MomentThread {
            stack,
            interpreter,
            running_in: interpreter,
            os_id: Some(u64::from(record.os_id)),
            exists: true,
            active: false,
            waits_for_gil: is_at_gil || stack.requests_gil && !holds_gil,
            takes_gil: false,
            is_unmoved: false,
            collecting,
            assurance: Assurance::Proven,
            frames: FrameSpan::since(0, &moment.frames),
        });
        FromKernel::Emitted
    }
}
