//! What a moment shows besides stacks while the process stands still: what threads wait for, their exceptions, their
//! variables.

use std::collections::{HashMap, HashSet};

use super::deadlock::deadlocks;
use super::process::Variable;
use super::{Details, TasksWanted};
use crate::memory::{Memory, PageCache};
use crate::process::SystemCall;
use crate::python::code::CodeTable;
use crate::python::greenlets::{
    GeventWaits, Greenlet, GreenletError, GreenletState, GreenletTypes, frames_of, greenlet_wait,
};
use crate::python::locals::{Value, variables};
use crate::python::lock_waits::{Blocked, ThreadView, blocked};
use crate::python::object::ObjectReader;
use crate::python::raised::{Raised, raised};
use crate::python::repr::{Limits, Printer, is_secret_name};
use crate::python::runtime::Runtime;
use crate::python::tasks::{
    AsyncioSection, TaskFrame, TaskLayoutError, TaskSource, TaskWait, Tasks, is_loop_function, is_run_function,
    is_worker_function, join_bridges, read_tasks,
};
use crate::sampler::{Moment, MomentFrame, MomentThread, frames_that, thread_view};

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
    /// Tasks of event loops and greenlets.
    pub(super) tasks: FoundTasks,
}

/// What was found of tasks and greenlets.
#[derive(Debug, Default)]
pub(super) struct FoundTasks {
    /// Tasks of event loops; `None` where there are none or they were not asked for.
    pub(super) tasks: Option<Result<Tasks, TaskLayoutError>>,
    /// Greenlets with their frames, newest first.
    pub(super) greenlets: Option<Result<Vec<FoundGreenlet>, GreenletError>>,
    /// What greenlets that are put aside wait in, by their addresses.
    pub(super) greenlet_waits: HashMap<u64, TaskWait>,
    /// The code of their frames.
    pub(super) codes: CodeTable,
    /// The variables of the frames of some tasks, by their places, greenlets after tasks: of alike ones the first.
    pub(super) variables: HashMap<usize, Vec<Vec<Variable>>>,
}

impl FoundTasks {
    /// Whether there are none, as far as is known.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_none() && self.greenlets.is_none()
    }
}

/// A greenlet and its frames, newest first.
pub(super) type FoundGreenlet = (Greenlet, Vec<TaskFrame>);

/// The types of greenlets and the addresses of what may be some.
pub(super) type GreenletCandidates = Result<(GreenletTypes, Vec<u64>), GreenletError>;

/// What is looked for in a moment.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'read> {
    pub(super) details: Details,
    /// The system call that a thread is in.
    pub(super) call_of: &'read dyn Fn(&MomentThread) -> Option<SystemCall>,
    /// Where the section `.AsyncioDebug` is in the target.
    pub(super) asyncio_section: &'read dyn Fn() -> Option<u64>,
    /// What may be greenlets, given the dict `sys.modules` of an interpreter; `None` where greenlet was not imported.
    pub(super) greenlets: &'read dyn Fn(u64) -> Option<GreenletCandidates>,
}

/// Finds it in a moment. The cache is the only one: thousands of tasks fill it.
pub(super) fn find(
    memory: &PageCache<impl Memory>,
    runtime: &Runtime,
    codes: &CodeTable,
    moment: &Moment,
    wanted: Wanted<'_>,
) -> Findings {
    let level = wanted.details.variables;
    let limits = limits_of(wanted.details);
    let objects = ObjectReader::new(memory, &runtime.layout);
    let of_thread = |thread| thread_view(codes, moment, thread, (wanted.call_of)(thread));
    let views: Vec<ThreadView<'_>> = moment.threads.iter().map(of_thread).collect();
    let blocked = blocked(&memory, runtime, &views);
    let idents: Vec<u64> = views.iter().map(|view| view.ident).collect();
    let deadlocks = deadlocks(&idents, &blocked);
    let raised = moment.threads.iter().map(|thread| raised(objects, thread.stack.innermost)).collect();
    let variables = if level == 0 { vec![] } else { all_variables(objects, codes, moment, &limits) };
    let tasks = find_tasks(objects, runtime, codes, moment, wanted);
    Findings { blocked, deadlocks, raised, variables, tasks }
}

fn limits_of(details: Details) -> Limits {
    Limits { secrets: details.secrets, ..Limits::of_level(details.variables) }
}

fn find_tasks(
    objects: ObjectReader<'_>,
    runtime: &Runtime,
    thread_codes: &CodeTable,
    moment: &Moment,
    wanted: Wanted<'_>,
) -> FoundTasks {
    let details = wanted.details;
    let mut found = FoundTasks::default();
    if details.tasks == TasksWanted::None {
        return found;
    }
    found.codes.begin_sample(None);
    let states =
        moment.threads.iter().rev().flat_map(|thread| {
            [thread.stack.address, thread.stack.innermost].map(|state| (state, thread.stack.thread_id))
        });
    let idents: HashMap<u64, u64> = states.collect();
    let section = || AsyncioSection::read(objects.memory(), (wanted.asyncio_section)()?);
    let source = TaskSource {
        objects,
        interpreters_head: runtime.interpreters_head,
        section: &section,
        with_done: details.tasks == TasksWanted::All,
        run_frames: &frames_that(thread_codes, moment, is_run_function),
        loop_frames: &frames_that(thread_codes, moment, is_loop_function),
        worker_frames: &frames_that(thread_codes, moment, is_worker_function),
        thread_of: &|state| idents.get(&state).copied(),
    };
    found.tasks = read_tasks(source, &mut found.codes).transpose();
    found.greenlets = find_greenlets(objects, moment, wanted, &mut found.codes).transpose();
    let mut waits = GeventWaits::new(objects).with_timers();
    let paused = found.greenlets.iter().flatten().flatten();
    let paused = paused.filter(|(greenlet, _)| greenlet.state == GreenletState::Paused);
    let waits = paused.filter_map(|(greenlet, frames)| {
        Some((greenlet.address, greenlet_wait(&found.codes, greenlet.address, frames, &mut waits)?))
    });
    found.greenlet_waits = waits.collect();
    if let (Some(Ok(tasks)), Some(Ok(greenlets))) = (&mut found.tasks, &mut found.greenlets) {
        let paused = greenlets.iter().filter(|(greenlet, _)| greenlet.state == GreenletState::Paused);
        let frames = paused.map(|(greenlet, frames)| (greenlet.address, frames.clone())).collect();
        // What is shown in tasks is not shown once more.
        let joined = join_bridges(objects, &mut found.codes, &mut tasks.tasks, &frames);
        greenlets.retain(|(greenlet, _)| !joined.contains(&greenlet.address));
    }
    if details.variables > 0 {
        let tasks = found.tasks.iter().flatten().flat_map(|tasks| &tasks.tasks);
        let tasks: Vec<Vec<TaskFrame>> = tasks.map(|task| task.frames().copied().collect()).collect();
        let greenlets = found.greenlets.iter().flatten().flatten().map(|(_, frames)| frames.clone());
        let frames: Vec<Vec<TaskFrame>> = tasks.into_iter().chain(greenlets).collect();
        found.variables = task_variables(objects, &found.codes, &frames, &limits_of(details));
    }
    found
}

fn find_greenlets(
    objects: ObjectReader<'_>,
    moment: &Moment,
    wanted: Wanted<'_>,
    codes: &mut CodeTable,
) -> Result<Option<Vec<FoundGreenlet>>, GreenletError> {
    let Some(thread) = moment.threads.first() else { return Ok(None) };
    let modules = objects.pointer(thread.interpreter.address, objects.layout().interpreter.modules)?;
    let Some(candidates) = (wanted.greenlets)(modules) else { return Ok(None) };
    let (types, candidates) = candidates?;
    let mut greenlets = types.read(objects, &candidates, 0)?;
    let with_finished = wanted.details.tasks == TasksWanted::All;
    greenlets.retain(|greenlet| with_finished || greenlet.state != GreenletState::Finished);
    let with_frames = greenlets.into_iter().map(|mut greenlet| {
        let frames = frames_of(objects, codes, &mut greenlet);
        (greenlet, frames)
    });
    Ok(Some(with_frames.collect()))
}

/// The variables of the frames of some tasks, by their places: of alike ones of the first.
fn task_variables(
    objects: ObjectReader<'_>,
    codes: &CodeTable,
    tasks: &[Vec<TaskFrame>],
    limits: &Limits,
) -> HashMap<usize, Vec<Vec<Variable>>> {
    let printer = Printer::new(objects);
    let (mut found, mut seen) = (HashMap::new(), HashSet::new());
    for (place, frames) in tasks.iter().enumerate() {
        let places: Vec<_> = frames.iter().map(|frame| (frame.code_address, frame.place.line)).collect();
        if found.len() < MOST_TASKS_WITH_VARIABLES && seen.insert(places) {
            let of_frame = |frame: &TaskFrame| match codes.get(frame.place.code).is_empty {
                true => vec![],
                false => frame_variables(objects, &printer, frame.address, frame.code_address, limits),
            };
            found.insert(place, frames.iter().map(of_frame).collect());
        }
    }
    found
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
            Value::Object(address) if !limits.secrets && is_secret_name(&variable.name) => (address, "…".to_owned()),
            Value::Object(address) => (address, printer.repr(address, limits)),
            Value::Int(number) => (0, number.to_string()),
        };
        Variable { name: variable.name, kind: variable.kind, address, repr }
    });
    printed.collect()
}
