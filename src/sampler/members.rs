//! The processes of a recording: those asked for and, if wanted, all below them, as they come, change and go.

use std::time::{Duration, Instant};

use super::attach::{Attached, Finder};
use super::builder::{Builder, enter_process};
use super::cpu_time::{CpuTime, Unsampled};
use super::event_loops::EventLoops;
use super::filter::Filter;
use super::glances::Visits;
use super::interpreter_search::InterpreterSearch;
use super::kernel_member::KernelPart;
use super::moment::Moment;
use super::process_sampler::ProcessSampler;
use super::record_options::{FramesShown, NativeWanted};
use super::unread::Unread;
use crate::process::{Orphans, Process, ProcessCpuClock};
use crate::profile::Profile;

/// A process that has come below another is not stopped before it has used so much CPU time where a stop may cost it
/// rights: between a fork and the program that is executed then it uses less.
const SPARED_FOR: Duration = Duration::from_millis(100);

/// What is to be sampled.
#[derive(Debug)]
pub(crate) struct Roots {
    /// The processes given.
    pub processes: Vec<Process>,
    /// What the program among them leaves behind, if we started it: its daemons.
    pub orphans: Option<Orphans>,
}

/// A process of the recording.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) process: Process,
    /// It was given, not found below another.
    pub(super) is_root: bool,
    /// At the last look. What it leaves behind has been there since.
    pub(super) has_exited: bool,
    /// Somebody else holds it (SIGSTOP, a tracer): it is read without being stopped.
    pub(super) is_held: bool,
    pub(super) search: InterpreterSearch,
    /// Its reader, when it runs a Python that can be read.
    pub(super) sampler: Option<ProcessSampler>,
    /// What its threads were doing when they were read last.
    pub(super) moment: Moment,
    pub(super) visits: Visits,
    /// What of it is in the profile; from its first reader on.
    pub(super) builder: Option<Builder>,
    pub(super) cpu_time: CpuTime,
    pub(super) kernel: KernelPart,
    pub(super) loops: EventLoops,
}

impl Member {
    /// A process that was given (`is_root`) or that has come below one.
    pub(super) fn new(process: Process, is_root: bool) -> Self {
        Self {
            process,
            is_root,
            has_exited: false,
            is_held: false,
            search: InterpreterSearch::new(),
            sampler: None,
            moment: Moment::default(),
            visits: Visits::new(Instant::now()),
            builder: None,
            cpu_time: CpuTime::default(),
            kernel: KernelPart::default(),
            loops: EventLoops::default(),
        }
    }

    /// The reader is for a program that is no more.
    pub(super) fn lose_program(&mut self) {
        self.sampler = None;
        self.search = InterpreterSearch::new();
        self.visits.begin_program(Instant::now());
        self.loops.begin_program();
        self.kernel = KernelPart::default();
    }

    /// Forgets what its threads were doing when they left their CPUs: the numbers of code mean others from now on.
    pub(super) fn forget_left(&mut self) {
        if let Some(kernel) = self.kernel.member_mut() {
            kernel.forget_stacks();
        }
    }

    /// Whether it was looked at and found to run something else than Python, or has ended without having shown any.
    pub(super) fn runs_no_python(&self) -> bool {
        self.sampler.is_none() && (self.search.found_no_python() || self.has_exited && self.builder.is_none())
    }

    /// The CPU time of its threads that were not sampled, if it is the most; `rate` is that of sampling, in Hz.
    pub(super) fn unsampled(&mut self, rate: u32) -> Option<Unsampled> {
        self.cpu_time.look(&self.process);
        if self.kernel.samples() {
            self.cpu_time.observe_all(u64::from(1_000_000 / rate.max(1)));
        }
        self.cpu_time.unsampled(self.process.pid())
    }

    /// Ends it in the profile: it is gone.
    pub(super) fn leave(&self, profile: &mut Profile, elapsed_us: u64) {
        if let Some(builder) = &self.builder {
            if let Some(sampler) = &self.sampler {
                builder.name_threads(profile, sampler, &self.moment);
            }
            builder.end(profile, elapsed_us);
        }
    }

    /// Puts its samples into the profile that wait for the lines of native code, for which is waited so long at most.
    pub(super) fn put_waiting(&mut self, profile: &mut Profile, filter: &Filter, limit: Duration) {
        if let (Some(sampler), Some(builder)) = (&mut self.sampler, &mut self.builder) {
            sampler.wait_for_lines(limit);
            builder.put_waiting(profile, filter, sampler, Duration::ZERO);
        }
    }

    /// It may be about to execute a program, and was not asked for by itself.
    pub(super) fn is_new(&mut self) -> bool {
        if self.is_root || !self.visits.is_new {
            return false;
        }
        let used = ProcessCpuClock::of(self.process.pid()).and_then(ProcessCpuClock::time);
        self.visits.is_new = used.is_some_and(|used| used < SPARED_FOR);
        self.visits.is_new
    }

    /// It has had no reader for longer than that.
    pub(super) fn is_without_reader_for(&self, patience: Duration) -> bool {
        self.sampler.is_none() && self.search.age() > patience
    }

    /// Makes its reader if it is time to look and there is an interpreter.
    pub(super) fn look(&mut self, finder: &mut Finder, profile: &mut Profile, setup: &Setup, unread: &mut Unread) {
        if self.sampler.is_some() || self.has_exited {
            return;
        }
        if let Some(attached) = self.search.look(&self.process, finder, unread) {
            self.attach(attached, profile, setup);
        }
    }

    /// Makes its reader, for the interpreter that was found.
    pub(super) fn attach(&mut self, attached: Attached, profile: &mut Profile, setup: &Setup) {
        let mut sampler = ProcessSampler::new(self.process.clone(), attached);
        if setup.native.frames {
            sampler.read_native(setup.native_idle);
        }
        if setup.native.threads {
            sampler.read_native_threads();
        }
        let start_us = u64::try_from(setup.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut builder = self.builder.take().unwrap_or_else(|| {
            let process = enter_process(profile, &self.process, setup.merge, start_us);
            Builder::new(process, setup.frames)
        });
        builder.begin_program(profile, &sampler);
        self.builder = Some(builder);
        self.sampler = Some(sampler);
        self.cpu_time.look(&self.process);
        self.visits.last_tick = Instant::now();
    }
}

/// What is the same for all members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) start: Instant,
    pub(super) merge: bool,
    pub(super) frames: FramesShown,
    pub(super) native: NativeWanted,
    /// Native frames of idle threads are read, too.
    pub(super) native_idle: bool,
    /// [New](Member::is_new) processes are not stopped: a set-uid program gets no rights by its file if whoever
    /// executes it is traced just then, unless the tracer has `CAP_SYS_PTRACE` (kernel: security/commoncap.c).
    pub(super) spares_new: bool,
}
