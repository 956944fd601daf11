//! Samples one process for somebody who looks on: what was seen goes out in windows, as often as is asked and as fast as they are taken.
//!
//! Sampling never waits for who takes the windows: while one is not taken, the next goes on growing (with what is distinct, not with time).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::attach::{AttachError, Finder};
use super::builder::{Builder, Filter};
use super::clock::Clock;
use super::recorder::Ending;
use super::spy::{Moment, Pausing, SampleError, Spy};
use crate::profile::{Delta, Flags, Keep, Mark, StackId, ThreadRef};

/// Between two looks at what is asked for, at most.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);
/// For as long as this an interpreter may be unreadable before it is looked for anew.
const UNREADABLE: Duration = Duration::from_millis(500);

/// How to sample.
#[derive(Debug, Clone, Copy)]
pub struct LiveOptions {
    /// Samples a second.
    pub rate: u32,
    /// When the target is stopped.
    pub pausing: Pausing,
    /// How long a window is.
    pub every: Duration,
    /// How long to wait for another interpreter when the program is replaced by `exec`.
    pub patience: Duration,
}

/// What can be asked for meanwhile.
pub enum LiveRequest {
    /// Another rate: samples a second.
    Rate(u32),
    /// To do something with the process between two samples. What stops the process must be done here: only the thread that samples may.
    Inspect(Box<dyn FnOnce(&mut Spy) + Send>),
}

/// What a thread was doing at the end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveThread {
    /// The thread.
    pub thread: ThreadRef,
    /// Where it was.
    pub stack: StackId,
    /// What it did.
    pub flags: Flags,
}

/// What was seen in a stretch of time.
#[derive(Debug)]
pub struct LiveWindow {
    /// What the profile has grown by, with the totals of this window; idle threads too. Its metadata counts all samples so far.
    pub delta: Delta,
    /// The wall time that the samples stand for, µs.
    pub wall_us: u64,
    /// How much of it some thread was active, µs.
    pub active_us: u64,
    /// How much of it some thread held the GIL, µs.
    pub gil_us: u64,
    /// How much of it some thread ran the garbage collector, µs.
    pub gc_us: u64,
    /// For how long the target was stopped, µs.
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
    /// Why samples could not be made sure of, when that is so.
    pub trouble: Option<String>,
}

/// Samples `spy`'s process until `stop` is set or the process has ended. `deliver` takes a window, or gives it back if it cannot now; windows that
/// were not taken by the end are returned.
pub fn watch(
    spy: Spy,
    finder: &mut Finder,
    options: &LiveOptions,
    requests: &Receiver<LiveRequest>,
    stop: &AtomicBool,
    deliver: &mut dyn FnMut(LiveWindow) -> Result<(), LiveWindow>,
) -> (Ending, Vec<LiveWindow>) {
    let mut watcher = Watcher::new(spy, options);
    let ending = watcher.run(finder, requests, stop, deliver);
    let mut left: Vec<LiveWindow> = watcher.waiting.take().into_iter().collect();
    // The last moments are worth seeing too, if there were any.
    if watcher.sums.ticks > 0 {
        left.push(watcher.window(Instant::now()));
    }
    (ending, left)
}

struct Watcher<'options> {
    spy: Spy,
    options: &'options LiveOptions,
    builder: Builder,
    moment: Moment,
    clock: Clock,
    mark: Mark,
    rate: u32,
    missed_before: u64,
    start: Instant,
    last_tick: Instant,
    window_start: Instant,
    sums: Sums,
    unreadable_since: Option<Instant>,
    /// A window that nobody has taken yet.
    waiting: Option<LiveWindow>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    wall_us: u64,
    active_us: u64,
    gil_us: u64,
    gc_us: u64,
    stopped_us: u64,
    ticks: u64,
}

impl<'options> Watcher<'options> {
    fn new(spy: Spy, options: &'options LiveOptions) -> Self {
        let mut builder = Builder::new(Keep::default(), Filter { gil_only: false, idle: true });
        builder.begin_program(&spy);
        let start = Instant::now();
        Self {
            spy,
            options,
            builder,
            moment: Moment::default(),
            clock: Clock::new(options.rate, start),
            mark: Mark::default(),
            rate: options.rate,
            missed_before: 0,
            start,
            last_tick: start,
            window_start: start,
            sums: Sums::default(),
            unreadable_since: None,
            waiting: None,
        }
    }

    fn run(
        &mut self,
        finder: &mut Finder,
        requests: &Receiver<LiveRequest>,
        stop: &AtomicBool,
        deliver: &mut dyn FnMut(LiveWindow) -> Result<(), LiveWindow>,
    ) -> Ending {
        let mut deadline = self.start;
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
                    LiveRequest::Inspect(inspect) => inspect(&mut self.spy),
                }
            }
            let now = Instant::now();
            if now >= self.window_start + self.options.every || self.waiting.is_some() {
                self.offer(now, deliver);
            }
            let window_end = self.window_start + self.options.every;
            if now < deadline {
                let until = if self.waiting.is_none() { deadline.min(window_end) } else { deadline };
                let wait = until.saturating_duration_since(now).min(LONGEST_SLEEP);
                if self.spy.process().wait_for_exit(wait) {
                    return Ending::Exited;
                }
                continue;
            }
            if let Some(ending) = self.tick(finder, stop) {
                return ending;
            }
            deadline = self.clock.next_deadline(Instant::now());
        }
    }

    /// Offers the window that waits, or the one that has just ended.
    fn offer(&mut self, now: Instant, deliver: &mut dyn FnMut(LiveWindow) -> Result<(), LiveWindow>) {
        let window = match self.waiting.take() {
            Some(window) => window,
            None => self.window(now),
        };
        self.waiting = deliver(window).err();
    }

    fn window(&mut self, now: Instant) -> LiveWindow {
        self.builder.name_threads(&self.spy, &self.moment);
        let threads = self.builder.threads_now(&self.spy, &self.moment);
        let threads = threads.into_iter().map(|(thread, stack, flags)| LiveThread { thread, stack, flags }).collect();
        let profile = self.builder.profile_mut();
        let totals = profile.take_totals();
        let mut delta = profile.delta_since(&mut self.mark);
        delta.totals = totals;
        let sums = std::mem::take(&mut self.sums);
        let length = now.saturating_duration_since(self.window_start);
        self.window_start = now;
        LiveWindow {
            delta,
            wall_us: sums.wall_us,
            active_us: sums.active_us,
            gil_us: sums.gil_us,
            gc_us: sums.gc_us,
            stopped_us: sums.stopped_us,
            ticks: sums.ticks,
            length_us: micros(length),
            missed: self.missed_before + self.clock.missed(),
            rate: self.rate,
            threads,
            trouble: self.spy.trouble().pause.clone(),
        }
    }

    /// One sample, or what ends it all.
    fn tick(&mut self, finder: &mut Finder, stop: &AtomicBool) -> Option<Ending> {
        match self.spy.sample(self.options.pausing, &mut self.moment) {
            Ok(()) => {
                self.unreadable_since = None;
                let now = Instant::now();
                let weight_us = micros(now - self.last_tick);
                self.last_tick = now;
                self.count(weight_us);
                self.builder.add(&self.spy, &self.moment, micros(now - self.start), weight_us);
                None
            }
            Err(SampleError::Exited) => Some(Ending::Exited),
            Err(SampleError::Exec) => self.attach_again(finder, stop),
            Err(error @ (SampleError::Unreadable(_) | SampleError::Pause(_))) => {
                log::debug!("no sample: {error}");
                if self.spy.process().has_exited() {
                    return Some(Ending::Exited);
                }
                let since = *self.unreadable_since.get_or_insert_with(Instant::now);
                if since.elapsed() < UNREADABLE {
                    return None;
                }
                self.unreadable_since = None;
                self.attach_again(finder, stop)
            }
        }
    }

    fn count(&mut self, weight_us: u64) {
        let any = |is: fn(&super::MomentThread) -> bool| if self.moment.threads.iter().any(is) { weight_us } else { 0 };
        self.sums.active_us += any(|thread| thread.active);
        self.sums.gil_us += any(|thread| thread.stack.holds_gil);
        self.sums.gc_us += any(|thread| thread.collecting);
        self.sums.wall_us += weight_us;
        self.sums.stopped_us += micros(self.moment.stopped_for);
        self.sums.ticks += 1;
    }

    /// The process runs something else now: finds the interpreter of that.
    fn attach_again(&mut self, finder: &mut Finder, stop: &AtomicBool) -> Option<Ending> {
        let process = self.spy.process().clone();
        match finder.attach(&process, self.options.patience, &|| stop.load(Ordering::Relaxed)) {
            Ok(attached) => {
                self.spy = Spy::new(process, attached);
                self.moment = Moment::default();
                self.builder.begin_program(&self.spy);
                self.last_tick = Instant::now();
                None
            }
            Err(_) if stop.load(Ordering::Relaxed) => Some(Ending::Interrupted),
            Err(AttachError::Exited { .. }) => Some(Ending::Exited),
            Err(error) => Some(Ending::Lost(error.to_string())),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
