//! What others ask of a process sampler and tell it.

use std::time::Duration;

use super::stops::Trouble;
use super::{CodeEpoch, ProcessSampler};
use crate::process::Process;
use crate::python::code::CodeTable;
use crate::python::interpreter::InterpreterState;
use crate::python::runtime::Runtime;
use crate::sampler::moment::{MomentThread, NativeThread};
use crate::sampler::native::Native;

impl ProcessSampler {
    /// From now on native frames are read too, of idle threads if `idle`; a thread is stopped for that.
    pub(crate) fn read_native(&mut self, idle: bool) {
        self.natives.enable(&self.process, idle);
    }

    /// From now on threads without a thread state are read too, if native frames are.
    pub(crate) fn read_native_threads(&mut self) {
        self.natives.enable_threads();
    }

    /// The reader of native frames, if they are read.
    pub(crate) fn native(&self) -> Option<&Native> {
        self.natives.native.as_deref()
    }

    /// Waits for the lines of native code that was met, at most so long. Without that they are there some time later.
    pub(crate) fn wait_for_lines(&mut self, limit: Duration) {
        if let Some(native) = &mut self.natives.native {
            native.wait_for_lines(limit);
        }
    }

    /// Whether we may run on the CPU of a thread that moves fast, from the next sample on. It is of use to one sampler
    /// of the calling thread only, and not when samples follow each other without a rest.
    pub(crate) fn allow_pinning(&mut self, may_pin: bool) {
        self.pinning.allow(may_pin);
    }

    /// The process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Its runtime.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.reader.runtime
    }

    /// The main interpreter, as of the last sample.
    pub(crate) fn main_interpreter(&self) -> Option<&InterpreterState> {
        self.reader.stacks.interpreters.first()
    }

    /// All interpreters, as of the last sample.
    pub(crate) fn interpreters(&self) -> &[InterpreterState] {
        &self.reader.stacks.interpreters
    }

    /// The code that was seen.
    pub(crate) fn codes(&self) -> &CodeTable {
        &self.reader.codes
    }

    /// What went wrong with pausing so far.
    pub(crate) fn trouble(&self) -> &Trouble {
        self.stopper.trouble()
    }

    /// What is kept of code objects takes so many bytes, about.
    pub(crate) fn code_bytes(&self) -> usize {
        self.reader.codes.size_bytes()
    }

    /// Since when the numbers of code objects mean what they mean.
    pub(crate) fn code_epoch(&self) -> CodeEpoch {
        self.code_epoch
    }

    /// Forgets all code; what was told of it by number means nothing any more.
    pub(crate) fn forget_codes(&mut self) {
        self.reader.codes = CodeTable::new();
        // They have such numbers.
        self.records.forget_frames();
        self.hand_overs.clear();
        self.kernel_stacks.forget_codes();
        self.code_epoch.forgotten += 1;
    }

    /// The name of a thread, as last known.
    pub(crate) fn thread_name(&self, thread: &MomentThread) -> Option<&str> {
        let is_first = thread.os_id == Some(u64::from(self.process.pid().unsigned_abs()));
        self.names.name(thread, is_first)
    }

    /// What the kernel calls a thread without a thread state.
    pub(crate) fn native_thread_name(&self, thread: &NativeThread) -> Option<&str> {
        self.natives.thread_name(thread)
    }
}
