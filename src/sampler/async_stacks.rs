//! Stacks of threads that run event loops, as the program has them: who awaits whom, in the place of the frames by
//! which the loop calls.
//!
//! The frames of a thread above those of its loop are of the task that runs. Who waits for that task stands in its
//! callbacks. What was read for a task is kept with the bytes that it was read from; as long as they are there, the
//! same tasks wait for it, and one read tells.
//!
//! A greenlet that runs has the stack of its thread for itself. What goes on when it ends stands below it.
//!
//! Of trio the nurseries tell. Who has opened a group of tasks and has not come to its end is named without its frames:
//! those have called something else.

mod below;
mod evidence;
mod shares;
mod waiting_tasks;

use below::KnownBelow;
use evidence::Evidence;
pub(super) use shares::Shares;
pub(super) use waiting_tasks::WaitingTasks;

use std::collections::HashMap;

use super::greenlets::Greenlets;
use super::moment::{Moment, MomentFrame, MomentThread};
use super::process_sampler::ProcessSampler;
use super::sections::{ASYNCIO_SECTION, section_address};
use super::task_looks::{TaskCodes, TaskLooks};
use crate::memory::{Memory, PageCache, Recording, Request};
use crate::process::LiveMemory;
use crate::python::code::{Code, CodeId, CodeTable};
use crate::python::layout::Layout;
use crate::python::object::ObjectReader;
use crate::python::tasks::{
    AsyncioSection, Link, LoopKind, Nurseries, RunningTask, RunningTasks, loop_run_by, runs_callback,
};

/// `CO_COROUTINE`, `CO_ITERABLE_COROUTINE`, `CO_ASYNC_GENERATOR` (code.h).
const COROUTINE_FLAGS: i32 = 0x80 | 0x100 | 0x200;
/// Tasks of which it is kept who waits for them; past it all are forgotten.
const MOST_KNOWN: usize = 20_000;
/// More bytes than this are not compared: they are of types and code that were met for the first time.
const MOST_EVIDENCE: usize = 16 * 1024;
/// Samples between two tries to find asyncio in a process that runs a loop of another kind.
const TRY_AGAIN_AFTER: u32 = 100;
/// Code and labels that are kept; past it all are forgotten.
const MOST_CODES: usize = 50_000;
const MOST_LABELS: usize = 50_000;
/// Pages that are fetched ahead: those that were needed again and again for tasks that were new.
const MOST_PAGES_AHEAD: usize = 64;
/// What one use of a page counts, and the most that all uses do; each task that is new takes one from every page.
const PAGE_USE: u32 = 3;
const MOST_PAGE_USE: u32 = 24;
/// From this on a page is fetched ahead.
const PAGE_WORTH: u32 = 4;

/// A frame that the program does not have on its stack, for a key of the builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum LogicalFrame {
    /// The border to a task, or to what an event loop does outside of all: its label.
    Label(u32),
    /// A frame of a task that waits: code of [`AsyncStacks::codes`], and the line.
    Awaiter(CodeId, u32),
}

/// What takes the place of the frames of a loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogicalStack {
    /// So many of the newest frames are those of the task.
    pub(super) newest: usize,
    /// Behind them come these, newest first.
    pub(super) inserted: Vec<LogicalFrame>,
    /// Then the frames go on from this one.
    pub(super) older: usize,
    /// Behind all of them come these, newest first.
    pub(super) oldest: Vec<LogicalFrame>,
}

/// What is known of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CodeClass {
    runs_loop: Option<LoopKind>,
    runs_callback: bool,
    is_coroutine: bool,
}

/// What is known of functions.
#[derive(Debug, Default)]
struct Classes {
    of_threads: HashMap<CodeId, CodeClass>,
    /// Of the code of [`AsyncStacks::codes`].
    of_tasks: HashMap<CodeId, CodeClass>,
}

/// The texts of labels by their numbers, and the other way round.
#[derive(Debug, Default)]
struct Labels {
    texts: Vec<String>,
    ids: HashMap<String, u32>,
}

/// A frame in the target, and what is known of its function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Placed {
    address: u64,
    code_address: u64,
    class: CodeClass,
}

/// Who waits for a task, and the bytes that say so.
#[derive(Debug)]
struct KnownTask {
    frames: Vec<LogicalFrame>,
    evidence: Evidence,
}

/// Which stacks of event loops are shown as the program has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TasksShown {
    /// Those of threads that run tasks.
    Running,
    /// Those of tasks that wait, too.
    All,
}

/// Makes logical stacks of the threads of one process.
#[derive(Debug, Default)]
pub(super) struct AsyncStacks {
    classes: Classes,
    running: Option<RunningTasks>,
    nurseries: Nurseries,
    try_in: u32,
    codes: TaskCodes,
    labels: Labels,
    /// By the frames of the tasks' own coroutines.
    known: HashMap<u64, KnownTask>,
    /// How much each page was used lately.
    page_uses: HashMap<u64, u32>,
    greenlets: Greenlets,
    /// What is below the greenlets that were seen to run, by their oldest frames.
    below: HashMap<u64, KnownBelow>,
    /// Looks at all tasks, where those that wait are wanted.
    looks: TaskLooks,
    /// The last stack was that of a thread that runs a task.
    pub(super) is_in_task: bool,
}

impl AsyncStacks {
    /// Forgets all code and labels where there are too many; whether it has. Then what was told of [`LogicalFrame`]s
    /// means nothing any more.
    pub(super) fn forget_if_full(&mut self) -> bool {
        let is_full = self.codes.len() > MOST_CODES || self.labels.texts.len() > MOST_LABELS;
        if is_full {
            self.codes = TaskCodes::default();
            self.classes.of_tasks.clear();
            self.below.clear();
            self.labels = Labels::default();
            self.known.clear();
        }
        is_full
    }

    /// The code of frames of tasks that wait.
    pub(super) fn codes(&self) -> &CodeTable {
        &self.codes.table
    }

    /// The text of a label.
    pub(super) fn label(&self, label: u32) -> &str {
        self.labels.texts.get(label as usize).map_or("", String::as_str)
    }

    /// A sample of the process was taken.
    pub(super) fn begin_sample(&mut self, sampler: &ProcessSampler, moment: &Moment) {
        self.greenlets.advance(sampler, moment);
    }

    /// What takes the place of the frames of the loop that a thread runs, and of those that its stack lacks because it
    /// runs a greenlet; `None` where it runs neither. `frames` are its frames, newest first.
    pub(super) fn logical_stack(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        frames: &[MomentFrame],
    ) -> Option<LogicalStack> {
        let placed: Vec<Placed> = frames.iter().map(|frame| self.placed(sampler, frame)).collect();
        let oldest = self.below(sampler, thread, frames, &placed);
        let cut = cut_at_loop(&placed);
        if cut.is_none() && oldest.is_none() {
            return None;
        }
        self.is_in_task |= oldest.is_some();
        let (newest, older) = cut.unwrap_or((frames.len(), frames.len()));
        let name = |place: usize| sampler.codes().get(frames[place].code).name.clone();
        let inserted = match cut {
            Some(_) => self.in_place_of_loop(sampler, thread, &placed, newest, &name),
            None => Vec::new(),
        };
        Some(LogicalStack { newest, inserted, older, oldest: oldest.unwrap_or_default() })
    }

    /// What takes the place of the frames of a loop, of which the newest is at `newest` among those of a stack. `name`
    /// has the names of their functions.
    fn in_place_of_loop(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        frames: &[Placed],
        newest: usize,
        name: &dyn Fn(usize) -> String,
    ) -> Vec<LogicalFrame> {
        let outermost = newest.checked_sub(1).filter(|place| frames[*place].class.is_coroutine);
        let Some(outermost) = outermost else {
            // What the loop has called may be a task that was compiled.
            let compiled = if frames[newest].class.runs_callback {
                self.behind_task(sampler, thread, None, frames[newest])
            } else {
                None
            };
            self.is_in_task |= compiled.is_some();
            return compiled.unwrap_or_else(|| vec![self.label_of("event loop".to_owned())]);
        };
        self.is_in_task = true;
        let own = name(outermost);
        match self.behind_task(sampler, thread, Some((frames[outermost].address, &own)), frames[newest]) {
            Some(frames) => frames,
            // It has moved on before that could be read, which is not the same as that nobody waits for it.
            None => vec![self.task_label(&own), self.label_of("task ?".to_owned())],
        }
    }

    fn placed(&mut self, sampler: &ProcessSampler, frame: &MomentFrame) -> Placed {
        let (address, code_address) = (frame.address, frame.code_address);
        let code = || sampler.codes().get(frame.code);
        let class =
            *self.classes.of_threads.entry(frame.code).or_insert_with(|| class_of(sampler, code(), code_address));
        Placed { address, code_address, class }
    }

    fn task_label(&mut self, coroutine: &str) -> LogicalFrame {
        self.label_of(format!("task {coroutine}"))
    }

    fn label_of(&mut self, text: String) -> LogicalFrame {
        if let Some(known) = self.labels.ids.get(&text) {
            return LogicalFrame::Label(*known);
        }
        let id = u32::try_from(self.labels.texts.len()).unwrap_or(u32::MAX);
        self.labels.texts.push(text.clone());
        self.labels.ids.insert(text, id);
        LogicalFrame::Label(id)
    }

    /// The border to the task that `turn`, a function of its loop, has called, and the frames of those who wait for it,
    /// newest first; `None` when that cannot be told. `outermost` is the task's outermost frame and the name of its
    /// function, `None` where all that it runs was compiled.
    fn behind_task(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        outermost: Option<(u64, &str)>,
        turn: Placed,
    ) -> Option<Vec<LogicalFrame>> {
        let memory = sampler.process().memory();
        let layout = &sampler.runtime().layout;
        let is_trio = turn.class.runs_loop == Some(LoopKind::Trio);
        if !is_trio && self.running.is_none() && !self.find_asyncio(sampler, &memory) {
            return Some(vec![self.task_label(outermost?.1)]);
        }
        let key = outermost.map_or(thread.stack.innermost, |(frame, _)| frame);
        // The bytes say too that the task is that of this coroutine, so it need not run any more.
        if let Some(known) = self.known.get(&key)
            && known.evidence.holds(&memory)
        {
            return Some(known.frames.clone());
        }
        let pages = PageCache::new(&memory);
        fetch_ahead(&pages, &self.page_uses);
        let frame = outermost.map(|(frame, _)| frame);
        let current = match (&self.running, frame) {
            (_, Some(frame)) if is_trio => {
                Some(Current::OfTurn(&self.nurseries, (turn.address, turn.code_address), frame))
            }
            (Some(running), Some(frame)) => {
                let objects = ObjectReader::new(&pages, layout);
                let task = running.current(objects, thread.stack.innermost, frame);
                task.map(|task| Current::Task(running, task, frame))
            }
            (Some(running), None) => Some(Current::Compiled(running, thread.stack.innermost)),
            (None, _) => None,
        };
        let read = current.and_then(|current| {
            let read = |objects: ObjectReader<'_>, codes: &mut CodeTable| current.read(objects, codes);
            read_and_prove(&pages, &memory, layout, &mut self.codes, &read, |task| {
                let links = task.awaiters.iter().flat_map(|awaiter| &awaiter.links);
                links.filter_map(Link::frame).map(|frame| frame.code_address).collect()
            })
        });
        self.note_page_uses(&pages);
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        let (task, evidence) = read?;
        let frames = self.frames_of(&task, outermost.map_or("?", |(_, own)| own));
        self.known.insert(key, KnownTask { frames: frames.clone(), evidence: Evidence::new(evidence) });
        Some(frames)
    }

    /// What is common to many tasks, such as the one that waits for all of them, is worth to be fetched ahead.
    fn note_page_uses(&mut self, pages: &PageCache<&LiveMemory>) {
        self.page_uses.retain(|_, uses| {
            *uses -= 1;
            *uses > 0
        });
        for page in pages.addresses_used() {
            let uses = self.page_uses.entry(page).or_default();
            *uses = (*uses + PAGE_USE).min(MOST_PAGE_USE);
        }
    }

    /// Whether there is an asyncio whose tasks are known.
    fn find_asyncio(&mut self, sampler: &ProcessSampler, memory: &LiveMemory) -> bool {
        if self.try_in > 0 {
            self.try_in -= 1;
            return false;
        }
        self.try_in = TRY_AGAIN_AFTER;
        let runtime = sampler.runtime();
        let pages = PageCache::new(memory);
        let section = || AsyncioSection::read(&pages, section_address(sampler.process(), ASYNCIO_SECTION)?);
        let objects = ObjectReader::new(&pages, &runtime.layout);
        self.running = RunningTasks::find(objects, runtime.interpreters_head, &section);
        self.codes.table.begin_sample(None);
        self.running.is_some()
    }

    /// Newest first; `own` is the function of the task's outermost frame.
    fn frames_of(&mut self, task: &RunningTask, own: &str) -> Vec<LogicalFrame> {
        let mut frames: Vec<LogicalFrame> = task.outer.iter().map(|link| self.frame_of(link)).collect();
        frames.push(self.task_label(task.coroutine.as_deref().unwrap_or(own)));
        for awaiter in &task.awaiters {
            frames.extend(awaiter.links.iter().map(|link| self.frame_of(link)));
            frames.push(self.task_label(&awaiter.coroutine));
        }
        frames
    }

    fn frame_of(&mut self, link: &Link) -> LogicalFrame {
        match link {
            Link::Frame(frame) => LogicalFrame::Awaiter(frame.place.code, frame.place.line),
            Link::Compiled(compiled) => LogicalFrame::Awaiter(compiled.code, 0),
            Link::Opaque(name, _) => self.label_of(format!("<{name}>")),
        }
    }
}

/// Which of the frames of a stack are those of its newest loop: the first of them, and one behind the last.
fn cut_at_loop(frames: &[Placed]) -> Option<(usize, usize)> {
    let newest = frames.iter().position(|frame| frame.class.runs_loop.is_some())?;
    let behind = frames[newest..].iter().position(|frame| frame.class.runs_loop.is_none());
    Some((newest, behind.map_or(frames.len(), |behind| newest + behind)))
}

fn class_of(sampler: &ProcessSampler, code: &Code, address: u64) -> CodeClass {
    let layout = &sampler.runtime().layout;
    let memory = sampler.process().memory();
    let flags = ObjectReader::new(&memory, layout).int(address, layout.code.flags).unwrap_or(0);
    CodeClass {
        runs_loop: loop_run_by(&code.name, &code.filename),
        runs_callback: runs_callback(&code.name, &code.filename),
        is_coroutine: flags & COROUTINE_FLAGS != 0,
    }
}

/// A task that runs, and what finds who waits for it.
#[derive(Clone, Copy)]
enum Current<'read> {
    /// A task of asyncio, and the outermost frame that its thread has of it.
    Task(&'read RunningTasks, u64, u64),
    /// The one of trio that a frame of its loop runs, with its code object, and the outermost frame of that.
    OfTurn(&'read Nurseries, (u64, u64), u64),
    /// The one that the thread of a `PyThreadState` runs, all of which was compiled.
    Compiled(&'read RunningTasks, u64),
}

impl Current<'_> {
    /// Itself and who waits for it; `None` where it is not that one.
    fn read(self, objects: ObjectReader<'_>, codes: &mut CodeTable) -> Option<RunningTask> {
        match self {
            Self::Task(running, task, outermost) => running.running_task(objects, task, outermost, codes),
            Self::OfTurn(nurseries, turn, outermost) => nurseries.running_task(objects, turn, outermost, codes),
            Self::Compiled(running, state) => running.compiled_task(objects, state, codes),
        }
    }
}

/// Bytes of the target by their addresses.
type Bytes = Vec<(u64, Vec<u8>)>;

/// Reads something, such as who waits for a task, and looks whether all of it still holds; the bytes say so.
/// `codes_in` are the code objects of frames in it.
fn read_and_prove<R>(
    pages: &PageCache<&LiveMemory>,
    memory: &LiveMemory,
    layout: &Layout,
    codes: &mut TaskCodes,
    read: &dyn Fn(ObjectReader<'_>, &mut CodeTable) -> Option<R>,
    codes_in: fn(&R) -> Vec<u64>,
) -> Option<(R, Bytes)> {
    // The second time the types and the code are known, so that what is read is of the tasks alone.
    for _ in 0..2 {
        let recording = Recording::new(pages);
        let objects = ObjectReader::new(&recording, layout);
        let found = read(objects, &mut codes.table)?;
        let mut are_same = true;
        for code in codes_in(&found) {
            are_same &= codes.is_same(objects, code);
        }
        let evidence = recording.into_reads();
        let size: usize = evidence.iter().map(|(_, bytes)| bytes.len()).sum();
        if are_same && size <= MOST_EVIDENCE {
            return is_unchanged(memory, &evidence).then_some((found, evidence));
        }
    }
    None
}

/// Whether all bytes are still there, by one read.
fn is_unchanged(memory: &LiveMemory, evidence: &[(u64, Vec<u8>)]) -> bool {
    let mut buffers: Vec<Vec<u8>> = evidence.iter().map(|(_, bytes)| vec![0; bytes.len()]).collect();
    let mut requests: Vec<Request<'_>> =
        evidence.iter().zip(&mut buffers).map(|((address, _), buffer)| Request::new(*address, buffer)).collect();
    memory.read_many(&mut requests);
    let are_complete = requests.iter().all(|request| request.complete);
    are_complete && evidence.iter().zip(&buffers).all(|((_, bytes), buffer)| bytes == buffer)
}

/// Reads pages in one go that will be needed, if all is as it was lately.
fn fetch_ahead(pages: &PageCache<&LiveMemory>, uses: &HashMap<u64, u32>) {
    let worth: Vec<u64> = uses.iter().filter(|(_, uses)| **uses >= PAGE_WORTH).map(|(page, _)| *page).collect();
    pages.fetch(worth.into_iter().take(MOST_PAGES_AHEAD));
}
