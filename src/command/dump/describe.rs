//! From addresses and ids to what is written: the same for a living process and for a core file.

use std::fs::File;
use std::io;
use std::path::Path;

use super::inspect::Inspection;
use super::source::Sources;
use crate::memory::Memory;
use crate::native::{MixedFrame, ShownFrame};
use crate::output::dump::{ExceptionDump, FrameDump, ThreadDump, WaitDump};
use crate::process::{DescriptorNames, SystemCall, ThreadId};
use crate::python::blocked::Blocked;
use crate::python::code::CodeTable;
use crate::python::interpreter::InterpreterState;
use crate::python::layout::Layout;
use crate::python::notebook::cached_lines;
use crate::sampler::{
    Cells, Moment, MomentFrame, MomentThread, Native, NativeThread, ShortNames, entered_interpreter, interpreter_name,
};

/// What the threads of a moment are described with.
pub(super) struct Describer<'look> {
    pub(super) pid: i32,
    pub(super) moment: &'look Moment,
    pub(super) inspection: &'look Inspection,
    pub(super) codes: &'look CodeTable,
    /// The native functions of the moment.
    pub(super) native: Option<&'look Native>,
    pub(super) memory: &'look dyn Memory,
    pub(super) layout: &'look Layout,
    pub(super) descriptors: &'look dyn DescriptorNames,
    /// Opens a regular file that the process finds at a path.
    pub(super) open: &'look dyn Fn(&Path) -> io::Result<File>,
    /// What a thread is called.
    pub(super) name_of: &'look dyn Fn(&MomentThread) -> Option<String>,
    /// What the kernel calls a thread that has no thread state.
    pub(super) native_name_of: &'look dyn Fn(&NativeThread) -> Option<String>,
    /// The system call that a thread is in.
    pub(super) call_of: &'look dyn Fn(ThreadId) -> Option<SystemCall>,
    /// What the kernel calls the place where a thread sleeps.
    pub(super) channel_of: &'look dyn Fn(ThreadId) -> Option<String>,
    /// Whether source lines are wanted.
    pub(super) source: bool,
}

/// What files are called.
#[derive(Default)]
struct Names {
    files: ShortNames,
    cells: Cells,
}

impl Describer<'_> {
    /// All threads, as they come, those without a thread state last.
    pub(super) fn threads(&self) -> Vec<ThreadDump> {
        let mut names = Names::default();
        let mut sources = Sources::new(self.open);
        let threads = self.moment.threads.iter().enumerate();
        let with_states = threads.map(|(index, thread)| self.thread(index, thread, &mut names, &mut sources));
        let native = self.moment.native_threads.iter().map(|thread| self.native_thread(thread));
        with_states.chain(native).collect()
    }

    fn native_thread(&self, thread: &NativeThread) -> ThreadDump {
        let mixed = self.moment.native.of_native(thread).unwrap_or_default();
        ThreadDump {
            pid: self.pid,
            thread_name: (self.native_name_of)(thread),
            os_thread_id: Some(thread.os_id),
            active: thread.active,
            native: true,
            frames: self.with_native(mixed, Vec::new()),
            waits_in: if thread.active { None } else { self.waits_in(Some(thread.os_id)) },
            ..ThreadDump::default()
        }
    }

    fn thread(&self, index: usize, thread: &MomentThread, names: &mut Names, sources: &mut Sources<'_>) -> ThreadDump {
        let of_python = self.moment.frames_of(thread);
        // With each frame the border below it, where it was called from another interpreter.
        let frames = of_python.iter().enumerate().map(|(place, frame)| {
            let mut dump = self.frame(frame, &thread.interpreter, names);
            dump.locals = self.inspection.variables.get(thread.first_frame + place).cloned();
            // What was never written to a file, such as a notebook's cell, may be kept for tracebacks.
            let cached = || cached_lines(self.memory, self.layout, &thread.interpreter, &dump.filename);
            dump.source = if self.source { sources.around(&dump, cached) } else { None };
            let border = entered_interpreter(of_python, place).map(interpreter_name);
            let border = border.map(|name| FrameDump { name, ..FrameDump::default() });
            std::iter::once(dump).chain(border).collect()
        });
        let frames = match self.moment.native.of(thread) {
            Some(mixed) => self.with_native(mixed, frames.collect()),
            None => frames.flat_map(|frames: Vec<FrameDump>| frames).collect(),
        };
        let blocked = self.inspection.blocked.get(index).cloned().flatten();
        let waits_in = if thread.active { None } else { self.waits_in(thread.os_id) };
        let raised = self.inspection.raised.get(index).cloned().flatten();
        ThreadDump {
            pid: self.pid,
            thread_id: thread.stack.thread_id,
            thread_name: (self.name_of)(thread),
            os_thread_id: thread.os_id,
            active: thread.active,
            owns_gil: thread.stack.holds_gil,
            frames,
            waits_for_gil: blocked == Some(Blocked::Gil),
            collecting_garbage: thread.collecting,
            interpreter: thread.interpreter.id,
            native: false,
            waits_in,
            waits_for: self.waits_for(blocked.clone()),
            waits_for_world: blocked == Some(Blocked::StoppedWorld),
            gone: !thread.exists,
            deadlocked: self.inspection.rings.iter().any(|ring| ring.contains(&index)),
            exception: raised.map(|raised| ExceptionDump {
                type_name: raised.type_name,
                message: raised.message,
                handled: raised.handled,
            }),
        }
    }

    /// The frames with the native ones between them.
    fn with_native(&self, mixed: &[MixedFrame], mut frames: Vec<Vec<FrameDump>>) -> Vec<FrameDump> {
        let Some(native) = self.native else { return frames.into_iter().flatten().collect() };
        let dump = |frame: &MixedFrame| match frame {
            MixedFrame::Python(index) => frames.get_mut(*index).map(std::mem::take).unwrap_or_default(),
            MixedFrame::Native(id) => native.shown(*id).iter().map(native_frame).collect::<Vec<_>>(),
        };
        mixed.iter().flat_map(dump).collect()
    }

    fn frame(&self, frame: &MomentFrame, interpreter: &InterpreterState, names: &mut Names) -> FrameDump {
        let code = self.codes.get(frame.code);
        let file = &code.filename;
        let short = match names.cells.name(self.memory, self.layout, interpreter, file) {
            Some(cell) => cell,
            None => names.files.shorten(file, |path| (self.open)(path).is_ok()),
        };
        let offset = Some(frame.offset).filter(|offset| *offset >= 0);
        let location = offset.and_then(|offset| self.codes.location_at(frame.code, offset));
        // The tables before 3.11 know lines only.
        let location = location.filter(|location| location.column.is_some());
        FrameDump {
            name: code.name.clone(),
            filename: code.filename.clone(),
            short_filename: Some(short.to_owned()),
            line: frame.line,
            end_line: location.map(|location| location.end_line),
            column: location.and_then(|location| location.column),
            end_column: location.and_then(|location| location.end_column),
            ..FrameDump::default()
        }
    }

    fn waits_in(&self, thread: Option<ThreadId>) -> Option<String> {
        let call = (self.call_of)(thread?).map(|call| call.describe(self.memory, self.descriptors));
        call.or_else(|| (self.channel_of)(thread?))
    }

    fn waits_for(&self, blocked: Option<Blocked>) -> Option<WaitDump> {
        let Some(Blocked::Object(wait)) = blocked else { return None };
        let is_holder = |other: &&MomentThread| other.exists && Some(other.stack.thread_id) == wait.holder;
        let holder = self.moment.threads.iter().find(is_holder);
        Some(WaitDump {
            operation: wait.operation,
            object: wait.object,
            holder_thread_id: wait.holder,
            holder_os_thread_id: holder.and_then(|holder| holder.os_id),
            holder_name: holder.and_then(|holder| (self.name_of)(holder)).or(wait.joined),
        })
    }
}

fn native_frame(frame: &ShownFrame<'_>) -> FrameDump {
    FrameDump {
        name: frame.name.to_owned(),
        filename: frame.file.to_owned(),
        module: Some(frame.module.to_owned()),
        short_filename: Some(frame.short_file.to_owned()),
        line: frame.line,
        ..FrameDump::default()
    }
}
