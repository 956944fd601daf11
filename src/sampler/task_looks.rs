//! Looks at all tasks of a process that runs on.
//!
//! All tasks are read at once and a second time; what is not equal is not proven. That takes a time that grows with
//! their number, so it is not done in every sample: as often as it takes a tenth of the time at most.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::greenlets::{Greenlets, ReadGreenlet};
use super::moment::{Moment, MomentThread};
use super::process_sampler::ProcessSampler;
use super::sections::{ASYNCIO_SECTION, section_address};
use crate::memory::{PageCache, ReadError};
use crate::process::LiveMemory;
use crate::python::code::{CodeTable, Place};
use crate::python::greenlets::{GeventWaits, GreenletKind, GreenletState, as_task, greenlet_wait};
use crate::python::object::ObjectReader;
use crate::python::tasks::{
    AsyncioSection, RunFrame, Task, TaskFrame, TaskSource, greenlets_of_bridges, is_bridge, is_loop_function,
    is_run_function, join_bridges, read_tasks,
};

/// Pages that are kept from one look to the next. Of tasks that take more, some are read anew for each.
const PAGES: usize = 4 * 1024;
/// After a look at all tasks there is none for so many times as long as it took.
const REST_FOR_LOOK: u32 = 9;
/// As long as there are no tasks, none for at least this long, then twice as long, up to the longest.
const REST_WITHOUT_TASKS: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// Code of frames of tasks, which is not among that of the frames of threads.
#[derive(Debug, Default)]
pub(super) struct TaskCodes {
    /// All that was met.
    pub(super) table: CodeTable,
    identities: HashMap<u64, CodeIdentity>,
}

/// What tells that a code object is still the one that it was.
type CodeIdentity = [u64; 3];

impl TaskCodes {
    /// How many code objects are known.
    pub(super) fn len(&self) -> usize {
        self.identities.len()
    }

    /// Whether a code object is the one that it was when it was met first; one that is not is read anew the next time.
    pub(super) fn is_same(&mut self, objects: ObjectReader<'_>, code: u64) -> bool {
        let identity = || -> Result<CodeIdentity, ReadError> {
            let offsets = &objects.layout().code;
            let pointer = |offset| objects.pointer(code, offset);
            Ok([pointer(offsets.name)?, pointer(offsets.filename)?, pointer(offsets.line_table)?])
        };
        let Ok(identity) = identity() else { return false };
        let is_same = *self.identities.entry(code).or_insert(identity) == identity;
        if !is_same {
            self.identities.remove(&code);
            self.table.discard(code);
        }
        is_same
    }
}

/// What is kept from one look at all tasks to the next.
#[derive(Debug, Default)]
pub(super) struct TaskLooks {
    pages: Option<PageCache<LiveMemory>>,
    /// Where the section `.AsyncioDebug` is, once that was asked for.
    section: OnceCell<Option<u64>>,
    next: Option<Instant>,
    last: Option<Instant>,
    /// How long there is none after one that has found nothing.
    rest: Duration,
}

/// How much of a task is known to have been as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskProof {
    /// All: it was read twice, and was equal.
    Whole,
    /// That it is there: it moved on meanwhile, so its frames may be of several moments.
    Existence,
    /// Nothing: it was seen only once.
    Nothing,
}

/// All tasks at one moment.
#[derive(Debug)]
pub(super) struct TaskLook {
    /// All of them.
    pub(super) tasks: Vec<Task>,
    /// For each how much of it is known to have been so.
    pub(super) proofs: Vec<TaskProof>,
    /// The time since the last look.
    pub(super) passed: Duration,
}

impl TaskLooks {
    /// All tasks, and the greenlets where there is what knows them; `None` when it is not time for a look. `moment` is
    /// the last sample of the process.
    pub(super) fn look(
        &mut self,
        sampler: &ProcessSampler,
        moment: &Moment,
        codes: &mut TaskCodes,
        mut greenlets: Option<&mut Greenlets>,
    ) -> Option<TaskLook> {
        let start = Instant::now();
        if self.next.is_some_and(|next| start < next) {
            return None;
        }
        let is_first = self.last.is_none();
        let passed = self.last.replace(start).map_or(Duration::ZERO, |last| start.saturating_duration_since(last));
        let pages = self.pages.take().unwrap_or_else(|| PageCache::with_room(sampler.process().memory(), PAGES));
        if let Some(greenlets) = &mut greenlets {
            greenlets.find_new(sampler);
        }
        pages.refresh();
        let first = self.read(sampler, moment, &pages, codes, greenlets.as_deref_mut());
        // Others come and go meanwhile, so the places of tasks say nothing.
        let parts = |task: Task| (task.address, (task.state, task.links, task.name, task.coroutine));
        let first: HashMap<u64, _> = first.into_iter().map(parts).collect();
        pages.refresh();
        let tasks = self.read(sampler, moment, &pages, codes, greenlets.as_deref_mut());
        let is_searching = greenlets.as_ref().is_some_and(|greenlets| greenlets.is_searching());
        // Until the greenlets are known, frames of those that run plain functions for tasks are missing.
        let lacks_frames = |task: &Task| is_searching && task.frames().any(|frame| is_bridge(&codes.table, frame));
        self.pages = Some(pages);
        let proof = |task: &Task| match first.get(&task.address) {
            Some((state, links, ..)) if *state == task.state && *links == task.links && !lacks_frames(task) => {
                TaskProof::Whole
            }
            Some((.., name, coroutine)) if *name == task.name && *coroutine == task.coroutine => TaskProof::Existence,
            _ => TaskProof::Nothing,
        };
        let proofs = tasks.iter().map(proof).collect();
        self.rest = match tasks.is_empty() {
            true if is_searching => REST_WITHOUT_TASKS,
            true => (self.rest * 2).clamp(REST_WITHOUT_TASKS, LONGEST_REST),
            false => Duration::ZERO,
        };
        // The first look finds out where things are, and stands for no time: the next one comes at once.
        let took = if is_first { Duration::ZERO } else { start.elapsed() };
        self.next = Some(start + (took * (REST_FOR_LOOK + 1)).max(self.rest));
        Some(TaskLook { tasks, proofs, passed })
    }

    fn read(
        &self,
        sampler: &ProcessSampler,
        moment: &Moment,
        pages: &PageCache<LiveMemory>,
        codes: &mut TaskCodes,
        greenlets: Option<&mut Greenlets>,
    ) -> Vec<Task> {
        let section = || {
            let address = *self.section.get_or_init(|| section_address(sampler.process(), ASYNCIO_SECTION));
            AsyncioSection::read(pages, address?)
        };
        let runtime = sampler.runtime();
        let source = TaskSource {
            objects: ObjectReader::new(pages, &runtime.layout),
            interpreters_head: runtime.interpreters_head,
            section: &section,
            with_done: false,
            run_frames: &frames_that(sampler.codes(), moment, is_run_function),
            loop_frames: &frames_that(sampler.codes(), moment, is_loop_function),
            // Which thread it is changes nothing of what is waited for.
            worker_frames: &[],
            thread_of: &|_| None,
        };
        let mut tasks = read_tasks(source, &mut codes.table).ok().flatten().unwrap_or_default().tasks;
        if let Some(greenlets) = greenlets {
            greenlets.add(&greenlets_of_bridges(source.objects, &codes.table, &tasks));
            let found = greenlets.read(source.objects, &mut codes.table);
            add_greenlets(source.objects, &mut codes.table, &mut tasks, found);
            greenlets.name_running(&mut tasks);
        }
        // Code that was met before may be other code by now.
        for task in &mut tasks {
            let frames: Vec<u64> = task.frames().map(|frame| frame.code_address).collect();
            if !frames.iter().all(|code| codes.is_same(source.objects, *code)) {
                task.links.clear();
            }
        }
        tasks
    }
}

/// Adds greenlets to tasks, but for those whose frames belong to one of these, which get them.
fn add_greenlets(
    objects: ObjectReader<'_>,
    codes: &mut CodeTable,
    tasks: &mut Vec<Task>,
    mut greenlets: Vec<ReadGreenlet>,
) {
    if !tasks.is_empty() {
        let paused = greenlets.iter().filter(|(greenlet, _)| greenlet.state == GreenletState::Paused);
        let frames = paused.map(|(greenlet, frames)| (greenlet.address, frames.clone())).collect();
        let joined = join_bridges(objects, codes, tasks, &frames);
        greenlets.retain(|(greenlet, _)| !joined.contains(&greenlet.address));
    }
    let first = tasks.len();
    let places: HashMap<u64, usize> = (first..).zip(&greenlets).map(|(at, (found, _))| (found.address, at)).collect();
    let with_parents = greenlets.iter().map(|(greenlet, _)| {
        let place = *places.get(&greenlet.parent?)?;
        greenlets.get(place - first).filter(|(parent, _)| parent.kind != GreenletKind::Hub).map(|_| place)
    });
    let parents: Vec<Option<usize>> = with_parents.collect();
    let mut waits = GeventWaits::new(objects);
    let described = greenlets.iter().zip(&parents).map(|((greenlet, frames), parent)| {
        let is_paused = greenlet.state == GreenletState::Paused;
        let wait = if is_paused { greenlet_wait(codes, greenlet.address, frames, &mut waits) } else { None };
        as_task(codes, greenlet, frames, wait, *parent)
    });
    tasks.extend(described);
}

/// The frames of threads whose functions, by name and file, may have an event loop in a variable.
pub(crate) fn frames_that(codes: &CodeTable, moment: &Moment, is_wanted: fn(&str, &str) -> bool) -> Vec<RunFrame> {
    let of_thread = |thread: &MomentThread| {
        let (interpreter, thread_id) = (thread.running_in.address, thread.stack.thread_id);
        let frames = moment.frames_of(thread).iter().filter(|frame| {
            let code = codes.get(frame.code);
            is_wanted(&code.name, &code.filename)
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
