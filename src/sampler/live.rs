//! Samples processes for somebody who looks on: what was seen goes out in windows, as often as is asked and as fast as
//! they are taken.
//!
//! Sampling never waits for who takes the windows: while one is not taken, the next goes on growing (with what is
//! distinct, not with time).

mod window;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use window::{Holds, LiveThread, WindowPace, WindowTimes, micros};
pub(crate) use window::{LiveTasks, LiveWindow};

use super::attach::Finder;
use super::clock::Clock;
use super::filter::Filter;
use super::members::Roots;
use super::moment::Pausing;
use super::process_sampler::ProcessSampler;
use super::record_options::{KernelUse, NativeWanted, ProcessOptions, RecordOptions};
use super::recorder::{Ending, Recorder, is_gap};
use super::unobserved::longest_weight_us;
use crate::process::release_pending;
use crate::profile::{Below, Mark};

/// How long the lines of native code are waited for at the end.
const WAIT_AT_END: Duration = Duration::from_secs(1);

/// How to sample.
#[derive(Debug, Clone)]
pub(crate) struct LiveOptions {
    /// Samples a second.
    pub rate: u32,
    /// When the target is stopped.
    pub pausing: Pausing,
    /// Whether the kernel takes the samples of threads that run.
    pub kernel: KernelUse,
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
    /// which is [fresh](crate::profile::Delta::fresh).
    BeginAnew,
    /// To do something with the processes between two samples. What stops a process must be done here: only the thread
    /// that samples may.
    Inspect(Inspection),
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
        kernel: options.kernel,
        // What is wanted of it may change from one moment to the next.
        filter: Filter { idle: true, below: options.below.clone(), ..Filter::default() },
        processes: options.processes,
        native: options.native,
        ..RecordOptions::default()
    };
    let mut recorder = Recorder::new(roots, &record);
    recorder.be_looked_on();
    let mut watcher = Watcher::new(recorder, options);
    let ending = watcher.run(finder, requests, stop, deliver);
    let mut left: Vec<LiveWindow> = watcher.waiting.take().into_iter().map(|window| *window).collect();
    watcher.recorder.describe();
    watcher.recorder.end_kernel();
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

/// What has been seen since the last window.
#[derive(Debug, Default)]
struct Sums {
    times: WindowTimes,
    ticks: u64,
    holds: Holds,
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
        self.recorder.start_kernel();
        // That takes its time, of which there are no samples.
        let mut deadline = Instant::now();
        (self.last_tick, self.window_start) = (deadline, deadline);
        self.clock = self.recorder.clock();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ending::Interrupted;
            }
            if let Some(reason) = self.recorder.kernel_failure() {
                return Ending::Lost(reason);
            }
            if self.answer(requests) {
                deadline = Instant::now();
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
            self.recorder.meet_kernel();
            self.retime();
            if let Some(ending) = self.recorder.is_over() {
                return ending;
            }
        }
    }

    /// Does what is asked for. Whether the clock ticks at another rate from now on.
    fn answer(&mut self, requests: &Receiver<LiveRequest>) -> bool {
        let mut is_rate_new = false;
        while let Ok(request) = requests.try_recv() {
            match request {
                LiveRequest::Rate(rate) => {
                    self.missed_before += self.clock.missed();
                    self.rate = self.recorder.set_rate(rate);
                    self.clock = self.recorder.clock();
                    is_rate_new = true;
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
        is_rate_new
    }

    /// Has the clock tick at another rate where that is due.
    fn retime(&mut self) {
        let missed = self.clock.missed();
        if self.recorder.retime(&mut self.clock) {
            self.missed_before += missed;
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
        let share_from_kernel = self.recorder.share_from_kernel();
        (0..self.recorder.members.len()).for_each(|index| self.recorder.complete_moment(index));
        if self.recorder.all_from_kernel() && self.recorder.is_from_kernel() {
            // What was taken just now is of all the time until now.
            let is_late = is_gap(now.saturating_duration_since(self.last_tick), self.clock.period());
            let weight_us = self.time_since_tick(now, is_late);
            self.add_time(weight_us);
        }
        self.recorder.describe();
        let (mut threads, mut loops, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        let mut trouble = None;
        let profile = &mut self.recorder.profile;
        for member in &mut self.recorder.members {
            let pid = member.process.pid();
            loops.extend(member.loops.lags().map(|lag| (pid, lag.clone())));
            if let Some(sampler) = &member.sampler {
                let seen = member.loops.tasks(sampler, &member.moment, self.sums.ticks);
                tasks.extend(seen.map(|(group, running)| LiveTasks { pid, group, running }));
            }
            member.loops.start_window();
            if let (Some(sampler), Some(builder)) = (&member.sampler, &mut member.builder) {
                let seen = builder.threads_now(profile, sampler, &member.moment).into_iter();
                threads.extend(seen.map(|(thread, stack, flags)| LiveThread { thread, stack, flags }));
                let pause = &sampler.trouble().pause;
                trouble = trouble.or_else(|| pause.clone().filter(|_| sampler.trouble().goes_on));
            }
        }
        trouble = trouble.or_else(|| self.recorder.arrivals.unread.lines().into_iter().next());
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
            times: sums.times,
            pace: WindowPace {
                length_us: micros(length),
                held: match share_from_kernel {
                    Some(share) => f64::from(self.rate) * share,
                    None => sums.ticks as f64 * 1e6 / micros(length).max(1) as f64,
                },
                rate: self.rate,
                is_from_kernel: self.recorder.is_from_kernel(),
                missed: self.missed_before + self.clock.missed(),
                stopped_us: sums.holds.longest_us(),
            },
            threads,
            loops,
            tasks,
            trouble,
        }
    }

    /// One sample of everything.
    fn tick(&mut self) {
        let before = self.recorder.ticks;
        let is_late = is_gap(self.last_tick.elapsed(), self.clock.period());
        self.recorder.tick(&mut self.clock);
        let weight_us = self.time_since_tick(Instant::now(), is_late);
        if self.recorder.ticks == before {
            return;
        }
        for member in &mut self.recorder.members {
            if let Some(sampler) = &member.sampler {
                member.loops.observe(sampler, &member.moment);
            }
        }
        self.add_time(weight_us);
        for member in self.recorder.members.iter().filter(|member| member.sampler.is_some()) {
            self.sums.holds.add(member.process.pid(), &member.moment);
        }
        self.sums.ticks += 1;
    }

    /// For how much of the time since the last tick the moments stand that there are now, µs; after a gap for no more
    /// than a sample can.
    fn time_since_tick(&mut self, now: Instant, is_late: bool) -> u64 {
        let longest_us = match self.recorder.all_from_kernel() && !is_late {
            // It has seen all of that time.
            true => u64::MAX,
            false => longest_weight_us(self.clock.period()),
        };
        let since = std::mem::replace(&mut self.last_tick, now);
        micros(now.saturating_duration_since(since)).min(longest_us)
    }

    /// Counts so many µs as spent with what the moments tell.
    fn add_time(&mut self, weight_us: u64) {
        let members = self.recorder.members.iter().filter(|member| member.sampler.is_some());
        self.sums.times.add(&members.map(|member| &member.moment), weight_us);
    }
}
