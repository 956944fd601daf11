//! Samples processes for somebody who looks on: what was seen goes out in windows, as often as is asked and as fast as
//! they are taken.
//!
//! Sampling never waits for who takes the windows: while one is not taken, the next goes on growing (with what is
//! distinct, not with time).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::attach::Finder;
use super::clock::Clock;
use super::filter::Filter;
use super::loop_lag::LoopLag;
use super::members::{Member, Roots};
use super::moment::{Held, Moment, MomentThread, Pausing};
use super::process_sampler::ProcessSampler;
use super::record_options::{NativeWanted, ProcessOptions, RecordOptions};
use super::recorder::{Ending, Recorder};
use super::task_groups::TaskGroup;
use super::unobserved::longest_weight_us;
use crate::process::release_pending;
use crate::profile::{Below, Delta, Flags, Mark, StackId, ThreadRef};

/// How long the lines of native code are waited for at the end.
const WAIT_AT_END: Duration = Duration::from_secs(1);

/// How to sample.
#[derive(Debug, Clone)]
pub(crate) struct LiveOptions {
    /// Samples a second.
    pub rate: u32,
    /// When the target is stopped.
    pub pausing: Pausing,
    /// How long a window is.
    pub every: Duration,
    /// Which processes are sampled.
    pub processes: ProcessOptions,
    /// Which native frames are read.
    pub native: NativeWanted,
    /// Count only what happens below this function.
    pub below: Option<Below>,
}

/// Something to be done with the readers of all processes.
pub(crate) type Inspection = Box<dyn FnOnce(&mut [&mut ProcessSampler]) + Send>;

/// What can be asked for meanwhile.
pub(crate) enum LiveRequest {
    /// Another rate: samples a second.
    Rate(u32),
    /// To begin the profile anew, once a window was taken: what it has grown by since then comes with the next one,
    /// which is [fresh](Delta::fresh).
    BeginAnew,
    /// To do something with the processes between two samples. What stops a process must be done here: only the thread
    /// that samples may.
    Inspect(Inspection),
}

/// What a thread was doing at the end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiveThread {
    /// The thread.
    pub thread: ThreadRef,
    /// Where it was.
    pub stack: StackId,
    /// What it did.
    pub flags: Flags,
}

/// The tasks of a process that run one coroutine function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LiveTasks {
    /// The process.
    pub pid: i32,
    /// Which they are, as of the last look at all.
    pub group: TaskGroup,
    /// In what part of the window's samples one of them was on a CPU, 0 to 1.
    pub running: f64,
}

/// What was seen in a stretch of time.
#[derive(Debug)]
pub(crate) struct LiveWindow {
    /// What the profile has grown by, with the totals of this window; idle threads too. Its metadata counts all samples
    /// so far.
    pub delta: Delta,
    /// The wall time that the samples stand for, µs.
    pub wall_us: u64,
    /// How much of it some thread was active, µs.
    pub active_us: u64,
    /// How much of it some thread held the GIL, µs.
    pub gil_us: u64,
    /// How long threads waited for the GIL, µs, the sum of all threads.
    pub gil_wait_us: u64,
    /// How much of it some thread ran the garbage collector, µs.
    pub gc_us: u64,
    /// For how long the thread was stopped that was stopped longest, µs.
    pub stopped_us: u64,
    /// Ticks on which the process was read.
    pub ticks: u64,
    /// How long the window was, µs.
    pub length_us: u64,
    /// Ticks so far that came too late to be held.
    pub missed: u64,
    /// The rate that is asked for.
    pub rate: u32,
    /// What every thread was doing last.
    pub threads: Vec<LiveThread>,
    /// The event loops that were seen, with the pids of their processes, and how late they were in this window.
    pub loops: Vec<(i32, LoopLag)>,
    /// The tasks of their loops.
    pub tasks: Vec<LiveTasks>,
    /// Why samples could not be made sure of, or a process could not be read, when that is so.
    pub trouble: Option<String>,
}

/// Samples processes until `stop` is set or they have ended. `deliver` takes a window, or gives it back if it cannot
/// now; windows that were not taken by the end are returned.
pub(crate) fn watch(
    roots: Roots,
    finder: &mut Finder,
    options: &LiveOptions,
    requests: &Receiver<LiveRequest>,
    stop: &AtomicBool,
    deliver: &mut dyn FnMut(Box<LiveWindow>) -> Result<(), Box<LiveWindow>>,
) -> (Ending, Vec<LiveWindow>) {
    let record = RecordOptions {
        rate: options.rate,
        pausing: options.pausing,
        // What is wanted of it may change from one moment to the next.
        filter: Filter { idle: true, below: options.below.clone(), ..Filter::default() },
        processes: options.processes,
        native: options.native,
        ..RecordOptions::default()
    };
    let mut watcher = Watcher::new(Recorder::new(roots, &record), options);
    let ending = watcher.run(finder, requests, stop, deliver);
    let mut left: Vec<LiveWindow> = watcher.waiting.take().into_iter().map(|window| *window).collect();
    watcher.recorder.put_waiting(WAIT_AT_END);
    // The last moments are worth seeing too, if there were any.
    if watcher.sums.ticks > 0 {
        // It ends with the last sample: what comes after the end of the target is no time in which samples were missed.
        left.push(watcher.window(watcher.last_tick));
    }
    while release_pending() > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    (ending, left)
}

struct Watcher<'options> {
    recorder: Recorder<'options>,
    options: &'options LiveOptions,
    clock: Clock,
    mark: Mark,
    rate: u32,
    missed_before: u64,
    last_tick: Instant,
    window_start: Instant,
    sums: Sums,
    /// A window that nobody has taken yet.
    waiting: Option<Box<LiveWindow>>,
    /// After the next window the profile begins anew.
    begins_anew: bool,
}

#[derive(Debug, Default)]
struct Sums {
    wall_us: u64,
    active_us: u64,
    gil_us: u64,
    gil_wait_us: u64,
    gc_us: u64,
    ticks: u64,
    holds: Holds,
}

/// For how long each thread of each process was held, and for how long all of a process were at once, µs.
#[derive(Debug, Default)]
struct Holds(HashMap<(i32, Held), u64>);

impl Holds {
    fn add(&mut self, pid: i32, moment: &Moment) {
        for (held, time) in &moment.holds {
            *self.0.entry((pid, *held)).or_default() += micros(*time);
        }
    }

    /// For how long the thread was held that was held longest.
    fn longest_us(&self) -> u64 {
        let with_all = self.0.iter().map(|((pid, held), time)| match held {
            Held::AllThreads => *time,
            Held::Thread(_) => time + self.0.get(&(*pid, Held::AllThreads)).copied().unwrap_or(0),
        });
        with_all.max().unwrap_or(0)
    }
}

impl<'options> Watcher<'options> {
    fn new(recorder: Recorder<'options>, options: &'options LiveOptions) -> Self {
        let start = Instant::now();
        Self {
            recorder,
            options,
            clock: Clock::new(options.rate, start),
            mark: Mark::default(),
            rate: options.rate,
            missed_before: 0,
            last_tick: start,
            window_start: start,
            sums: Sums::default(),
            waiting: None,
            begins_anew: false,
        }
    }

    fn run(
        &mut self,
        finder: &mut Finder,
        requests: &Receiver<LiveRequest>,
        stop: &AtomicBool,
        deliver: &mut dyn FnMut(Box<LiveWindow>) -> Result<(), Box<LiveWindow>>,
    ) -> Ending {
        // So that the first tick finds something to read.
        self.recorder.meet(finder);
        // And so that one that another process holds is known as such.
        self.recorder.describe();
        let mut deadline = self.window_start;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ending::Interrupted;
            }
            while let Ok(request) = requests.try_recv() {
                match request {
                    LiveRequest::Rate(rate) => {
                        self.missed_before += self.clock.missed();
                        self.rate = rate;
                        deadline = Instant::now();
                        self.clock = Clock::new(rate, deadline);
                    }
                    LiveRequest::BeginAnew => self.begins_anew = true,
                    LiveRequest::Inspect(inspect) => {
                        let members = self.recorder.members.iter_mut();
                        let mut samplers: Vec<&mut ProcessSampler> =
                            members.filter_map(|member| member.sampler.as_mut()).collect();
                        inspect(&mut samplers);
                    }
                }
            }
            let now = Instant::now();
            if now >= self.window_start + self.options.every || self.waiting.is_some() {
                self.offer(now, deliver);
            }
            if now < deadline {
                let until = match self.waiting {
                    None => deadline.min(self.window_start + self.options.every),
                    Some(_) => deadline,
                };
                let has_exited = self.recorder.wait(until.saturating_duration_since(now), &self.clock);
                if !has_exited && self.recorder.members.iter().all(|member| member.sampler.is_some()) {
                    continue;
                }
            } else {
                self.tick();
                deadline = self.clock.next_deadline(Instant::now());
            }
            self.recorder.meet(finder);
            if let Some(ending) = self.recorder.is_over() {
                return ending;
            }
        }
    }

    /// Offers the window that waits, or the one that has just ended.
    fn offer(&mut self, now: Instant, deliver: &mut dyn FnMut(Box<LiveWindow>) -> Result<(), Box<LiveWindow>>) {
        let window = match self.waiting.take() {
            Some(window) => window,
            None => Box::new(self.window(now)),
        };
        self.waiting = deliver(window).err();
    }

    fn window(&mut self, now: Instant) -> LiveWindow {
        self.recorder.describe();
        let (mut threads, mut loops, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        let mut trouble = None;
        let profile = &mut self.recorder.profile;
        for member in &mut self.recorder.members {
            loops.extend(member.loop_lags.loops().map(|lag| (member.process.pid(), lag.clone())));
            if let Some(sampler) = &member.sampler {
                member.task_groups.look(sampler, &member.moment);
                tasks.extend(tasks_of(member, self.sums.ticks));
            }
            member.loop_lags.start_window();
            if let (Some(sampler), Some(builder)) = (&member.sampler, &mut member.builder) {
                let seen = builder.threads_now(profile, sampler, &member.moment).into_iter();
                threads.extend(seen.map(|(thread, stack, flags)| LiveThread { thread, stack, flags }));
                let pause = &sampler.trouble().pause;
                trouble = trouble.or_else(|| pause.clone().filter(|_| sampler.trouble().goes_on));
            }
        }
        trouble = trouble.or_else(|| self.recorder.unread.lines().into_iter().next());
        let totals = profile.take_totals();
        let mut delta = profile.delta_since(&mut self.mark);
        delta.totals = totals;
        if std::mem::take(&mut self.begins_anew) {
            drop(self.recorder.begin_anew());
            self.mark = Mark::default();
        }
        let sums = std::mem::take(&mut self.sums);
        let length = now.saturating_duration_since(self.window_start);
        self.window_start = now;
        LiveWindow {
            delta,
            wall_us: sums.wall_us,
            active_us: sums.active_us,
            gil_us: sums.gil_us,
            gil_wait_us: sums.gil_wait_us,
            gc_us: sums.gc_us,
            stopped_us: sums.holds.longest_us(),
            ticks: sums.ticks,
            length_us: micros(length),
            missed: self.missed_before + self.clock.missed(),
            rate: self.rate,
            threads,
            loops,
            tasks,
            trouble,
        }
    }

    /// One sample of everything.
    fn tick(&mut self) {
        let before = self.recorder.ticks;
        self.recorder.tick(&mut self.clock);
        let now = Instant::now();
        let weight_us = micros(now - self.last_tick).min(longest_weight_us(self.clock.period()));
        self.last_tick = now;
        if self.recorder.ticks == before {
            return;
        }
        for member in &mut self.recorder.members {
            if let Some(sampler) = &member.sampler {
                member.loop_lags.observe(sampler, &member.moment);
            }
        }
        let members = self.recorder.members.iter().filter(|member| member.sampler.is_some());
        let moments = members.clone().map(|member: &Member| &member.moment);
        let any = |is: fn(&MomentThread) -> bool| {
            let is_so = moments.clone().any(|moment| moment.threads.iter().any(is));
            if is_so { weight_us } else { 0 }
        };
        let is_native_active = moments.clone().any(|moment| moment.native_threads.iter().any(|thread| thread.active));
        self.sums.active_us += if is_native_active { weight_us } else { any(|thread| thread.active) };
        self.sums.gil_us += any(|thread| thread.stack.holds_gil);
        let waiting = moments.clone().flat_map(|moment| &moment.threads).filter(|thread| thread.waits_for_gil).count();
        self.sums.gil_wait_us += weight_us.saturating_mul(waiting as u64);
        self.sums.gc_us += any(|thread| thread.collecting);
        self.sums.wall_us += weight_us;
        for member in members {
            self.sums.holds.add(member.process.pid(), &member.moment);
        }
        self.sums.ticks += 1;
    }
}

/// The tasks of a process in a window of so many ticks.
fn tasks_of(member: &Member, ticks: u64) -> impl Iterator<Item = LiveTasks> {
    // Up to 3.10 code has no qualified name.
    let has_qualified_names =
        member.sampler.as_ref().is_some_and(|sampler| sampler.runtime().layout.code.qualname.is_some());
    member.task_groups.groups().iter().map(move |group| {
        let name = &group.coroutine;
        let code_name = if has_qualified_names { name } else { name.rsplit('.').next().unwrap_or_default() };
        let looks = f64::from(member.loop_lags.looks_running(code_name));
        LiveTasks { pid: member.process.pid(), group: group.clone(), running: looks / ticks.max(1) as f64 }
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_that_was_held_longest_counts_and_not_the_sum() {
        let mut holds = Holds::default();
        assert_eq!(holds.longest_us(), 0);
        let mut moment = Moment::default();
        for (held, ms) in [(Held::Thread(11), 3), (Held::Thread(12), 5), (Held::Thread(11), 4)] {
            moment.add_hold(held, Duration::from_millis(ms));
        }
        holds.add(1, &moment);
        assert_eq!(holds.longest_us(), 7_000);
        // All of another process, for longer than any thread of it alone.
        moment.clear();
        moment.add_hold(Held::AllThreads, Duration::from_millis(6));
        holds.add(2, &moment);
        assert_eq!(holds.longest_us(), 7_000);
        moment.clear();
        moment.add_hold(Held::Thread(21), Duration::from_millis(2));
        holds.add(2, &moment);
        assert_eq!(holds.longest_us(), 8_000);
    }
}
