//! Sitting beside a thread: on its CPU, so that it stands still while we read and need not be stopped.
//!
//! A thread that moves too fast to be read from another CPU would have to be stopped for every sample. Where we run on its CPU we take that from it
//! for the time of the sample anyway, and its stack proves itself. It costs the thread about as much as a stop, and ourselves half of that.
//!
//! Copies of such a thread that are equal by chance would show what never was, so each time it is looked whether it really was on our CPU; otherwise it is
//! stopped for this sample.
//!
//! Where the thread's own memory tells its CPU ([`CpuWord`]), one copy is enough. The word is read last, in the same call. The thread cannot have run on another CPU
//! before, for then the word would name that, and would name ours again only after it had run here. And it cannot have run here, for we did, as the count of our
//! own switches shows.

use std::cell::OnceCell;
use std::collections::HashSet;

use super::cpu_word::CpuWord;
use super::{Held, Spy};
use crate::memory::{Memory, Snapshot, Unit, Verdict};
use crate::process::{OwnCpus, ThreadId};
use crate::python::stack::ThreadStack;

/// For so many samples we sit beside a thread, at first and at most, before we look whether it moves so fast still.
const STAY: (u64, u64) = (512, 8192);
/// For so many samples it is not tried again after it has not helped.
const GIVE_UP: u64 = 1024;
/// It has not helped when so many of the last 16 samples could not be proven.
const IN_VAIN: u32 = 8;

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
    /// A bit for each of the last samples with the neighbour, the latest lowest: set where it could not be proven.
    moved: u16,
    /// How threads tell on which CPU they are, if they do; asked when it is first of use.
    word: OnceCell<Option<CpuWord>>,
    /// What `pthread_self` says in a thread, and where that thread tells its CPU, if anywhere.
    word_of: Option<(u64, Option<u64>)>,
    /// Who was beside us in the last sample, by its own word too.
    settled: Option<Unit>,
}

#[derive(Debug, Clone, Copy)]
struct Neighbour {
    unit: Unit,
    os_id: ThreadId,
    /// What `pthread_self` says there.
    pthread: u64,
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
            if let Some(now) = now {
                self.moved = self.moved << 1 | u16::from(now.has_moved);
            }
            if snapshot.is_unsteady(with.unit) || self.moved.count_ones() >= IN_VAIN {
                // Nothing but our presence spoke for them.
                self.fast.drain().for_each(|unit| snapshot.judge_anew(unit));
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
        self.moved = 0;
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

    /// The unit that is expected to stand still in the next sample because we are in its place.
    pub(super) fn presumed_still(&self) -> Option<Unit> {
        self.settled.filter(|settled| self.with.is_some_and(|with| with.unit == *settled))
    }

    fn leave(&mut self) {
        self.with = None;
        self.settled = None;
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
        let presumed = self.beside.presumed_still();
        self.beside.settled = None;
        for index in 0..self.stacks.threads.len() {
            let thread = self.stacks.threads[index];
            if thread.rests || thread.verdict != Verdict::Proven || held.included(thread.address) {
                continue;
            }
            let is_presumed = presumed == Some(thread.address);
            let os_id = self.threads.os_id(thread.address);
            let runs = os_id.and_then(|os_id| self.looks.get(&os_id)).is_none_or(|look| look.is_running);
            if !runs {
                if is_presumed {
                    // It may have run until a moment ago, which a second look shows now.
                    let (verdicts, _) = self.snapshot.verify(&[thread.address], &[]);
                    self.stacks.threads[index].verdict = verdicts.first().copied().unwrap_or(Verdict::Moved);
                }
                continue;
            }
            let is_fast = self.beside.fast.contains(&thread.address);
            if !is_fast && !self.snapshot.is_on_probation(thread.address) {
                continue;
            }
            let is_beside = if is_fast {
                self.is_beside(&thread, os_id, is_presumed)
            } else {
                // Where it stood still because we were in its place, nothing was found out about it, but what was read is true.
                let here = OwnCpus::current();
                here.is_some() && os_id.and_then(|os_id| self.states.cpu(os_id)) == here
            };
            if !is_beside {
                self.snapshot.has_passed(thread.address);
                self.stacks.threads[index].verdict = Verdict::Moved;
            }
        }
    }

    /// Whether a fast thread was on our CPU while it was read; if it was read once only, whether it has not run.
    fn is_beside(&mut self, thread: &ThreadStack, os_id: Option<ThreadId>, is_presumed: bool) -> bool {
        let Self { beside, snapshot, states, .. } = self;
        let Some(own) = &beside.own else { return false };
        let Some(here) = own.chosen() else { return false };
        // Not by the thread state, which the next thread may get in the same place.
        let word = beside.word_of.filter(|(pthread, _)| *pthread == thread.thread_id).and_then(|(_, place)| place);
        let says_so = |word: Option<u32>| word.and_then(CpuWord::cpu) == Some(here);
        let mut is_sure = word.is_some() && says_so(snapshot.last_word());
        if is_sure && snapshot.has_missed(thread.address) {
            // What was read later may be of a time when it was elsewhere.
            is_sure = says_so(word.and_then(|word| snapshot.memory().read_u32(word).ok()));
        }
        is_sure = is_sure && own.has_kept_running();
        let is_still = if is_presumed { is_sure } else { os_id.and_then(|os_id| states.cpu(os_id)) == Some(here) };
        if is_still && is_sure {
            beside.settled = Some(thread.address);
        }
        if !is_still {
            snapshot.was_not_still(thread.address);
        }
        is_still
    }

    /// What is read from now on is read while nobody else runs on our CPU, if it is found afterwards that we have not given it up.
    pub(super) fn watch_our_cpu(&mut self) {
        if self.beside.with.is_some()
            && let Some(own) = &mut self.beside.own
        {
            own.watch();
        }
    }

    /// Takes note of which threads run, and which of them have moved while they were read.
    pub(super) fn note_running(&mut self) {
        self.beside.running.clear();
        if !self.beside.may_sit {
            return;
        }
        for thread in self.stacks.threads.iter().filter(|thread| !thread.rests) {
            let Some(os_id) = self.threads.os_id(thread.address) else { continue };
            if self.looks.get(&os_id).is_some_and(|look| look.is_running) {
                let has_moved = thread.verdict == Verdict::Moved;
                let pthread = thread.thread_id;
                self.beside.running.push(Neighbour { unit: thread.address, os_id, pthread, has_moved });
            }
        }
    }

    /// Goes where the next sample can be taken best.
    pub(super) fn choose_place(&mut self) {
        let Self { beside, snapshot, process, .. } = self;
        beside.choose(snapshot, |os_id| process.shareable_cpu(os_id));
        if let Some(with) = beside.with
            && beside.word_of.is_none_or(|(pthread, _)| pthread != with.pthread)
        {
            let word = *beside.word.get_or_init(|| CpuWord::find(process));
            let place = word.and_then(|word| word.address(snapshot.memory(), with.pthread));
            log::debug!("thread {} tells its CPU at {place:x?}", with.os_id);
            beside.word_of = Some((with.pthread, place));
        }
        snapshot.read_last(beside.with.and(beside.word_of).and_then(|(_, place)| place));
        snapshot.presume_still(beside.presumed_still());
    }
}
