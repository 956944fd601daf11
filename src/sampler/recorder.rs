//! Records processes: ticks, samples, a profile; through pauses, execs, children and the end of it all.

mod kernel_sources;
mod kernel_ticks;
mod looked_on;
mod off_cpu;
mod report;
mod run;
mod tick_rate;
mod ticks;

use std::time::{Duration, Instant, SystemTime};

pub(crate) use kernel_ticks::HIGHEST_RATE;
use kernel_ticks::KernelSampling;
use looked_on::Pace;
pub(super) use looked_on::is_gap;
use report::Report;

use super::attach::{Finder, PATIENCE_STARTED};
use super::blocked_threads::OffCpuSums;
use super::clock::Clock;
use super::cpu_time::Unsampled;
use super::glances::Visit;
use super::interpreter_sums::InterpreterSums;
use super::machine_processes::Host;
use super::members::{Member, Roots, Setup};
use super::moment::Pausing;
use super::new_processes::Arrivals;
use super::record_options::{Intervals, RecordOptions};
use super::title::command_line;
use super::unobserved::{Unobserved, longest_weight_us};
use crate::process::{Process, can_trace_all, monotonic_time, release_pending, reserve_memory};
use crate::profile::{Collection, Filters, Metadata, Profile};

/// Between two looks at whether to stop, at most.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);
/// The same where the kernel samples the only process, and its end ends the sleep: until the next tick then.
const LONGEST_SLEEP_ALONE: Duration = Duration::from_millis(250);
/// The same while children are looked for.
const LONGEST_SLEEP_WITH_CHILDREN: Duration = Duration::from_millis(10);
/// In a wait as long as this the end of the process is waited for too; in a shorter one the next sample notices it soon
/// enough, and a plain sleep is cheaper.
const WORTH_WATCHING: Duration = Duration::from_millis(20);
/// The longest sleep while a thread that we have asked to stop has not done so yet.
const PENDING_SLEEP: Duration = Duration::from_millis(1);
/// Between two looks at whether processes may be stopped for a read.
const LOOK_FOR_TRACERS_EVERY: Duration = Duration::from_secs(1);
/// A wait as short as this is spent looking at the clock: a sleep would take longer. At high rates one that takes
/// somewhat longer costs samples.
const SHORTEST_SLEEP: (Duration, Duration) = (Duration::from_micros(10), Duration::from_micros(100));
/// With samples this far apart we may run on the CPU of the target: less would leave too little of it.
const SHORTEST_SHARED_PERIOD: Duration = Duration::from_micros(100);
/// How long the lines of native code are waited for when a process is gone.
const WAIT_FOR_LINES: Duration = Duration::from_millis(500);

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
    /// Where the kernel has taken the samples of threads that ran, of some processes at least: how many of these are
    /// waits for a CPU.
    pub kernel_waits: Option<u64>,
    /// What there was of blocks, where they were asked for.
    pub off_cpu: Option<OffCpuSums>,
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
    pub(super) arrivals: Arrivals,
    setup: Setup,
    pace: Pace,
    pub(super) ticks: u64,
    unobserved: Unobserved,
    pub(super) sums: InterpreterSums,
    tracers_due: Option<Instant>,
    kernel: Option<KernelSampling>,
    pub(super) report: Report,
}

impl<'options> Recorder<'options> {
    pub(super) fn new(roots: Roots, options: &'options RecordOptions) -> Self {
        let Roots { processes, orphans } = roots;
        let mut profile = Profile::new(options.keep);
        let mut report = Report::default();
        if options.pausing != Pausing::Never {
            processes.iter().filter_map(why_not_pausable).for_each(|reason| report.note(reason));
        }
        describe_recording(&mut profile.metadata, processes.first(), options);
        let host = options.processes.host.then(Host::search).and_then(|search| {
            search.inspect_err(|error| report.note(format!("cannot look for processes: {error}"))).ok()
        });
        let members: Vec<Member> = processes.into_iter().map(|process| Member::new(process, true)).collect();
        Self {
            options,
            profile,
            arrivals: Arrivals::new(&members, orphans, host),
            members,
            setup: Setup {
                start: Instant::now(),
                merge: options.processes.merge,
                frames: options.frames,
                native: options.native,
                native_idle: options.filter.idle,
                spares_new: options.pausing != Pausing::Never && !can_trace_all(),
            },
            pace: Pace::new(options.rate),
            ticks: 0,
            unobserved: Unobserved::default(),
            sums: InterpreterSums::default(),
            tracers_due: None,
            kernel: KernelSampling::new(options, options.rate),
            report,
        }
    }

    /// Waits for the time, or for the end of the only process; whether that has exited.
    pub(super) fn wait(&mut self, wait: Duration, clock: &Clock) -> bool {
        if self.kernel_samples() {
            let is_read_alone = matches!(&self.members[..], [only] if only.sampler.is_some());
            let is_watched = is_read_alone && !self.options.processes.subprocesses;
            return self.wait_for_kernel(wait.min(if is_watched { LONGEST_SLEEP_ALONE } else { self.longest_sleep() }));
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
        let wait = wait.min(self.longest_sleep());
        match &self.members[..] {
            [only] if wait >= WORTH_WATCHING => only.process.wait_for_exit(wait),
            _ => {
                std::thread::sleep(wait);
                false
            }
        }
    }

    /// After so long there may be something that is not to wait.
    fn longest_sleep(&self) -> Duration {
        if self.options.processes.subprocesses || self.members.iter().any(|member| member.sampler.is_none()) {
            LONGEST_SLEEP_WITH_CHILDREN
        } else {
            LONGEST_SLEEP
        }
    }

    /// Asks interpreters for what they have collected since the last time: those whose processes are looked at, or, at
    /// the end, all.
    fn look_at_collections(&mut self, is_end: bool) {
        let started_ns = monotonic_time().unwrap_or_default().saturating_sub(self.setup.start.elapsed()).as_nanos();
        let time_us = |ns: i64| u64::try_from((i128::from(ns) - started_ns.cast_signed()) / 1000).ok();
        for member in self.members.iter().filter(|member| is_end || member.visits.next == Visit::Look) {
            let (Some(sampler), Some(builder)) = (&member.sampler, &member.builder) else { continue };
            let process = builder.process();
            for run in self.sums.collections(sampler) {
                let (Some(start_us), Some(end_us)) = (time_us(run.begun), time_us(run.stopped)) else { continue };
                let (generation, collected) = (Some(run.generation), run.collected);
                self.profile.add_collection(Collection { process, start_us, end_us, generation, collected });
            }
        }
    }

    /// Takes note of the time since the last tick, if that is longer than a sample can stand for.
    fn note_unobserved(&mut self, period: Duration) {
        self.unobserved.add_until(micros(self.setup.start.elapsed()), longest_weight_us(period));
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
            self.meet_below();
        }
        self.meet_host();
        self.arrivals.make_room(&self.members);
        for member in &mut self.members {
            member.look(finder, &mut self.profile, &self.setup, &mut self.arrivals.unread);
        }
        if !self.options.processes.subprocesses {
            if self.options.processes.adopt && self.members.iter().all(Member::runs_no_python) {
                self.meet_below();
            } else {
                self.arrivals.collect_orphans();
            }
        }
        self.part(elapsed_us);
    }

    /// Takes in the processes below the members that have come.
    fn meet_below(&mut self) {
        let arrived = self.arrivals.below(&self.members);
        self.members.extend(arrived);
    }

    /// Takes in the processes of the machine that have come to run Python.
    fn meet_host(&mut self) {
        for (process, attached) in self.arrivals.of_host() {
            let mut member = Member::new(process, true);
            member.attach(attached, &mut self.profile, &self.setup);
            self.members.push(member);
        }
    }

    /// Lets members go of which nothing more is to come.
    fn part(&mut self, elapsed_us: u64) {
        let is_host = self.arrivals.are_of_host();
        let several = self.members.len() > 1 || is_host;
        let Self { arrivals, profile, report, options, .. } = self;
        self.members.retain_mut(|member| {
            // One that runs another program now is a candidate again.
            let leaves = several && member.has_exited || is_host && member.runs_no_python();
            if leaves {
                member.put_waiting(profile, &options.filter, WAIT_FOR_LINES);
                if options.off_cpu.is_none() {
                    report.add_unsampled(member.unsampled(options.rate));
                }
                member.leave(profile, elapsed_us);
                arrivals.leave(member);
            }
            !leaves
        });
    }

    /// Begins the profile anew, with the processes that are read now and without samples; what it says of itself stays.
    /// The one before.
    pub(super) fn begin_anew(&mut self) -> Profile {
        if self.options.off_cpu.is_some() {
            self.take_from_kernel();
            self.cut_blocks(true);
        }
        self.put_waiting(Duration::ZERO);
        let before = std::mem::replace(&mut self.profile, Profile::new(self.options.keep));
        self.profile.metadata = before.metadata.clone();
        self.sums.clear();
        for member in &mut self.members {
            if let Some(builder) = &mut member.builder {
                builder.move_to(&mut self.profile, &before);
            }
            // Code that is gone leaves here, too.
            if let Some(sampler) = &mut member.sampler {
                sampler.forget_codes();
                member.moment.clear();
                member.visits.glances.forget_look();
            }
            member.forget_left();
        }
        // Stacks of threads that sleep on are taken again while they do.
        if self.options.off_cpu.is_some() {
            for index in 0..self.members.len() {
                self.visit(index, Duration::ZERO, false);
            }
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
        if self.arrivals.are_of_host() {
            return None;
        }
        if self.members.iter().all(|member| member.has_exited) {
            return Some(Ending::Exited);
        }
        // What is left of them when those that were given have exited, and runs no Python, may go on for ever.
        let is_other =
            |member: &Member| !member.is_root && member.runs_no_python() && member.search.age() > PATIENCE_STARTED;
        if self.members.iter().all(|member| member.has_exited || is_other(member)) {
            return Some(Ending::Exited);
        }
        if self.members.iter().all(|member| member.is_without_reader_for(self.options.processes.patience)) {
            let reason = self.members.iter().find_map(|member| member.search.missing()).unwrap_or_default();
            return Some(Ending::Lost(reason.to_owned()));
        }
        None
    }

    /// Brings what the profile says of itself up to date.
    pub(super) fn describe(&mut self) {
        // Who holds a process matters only to who would stop it.
        let may_pause = self.options.pausing != Pausing::Never && !self.only_takes();
        if may_pause && self.tracers_due.is_none_or(|due| Instant::now() >= due) {
            self.tracers_due = Some(Instant::now() + LOOK_FOR_TRACERS_EVERY);
            for member in &mut self.members {
                member.is_held = why_not_pausable(&member.process).is_some();
            }
        }
        for member in &mut self.members {
            if let (Some(sampler), Some(builder)) = (&member.sampler, &member.builder) {
                member.cpu_time.look_when_due(&member.process);
                builder.name_threads(&mut self.profile, sampler, &member.moment);
            }
        }
        let elapsed = self.setup.start.elapsed();
        let ((gil, gc), rate_held) = (self.sums.facts(&self.profile), self.rate_held());
        let metadata = &mut self.profile.metadata;
        (metadata.gil, metadata.gc) = (gil, gc);
        metadata.duration_us = micros(elapsed);
        metadata.unobserved_us = self.unobserved.sum_us();
        metadata.rate_held = rate_held;
    }
}

/// Takes down how a recording that begins now is made, and of what; `first` is the process that was given first.
fn describe_recording(metadata: &mut Metadata, first: Option<&Process>, options: &RecordOptions) {
    if let Some(first) = first {
        metadata.command = command_line(first);
        metadata.pid = first.pid().unsigned_abs();
    }
    metadata.start_unix_us = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, micros);
    metadata.rate_asked = f64::from(options.rate);
    metadata.filters = Filters {
        gil_only: options.filter.gil_only,
        gil_wait: options.filter.gil_wait,
        off_cpu: options.off_cpu.is_some(),
        idle: options.filter.idle,
        native: options.native.frames,
        subprocesses: options.processes.subprocesses,
        below: options.filter.below.as_ref().map(|below| below.text().to_owned()).unwrap_or_default(),
    };
    metadata.recorder = env!("CARGO_PKG_VERSION").to_owned();
    metadata.platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
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
