//! Puts a thread into a moment that goes to sleep, as the kernel has recorded it.

use super::ProcessSampler;
use super::kernel_emission::FromKernel;
use crate::sampler::kernel::{Record, Records};
use crate::sampler::moment::Moment;

impl ProcessSampler {
    /// Fills the moment with the thread of a record of one that goes to sleep, whose code was
    /// [looked at](Self::check_kernel_codes).
    pub(crate) fn emit_blocked(&mut self, records: &Records, record: &Record, moment: &mut Moment) -> FromKernel {
        moment.clear();
        if !self.put_recorded(records, record, moment) {
            return FromKernel::Lost;
        }
        let [thread] = &mut moment.threads[..] else { return FromKernel::Lost };
        if moment.frames.is_empty() {
            return FromKernel::NotActive;
        }
        // The futex is of the same moment as its memory, so it alone is enough: 3.15 says that a thread wants the GIL,
        // and not that it waits until another has taken it.
        let futex = records.call(record).and_then(|call| call.futex());
        let is_at_gil = futex.is_some_and(|futex| thread.interpreter.gil.is_waited_for_at(&self.reader.runtime, futex));
        thread.waits_for_gil = is_at_gil || thread.stack.requests_gil && !thread.stack.holds_gil;
        thread.active = false;
        FromKernel::Emitted
    }
}
