//! Sitting beside a thread: on its CPU, so that it stands still while we read and need not be stopped.
//!
//! A thread that moves too fast to be read from another CPU would have to be stopped for every sample. Where we run on its CPU we take that from it
//! for the time of the sample anyway, and its stack proves itself. It costs the thread about as much as a stop, and ourselves half of that.
//!
//! Copies of such a thread that are equal by chance would show what never was, so each time it is looked whether it really was on our CPU; otherwise it is
//! stopped for this sample.

use std::collections::HashSet;

use super::{Held, Spy};
use crate::memory::{Memory, Snapshot, Unit, Verdict};
use crate::process::{OwnCpus, ThreadId};

/// For so many samples we sit beside a thread, at first and at most, before we look whether it moves so fast still.
const STAY: (u64, u64) = (512, 8192);
/// For so many samples it is not tried again after it has not helped.
const GIVE_UP: u64 = 1024;

/// Beside whom we sit.
#[derive(Debug, Default)]
pub(super) struct Beside {
    may_sit: bool,
    own: Option<OwnCpus>,
    with: Option<Neighbour>,
    /// Those beside whom it helped to sit: they move too fast whenever they run.
    fast: HashSet<Unit>,
    sample: u64,
    stay: u64,
    /// Until when we stay where we are, with a neighbour or without.
    until: u64,
    /// The threads that ran in this sample.
    running: Vec<Neighbour>,
}

#[derive(Debug, Clone, Copy)]
struct Neighbour {
    unit: Unit,
    os_id: ThreadId,
    /// Its stack could not be proven in this sample.
    has_moved: bool,
}

impl Beside {
    /// Looks for a better place for the next sample. `cpu_of` tells where a thread is, if its CPU can be shared.
    fn choose<M: Memory>(&mut self, snapshot: &mut Snapshot<M>, cpu_of: impl Fn(ThreadId) -> Option<usize>) {
        self.sample += 1;
        if !self.may_sit {
            if self.with.is_some() {
                self.until = self.sample;
            }
            self.leave();
            return;
        }
        let is_over = self.sample >= self.until;
        if let Some(with) = self.with {
            let now = self.running.iter().find(|thread| thread.unit == with.unit).copied();
            if snapshot.is_unsteady(with.unit) {
                self.fast.clear();
                self.until = self.sample + GIVE_UP;
                self.leave();
                return;
            }
            if is_over {
                // From another CPU.
                snapshot.judge_anew(with.unit);
                self.fast.remove(&with.unit);
                self.until = self.sample;
                self.leave();
                return;
            }
            if let Some(now) = now {
                if now.has_moved {
                    self.sit(now, cpu_of(now.os_id));
                }
                return;
            }
        } else if !is_over {
            return;
        }
        let is_fast = |thread: &&Neighbour| {
            snapshot.is_unsteady(thread.unit) || thread.has_moved && self.fast.contains(&thread.unit)
        };
        let Some(next) = self.running.iter().find(is_fast).copied() else { return };
        snapshot.trust(next.unit);
        let was_calm_for_long = self.sample.saturating_sub(self.until) > STAY.0;
        self.stay = if was_calm_for_long { STAY.0 } else { (self.stay * 2).clamp(STAY.0, STAY.1) };
        self.fast.insert(next.unit);
        self.until = self.sample + self.stay;
        self.sit(next, cpu_of(next.os_id));
    }

    fn sit(&mut self, neighbour: Neighbour, cpu: Option<usize>) {
        if self.own.is_none() {
            self.own = OwnCpus::of_this_thread().inspect_err(|error| log::debug!("CPUs: {error}")).ok();
        }
        let sits = self.own.as_mut().zip(cpu).is_some_and(|(own, cpu)| own.stay_on(cpu));
        self.with = sits.then_some(neighbour);
        if !sits {
            self.until = self.sample + GIVE_UP;
            self.leave();
        }
    }

    /// Whether the thread of a unit moves so fast that it helped to sit beside it.
    pub(super) fn is_fast(&self, unit: Unit) -> bool {
        self.fast.contains(&unit)
    }

    fn leave(&mut self) {
        self.with = None;
        if let Some(own) = &mut self.own {
            own.go_free();
        }
    }
}

impl Spy {
    /// Whether we may run on the CPU of a thread that moves fast, from the next sample on. It is of use to one reader of the calling thread only, and not
    /// when samples follow each other without a rest.
    pub fn may_sit_beside(&mut self, may_sit: bool) {
        self.beside.may_sit = may_sit;
    }

    /// Takes back the proof of running threads that move fast and were not on our CPU, and of those that have not shown yet how fast they move.
    pub(super) fn doubt_runners(&mut self, held: &Held) {
        let here = self.beside.own.as_ref().and_then(OwnCpus::chosen);
        for thread in self.stacks.threads.iter_mut().filter(|thread| !thread.rests) {
            if thread.verdict != Verdict::Proven || held.included(thread.address) {
                continue;
            }
            let os_id = self.threads.last_os_id(thread.address);
            let runs = os_id.and_then(|os_id| self.looks.get(&os_id)).is_none_or(|look| look.is_running);
            if !runs {
                continue;
            }
            let is_fast = self.beside.fast.contains(&thread.address);
            if !is_fast && !self.snapshot.is_on_probation(thread.address) {
                continue;
            }
            // Where it stood still because we were in its place, nothing was found out about it, but what was read is true.
            let here = if is_fast { here } else { OwnCpus::current() };
            let is_beside = here.is_some() && os_id.and_then(|os_id| self.states.cpu(os_id)) == here;
            if !is_beside {
                self.snapshot.has_passed(thread.address);
                thread.verdict = Verdict::Moved;
            }
        }
    }

    /// Takes note of which threads run, and which of them have moved while they were read.
    pub(super) fn note_running(&mut self) {
        self.beside.running.clear();
        if !self.beside.may_sit {
            return;
        }
        for thread in self.stacks.threads.iter().filter(|thread| !thread.rests) {
            let Some(os_id) = self.threads.last_os_id(thread.address) else { continue };
            if self.looks.get(&os_id).is_some_and(|look| look.is_running) {
                let has_moved = thread.verdict == Verdict::Moved;
                self.beside.running.push(Neighbour { unit: thread.address, os_id, has_moved });
            }
        }
    }

    /// Goes where the next sample can be taken best.
    pub(super) fn choose_place(&mut self) {
        let Self { beside, snapshot, process, .. } = self;
        beside.choose(snapshot, |os_id| process.shareable_cpu(os_id));
    }
}
