//! Records one process: ticks, samples, a profile; through pauses, execs and the end of the process.

use std::time::{Duration, Instant, SystemTime};

use super::attach::{AttachError, Finder};
use super::builder::{Builder, Filter, command_line};
use super::clock::Clock;
use super::spy::{Moment, Pausing, SampleError, Spy};
use crate::process::Process;
use crate::profile::{Filters, Keep, Profile};

/// Between two looks at whether to stop, at most.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);
/// Shorter waits are slept through.
const WAIT_GRAIN: Duration = Duration::from_micros(1500);
/// For as long as this an interpreter may be unreadable before it is looked for anew.
const UNREADABLE: Duration = Duration::from_millis(500);
/// Between two refreshes of thread names and progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// How to record.
#[derive(Debug, Clone, Copy)]
pub struct RecordOptions {
    /// Samples a second.
    pub rate: u32,
    /// For how long; `None` is until something else ends it.
    pub duration: Option<Duration>,
    /// When the target is stopped.
    pub pausing: Pausing,
    /// What counts as a sample.
    pub filter: Filter,
    /// What the profile keeps.
    pub keep: Keep,
    /// How long to wait for another interpreter when the program is replaced by `exec`.
    pub patience: Duration,
}

/// What ended a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The time was over.
    Duration,
    /// The caller asked to stop.
    Interrupted,
    /// The process exited.
    Exited,
    /// The process went on as a program without a readable Python; why.
    Lost(String),
}

/// How a recording stands.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since its start.
    pub elapsed: Duration,
    /// Samples in the profile.
    pub samples: u64,
    /// Ticks that came too late to be held.
    pub missed: u64,
}

/// A finished recording.
#[derive(Debug)]
pub struct Recorded {
    /// What was recorded.
    pub profile: Profile,
    /// What ended it.
    pub ending: Ending,
    /// Ticks on which the process was read.
    pub ticks: u64,
    /// Things worth telling about, such as a target that could not be stopped.
    pub notes: Vec<String>,
}

/// Records `spy`'s process until something ends it. `watch` is called some times a second and says whether to go on.
pub fn record(
    spy: Spy,
    finder: &mut Finder,
    options: &RecordOptions,
    watch: &mut dyn FnMut(&Progress) -> bool,
) -> Recorded {
    Recorder::new(spy, options).run(finder, watch)
}

struct Recorder<'options> {
    spy: Spy,
    options: &'options RecordOptions,
    builder: Builder,
    moment: Moment,
    start: Instant,
    last_tick: Instant,
    ticks: u64,
    notes: Vec<String>,
    unreadable_since: Option<Instant>,
}

impl<'options> Recorder<'options> {
    fn new(spy: Spy, options: &'options RecordOptions) -> Self {
        let mut builder = Builder::new(options.keep, options.filter);
        builder.begin_program(&spy);
        let mut notes = Vec::new();
        if options.pausing != Pausing::Never {
            notes.extend(why_not_pausable(spy.process()));
        }
        let start = Instant::now();
        Self {
            spy,
            options,
            builder,
            moment: Moment::default(),
            start,
            last_tick: start,
            ticks: 0,
            notes,
            unreadable_since: None,
        }
    }

    fn run(mut self, finder: &mut Finder, watch: &mut dyn FnMut(&Progress) -> bool) -> Recorded {
        let begun_at = SystemTime::now();
        let command = command_line(self.spy.process());
        let pid = self.spy.process().pid().unsigned_abs();
        let mut clock = Clock::new(self.options.rate, self.start);
        let mut progress_due = self.start;
        let mut deadline = self.start;
        let ending = loop {
            let now = Instant::now();
            let end = self.options.duration.map(|duration| self.start + duration);
            if end.is_some_and(|end| now >= end) {
                break Ending::Duration;
            }
            if now >= progress_due {
                progress_due = now + PROGRESS_EVERY;
                self.builder.name_threads(&self.spy, &self.moment);
                let samples = self.builder.profile().metadata.counts.taken;
                if !watch(&Progress { elapsed: now - self.start, samples, missed: clock.missed() }) {
                    break Ending::Interrupted;
                }
            }
            if now < deadline {
                let until = end.map_or(deadline, |end| end.min(deadline));
                let wait = until.saturating_duration_since(now).min(LONGEST_SLEEP);
                // Waiting for the exit has the grain of a millisecond; what is left of that is slept.
                match wait.checked_sub(WAIT_GRAIN) {
                    Some(long) if self.spy.process().wait_for_exit(long) => break Ending::Exited,
                    Some(_) => {}
                    None => std::thread::sleep(wait),
                }
                continue;
            }
            if let Some(ending) = self.tick(finder, watch) {
                break ending;
            }
            deadline = clock.next_deadline(Instant::now());
        };
        self.builder.name_threads(&self.spy, &self.moment);
        let elapsed = self.start.elapsed();
        if let Some(trouble) = &self.spy.trouble().pause {
            self.notes.push(format!("some samples could not be made sure of: {trouble}"));
        }
        let mut profile = self.builder.finish();
        let metadata = &mut profile.metadata;
        metadata.command = command;
        metadata.pid = pid;
        metadata.start_unix_us = begun_at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| micros(since));
        metadata.duration_us = micros(elapsed);
        metadata.rate_asked = f64::from(self.options.rate);
        metadata.rate_held = self.ticks as f64 / elapsed.as_secs_f64().max(1e-9);
        metadata.filters =
            Filters { gil_only: self.options.filter.gil_only, idle: self.options.filter.idle, ..Filters::default() };
        metadata.recorder = env!("CARGO_PKG_VERSION").to_owned();
        metadata.platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
        Recorded { profile, ending, ticks: self.ticks, notes: self.notes }
    }

    /// One sample, or what ends the recording.
    fn tick(&mut self, finder: &mut Finder, watch: &mut dyn FnMut(&Progress) -> bool) -> Option<Ending> {
        match self.spy.sample(self.options.pausing, &mut self.moment) {
            Ok(()) => {
                self.unreadable_since = None;
                let now = Instant::now();
                let weight = now - self.last_tick;
                self.last_tick = now;
                self.ticks += 1;
                self.builder.add(&self.spy, &self.moment, micros(now - self.start), micros(weight));
                None
            }
            Err(SampleError::Exited) => Some(Ending::Exited),
            Err(SampleError::Exec) => self.attach_again(finder, watch),
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
                self.attach_again(finder, watch)
            }
        }
    }

    /// The process runs something else now: finds the interpreter of that.
    fn attach_again(&mut self, finder: &mut Finder, watch: &mut dyn FnMut(&Progress) -> bool) -> Option<Ending> {
        let process = self.spy.process().clone();
        let over = self.options.duration.map(|duration| self.start + duration);
        let mut patience = self.options.patience;
        if let Some(over) = over {
            patience = patience.min(over.saturating_duration_since(Instant::now()));
        }
        let start = self.start;
        let samples = self.builder.profile().metadata.counts.taken;
        let watch = std::cell::RefCell::new(watch);
        let interrupted = std::cell::Cell::new(false);
        let cancelled = || {
            let go_on = (watch.borrow_mut())(&Progress { elapsed: start.elapsed(), samples, missed: 0 });
            interrupted.set(!go_on);
            !go_on
        };
        match finder.attach(&process, patience, &cancelled) {
            Ok(attached) => {
                self.spy = Spy::new(process, attached);
                self.builder.begin_program(&self.spy);
                self.last_tick = Instant::now();
                None
            }
            Err(_) if interrupted.get() => Some(Ending::Interrupted),
            Err(AttachError::Exited { .. }) => Some(Ending::Exited),
            Err(_) if over.is_some_and(|over| Instant::now() >= over) => Some(Ending::Duration),
            Err(error) => Some(Ending::Lost(error.to_string())),
        }
    }
}

/// Why a process that could otherwise be stopped for a read will not be, if so.
pub fn why_not_pausable(process: &Process) -> Option<String> {
    let pid = process.pid();
    if process.is_stopped() {
        return Some(format!("process {pid} is stopped (SIGSTOP); it is read as it stands"));
    }
    let tracer = process.tracer()?;
    Some(format!("process {pid} is traced by process {tracer}; it is read without being stopped"))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
