//! From addresses and ids to facts: the same for a living process and for a core file.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

use super::findings::Findings;
use super::process::{
    Holder, InspectedFrame, InspectedTasks, InspectedThread, NativeFrame, ObjectWait, PythonFrame, Wait,
};
use super::source::{SourcePlace, Sources};
use super::subject::Subject;
use crate::native::{MixedFrame, ShownFrame};
use crate::process::{Mapping, ThreadId};
use crate::python::code::CodeTable;
use crate::python::interpreter::InterpreterState;
use crate::python::layout::Layout;
use crate::python::lock_waits::Blocked;
use crate::python::notebook::cached_lines;
use crate::python::tasks::{runs_loop, waits_for_loop};
use crate::sampler::{Cells, Moment, MomentFrame, MomentThread, Native, NativeThread, ShortNames, entered_interpreter};

/// Frames of threads that are described, of all together: more would be gigabytes.
const MOST_FRAMES: usize = 1 << 19;

/// What the threads of a moment are described with.
pub(super) struct Describer<'read> {
    pub(super) subject: &'read dyn Subject,
    pub(super) moment: &'read Moment,
    pub(super) findings: &'read Findings,
    pub(super) codes: &'read CodeTable,
    /// The native functions of the moment.
    pub(super) native: Option<&'read Native>,
    pub(super) layout: &'read Layout,
    /// Whether source lines are wanted.
    pub(super) source: bool,
    /// What event loops take for the time, in seconds; `None` of a core file.
    pub(super) loop_time: Option<f64>,
    /// The target's memory, where there are greenlets.
    pub(super) mappings: &'read [Mapping],
}

/// What files are called and what is in them, kept from frame to frame.
pub(super) struct Files<'target> {
    short_names: ShortNames,
    cells: Cells,
    sources: Sources<'target>,
    /// How many frames of threads may still be described, and how many were not.
    frames_left: usize,
    frames_left_out: usize,
}

/// Threads that exist, by their `threading.get_ident()`; of equal ones the first.
type ThreadsByIdent<'read> = HashMap<u64, &'read MomentThread>;

impl Describer<'_> {
    /// All threads, as they come, those without a thread state last, the tasks, and how many frames of threads were
    /// left out.
    pub(super) fn threads_and_tasks(&self) -> (Vec<InspectedThread>, Option<InspectedTasks>, usize) {
        let open = |path: &Path| -> io::Result<File> { self.subject.open_file(path) };
        let mut files = Files {
            short_names: ShortNames::default(),
            cells: Cells::default(),
            sources: Sources::new(&open),
            frames_left: MOST_FRAMES,
            frames_left_out: 0,
        };
        let threads = self.threads(&mut files);
        let left_out = files.frames_left_out;
        (threads, self.tasks(&mut files), left_out)
    }

    fn threads(&self, files: &mut Files<'_>) -> Vec<InspectedThread> {
        let existing = self.moment.threads.iter().rev().filter(|thread| thread.exists);
        let by_ident: ThreadsByIdent<'_> = existing.map(|thread| (thread.stack.thread_id, thread)).collect();
        let threads = self.moment.threads.iter().enumerate();
        let with_states = threads.map(|(index, thread)| self.thread(index, thread, &by_ident, files));
        let native = self.moment.native_threads.iter().map(|thread| self.native_thread(thread));
        with_states.chain(native).collect()
    }

    fn native_thread(&self, thread: &NativeThread) -> InspectedThread {
        let mixed = self.moment.native.of_native(thread).unwrap_or_default();
        InspectedThread {
            name: self.subject.native_thread_name(thread),
            os_id: Some(thread.os_id),
            exists: true,
            active: thread.active,
            frames: self.with_native(mixed, Vec::new()),
            waits_in: if thread.active { None } else { self.waits_in(Some(thread.os_id)) },
            asleep_for: if thread.active { None } else { self.subject.asleep_for(thread.os_id) },
            ..InspectedThread::default()
        }
    }

    /// The thread at `index` of the moment's.
    fn thread(
        &self,
        index: usize,
        thread: &MomentThread,
        by_ident: &ThreadsByIdent<'_>,
        files: &mut Files<'_>,
    ) -> InspectedThread {
        let of_python = self.moment.frames_of(thread);
        let (of_python, left_out) = of_python.split_at(of_python.len().min(files.frames_left));
        files.frames_left -= of_python.len();
        files.frames_left_out += left_out.len();
        // With each frame the border below it, where it was called from another interpreter.
        let frames = of_python.iter().enumerate().map(|(place, frame)| {
            let mut described = self.python_frame(frame, self.codes, Some(&thread.interpreter), files);
            described.variables = self.findings.variables.get(thread.frames.first + place).cloned();
            let border = entered_interpreter(of_python, place).map(InspectedFrame::InterpreterBorder);
            std::iter::once(InspectedFrame::Python(described)).chain(border).collect()
        });
        let frames = match self.moment.native.of(thread) {
            Some(mixed) => self.with_native(mixed, frames.collect()),
            None => frames.flat_map(|frames: Vec<InspectedFrame>| frames).collect(),
        };
        let waits_for_gil = thread.waits_for_gil.then_some(Blocked::Gil);
        let blocked = waits_for_gil.or_else(|| self.findings.blocked.get(index).cloned().flatten());
        InspectedThread {
            python_id: thread.stack.thread_id,
            name: self.subject.thread_name(thread),
            os_id: thread.os_id,
            has_thread_state: true,
            exists: thread.exists,
            active: thread.active,
            holds_gil: thread.stack.holds_gil,
            takes_gil: thread.takes_gil,
            collects_garbage: thread.collecting,
            interpreter: thread.interpreter.id,
            frames,
            waits_in: if thread.active { None } else { self.waits_in(thread.os_id) },
            asleep_for: thread.os_id.filter(|_| !thread.active).and_then(|os_id| self.subject.asleep_for(os_id)),
            waits_for: blocked.map(|blocked| self.waits_for(blocked, by_ident)),
            exception: self.findings.raised.get(index).cloned().flatten(),
        }
    }

    /// The frames with the native ones between them. Each entry of `frames` is a Python frame with the border below it.
    fn with_native(&self, mixed: &[MixedFrame], mut frames: Vec<Vec<InspectedFrame>>) -> Vec<InspectedFrame> {
        let Some(native) = self.native else { return frames.into_iter().flatten().collect() };
        let described = |frame: &MixedFrame| match frame {
            MixedFrame::Python(index) => frames.get_mut(*index).map(std::mem::take).unwrap_or_default(),
            MixedFrame::Native(id) => native.shown(*id).iter().map(native_frame).collect::<Vec<_>>(),
        };
        mixed.iter().flat_map(described).collect()
    }

    /// A frame whose code is in `codes`.
    pub(super) fn python_frame(
        &self,
        frame: &MomentFrame,
        codes: &CodeTable,
        interpreter: Option<&InterpreterState>,
        files: &mut Files<'_>,
    ) -> PythonFrame {
        let memory = self.subject.memory();
        let code = codes.get(frame.code);
        let file = &code.filename;
        let cell = interpreter.and_then(|interpreter| files.cells.name(memory, self.layout, interpreter, file));
        let short = match cell {
            Some(cell) => cell,
            None => files.short_names.shorten(file, |path| self.subject.has_file(path)),
        };
        let short_file = short.to_owned();
        let offset = Some(frame.offset).filter(|offset| *offset >= 0);
        let location = offset.and_then(|offset| codes.location_at(frame.code, offset));
        // The tables before 3.11 know lines only.
        let location = location.filter(|location| location.column.is_some());
        let place = SourcePlace {
            file,
            line: frame.line,
            end_line: location.map(|location| location.end_line),
            column: location.and_then(|location| location.column),
            end_column: location.and_then(|location| location.end_column),
        };
        // What was never written to a file, such as a notebook's cell, may be kept for tracebacks.
        let cached = || cached_lines(memory, self.layout, interpreter?, file);
        PythonFrame {
            of_event_loop: runs_loop(&code.name, file) || waits_for_loop(&code.name, file),
            name: code.name.clone(),
            file: file.clone(),
            short_file,
            line: place.line,
            end_line: place.end_line,
            column: place.column,
            end_column: place.end_column,
            variables: None,
            source: if self.source { files.sources.lines_around(place, cached) } else { None },
        }
    }

    fn waits_in(&self, thread: Option<ThreadId>) -> Option<String> {
        let call = self.subject.system_call(thread?);
        let described = call.map(|call| call.describe(self.subject.memory(), self.subject.descriptors()));
        described.or_else(|| self.subject.wait_channel(thread?))
    }

    fn waits_for(&self, blocked: Blocked, by_ident: &ThreadsByIdent<'_>) -> Wait {
        let wait = match blocked {
            Blocked::Gil => return Wait::Gil,
            Blocked::StoppedWorld => return Wait::StoppedWorld,
            Blocked::Object(wait) => wait,
        };
        let holder = wait.holder.and_then(|holder| by_ident.get(&holder).copied());
        Wait::Object(ObjectWait {
            operation: wait.operation,
            object: wait.object,
            holder: Holder {
                python_id: wait.holder,
                os_id: holder.and_then(|holder| holder.os_id),
                name: holder.and_then(|holder| self.subject.thread_name(holder)).or(wait.joined),
            },
        })
    }
}

fn native_frame(frame: &ShownFrame<'_>) -> InspectedFrame {
    InspectedFrame::Native(NativeFrame {
        name: frame.name.to_owned(),
        file: frame.file.to_owned(),
        short_file: frame.short_file.to_owned(),
        module: frame.module.to_owned(),
        line: frame.line,
    })
}
