//! The processes of a recording: those asked for and, if wanted, all below them, as they come, change and go.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use super::attach::{Finder, Missing};
use super::builder::{Builder, enter_process};
use super::moment::Moment;
use super::spy::Spy;
use crate::process::{ImageIdentity, Process, ProcessError};
use crate::profile::Profile;
use crate::python::locate::LocateError;

/// Between two looks for new children.
const CHILDREN_EVERY: Duration = Duration::from_millis(10);
/// Between two looks for children when the kernel says that nothing was started.
const CHILDREN_AT_LEAST_EVERY: Duration = Duration::from_millis(200);
/// Between two looks for the interpreter of a process that may be about to show one.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long after its start or exec a process is looked at that often.
const EAGER: Duration = Duration::from_secs(2);
/// Between two looks at a process that shows none: it may `exec` one.
const LOOK_RARELY_EVERY: Duration = Duration::from_millis(100);

/// A process of the recording.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) process: Process,
    /// Its reader, when it runs a Python that can be read.
    pub(super) spy: Option<Spy>,
    /// What of it is in the profile; from its first reader on.
    pub(super) builder: Option<Builder>,
    pub(super) moment: Moment,
    /// When its last sample was taken, or its reader made.
    pub(super) last_tick: Instant,
    pub(super) unreadable_since: Option<Instant>,
    /// Somebody else holds it (SIGSTOP, a tracer): it is read without being stopped.
    pub(super) is_held: bool,
    seen_at: Instant,
    look_at: Instant,
    /// The image that was found to be no Python, not to be looked at in vain again.
    not_python: Option<ImageIdentity>,
    /// Why it has no reader.
    pub(super) missing: Option<String>,
}

impl Member {
    pub(super) fn new(process: Process) -> Self {
        let now = Instant::now();
        Self {
            process,
            spy: None,
            builder: None,
            moment: Moment::default(),
            last_tick: now,
            unreadable_since: None,
            is_held: false,
            seen_at: now,
            look_at: now,
            not_python: None,
            missing: None,
        }
    }

    /// The reader is for a program that is no more.
    pub(super) fn lose_program(&mut self) {
        let now = Instant::now();
        self.spy = None;
        self.unreadable_since = None;
        self.seen_at = now;
        self.look_at = now;
        self.not_python = None;
    }

    /// Whether it was looked at and found to run something else than Python.
    pub(super) fn runs_no_python(&self) -> bool {
        self.spy.is_none() && self.not_python.is_some()
    }

    /// How long it has been without a reader.
    pub(super) fn searched_for(&self) -> Duration {
        self.seen_at.elapsed()
    }

    /// Makes its reader if it is time to look and there is an interpreter.
    pub(super) fn look(&mut self, finder: &mut Finder, profile: &mut Profile, setup: &Setup) {
        let now = Instant::now();
        if self.spy.is_some() || now < self.look_at {
            return;
        }
        let every = if self.seen_at.elapsed() < EAGER { LOOK_EVERY } else { LOOK_RARELY_EVERY };
        self.look_at = now + every;
        if let Some(image) = self.not_python
            && self.seen_at.elapsed() > EAGER
        {
            if image.is_still_in(&self.process.memory()) {
                return;
            }
            // Another program: it is looked at as a new one is.
            self.lose_program();
        }
        match finder.look(&self.process) {
            Ok(attached) => {
                let mut spy = Spy::new(self.process.clone(), attached);
                if setup.native {
                    spy.read_native(setup.native_idle);
                }
                let start_us = u64::try_from(setup.start.elapsed().as_micros()).unwrap_or(u64::MAX);
                let mut builder = self.builder.take().unwrap_or_else(|| {
                    let process = enter_process(profile, &self.process, setup.merge, start_us);
                    Builder::new(profile, process, setup.columns)
                });
                builder.begin_program(profile, &spy);
                self.builder = Some(builder);
                self.spy = Some(spy);
                self.not_python = None;
                self.last_tick = Instant::now();
                self.missing = None;
            }
            Err(missing) => {
                self.missing = Some(reason(&missing));
                if matches!(missing, Missing::NotPython | Missing::ThirtyTwoBit) {
                    self.not_python = self.process.image_identity().ok();
                } else {
                    self.not_python = None;
                }
            }
        }
    }
}

fn reason(missing: &Missing) -> String {
    match missing {
        Missing::NotPython => "it runs no Python".to_owned(),
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
    pub(super) columns: bool,
    /// Native frames are read.
    pub(super) native: bool,
    /// Those of idle threads, too.
    pub(super) native_idle: bool,
}

/// Finds the children of members.
#[derive(Debug)]
pub(super) struct Children {
    looked_at: Instant,
    forks: ForkCount,
    /// Start times of what is known by pid, so that a number used again is a new process.
    known: HashMap<i32, u64>,
}

impl Children {
    pub(super) fn new(members: &[Member]) -> Self {
        let known = members.iter().map(|member| (member.process.pid(), member.process.start_ticks())).collect();
        let now = Instant::now();
        Self { looked_at: now.checked_sub(CHILDREN_AT_LEAST_EVERY).unwrap_or(now), forks: ForkCount::open(), known }
    }

    /// Processes below the members that have come since the last look, if it is time for one.
    pub(super) fn arrived(&mut self, members: &[Member]) -> Vec<Member> {
        let since = self.looked_at.elapsed();
        if since < CHILDREN_EVERY || (since < CHILDREN_AT_LEAST_EVERY && !self.forks.moved()) {
            return Vec::new();
        }
        self.looked_at = Instant::now();
        let mut new: Vec<Member> = Vec::new();
        for member in members {
            self.children_of(&member.process, &mut new);
        }
        // What is below the new ones, too.
        let mut next = 0;
        while let Some(parent) = new.get(next).map(|member| member.process.clone()) {
            self.children_of(&parent, &mut new);
            next += 1;
        }
        new
    }

    fn children_of(&mut self, parent: &Process, new: &mut Vec<Member>) {
        for child in parent.children() {
            let process = match Process::observe(child.pid) {
                Ok(process) => process,
                Err(ProcessError::NoSuchProcess(_) | ProcessError::Exited(_)) => continue,
                Err(error) => {
                    log::debug!("{error}");
                    continue;
                }
            };
            if self.known.insert(child.pid, process.start_ticks()) != Some(process.start_ticks()) {
                log::debug!("process {} has come below process {}", child.pid, parent.pid());
                new.push(Member::new(process));
            }
        }
    }
}

/// The kernel's count of processes and threads started since boot (`processes` in `/proc/stat`): while it stands still, there are no new children.
#[derive(Debug)]
struct ForkCount {
    file: Option<File>,
    last: Option<u64>,
}

impl ForkCount {
    fn open() -> Self {
        Self { file: File::open("/proc/stat").ok(), last: None }
    }

    /// Whether it has moved since the last time, or cannot be told.
    fn moved(&mut self) -> bool {
        let Ok(count) = self.read() else { return true };
        self.last.replace(count) != Some(count)
    }

    fn read(&mut self) -> io::Result<u64> {
        use std::io::{Read, Seek, SeekFrom};
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.seek(SeekFrom::Start(0))?;
        let mut text = String::new();
        file.take(1 << 20).read_to_string(&mut text)?;
        let line = text.lines().find_map(|line| line.strip_prefix("processes "));
        line.and_then(|number| number.trim().parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}
