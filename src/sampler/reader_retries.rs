//! When a process without a reader is looked at again, and how thoroughly.
//!
//! A process may become Python's at any time: it is just starting, it executes another program, or it loads libpython
//! when it first needs one, as PL/Python and `mod_wsgi` do. In a tree of many processes most never will. So a look
//! costs three steps, each seldomer than the one before:
//!
//! 1. A sign that moves with the mappings (two small calls), with pauses that grow with the age of the program.
//! 2. The files that are mapped, when the sign has moved. What a file says is known from then on, so this reads no
//!    memory and mostly no file.
//! 3. A scan of memory, for a program that exports nothing and has a version of Python among its constants, as some
//!    libraries have too.

use std::time::{Duration, Instant};

use super::attach::{Depth, Missing, Suspects};
use crate::process::{MappingsSign, Process};

/// The pause between two looks is this part of the age of the program,
const AGE_PARTS: u32 = 32;
/// but at least
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// and at most this,
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// or this for one of all processes of a machine, which has hundreds that never will,
const LONGEST_PAUSE_ON_HOST: Duration = Duration::from_secs(10);
/// or this where a Python is there that is about to start.
const LONGEST_PAUSE_BEFORE_START: Duration = Duration::from_millis(100);
/// For so long no sign is believed.
const WITHOUT_SIGN: Duration = Duration::from_secs(5);
/// The pause between two scans is the age of the program, within these limits.
const SCAN_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// When to look at one process.
#[derive(Debug)]
pub(super) struct Looks {
    /// When it was first seen or started, or began to run this program or to have a Python.
    since: Instant,
    longest_pause: Duration,
    due: Instant,
    /// Not before this may a sign tell that there is nothing new.
    files_due: Instant,
    scan_due: Instant,
    /// Before the last look at its files.
    sign: Option<MappingsSign>,
    verdict: Verdict,
}

/// What the last look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// There was none, or it told nothing.
    Unknown,
    /// Nothing that is mapped is Python.
    Other,
    /// As before, but for what only a scan could find.
    OtherWithSuspects,
    /// There is a Python that cannot be read yet.
    NotReady,
}

impl Looks {
    /// For a process that is new, or runs another program from now on.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            since: now,
            longest_pause: LONGEST_PAUSE,
            due: now,
            files_due: now,
            scan_due: now,
            sign: None,
            verdict: Verdict::Unknown,
        }
    }

    /// For one of all processes of a machine, started so long ago.
    pub(super) fn on_host(age: Duration) -> Self {
        let fresh = Self::new();
        let since = fresh.since.checked_sub(age).unwrap_or(fresh.since);
        Self { since, longest_pause: LONGEST_PAUSE_ON_HOST, ..fresh }
    }

    /// The process cannot be looked at at all, as one of the kernel's own, or one that is ending.
    pub(super) fn put_off(&mut self) {
        self.due = Instant::now() + self.longest_pause;
    }

    /// When the next look is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// How long the process has been without a reader.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether it was looked at and found to run something else than Python.
    pub(super) fn found_no_python(&self) -> bool {
        matches!(self.verdict, Verdict::Other | Verdict::OtherWithSuspects)
    }

    /// How thoroughly to look now, if it is time to and a sign does not tell that nothing has changed. A scan takes
    /// time, so it waits until `may_scan`.
    pub(super) fn next(&mut self, process: &Process, may_scan: bool) -> Option<Depth> {
        let now = Instant::now();
        if now < self.due {
            return None;
        }
        let longest = if self.verdict == Verdict::NotReady { LONGEST_PAUSE_BEFORE_START } else { self.longest_pause };
        self.due = now + ((now - self.since) / AGE_PARTS).clamp(SHORTEST_PAUSE, longest);
        let sign = process.mappings_sign();
        let before = std::mem::replace(&mut self.sign, sign);
        if let (Some(sign), Some(before)) = (sign, before)
            && !sign.is_of_same_program(&before)
        {
            *self = Self { sign: self.sign, longest_pause: self.longest_pause, ..Self::new() };
        }
        if self.verdict == Verdict::OtherWithSuspects && now >= self.scan_due && may_scan {
            return Some(Depth::Scan);
        }
        if self.found_no_python() && sign.is_some() && sign == before && now < self.files_due {
            return None;
        }
        self.files_due = now + WITHOUT_SIGN;
        Some(Depth::Files)
    }

    /// What a look has found.
    pub(super) fn found(&mut self, depth: Depth, missing: &Missing) {
        let now = Instant::now();
        if depth == Depth::Scan && !matches!(missing, Missing::NotPython { suspects: Suspects::Unknown }) {
            self.scan_due = now + (now - self.since).clamp(SCAN_PAUSE.0, SCAN_PAUSE.1);
        }
        let verdict = match missing {
            Missing::NotPython { suspects: Suspects::None } | Missing::ThirtyTwoBit => Verdict::Other,
            Missing::NotPython { .. } => Verdict::OtherWithSuspects,
            Missing::Failed(_) => Verdict::NotReady,
            Missing::Process(_) => Verdict::Unknown,
        };
        if verdict == Verdict::NotReady && self.found_no_python() {
            // It has loaded one: that will start soon.
            self.since = now;
            self.due = now + SHORTEST_PAUSE;
        }
        self.verdict = verdict;
    }
}
