//! Records processes: ticks, samples, a profile; through pauses, execs, children and the end of it all.

mod kernel_ticks;
mod ticks;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

pub(crate) use kernel_ticks::HIGHEST_RATE;
use kernel_ticks::KernelSampling;

use super::attach::{Finder, PATIENCE_STARTED};
use super::clock::Clock;
use super::cpu_time::Unsampled;
use super::gc_facts::GcSums;
use super::gil_facts::GilSums;
use super::glances::Visit;
use super::host::Host;
use super::members::{Children, Member, Roots, Setup};
use super::moment::{Moment, Pausing};
use super::record_options::{Intervals, RecordOptions};
use super::title::command_line;
use super::unobserved::{Unobserved, longest_weight_us};
use super::unread::Unread;
use crate::process::{Process, monotonic_time, raise_descriptor_limit, release_pending, reserve_memory, sharpen_sleep};
use crate::profile::{Collection, Filters, Profile};

/// Between two looks at whether to stop, at most.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);
/// The same while children are looked for.
const LONGEST_SLEEP_WITH_CHILDREN: Duration = Duration::from_millis(10);
/// In a wait as long as this the end of the process is waited for too; in a shorter one the next sample notices it soon
/// enough, and a plain sleep is cheaper.
const WORTH_WATCHING: Duration = Duration::from_millis(20);
/// Between two looks at which processes have come, gone or changed their program, while their samples succeed: with
/// children, and without.
const MEET_EVERY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
/// The longest sleep while a thread that we have asked to stop has not done so yet.
const PENDING_SLEEP: Duration = Duration::from_millis(1);
/// Between two looks at whether processes may be stopped for a read.
const LOOK_FOR_TRACERS_EVERY: Duration = Duration::from_secs(1);
/// A wait as short as this is spent looking at the clock: a sleep would take longer. At high rates one that takes
/// somewhat longer costs samples.
const SHORTEST_SLEEP: (Duration, Duration) = (Duration::from_micros(10), Duration::from_micros(100));
/// With samples this far apart we may run on the CPU of the target: less would leave too little of it.
const SHORTEST_SHARED_PERIOD: Duration = Duration::from_micros(100);
/// How long the lines of native code are waited for when a process is gone, and when the recording is over.
const WAIT_FOR_LINES: Duration = Duration::from_millis(500);
const WAIT_AT_END: Duration = Duration::from_secs(10);
/// Between two refreshes of thread names and progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What ended a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The time was over.
    Duration,
    /// The caller asked to stop.
    Interrupted,
    /// The processes exited.
    Exited,
    /// What is left are processes without a readable Python; why.
    Lost(String),
}

/// How a recording stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// Since its start.
    pub elapsed: Duration,
    /// Samples in the profile.
    pub samples: u64,
    /// Ticks on which at least one process was read.
    pub ticks: u64,
    /// Slots of the clock that went by without a sample.
    pub missed: u64,
    /// Threads' samples of which nothing could be read.
    pub lost: u64,
    /// Processes that are being read.
    pub processes: usize,
}

/// A finished recording.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// What was recorded.
    pub profile: Profile,
    /// What ended it.
    pub ending: Ending,
    /// Ticks on which at least one process was read.
    pub ticks: u64,
    /// The process that spent the most CPU time in threads that were not sampled, if it is one that spent most of its
    /// own there.
    pub unsampled: Option<Unsampled>,
    /// The kernel has taken the samples of threads that ran, of some processes at least.
    pub is_from_kernel: bool,
    /// Things worth telling about, such as a target that could not be stopped.
    pub notes: Vec<String>,
}

/// What the caller of [`record`] is asked some times a second: it may look at the profile so far, and says whether to
/// go on.
pub(crate) type Watch<'watch> = dyn FnMut(&Progress, &mut Profile) -> bool + 'watch;

/// Records processes until something ends it.
pub(crate) fn record(roots: Roots, finder: &mut Finder, options: &RecordOptions, watch: &mut Watch<'_>) -> Recorded {
    reserve_memory();
    Recorder::new(roots, options).run(finder, watch, None)
}

/// The same in pieces; what is returned has the last one no more.
pub(crate) fn record_in_intervals(
    roots: Roots,
    finder: &mut Finder,
    options: &RecordOptions,
    watch: &mut Watch<'_>,
    intervals: &mut Intervals<'_>,
) -> Recorded {
    reserve_memory();
    Recorder::new(roots, options).run(finder, watch, Some(intervals))
}

/// Reads processes into a profile; when, its user says.
pub(super) struct Recorder<'options> {
    pub(super) options: &'options RecordOptions,
    pub(super) profile: Profile,
    pub(super) members: Vec<Member>,
    children: Children,
    /// Where all processes of the machine are recorded.
    host: Option<Host>,
    setup: Setup,
    pub(super) ticks: u64,
    /// When the last tick was, whether or not anything could be read, µs since the start.
    last_tick_us: Option<u64>,
    unobserved: Unobserved,
    gil: GilSums,
    gc: GcSums,
    /// The next look at what interpreters have counted of collections.
    gc_due: Option<Instant>,
    pub(super) unread: Unread,
    tracers_due: Option<Instant>,
    has_raised_limit: bool,
    pub(super) has_condensed: bool,
    /// Of the processes that are gone.
    unsampled: Option<Unsampled>,
    kernel: Option<KernelSampling>,
    /// The threads of a member that wait, where the kernel sees those that run.
    waiting: Moment,
    pub(super) notes: Vec<String>,
}

impl<'options> Recorder<'options> {
    pub(super) fn new(roots: Roots, options: &'options RecordOptions) -> Self {
        let Roots { processes, orphans } = roots;
        let mut profile = Profile::new(options.keep);
        let mut notes = Vec::new();
        if options.pausing != Pausing::Never {
            notes.extend(processes.iter().filter_map(why_not_pausable));
        }
        let metadata = &mut profile.metadata;
        if let Some(first) = processes.first() {
            metadata.command = command_line(first);
            metadata.pid = first.pid().unsigned_abs();
        }
        let begun_at = SystemTime::now();
        metadata.start_unix_us = begun_at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, micros);
        metadata.rate_asked = f64::from(options.rate);
        metadata.filters = Filters {
            gil_only: options.filter.gil_only,
            gil_wait: options.filter.gil_wait,
            idle: options.filter.idle,
            native: options.native.frames,
            subprocesses: options.processes.subprocesses,
            below: options.filter.below.as_ref().map(|below| below.text().to_owned()).unwrap_or_default(),
        };
        metadata.recorder = env!("CARGO_PKG_VERSION").to_owned();
        metadata.platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
        let host = options.processes.host.then(Host::search).and_then(|search| {
            search.inspect_err(|error| notes.push(format!("cannot look for processes: {error}"))).ok()
        });
        let members: Vec<Member> = processes.into_iter().map(|process| Member::new(process, true)).collect();
        Self {
            options,
            profile,
            children: Children::new(&members, orphans),
            members,
            host,
            setup: Setup {
                start: Instant::now(),
                merge: options.processes.merge,
                frames: options.frames,
                native: options.native,
                native_idle: options.filter.idle,
            },
            ticks: 0,
            last_tick_us: None,
            unobserved: Unobserved::default(),
            gil: GilSums::default(),
            gc: GcSums::default(),
            gc_due: None,
            unread: Unread::default(),
            tracers_due: None,
            has_raised_limit: false,
            has_condensed: false,
            unsampled: None,
            kernel: KernelSampling::new(options),
            waiting: Moment::default(),
            notes,
        }
    }

    fn run(
        mut self,
        finder: &mut Finder,
        watch: &mut Watch<'_>,
        mut intervals: Option<&mut Intervals<'_>>,
    ) -> Recorded {
        // So that the first tick finds something to read.
        self.meet(finder);
        self.start_kernel();
        let start = self.setup.start;
        let mut deadline = Instant::now();
        let mut clock = Clock::new(self.tick_rate(), deadline);
        let mut progress_due = start;
        let mut meet_due = start;
        let meet_every = if self.options.processes.subprocesses { MEET_EVERY.0 } else { MEET_EVERY.1 };
        sharpen_sleep();
        let ending = loop {
            let now = Instant::now();
            let end = self.options.duration.map(|duration| start + duration);
            if end.is_some_and(|end| now >= end) {
                break Ending::Duration;
            }
            if let Some(reason) = self.out_of_memory().or_else(|| self.kernel_failure()) {
                break Ending::Lost(reason);
            }
            if now >= progress_due || self.options.end.load(Ordering::Relaxed) {
                progress_due = now + PROGRESS_EVERY;
                self.describe();
                self.bound_profile();
                let progress = Progress {
                    elapsed: now - start,
                    samples: self.profile.metadata.counts.taken,
                    ticks: self.ticks,
                    missed: clock.missed(),
                    lost: self.profile.metadata.counts.lost,
                    processes: self.members.iter().filter(|member| member.sampler.is_some()).count(),
                };
                if !watch(&progress, &mut self.profile) {
                    break Ending::Interrupted;
                }
                if let Some(intervals) = intervals.as_deref_mut()
                    && intervals.are_due(now, self.profile.totals().is_empty())
                {
                    self.end_interval(intervals);
                }
            }
            let mut settled = if now < deadline {
                !self.wait(end.map_or(deadline, |end| end.min(deadline)).saturating_duration_since(now), &clock)
            } else {
                let had_begun = self.ticks > 0;
                let all_read = self.tick(&mut clock);
                // Who waits for the recording to have begun is told by the first that has read something.
                if !had_begun && self.ticks > 0 {
                    progress_due = now;
                }
                self.meet_kernel();
                self.retime(&mut clock);
                deadline = clock.next_deadline(Instant::now());
                all_read
            };
            settled &= self.members.iter().all(|member| member.sampler.is_some());
            if settled && now < meet_due {
                continue;
            }
            meet_due = now + meet_every;
            self.meet(finder);
            self.meet_kernel();
            if let Some(ending) = self.is_over() {
                break ending;
            }
        };
        // Where we came too late for the last sample, what the threads did until now would be in none.
        if !matches!(ending, Ending::Exited | Ending::Lost(_)) && Instant::now() >= deadline + clock.period() {
            self.tick(&mut clock);
        }
        while release_pending() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.put_waiting(WAIT_AT_END);
        self.look_at_collections();
        if !self.all_from_kernel() {
            self.note_unobserved(clock.period());
        }
        self.describe();
        self.end_kernel();
        for member in &self.members {
            if let Some(trouble) = member.sampler.as_ref().and_then(|sampler| sampler.trouble().pause.clone()) {
                self.notes.push(format!("some samples could not be made sure of: {trouble}"));
                break;
            }
        }
        let unsampled = self.members.iter_mut().filter_map(Member::unsampled).chain(self.unsampled);
        let unsampled = unsampled.max_by_key(|unsampled| unsampled.time);
        self.notes.extend(self.unread.lines());
        if let Some(intervals) = intervals {
            self.end_interval(intervals);
        }
        let is_from_kernel = self.kernel.is_some_and(|kernel| kernel.taken > 0);
        Recorded { profile: self.profile, ending, ticks: self.ticks, unsampled, is_from_kernel, notes: self.notes }
    }

    /// Waits for the time, or for the end of the only process; whether that has exited.
    pub(super) fn wait(&mut self, wait: Duration, clock: &Clock) -> bool {
        if self.kernel_samples() {
            return self.wait_for_kernel(wait.min(LONGEST_SLEEP));
        }
        // A thread that stops later than it was waited for is not to stand still until the next sample.
        let wait = if release_pending() > 0 { wait.min(PENDING_SLEEP) } else { wait };
        let is_shared = clock.period() >= SHORTEST_SHARED_PERIOD;
        if wait < if is_shared { SHORTEST_SLEEP.0 } else { SHORTEST_SLEEP.1 } {
            let end = Instant::now() + wait;
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            return false;
        }
        let longest =
            if self.options.processes.subprocesses || self.members.iter().any(|member| member.sampler.is_none()) {
                LONGEST_SLEEP_WITH_CHILDREN
            } else {
                LONGEST_SLEEP
            };
        let wait = wait.min(longest);
        match &self.members[..] {
            [only] if wait >= WORTH_WATCHING => only.process.wait_for_exit(wait),
            _ => {
                std::thread::sleep(wait);
                false
            }
        }
    }

    /// Asks the interpreters for what they have collected since the last time.
    fn look_at_collections(&mut self) {
        let started_ns = monotonic_time().unwrap_or_default().saturating_sub(self.setup.start.elapsed()).as_nanos();
        let time_us = |ns: i64| u64::try_from((i128::from(ns) - started_ns.cast_signed()) / 1000).ok();
        for member in self.members.iter().filter(|member| member.visit == Visit::Look) {
            let (Some(sampler), Some(builder)) = (&member.sampler, &member.builder) else { continue };
            let process = builder.process();
            for run in self.gc.look(sampler) {
                let (Some(start_us), Some(end_us)) = (time_us(run.begun), time_us(run.stopped)) else { continue };
                let (generation, collected) = (Some(run.generation), run.collected);
                self.profile.add_collection(Collection { process, start_us, end_us, generation, collected });
            }
        }
    }

    /// Takes note of the time since the last tick, if that is longer than a sample can stand for.
    fn note_unobserved(&mut self, period: Duration) {
        if let Some(last_us) = self.last_tick_us {
            let now_us = micros(self.setup.start.elapsed());
            self.unobserved.weight_us(last_us, now_us, longest_weight_us(period));
        }
    }

    /// Lets processes come and go, and looks for interpreters where there is none yet.
    pub(super) fn meet(&mut self, finder: &mut Finder) {
        let elapsed_us = micros(self.setup.start.elapsed());
        // Before it is looked for: by then what a process that has exited leaves is another's.
        let have_exited = Process::have_exited(&self.members.iter().map(|member| &member.process).collect::<Vec<_>>());
        for (member, has_exited) in self.members.iter_mut().zip(have_exited) {
            member.has_exited = has_exited;
        }
        if self.members.len() > 1 && self.members.iter().any(|member| member.has_exited) {
            self.take_from_kernel();
        }
        if self.options.processes.subprocesses {
            let arrived = self.children.arrived(&self.members);
            self.members.extend(arrived);
        }
        self.meet_host();
        if self.members.len() > 1 && !std::mem::replace(&mut self.has_raised_limit, true) {
            raise_descriptor_limit();
        }
        for member in &mut self.members {
            member.look(finder, &mut self.profile, &self.setup, &mut self.unread);
        }
        if self.options.processes.adopt
            && !self.options.processes.subprocesses
            && self.members.iter().all(Member::runs_no_python)
        {
            let arrived = self.children.arrived(&self.members);
            self.members.extend(arrived);
        } else if !self.options.processes.subprocesses {
            self.children.collect_orphans();
        }
        let is_host = self.host.is_some();
        let several = self.members.len() > 1 || is_host;
        let Self { host, profile, unsampled, options, .. } = self;
        let filter = &options.filter;
        self.members.retain_mut(|member| {
            // One that runs another program now is a candidate again.
            let leaves = several && member.has_exited || is_host && member.runs_no_python();
            if leaves {
                member.put_waiting(profile, filter, WAIT_FOR_LINES);
                *unsampled = unsampled.iter().copied().chain(member.unsampled()).max_by_key(|unsampled| unsampled.time);
                member.leave(profile, elapsed_us);
                host.iter().for_each(|host| host.leave(member.process.pid()));
            }
            !leaves
        });
    }

    /// Takes in the processes of the machine that have come to run Python.
    fn meet_host(&mut self) {
        let Some(host) = &self.host else { return };
        for (process, attached) in host.arrived(&mut self.unread) {
            let mut member = Member::new(process, true);
            member.attach(attached, &mut self.profile, &self.setup);
            self.members.push(member);
        }
    }

    /// Begins the profile anew, with the processes that are read now and without samples; what it says of itself stays.
    /// The one before.
    pub(super) fn begin_anew(&mut self) -> Profile {
        self.put_waiting(Duration::ZERO);
        let before = std::mem::replace(&mut self.profile, Profile::new(self.options.keep));
        self.profile.metadata = before.metadata.clone();
        self.gil.clear();
        self.gc.clear();
        for member in &mut self.members {
            if let Some(builder) = &mut member.builder {
                builder.move_to(&mut self.profile, &before);
            }
            // Code that is gone leaves here, too.
            if let Some(sampler) = &mut member.sampler {
                sampler.forget_codes();
                member.moment.clear();
                member.glances.forget_look();
            }
            member.forget_left();
        }
        before
    }

    /// Puts the samples into the profile that wait for the lines of their native code, for which is waited so long at
    /// most.
    pub(super) fn put_waiting(&mut self, limit: Duration) {
        for member in &mut self.members {
            member.put_waiting(&mut self.profile, &self.options.filter, limit);
        }
    }

    /// What has ended the recording, if anything has.
    pub(super) fn is_over(&self) -> Option<Ending> {
        if self.host.is_some() {
            return None;
        }
        if self.members.iter().all(|member| member.has_exited) {
            return Some(Ending::Exited);
        }
        // What is left of them when those that were given have exited, and runs no Python, may go on for ever.
        let is_other =
            |member: &Member| !member.is_root && member.runs_no_python() && member.searched_for() > PATIENCE_STARTED;
        if self.members.iter().all(|member| member.has_exited || is_other(member)) {
            return Some(Ending::Exited);
        }
        let lost =
            |member: &Member| member.sampler.is_none() && member.searched_for() > self.options.processes.patience;
        if self.members.iter().all(lost) {
            let reason = self.members.iter().find_map(|member| member.missing.clone()).unwrap_or_default();
            return Some(Ending::Lost(reason));
        }
        None
    }

    /// Brings what the profile says of itself up to date.
    pub(super) fn describe(&mut self) {
        if self.options.pausing != Pausing::Never && self.tracers_due.is_none_or(|due| Instant::now() >= due) {
            self.tracers_due = Some(Instant::now() + LOOK_FOR_TRACERS_EVERY);
            for member in self.members.iter_mut().filter(|member| member.was_looked_at) {
                member.is_held = why_not_pausable(&member.process).is_some();
            }
        }
        for member in &mut self.members {
            if let (Some(sampler), Some(builder)) = (&member.sampler, &member.builder) {
                member.cpu_time.look(&member.process);
                builder.name_threads(&mut self.profile, sampler, &member.moment);
            }
        }
        let elapsed = self.setup.start.elapsed();
        let (gil, gc, rate_held) = (self.gil.facts(&self.profile), self.gc.facts(&self.profile), self.rate_held());
        let metadata = &mut self.profile.metadata;
        (metadata.gil, metadata.gc) = (gil, gc);
        metadata.duration_us = micros(elapsed);
        metadata.unobserved_us = self.unobserved.sum_us();
        metadata.rate_held = rate_held;
    }
}

/// Why a process that could otherwise be stopped for a read will not be, if so.
pub(crate) fn why_not_pausable(process: &Process) -> Option<String> {
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
