//! Glances at processes between looks at their threads: one system call tells whether anything has run.

use std::time::{Duration, Instant};

use crate::process::{Process, ProcessCpuClock};

/// The part of one CPU that looks may take, all processes together, with what their observer makes of them.
const LOOKS_SHARE: f64 = 0.0008;
/// However dear a look is, there is one within this time while anything runs.
const LONGEST_INTERVAL: Duration = Duration::from_secs(8);
/// What rests is put down so often, if nobody wants to see it.
pub(super) const SAME_EVERY: Duration = Duration::from_secs(8);
/// What a look is thought to cost for each thread before any was taken.
const FIRST_COST: Duration = Duration::from_micros(20);
/// A new measurement of that counts for this part.
const NEWEST: f64 = 0.25;

/// What a glance at a process shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glance {
    /// The CPU time that all of its threads have used so far; `None` where the system does not tell.
    pub cpu: Option<Duration>,
    /// Nothing has run since before its threads were looked at last.
    pub is_resting: bool,
    /// Nothing has run since this time, as far as glances can tell: it is that of the first one after the last run.
    pub still_since: Instant,
    /// The time between two looks at its threads that is worth what they cost.
    pub interval: Duration,
}

/// What a member of a recording is done with at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Visit {
    /// Its threads are looked at.
    #[default]
    Look,
    /// Nothing has run in it: what was seen last is taken for what there is.
    Same,
    /// Nothing.
    Left,
}

/// When a process is looked at, and how.
#[derive(Debug)]
pub(super) struct Visits {
    /// What is done with it at the next tick.
    pub(super) next: Visit,
    pub(super) glances: Glances,
    /// The last one, where there are any.
    pub(super) glance: Option<Glance>,
    /// When its last sample was taken, or its reader made.
    pub(super) last_tick: Instant,
    /// It was not yet seen to have used more CPU time than what is about to execute another program.
    pub(super) is_new: bool,
}

impl Visits {
    /// Of a process that is looked at at each tick, until a glance says otherwise.
    pub(super) fn new(now: Instant) -> Self {
        Self { next: Visit::Look, glances: Glances::new(now), glance: None, last_tick: now, is_new: true }
    }

    /// The process runs another program.
    pub(super) fn begin_program(&mut self, now: Instant) {
        (self.next, self.glances) = (Visit::Look, Glances::new(now));
    }

    /// Glances at the process and decides what is done with it at this tick. `interval` is how often its threads may be
    /// looked at; `is_wanted` tells whether they are to be now.
    pub(super) fn glance(
        &mut self,
        process: &Process,
        interval: Duration,
        now: Instant,
        is_wanted: impl FnOnce(&Glance) -> bool,
    ) {
        let glance = self.glances.glance(process, interval, now);
        let is_wanted = is_wanted(&glance);
        self.next = match glance.is_resting {
            false if is_wanted => Visit::Look,
            true if is_wanted || now >= self.last_tick + SAME_EVERY => Visit::Same,
            _ => Visit::Left,
        };
        self.glance = Some(glance);
    }

    /// The threads are to be looked at now. Until when the last look held beyond the last sample, if it did.
    pub(super) fn begin_look(&mut self) -> Option<Instant> {
        self.glances.begin_look().filter(|until| *until > self.last_tick)
    }
}

/// The glances at one process.
#[derive(Debug)]
pub(super) struct Glances {
    clock: Option<ProcessCpuClock>,
    cpu: Option<Duration>,
    /// What the process had used when its threads were looked at last.
    at_look: Option<Duration>,
    still_since: Instant,
    /// When it was last seen that nothing has run since its threads were looked at.
    rested_until: Option<Instant>,
}

impl Glances {
    pub(super) fn new(now: Instant) -> Self {
        Self { clock: None, cpu: None, at_look: None, still_since: now, rested_until: None }
    }

    /// Glances at a process. `interval` is how often its threads may be looked at.
    pub(super) fn glance(&mut self, process: &Process, interval: Duration, now: Instant) -> Glance {
        self.clock = self.clock.or_else(|| ProcessCpuClock::of(process.pid()));
        let cpu = self.clock.and_then(ProcessCpuClock::time);
        if cpu.is_none() || cpu != self.cpu {
            (self.cpu, self.still_since) = (cpu, now);
        }
        let is_resting = cpu.is_some() && cpu == self.at_look;
        if is_resting {
            self.rested_until = Some(now);
        }
        Glance { cpu, is_resting, still_since: self.still_since, interval }
    }

    /// The threads are to be looked at now. Until when the last look held beyond its own time, if it did.
    pub(super) fn begin_look(&mut self) -> Option<Instant> {
        self.at_look = self.cpu;
        self.rested_until.take()
    }

    /// The last look has shown nothing, or what it has shown is not kept.
    pub(super) fn forget_look(&mut self) {
        (self.at_look, self.rested_until) = (None, None);
    }
}

/// How often threads are looked at, by what that has cost so far.
#[derive(Debug)]
pub(super) struct Pace {
    cost_per_thread: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { cost_per_thread: FIRST_COST }
    }

    /// So many threads were looked at, which took so much CPU time.
    pub(super) fn take_in(&mut self, threads: usize, cost: Duration) {
        if let Ok(threads @ 1..) = u32::try_from(threads) {
            // A look that has met much that is new says little of the next one.
            let newest = (cost / threads).min(self.cost_per_thread * 2);
            self.cost_per_thread = self.cost_per_thread.mul_f64(1.0 - NEWEST) + newest.mul_f64(NEWEST);
        }
    }

    /// The time between two looks at each of so many threads.
    pub(super) fn interval(&self, threads: usize) -> Duration {
        let cost = self.cost_per_thread.as_secs_f64() * threads as f64;
        Duration::try_from_secs_f64(cost / LOOKS_SHARE).map_or(LONGEST_INTERVAL, |time| time.min(LONGEST_INTERVAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_as_rare_as_they_are_dear() {
        let mut pace = Pace::new();
        for _ in 0..100 {
            pace.take_in(20, Duration::from_micros(100));
        }
        // 5 µs a thread: so much of a CPU allows 160 threads a second.
        let millis = |threads| pace.interval(threads).as_millis();
        assert!((120..=130).contains(&millis(20)) && (1200..=1300).contains(&millis(200)), "{}", millis(200));
        assert_eq!(pace.interval(1_000_000), LONGEST_INTERVAL);
        pace.take_in(0, Duration::from_secs(1));
        assert_eq!(pace.interval(0), Duration::ZERO);
    }

    #[test]
    fn a_process_rests_while_its_clock_stands_still() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = Process::observe(child.id().cast_signed()).unwrap();
        let mut glances = Glances::new(Instant::now());
        let glance = |glances: &mut Glances| glances.glance(&process, Duration::ZERO, Instant::now());
        while glance(&mut glances).still_since.elapsed() < Duration::from_millis(50) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let before = glance(&mut glances);
        // It was not looked at yet.
        assert!(!before.is_resting && glances.begin_look().is_none());
        let after = glance(&mut glances);
        assert!(after.is_resting && after.still_since == before.still_since);
        assert!(glances.begin_look().is_some() && glances.begin_look().is_none());
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"x").unwrap();
        while glance(&mut glances).is_resting {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(glance(&mut glances).still_since > before.still_since);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
