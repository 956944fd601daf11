//! What a moment shows besides stacks while the process stands still: what threads wait for, their exceptions, their
//! variables.

use std::collections::{HashMap, HashSet};

use super::deadlock::deadlocks;
use super::process::Variable;
use super::{Details, TasksWanted};
use crate::memory::{Memory, PageCache};
use crate::process::SystemCall;
use crate::python::blocked::{Blocked, FrameView, ThreadView, blocked};
use crate::python::code::{CodeTable, Place};
use crate::python::locals::{Value, variables};
use crate::python::object::ObjectReader;
use crate::python::raised::{Raised, raised};
use crate::python::repr::{Limits, Printer};
use crate::python::runtime::Runtime;
use crate::python::tasks::{
    AsyncioSection, RunFrame, TaskFrame, TaskLayoutError, TaskSource, Tasks, is_run_function, read_tasks,
};
use crate::sampler::{Moment, MomentFrame, MomentThread};

/// Of as many different tasks variables are read.
const MOST_TASKS_WITH_VARIABLES: usize = 200;

/// What was found, by the threads and frames of the moment that it was found in.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What each thread waits for.
    pub(super) blocked: Vec<Option<Blocked>>,
    /// Threads that wait for each other, by their places among the threads.
    pub(super) deadlocks: Vec<Vec<usize>>,
    /// The exception that each thread is busy with.
    pub(super) raised: Vec<Option<Raised>>,
    /// The variables of each frame; empty where none were asked for.
    pub(super) variables: Vec<Vec<Variable>>,
    /// Tasks of event loops.
    pub(super) tasks: FoundTasks,
}

/// What was found of tasks.
#[derive(Debug, Default)]
pub(super) enum FoundTasks {
    /// There are none, or they were not asked for.
    #[default]
    None,
    /// They cannot be read.
    Refused(TaskLayoutError),
    /// These.
    Found {
        tasks: Tasks,
        /// The code of their frames.
        codes: CodeTable,
        /// The variables of the frames of some tasks, by their places: of alike ones the first.
        variables: HashMap<usize, Vec<Vec<Variable>>>,
    },
}

/// What is looked for in a moment.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'read> {
    pub(super) details: Details,
    /// The system call that a thread is in.
    pub(super) call_of: &'read dyn Fn(&MomentThread) -> Option<SystemCall>,
    /// Where the section `.AsyncioDebug` is in the target.
    pub(super) asyncio_section: &'read dyn Fn() -> Option<u64>,
}

/// Finds it in a moment.
pub(super) fn find(
    memory: &impl Memory,
    runtime: &Runtime,
    codes: &CodeTable,
    moment: &Moment,
    wanted: Wanted<'_>,
) -> Findings {
    let level = wanted.details.variables;
    let memory = PageCache::new(memory);
    let objects = ObjectReader::new(&memory, &runtime.layout);
    let of_thread = |thread| thread_view(objects, codes, moment, thread, (wanted.call_of)(thread));
    let views: Vec<ThreadView<'_>> = moment.threads.iter().map(of_thread).collect();
    let blocked = blocked(&memory, runtime, &views);
    let idents: Vec<u64> = views.iter().map(|view| view.ident).collect();
    let deadlocks = deadlocks(&idents, &blocked);
    let raised = moment.threads.iter().map(|thread| raised(objects, thread.stack.innermost)).collect();
    let variables = if level == 0 { vec![] } else { all_variables(objects, codes, moment, &Limits::of_level(level)) };
    let tasks = find_tasks(objects, runtime, codes, moment, wanted);
    Findings { blocked, deadlocks, raised, variables, tasks }
}

fn find_tasks(
    objects: ObjectReader<'_>,
    runtime: &Runtime,
    thread_codes: &CodeTable,
    moment: &Moment,
    wanted: Wanted<'_>,
) -> FoundTasks {
    let details = wanted.details;
    if details.tasks == TasksWanted::None {
        return FoundTasks::None;
    }
    let section = || AsyncioSection::read(objects.memory(), (wanted.asyncio_section)()?);
    let source = TaskSource {
        objects,
        interpreters_head: runtime.interpreters_head,
        section: &section,
        with_done: details.tasks == TasksWanted::All,
        run_frames: &run_frames(thread_codes, moment),
    };
    let mut codes = CodeTable::new();
    codes.begin_sample(None);
    let tasks = match read_tasks(source, &mut codes) {
        Ok(None) => return FoundTasks::None,
        Ok(Some(tasks)) => tasks,
        Err(error) => return FoundTasks::Refused(error),
    };
    let mut variables = HashMap::new();
    if details.variables > 0 {
        let limits = Limits::of_level(details.variables);
        let printer = Printer::new(objects);
        let mut seen = HashSet::new();
        for (place, task) in tasks.tasks.iter().enumerate() {
            let frames: Vec<_> = task.frames().map(|frame| (frame.code_address, frame.place.line)).collect();
            if variables.len() < MOST_TASKS_WITH_VARIABLES && seen.insert((task.state, frames)) {
                let of_frame = |frame: &TaskFrame| match codes.get(frame.place.code).is_empty {
                    true => vec![],
                    false => frame_variables(objects, &printer, frame.address, frame.code_address, &limits),
                };
                variables.insert(place, task.frames().map(of_frame).collect());
            }
        }
    }
    FoundTasks::Found { tasks, codes, variables }
}

/// A thread as those who look for locks need it; `call` is the system call that it is in.
fn thread_view<'read>(
    objects: ObjectReader<'_>,
    codes: &'read CodeTable,
    moment: &'read Moment,
    thread: &MomentThread,
    call: Option<SystemCall>,
) -> ThreadView<'read> {
    let frames = moment.frames_of(thread).iter().map(|frame| {
        let code = codes.get(frame.code);
        FrameView { address: frame.address, code: frame.code_address, name: &code.name, filename: &code.filename }
    });
    let requested = objects.layout().thread.gil_requested.filter(|_| thread.running_in.has_gil);
    let requests_gil = requested.is_some_and(|offset| objects.int(thread.stack.innermost, offset) == Ok(1));
    // Who holds the GIL does not wait for it any more, whatever it was in a moment ago.
    let waits = !thread.active && !thread.stack.holds_gil;
    ThreadView {
        ident: thread.stack.thread_id,
        state: thread.stack.innermost,
        interpreter: thread.running_in,
        frames: frames.collect(),
        futex: call.filter(|_| waits).and_then(|call| call.futex()),
        requests_gil: requests_gil && !thread.stack.holds_gil,
    }
}

/// The frames of threads that may be those of `trio.run`.
fn run_frames(codes: &CodeTable, moment: &Moment) -> Vec<RunFrame> {
    let of_thread = |thread: &MomentThread| {
        let (interpreter, thread_id) = (thread.running_in.address, thread.stack.thread_id);
        let frames = moment.frames_of(thread).iter().filter(|frame| {
            let code = codes.get(frame.code);
            is_run_function(&code.name, &code.filename)
        });
        let frames = frames.map(move |frame| RunFrame {
            frame: TaskFrame {
                address: frame.address,
                code_address: frame.code_address,
                place: Place { code: frame.code, line: frame.line, offset: frame.offset },
            },
            thread: thread_id,
            interpreter,
        });
        frames.collect::<Vec<_>>()
    };
    moment.threads.iter().flat_map(of_thread).collect()
}

fn all_variables(objects: ObjectReader<'_>, codes: &CodeTable, moment: &Moment, limits: &Limits) -> Vec<Vec<Variable>> {
    let printer = Printer::new(objects);
    // Compiled code keeps its variables elsewhere: what lies where those of Python are was never set, or is stale.
    let of_frame = |frame: &MomentFrame| match codes.get(frame.code).is_empty {
        true => vec![],
        false => frame_variables(objects, &printer, frame.address, frame.code_address, limits),
    };
    moment.frames.iter().map(of_frame).collect()
}

fn frame_variables(
    objects: ObjectReader<'_>,
    printer: &Printer<'_>,
    frame: u64,
    code: u64,
    limits: &Limits,
) -> Vec<Variable> {
    let found = variables(objects, frame, code).unwrap_or_default();
    let printed = found.into_iter().map(|variable| {
        let (address, repr) = match variable.value {
            Value::Object(address) => (address, printer.repr(address, limits)),
            Value::Int(number) => (0, number.to_string()),
        };
        Variable { name: variable.name, kind: variable.kind, address, repr }
    });
    printed.collect()
}
