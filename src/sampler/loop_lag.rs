//! The lag of event loops: for how long a loop has not been back at its selector, and what keeps it.
//!
//! [`LoopLags::observe`] is given each moment that a [`ProcessSampler`] has read, a few times a second or a hundred. A
//! loop that waits in its selector is known by the frames that the moment has, without a read; of one that does not, a
//! read or three tell when its turn began, for the loop notes that itself (`python::tasks::turns`). So a lag is exact
//! from the first look on, and does not depend on how often is looked. The longest that is seen of a turn falls short
//! of what it was by the time from the last look in it to its end.
//!
//! Limits: a loop of gevent or eventlet is known once it was seen in its selector. eventlet notes the time only before
//! it calls timers: where it calls greenlets that waited for sockets, a turn counts from the first look at it on, and
//! without any timer only while its thread does not run. Tasks of what is no Python function are named by what called
//! them.

mod blocker;
mod turn;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::moment::{Assurance, Moment, MomentFrame, MomentThread};
use super::process_sampler::{CodeEpoch, ProcessSampler};
use super::sections::{ASYNCIO_SECTION, section_address};
use crate::memory::PageCache;
use crate::process::{ThreadId, monotonic_time};
use crate::python::code::CodeId;
use crate::python::greenlets::is_trampoline;
use crate::python::object::ObjectReader;
use crate::python::tasks::{
    AsyncioSection, EvLoop, EventletHub, RunningTasks, TurnFunction, UvLoop, UvTurn, calls_for_hub, runs_loop,
};

use turn::Turn;

/// From this on it is looked up what keeps a loop.
const NAMED_FROM: Duration = Duration::from_millis(20);
/// A loop that was not seen for so many looks is forgotten.
const FORGOTTEN_AFTER: u32 = 100;
/// How long a search for loops of uvloop is good for.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// Where asyncio was not found it is looked for again after this, then after twice the time, up to the longest.
const FIRST_SEARCH_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_SEARCH_PAUSE: Duration = Duration::from_secs(120);

/// Whose loop it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoopLibrary {
    /// A loop of asyncio that is written in Python.
    Asyncio,
    /// uvloop's.
    Uvloop,
    /// trio's.
    Trio,
    /// gevent's hub.
    Gevent,
    /// eventlet's hub.
    Eventlet,
}

impl LoopLibrary {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Asyncio => "asyncio",
            Self::Uvloop => "uvloop",
            Self::Trio => "trio",
            Self::Gevent => "gevent",
            Self::Eventlet => "eventlet",
        }
    }
}

/// What a loop is kept by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoopBlocker {
    /// The name of the task, where it is a task and has one (from 3.8 on). As the target has it: escape it.
    pub task: Option<String>,
    /// The qualified name of its coroutine, callback or greenlet: the outermost function that the loop has called.
    pub function: String,
    /// The innermost function, where that is another one.
    pub running: Option<String>,
}

/// A loop, and how late it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoopLag {
    /// Whose it is.
    pub library: LoopLibrary,
    /// `PyThreadState.thread_id` of the thread that runs it.
    pub python_id: u64,
    /// The kernel's id of that thread.
    pub os_id: Option<ThreadId>,
    /// For how long it has not been in its selector; `None` while it is there, and where that is not known.
    pub busy_for: Option<Duration>,
    /// The longest time between two visits of the selector that was seen since [`LoopLags::start_window`].
    pub longest: Duration,
    /// What kept it for that time, where it was long enough to be looked up (20 ms).
    pub blocker: Option<LoopBlocker>,
}

/// What is known of a function.
#[derive(Debug, Clone)]
struct CodeClass {
    turn: Option<TurnFunction>,
    /// Where the variables of its frame are that tell of turns.
    offsets: Vec<u64>,
    runs_loop: bool,
    /// It only calls what a greenlet is for.
    is_trampoline: bool,
    is_coroutine: bool,
    name: String,
}

/// A loop that is watched, by the thread that runs it.
#[derive(Debug)]
struct Watched {
    lag: LoopLag,
    /// When the turn began that it is in, in seconds.
    since: Option<f64>,
    /// The last look has not told in which turn it is.
    is_unknown: bool,
    /// One of this window has.
    is_told: bool,
    /// What keeps it in this turn, once that was looked up.
    blocker: Option<Option<LoopBlocker>>,
    /// Of uvloop: what it told when it was last in its selector, and at the last look.
    uv_in_selector: Option<UvTurn>,
    uv_before: Option<UvTurn>,
    /// Frames of the thread while the loop is in its selector.
    idle_frames: Option<usize>,
    /// trio's runner, and the offset of its clock.
    runner: Option<(u64, f64)>,
    /// Looks in which the thread was not there.
    absent: u32,
}

/// Watches the loops of one process. See the module.
#[derive(Debug, Default)]
pub(crate) struct LoopLags {
    watched: HashMap<u64, Watched>,
    /// By numbers of this epoch.
    classes: HashMap<CodeId, CodeClass>,
    code_epoch: Option<CodeEpoch>,
    float_type: Option<u64>,
    asyncio: Option<RunningTasks>,
    search_due: Option<Instant>,
    search_pause: Option<Duration>,
    /// No thread has run since the last search, which would find the same again.
    has_not_run: bool,
    /// Looks since the window began in which a loop ran a task, by the names of the tasks' coroutines.
    ran: HashMap<String, u32>,
    /// By `PyThreadState`.
    uv_loops: HashMap<u64, UvLoop>,
    hubs: Hubs,
}

/// The loops that greenlets run by, which have no frame on their thread's stack while a greenlet runs: by
/// `PyThreadState`.
#[derive(Debug, Default)]
struct Hubs {
    /// gevent's on libev.
    libev: HashMap<u64, EvLoop>,
    /// gevent's on libuv, with the loop objects.
    libuv: HashMap<u64, (UvLoop, u64)>,
    eventlet: HashMap<u64, EventletHub>,
}

impl LoopLags {
    /// Looks at the loops of a process. `moment` is what `sampler` has read last.
    pub(crate) fn observe(&mut self, sampler: &ProcessSampler, moment: &Moment) {
        let Some(now) = monotonic_time().map(|time| time.as_secs_f64()) else { return };
        self.enter_epoch(sampler.code_epoch());
        self.has_not_run &= moment.threads.iter().all(|thread| thread.is_unmoved);
        self.search(sampler);
        self.watched.values_mut().for_each(|watched| watched.absent += 1);
        for thread in moment.threads.iter().filter(|thread| thread.exists && thread.assurance != Assurance::Unproven) {
            self.observe_thread(sampler, moment, thread, now);
        }
        self.watched.retain(|_, watched| watched.absent < FORGOTTEN_AFTER);
    }

    /// The loops that were seen, with their lags, in no order; without hubs of eventlet that tell nothing.
    pub(crate) fn loops(&self) -> impl Iterator<Item = &LoopLag> {
        let told =
            self.watched.values().filter(|watched| watched.is_told || watched.lag.library != LoopLibrary::Eventlet);
        told.map(|watched| &watched.lag)
    }

    /// Whether a second look may tell of a loop what the first one could not: for how long it has been busy.
    pub(crate) fn needs_second_look(&self) -> bool {
        self.watched.values().any(|watched| watched.is_unknown)
    }

    /// From now on only what is seen from now on counts for [`LoopLag::longest`]. A turn that lasts counts with all of
    /// its time.
    pub(crate) fn start_window(&mut self) {
        for watched in self.watched.values_mut() {
            (watched.lag.longest, watched.lag.blocker) = (Duration::ZERO, None);
            watched.is_told = false;
        }
        self.ran.clear();
    }

    /// In how many looks of this window a task was on a CPU whose coroutine's code is called so. Up to Python 3.10 code
    /// has a name without the class.
    pub(crate) fn looks_running(&self, code_name: &str) -> u32 {
        self.ran.get(code_name).copied().unwrap_or(0)
    }

    /// Of another program nothing is known; of forgotten code, nothing that was kept by its number.
    fn enter_epoch(&mut self, epoch: CodeEpoch) {
        match self.code_epoch {
            Some(before) if before.reader != epoch.reader => *self = Self::default(),
            Some(before) if before != epoch => self.classes.clear(),
            _ => {}
        }
        self.code_epoch = Some(epoch);
    }

    fn observe_thread(&mut self, sampler: &ProcessSampler, moment: &Moment, thread: &MomentThread, now: f64) {
        let frames = moment.frames_of(thread);
        let recorded_ns = moment.of_kernel.recorded_ns.get(&thread.stack.address);
        let seen = recorded_ns.map_or(now, |time_ns| *time_ns as f64 / 1e9);
        let known = self.watched.get(&thread.stack.address);
        if known.is_none() && thread.stack.is_left_out && !self.uv_loops.contains_key(&thread.stack.innermost) {
            // It runs no loop, and has not run since that was seen.
            return;
        }
        let (library, turn) = match known.filter(|known| thread.stack.is_left_out && !known.is_unknown) {
            // It has not run since the last look.
            Some(known) => (known.lag.library, known.since.map_or(Turn::Unknown, Turn::Busy)),
            None => match self.turn(sampler, thread, frames, now) {
                // Its frames are those of a while ago: it runs, so it has left the selector by now.
                Some((library, Turn::InSelector)) if seen < now => (library, Turn::Unknown),
                Some(turn) => turn,
                None => return,
            },
        };
        let watched =
            self.watched.entry(thread.stack.address).or_insert_with(|| Watched::new(library, thread.stack.thread_id));
        watched.absent = 0;
        (watched.lag.library, watched.lag.os_id) = (library, thread.os_id);
        watched.is_unknown = turn == Turn::Unknown && !thread.stack.is_left_out;
        watched.is_told |= !watched.is_unknown;
        if thread.active && turn != Turn::InSelector {
            self.note_running(sampler, thread, frames, library);
        }
        let Some(watched) = self.watched.get_mut(&thread.stack.address) else { return };
        match turn {
            Turn::InSelector => {
                (watched.since, watched.blocker, watched.lag.busy_for) = (None, None, None);
                watched.idle_frames = Some(frames.len());
            }
            Turn::Unknown if library == LoopLibrary::Eventlet && watched.is_unknown => watched.lag.busy_for = None,
            Turn::Unknown => {}
            Turn::Busy(since) => {
                if watched.since != Some(since) {
                    (watched.since, watched.blocker) = (Some(since), None);
                }
                watched.note_busy(now);
                // What was seen before this turn began has not kept it.
                if watched.blocker.is_none()
                    && seen >= since
                    && watched.lag.busy_for.is_some_and(|busy| busy >= NAMED_FROM)
                {
                    let blocker = self.blocker(sampler, thread, frames, library);
                    if let Some(watched) = self.watched.get_mut(&thread.stack.address) {
                        watched.blocker = Some(blocker);
                        watched.note_busy(now);
                    }
                }
            }
        }
    }

    fn class(&mut self, sampler: &ProcessSampler, frame: &MomentFrame) -> &CodeClass {
        /// `CO_COROUTINE`, `CO_ITERABLE_COROUTINE`, `CO_ASYNC_GENERATOR` (code.h).
        const COROUTINE_FLAGS: i32 = 0x80 | 0x100 | 0x200;
        self.classes.entry(frame.code).or_insert_with(|| {
            let code = sampler.codes().get(frame.code);
            let layout = &sampler.runtime().layout;
            let memory = PageCache::new(sampler.process().memory());
            let objects = ObjectReader::new(&memory, layout);
            let turn = TurnFunction::of(&code.name, &code.filename);
            let flags = objects.int(frame.code_address, layout.code.flags).unwrap_or(0);
            CodeClass {
                turn,
                offsets: turn.map(|turn| turn.offsets(objects, frame.code_address)).unwrap_or_default(),
                runs_loop: runs_loop(&code.name, &code.filename) || calls_for_hub(&code.name, &code.filename),
                is_trampoline: is_trampoline(&code.name, &code.filename),
                is_coroutine: flags & COROUTINE_FLAGS != 0,
                name: code.name.clone(),
            }
        })
    }

    /// Looks for the threads that run loops of uvloop, which have no frame of their own, when it is time to.
    fn search(&mut self, sampler: &ProcessSampler) {
        let start = Instant::now();
        if self.has_not_run || self.search_due.is_some_and(|due| start < due) {
            return;
        }
        self.has_not_run = true;
        let runtime = sampler.runtime();
        let pages = PageCache::new(sampler.process().memory());
        let objects = ObjectReader::new(&pages, &runtime.layout);
        if self.asyncio.is_none() {
            let section = || AsyncioSection::read(&pages, section_address(sampler.process(), ASYNCIO_SECTION)?);
            self.asyncio = RunningTasks::find(objects, runtime.interpreters_head, &section);
        }
        let pause = match &self.asyncio {
            Some(asyncio) => {
                self.uv_loops = asyncio.uv_loops(objects, runtime.interpreters_head).into_iter().collect();
                SEARCH_EVERY
            }
            None => self.search_pause.map_or(FIRST_SEARCH_PAUSE, |pause| (pause * 2).min(LONGEST_SEARCH_PAUSE)),
        };
        self.search_pause = Some(pause);
        self.search_due = Some(start + pause);
    }
}

impl Watched {
    fn new(library: LoopLibrary, python_id: u64) -> Self {
        Self {
            lag: LoopLag { library, python_id, os_id: None, busy_for: None, longest: Duration::ZERO, blocker: None },
            since: None,
            is_unknown: false,
            is_told: false,
            blocker: None,
            uv_in_selector: None,
            uv_before: None,
            idle_frames: None,
            runner: None,
            absent: 0,
        }
    }

    /// The turn that it is in goes on.
    fn note_busy(&mut self, now: f64) {
        let Some(since) = self.since else { return };
        let busy = Duration::try_from_secs_f64(now - since).unwrap_or_default();
        self.lag.busy_for = Some(busy);
        if busy >= self.lag.longest {
            self.lag.longest = busy;
            self.lag.blocker = self.blocker.clone().flatten();
        }
    }
}
