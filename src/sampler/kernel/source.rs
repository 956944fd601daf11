//! One program in the kernel with the processes that it samples.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;

use super::layout::{frame_is_entry, numbers};
use super::program::Program;
use super::support::Unavailable;
use super::{BlockState, CodeNews, KernelTask, Woken};
use crate::process::{CpuClockEvent, Process, Registers, ThreadId};
use crate::python::gil::HolderPlaces;
use crate::python::layout::Layout;
use crate::python::runtime::Runtime;

/// The threads of a process are listed again until there are no new ones, at most so many times.
const MOST_LISTINGS: u32 = 16;
/// Each event of a process has a period of its own: a thread that has two is sampled by one of them.
const PERIODS: u64 = 1000;

/// Samples processes of one version of CPython.
#[derive(Debug)]
pub(in crate::sampler) struct Source {
    program: Program,
    task: KernelTask,
    processes: BTreeMap<u32, Watched>,
    runs: u64,
    /// The CPU time of processes that are no longer sampled, ns.
    counted_ns: u64,
}

/// A process that is sampled.
#[derive(Debug)]
struct Watched {
    run: u64,
    events: Vec<CpuClockEvent>,
}

impl Watched {
    fn counted_ns(&self) -> u64 {
        self.events.iter().filter_map(|event| event.count_ns().ok()).sum()
    }
}

impl Source {
    /// Loads the program.
    ///
    /// # Errors
    /// When the kernel cannot or may not do it, or the version is not one that the program can read.
    pub(in crate::sampler) fn open(layout: &Layout, task: KernelTask) -> Result<Self, Unavailable> {
        let program = Program::load(&numbers(layout)?, task, frame_is_entry(layout))?;
        Ok(Self { program, task, processes: BTreeMap::new(), runs: 0, counted_ns: 0 })
    }

    /// Samples the threads of a process from now on, and those that they start. The number of this run, by which its
    /// records are known.
    ///
    /// # Errors
    /// When an event is refused.
    pub(in crate::sampler) fn add_process(
        &mut self,
        process: &Process,
        runtime: &Runtime,
        interpreter: u64,
    ) -> Result<u64, Unavailable> {
        let pid = process.pid().unsigned_abs();
        self.remove_process(pid);
        let gil = HolderPlaces::find(&process.memory(), runtime, interpreter);
        let offsets = &runtime.layout.interpreter;
        let at = |offset: Option<u32>| offset.map_or(0, |offset| interpreter.wrapping_add(u64::from(offset)));
        let collecting = match offsets.gc_collecting {
            Some(_) => at(offsets.gc_collecting),
            None => runtime.collecting.unwrap_or(0),
        };
        self.runs += 1;
        let words = [
            interpreter,
            gil.map_or(0, |places| places.holder),
            gil.and_then(|places| places.locked).unwrap_or(0),
            collecting,
            at(offsets.gc_frame),
            self.runs,
        ];
        // Before anything of it is seen: one that waits for a CPU now is seen only when it gets one.
        for thread in process.threads().unwrap_or_default() {
            if let (Ok(id), Some(run_delay_ns)) = (u32::try_from(thread), process.run_delay_ns(thread)) {
                self.program.begin_thread(id, self.runs, run_delay_ns);
            }
        }
        self.program.add_process(pid, words)?;
        let events = match self.task {
            KernelTask::Samples { period_ns, .. } => {
                self.open_events(process, period_ns / u64::from(self.task.interrupts_a_sample()))
            }
            KernelTask::Blocks => Ok(Vec::new()),
        };
        match events {
            Ok(events) => {
                self.processes.insert(pid, Watched { run: self.runs, events });
                Ok(self.runs)
            }
            Err(error) => {
                self.program.remove_process(pid);
                Err(error)
            }
        }
    }

    /// An event for each thread.
    fn open_events(&self, process: &Process, interrupt_ns: u64) -> Result<Vec<CpuClockEvent>, Unavailable> {
        let what = "an event for a thread";
        let program = self.program.descriptor().ok_or(Unavailable::Version)?;
        let mut known: HashSet<ThreadId> = HashSet::new();
        let mut events = Vec::new();
        for _ in 0..MOST_LISTINGS {
            let threads = process.threads().unwrap_or_default();
            let before = known.len();
            for thread in threads.into_iter().filter(|thread| known.insert(*thread)) {
                let period = interrupt_ns + events.len() as u64 % PERIODS;
                match CpuClockEvent::open(thread, period) {
                    Ok(event) => {
                        event.set_program(program).map_err(|error| Unavailable::refused(what, &error))?;
                        events.push(event);
                    }
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(error) => return Err(Unavailable::refused(what, &error)),
                }
            }
            if known.len() == before {
                break;
            }
        }
        Ok(events)
    }

    /// Leaves a process alone.
    fn remove_process(&mut self, pid: u32) {
        if let Some(watched) = self.processes.remove(&pid) {
            self.program.remove_process(pid);
            self.counted_ns += watched.counted_ns();
        }
    }

    /// The CPU time of all threads that are or were sampled, ns.
    pub(in crate::sampler) fn counted_ns(&self) -> u64 {
        self.counted_ns + self.processes.values().map(Watched::counted_ns).sum::<u64>()
    }

    /// How many samples are missing that neither are records nor found no room in the ring: the timer came too late for
    /// them. `counted_ns` is [what was counted](Self::counted_ns), `recorded_ns` what all records until then stand for.
    pub(in crate::sampler) fn missed(&self, counted_ns: u64, recorded_ns: u64) -> u64 {
        let KernelTask::Samples { period_ns, .. } = self.task else { return 0 };
        let threads: usize = self.processes.values().map(|watched| watched.events.len()).sum();
        // By chance threads that end have had more samples or fewer than what they ran for: by half a one, and of many
        // by the root of that; three times as much is allowed for.
        let by_chance = (1.5 * (self.program.threads_met() as f64).sqrt()) as u64;
        let elsewhere = self.program.dropped() + self.program.stateless() + threads as u64 + by_chance;
        counted_ns.saturating_sub(recorded_ns).saturating_sub(elsewhere * period_ns) / period_ns
    }

    /// Leaves those processes alone for whose numbers `keep` says no.
    pub(in crate::sampler) fn keep_only(&mut self, keep: impl Fn(u32) -> bool) {
        let gone: Vec<u32> = self.processes.keys().copied().filter(|pid| !keep(*pid)).collect();
        gone.into_iter().for_each(|pid| self.remove_process(pid));
    }

    /// Takes all records out of the ring.
    pub(in crate::sampler) fn empty_ring(&mut self, take_record: &mut dyn FnMut(&[u8])) {
        self.program.empty_ring(take_record);
    }

    /// Has the program know this of the code of a process.
    pub(in crate::sampler) fn tell_of_codes(&mut self, pid: u32, news: &[CodeNews]) {
        news.iter().for_each(|news| self.program.note_code(pid, *news));
        self.program.publish();
    }

    /// What is known of whether a thread of a process is blocked.
    pub(in crate::sampler) fn block_state(&self, pid: u32, thread: u32) -> BlockState {
        let run = self.processes.get(&pid).map_or(0, |watched| watched.run);
        self.program.block_state(thread, run)
    }

    /// With which registers a thread of a process went to sleep the last time, where that is kept.
    pub(in crate::sampler) fn registers_asleep(&self, pid: u32, thread: ThreadId) -> Option<Registers> {
        let run = self.processes.get(&pid)?.run;
        self.program.registers_asleep(u32::try_from(thread).ok()?, run)
    }

    /// How many records found no room in the ring so far.
    pub(in crate::sampler) fn dropped(&self) -> u64 {
        self.program.dropped()
    }
}

/// Waits for rings.
#[derive(Debug)]
pub(in crate::sampler) struct RingWaits(Option<Epoll>);

impl RingWaits {
    /// For none so far.
    pub(in crate::sampler) fn new() -> Self {
        Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).ok())
    }

    /// Waits for that of a source, too.
    pub(in crate::sampler) fn add(&self, source: &Source) {
        if let Some(epoll) = &self.0 {
            // A ring is readable as long as there is anything in it. What is waited for is that the program says so.
            let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0);
            if let Err(error) = epoll.add(source.program.ring_descriptor(), event) {
                log::debug!("a ring is not waited for: {error}");
            }
        }
    }

    /// Waits until the program wants a ring to be emptied soon or a process exits, but no longer than `limit`.
    pub(in crate::sampler) fn wait(&self, process: Option<&Process>, limit: Duration) -> Woken {
        let Some(epoll) = &self.0 else {
            std::thread::sleep(limit);
            return Woken { by_ring: true, by_exit: process.is_some_and(Process::has_exited) };
        };
        let exit = process.and_then(Process::exit_event);
        let polled = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
        let mut polled: Vec<PollFd<'_>> = [Some(epoll.0.as_fd()), exit].into_iter().flatten().map(polled).collect();
        // Not in whole milliseconds, as `epoll_wait` would do it.
        if ppoll(&mut polled, Some(TimeSpec::from_duration(limit)), None).is_ok_and(|count| count > 0) {
            let is_ready = |at: usize| polled.get(at).and_then(PollFd::any).unwrap_or(false);
            let mut event = [EpollEvent::empty()];
            let by_ring = is_ready(0) && epoll.wait(&mut event, EpollTimeout::ZERO).is_ok_and(|count| count > 0);
            Woken { by_ring, by_exit: is_ready(1) }
        } else {
            Woken::default()
        }
    }
}
