//! From addresses and ids to what is written: the same for a living process and for a core file.

use std::fs::File;
use std::io;
use std::path::Path;

use super::inspect::Inspection;
use super::source::Sources;
use crate::memory::Memory;
use crate::native::MixedFrame;
use crate::output::dump::{ExceptionDump, FrameDump, ThreadDump, WaitDump};
use crate::process::{DescriptorNames, SystemCall};
use crate::python::blocked::Blocked;
use crate::python::code::CodeTable;
use crate::python::interpreter::InterpreterState;
use crate::python::layout::Layout;
use crate::python::notebook::cached_lines;
use crate::sampler::{Cells, Moment, MomentFrame, MomentThread, Native, ShortNames};

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
    /// The system call that a thread is in.
    pub(super) call_of: &'look dyn Fn(&MomentThread) -> Option<SystemCall>,
    /// What the kernel calls the place where a thread sleeps.
    pub(super) channel_of: &'look dyn Fn(&MomentThread) -> Option<String>,
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
    /// All threads, as they come.
    pub(super) fn threads(&self) -> Vec<ThreadDump> {
        let mut names = Names::default();
        let mut sources = Sources::new(self.open);
        let threads = self.moment.threads.iter().enumerate();
        threads.map(|(index, thread)| self.thread(index, thread, &mut names, &mut sources)).collect()
    }

    fn thread(&self, index: usize, thread: &MomentThread, names: &mut Names, sources: &mut Sources<'_>) -> ThreadDump {
        let frames = self.moment.frames_of(thread).iter().enumerate().map(|(place, frame)| {
            let mut dump = self.frame(frame, &thread.interpreter, names);
            dump.locals = self.inspection.variables.get(thread.first_frame + place).cloned();
            // What was never written to a file, such as a notebook's cell, may be kept for tracebacks.
            let cached = || cached_lines(self.memory, self.layout, &thread.interpreter, &dump.filename);
            dump.source = if self.source { sources.around(&dump, cached) } else { None };
            dump
        });
        let frames = self.with_native(thread, frames.collect());
        let blocked = self.inspection.blocked.get(index).cloned().flatten();
        let waits_in = if thread.active { None } else { self.waits_in(thread) };
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
            waits_in,
            waits_for: self.waits_for(thread, blocked),
            deadlocked: self.inspection.rings.iter().any(|ring| ring.contains(&index)),
            exception: raised.map(|raised| ExceptionDump {
                type_name: raised.type_name,
                message: raised.message,
                handled: raised.handled,
            }),
        }
    }

    /// The frames with the native ones between them, where there are any.
    fn with_native(&self, thread: &MomentThread, frames: Vec<FrameDump>) -> Vec<FrameDump> {
        let (Some(mixed), Some(native)) = (self.moment.native.of(thread), self.native) else { return frames };
        let mut frames: Vec<Option<FrameDump>> = frames.into_iter().map(Some).collect();
        let dump = |frame: &MixedFrame| match frame {
            MixedFrame::Python(index) => frames.get_mut(*index)?.take(),
            MixedFrame::Native(id) => {
                let function = native.function(*id);
                Some(FrameDump {
                    name: function.name.clone(),
                    filename: function.path.clone(),
                    module: Some(function.path.clone()),
                    short_filename: Some(function.module.clone()),
                    ..FrameDump::default()
                })
            }
        };
        mixed.iter().filter_map(dump).collect()
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

    fn waits_in(&self, thread: &MomentThread) -> Option<String> {
        let call = (self.call_of)(thread).map(|call| call.describe(self.memory, self.descriptors));
        call.or_else(|| (self.channel_of)(thread))
    }

    fn waits_for(&self, thread: &MomentThread, blocked: Option<Blocked>) -> Option<WaitDump> {
        let Some(Blocked::Object(wait)) = blocked else { return None };
        let holder = self.moment.threads.iter().find(|other| {
            Some(other.stack.thread_id) == wait.holder && other.interpreter.address == thread.interpreter.address
        });
        Some(WaitDump {
            operation: wait.operation,
            object: wait.object,
            holder_thread_id: wait.holder,
            holder_os_thread_id: holder.and_then(|holder| holder.os_id),
            holder_name: holder.and_then(|holder| (self.name_of)(holder)).or(wait.joined),
        })
    }
}
