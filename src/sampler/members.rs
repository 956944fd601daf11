//! The processes of a recording: those asked for and, if wanted, all below them, as they come, change and go.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::attach::{Attached, Finder, Missing};
use super::builder::{Builder, enter_process};
use super::cpu_time::{CpuTime, Unsampled};
use super::filter::Filter;
use super::fork_count::ForkCount;
use super::glances::{Glance, Glances, Visit};
use super::kernel_member::KernelMember;
use super::looks::Looks;
use super::loop_lag::LoopLags;
use super::moment::Moment;
use super::process_sampler::ProcessSampler;
use super::record_options::{FramesShown, NativeWanted};
use super::task_groups::TaskGroups;
use super::unread::Unread;
use crate::process::{ChildProcess, Orphans, Process, ProcessError};
use crate::profile::Profile;
use crate::python::locate::LocateError;

/// Between two looks for new children.
const CHILDREN_EVERY: Duration = Duration::from_millis(10);
/// Between two looks for children when the kernel says that nothing was started.
const CHILDREN_AT_LEAST_EVERY: Duration = Duration::from_millis(200);

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
    /// Its reader, when it runs a Python that can be read.
    pub(super) sampler: Option<ProcessSampler>,
    /// What of it is in the profile; from its first reader on.
    pub(super) builder: Option<Builder>,
    pub(super) moment: Moment,
    pub(super) cpu_time: CpuTime,
    /// What is done with it at the next tick.
    pub(super) visit: Visit,
    pub(super) glances: Glances,
    /// The last one, where there are any.
    pub(super) glance: Option<Glance>,
    /// When its last sample was taken, or its reader made.
    pub(super) last_tick: Instant,
    pub(super) unreadable_since: Option<Instant>,
    /// Its threads were looked at since what the profile says of it was brought up to date.
    pub(super) was_looked_at: bool,
    /// Somebody else holds it (SIGSTOP, a tracer): it is read without being stopped.
    pub(super) is_held: bool,
    looks: Looks,
    /// Where the kernel samples its threads.
    pub(super) kernel: Option<KernelMember>,
    /// The kernel cannot sample the program that it runs.
    pub(super) is_not_for_kernel: bool,
    /// How late its event loops are, where that is wanted.
    pub(super) loop_lags: LoopLags,
    /// Its tasks, where they are wanted.
    pub(super) task_groups: TaskGroups,
    /// Why it has no reader.
    pub(super) missing: Option<String>,
}

impl Member {
    /// A process that was given (`is_root`) or that has come below one.
    pub(super) fn new(process: Process, is_root: bool) -> Self {
        let now = Instant::now();
        Self {
            process,
            is_root,
            has_exited: false,
            sampler: None,
            builder: None,
            moment: Moment::default(),
            cpu_time: CpuTime::default(),
            visit: Visit::Look,
            glances: Glances::new(now),
            glance: None,
            last_tick: now,
            unreadable_since: None,
            was_looked_at: true,
            is_held: false,
            looks: Looks::new(),
            kernel: None,
            is_not_for_kernel: false,
            loop_lags: LoopLags::default(),
            task_groups: TaskGroups::default(),
            missing: None,
        }
    }

    /// The reader is for a program that is no more.
    pub(super) fn lose_program(&mut self) {
        self.sampler = None;
        self.unreadable_since = None;
        (self.visit, self.glances) = (Visit::Look, Glances::new(Instant::now()));
        self.looks = Looks::new();
        self.task_groups = TaskGroups::default();
        (self.kernel, self.is_not_for_kernel) = (None, false);
    }

    /// Forgets what its threads were doing when they left their CPUs: the numbers of code mean others from now on.
    pub(super) fn forget_left(&mut self) {
        if let Some(kernel) = &mut self.kernel {
            kernel.left.clear();
        }
    }

    /// Whether it was looked at and found to run something else than Python, or has ended without having shown any.
    pub(super) fn runs_no_python(&self) -> bool {
        self.sampler.is_none() && (self.looks.found_no_python() || self.has_exited && self.builder.is_none())
    }

    /// The CPU time of its threads that were not sampled, if it is the most.
    pub(super) fn unsampled(&mut self) -> Option<Unsampled> {
        self.cpu_time.look(&self.process);
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

    /// How long it has been without a reader.
    pub(super) fn searched_for(&self) -> Duration {
        self.looks.age()
    }

    /// Makes its reader if it is time to look and there is an interpreter.
    pub(super) fn look(&mut self, finder: &mut Finder, profile: &mut Profile, setup: &Setup, unread: &mut Unread) {
        if self.sampler.is_some() || self.has_exited {
            return;
        }
        let Some(depth) = self.looks.next(&self.process, finder.may_scan()) else { return };
        match finder.look(&self.process, depth) {
            Ok(attached) => {
                unread.remove(&self.process);
                self.attach(attached, profile, setup);
            }
            Err(missing) => {
                unread.add(&self.process, &missing);
                self.missing = Some(reason(&missing));
                self.looks.found(depth, &missing);
            }
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
        self.last_tick = Instant::now();
        self.missing = None;
    }
}

fn reason(missing: &Missing) -> String {
    match missing {
        Missing::NotPython { .. } => "it runs no Python".to_owned(),
        Missing::ThirtyTwoBit => "it is a 32-bit program".to_owned(),
        Missing::Failed(LocateError::NotReady) => "no interpreter is initialised in it".to_owned(),
        Missing::Failed(error) => error.to_string(),
        Missing::Process(error) => error.to_string(),
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
}

/// Finds the children of members, and what members have left behind.
#[derive(Debug)]
pub(super) struct Children {
    orphans: Option<Orphans>,
    looked_at: Instant,
    forks: ForkCount,
    /// Start times of what is known by pid, so that a number used again is a new process.
    known: HashMap<i32, u64>,
}

impl Children {
    pub(super) fn new(members: &[Member], orphans: Option<Orphans>) -> Self {
        let known = members.iter().map(|member| (member.process.pid(), member.process.start_ticks())).collect();
        let now = Instant::now();
        let looked_at = now.checked_sub(CHILDREN_AT_LEAST_EVERY).unwrap_or(now);
        Self { orphans, looked_at, forks: ForkCount::open(), known }
    }

    /// Processes below the members or left behind by them that have come since the last look, if it is time for one; at
    /// once where all members have exited, as what they have left decides whether it is over.
    pub(super) fn arrived(&mut self, members: &[Member]) -> Vec<Member> {
        let since = self.looked_at.elapsed();
        let all_have_exited = members.iter().all(|member| member.has_exited);
        let is_early = since < CHILDREN_EVERY || (since < CHILDREN_AT_LEAST_EVERY && !self.forks.moved());
        if is_early && !all_have_exited {
            return Vec::new();
        }
        self.looked_at = Instant::now();
        let mut new: Vec<Member> = Vec::new();
        for member in members {
            self.enter(member.process.children(), &mut new);
        }
        self.enter(self.orphans.iter().flat_map(Orphans::living).collect(), &mut new);
        // What is below the new ones, too.
        let mut next = 0;
        while let Some(parent) = new.get(next).map(|member| member.process.clone()) {
            self.enter(parent.children(), &mut new);
            next += 1;
        }
        new
    }

    /// Has what the members leave behind collected when it ends, where it is not followed.
    pub(super) fn collect_orphans(&mut self) {
        if self.looked_at.elapsed() >= CHILDREN_AT_LEAST_EVERY {
            self.looked_at = Instant::now();
            self.orphans.iter().for_each(|orphans| drop(orphans.living()));
        }
    }

    fn enter(&mut self, children: Vec<ChildProcess>, new: &mut Vec<Member>) {
        for child in children {
            let process = match Process::observe(child.pid) {
                Ok(process) => process,
                Err(ProcessError::NoSuchProcess(_) | ProcessError::Exited(_)) => continue,
                Err(error) => {
                    log::debug!("{error}");
                    continue;
                }
            };
            if self.known.insert(child.pid, process.start_ticks()) != Some(process.start_ticks()) {
                log::debug!("process {} has come below process {}", child.pid, child.parent);
                new.push(Member::new(process, false));
            }
        }
    }
}
