//! Being pinned to the CPU of a thread, so that it stands still while we read and need not be stopped.
//!
//! A thread that moves too fast to be read from another CPU would have to be stopped for every sample. Where we run on
//! its CPU we take that from it for the time of the sample anyway, and its stack is consistent. It costs the thread
//! about as much as a stop, and ourselves half of that.
//!
//! Copies of such a thread that are equal by chance would show what never was, so each time it is asked whether it
//! really was on our CPU; otherwise it is stopped for this sample.
//!
//! Where the thread's own memory tells its CPU ([`CpuWord`]), one copy is enough. The word is read last, in the same
//! call. The thread cannot have run on another CPU before, for then the word would name that, and would name ours again
//! only after it had run here. And it cannot have run here, for we did, as the count of our own switches shows.

use std::cell::OnceCell;

use super::cpu_word::CpuWord;
use super::records::ThreadRecords;
use crate::memory::{LastWord, Memory, Unit};
use crate::process::{OwnCpus, Process, ThreadId};

/// For so many samples we stay pinned at first before it is found out whether the thread is fast still.
const SHORTEST_STAY: u64 = 512;
/// And for so many at most, after it was found fast again and again.
const LONGEST_STAY: u64 = 8192;
/// For so many samples it is not tried again after it has not helped.
const GIVE_UP: u64 = 1024;
/// It has not helped when so many of the last 16 samples could not be made sure of.
const TORN_LIMIT_OF_16: u32 = 8;

/// Which thread we are pinned to, if any.
#[derive(Debug, Default)]
pub(in crate::sampler) struct Pinning {
    may_pin: bool,
    own: Option<OwnCpus>,
    to: Option<RunningThread>,
    sample: u64,
    stay: u64,
    /// Until when we stay where we are, pinned or not.
    until: u64,
    /// The threads that ran in this sample.
    running: Vec<RunningThread>,
    /// A bit for each of the last samples while pinned, the latest lowest: set where the thread was torn.
    torn: u16,
    words: CpuWords,
    /// Who was on our CPU in the last sample, by its own word too.
    settled: Option<Unit>,
}

/// Where threads tell on which CPU they are.
#[derive(Debug, Default)]
struct CpuWords {
    /// Asked when it is first of use; `None` in it where they do not tell.
    word: OnceCell<Option<CpuWord>>,
    /// The thread that was asked for last.
    of: Option<ThreadWord>,
}

/// Where one thread tells its CPU.
#[derive(Debug, Clone, Copy)]
struct ThreadWord {
    /// What `pthread_self` says in it: not the thread state, which the next thread may get in the same place.
    pthread: u64,
    /// Where the word is, in the target, if it tells.
    place: Option<u64>,
}

/// A thread that ran in a sample.
#[derive(Debug, Clone, Copy)]
pub(in crate::sampler) struct RunningThread {
    /// Its thread state, in the target.
    pub(in crate::sampler) unit: Unit,
    pub(in crate::sampler) os_id: ThreadId,
    /// What `pthread_self` says there.
    pub(in crate::sampler) pthread: u64,
    /// Its stack could not be made sure of in this sample.
    pub(in crate::sampler) is_torn: bool,
}

/// What a read has shown of the CPU of a thread.
#[derive(Debug, Clone, Copy)]
pub(in crate::sampler) struct CpuQuestion<'read> {
    /// Its thread state, in the target.
    pub(in crate::sampler) unit: Unit,
    /// What `pthread_self` says there.
    pub(in crate::sampler) pthread: u64,
    /// It was read once only.
    pub(in crate::sampler) is_single: bool,
    /// Something of it was read later than its word.
    pub(in crate::sampler) has_missed: bool,
    /// The words that were read last.
    pub(in crate::sampler) last: &'read [LastWord],
}

impl Pinning {
    /// Whether we may run on the CPU of a thread from the next sample on.
    pub(in crate::sampler) fn allow(&mut self, may_pin: bool) {
        self.may_pin = may_pin;
    }

    /// The thread that will stand still in this sample because we are in its place.
    pub(in crate::sampler) fn pinned(&self) -> Option<Unit> {
        self.settled.filter(|settled| self.to.is_some_and(|to| to.unit == *settled))
    }

    /// The word to read last in this sample, if any.
    pub(in crate::sampler) fn last_word(&self) -> Option<LastWord> {
        self.to.and(self.words.of).and_then(|word| word.place).map(LastWord::new)
    }

    /// What is read from now on is read while nobody else runs on our CPU, if it is found afterwards that we have not
    /// given it up.
    pub(in crate::sampler) fn watch_own_cpu(&mut self) {
        self.settled = None;
        if self.to.is_some()
            && let Some(own) = &mut self.own
        {
            own.watch();
        }
    }

    /// Whether a fast thread was on our CPU while it was read; if it was read once only, whether it cannot have run.
    /// `cpu_of` tells its CPU by the system.
    pub(in crate::sampler) fn was_on_our_cpu(
        &mut self,
        question: &CpuQuestion<'_>,
        memory: &impl Memory,
        cpu_of: impl FnOnce() -> Option<usize>,
    ) -> bool {
        let Some(own) = &self.own else { return false };
        let Some(here) = own.chosen() else { return false };
        let word = self.words.of.filter(|word| word.pthread == question.pthread).and_then(|word| word.place);
        let read_last = word.and_then(|place| question.last.iter().find(|last| last.address == place)?.value);
        let says_so = |value: Option<u32>| value.and_then(CpuWord::cpu) == Some(here);
        // What was read later than the word may be of a time when the thread was elsewhere.
        let says_here = says_so(read_last.map(low_half))
            && (!question.has_missed || says_so(word.and_then(|place| memory.read_u32(place).ok())));
        let is_sure = says_here && own.has_kept_running();
        // The system may show a thread on our CPU that was moved there only after the read; its word says where it ran.
        let is_likely = || (says_here || read_last.is_none()) && cpu_of() == Some(here);
        let was_here = is_sure || !question.is_single && is_likely();
        if is_sure {
            self.settled = Some(question.unit);
        }
        was_here
    }

    /// No thread is known yet to have run in this sample.
    pub(in crate::sampler) fn clear_running(&mut self) {
        self.running.clear();
    }

    /// A thread ran in this sample.
    pub(in crate::sampler) fn note_running(&mut self, thread: RunningThread) {
        if self.may_pin {
            self.running.push(thread);
        }
    }

    /// Goes where the next sample can be taken best.
    pub(in crate::sampler) fn choose(&mut self, records: &mut ThreadRecords, process: &Process, memory: &impl Memory) {
        self.sample += 1;
        self.choose_thread(records, process);
        if let Some(to) = self.to
            && self.words.of.is_none_or(|word| word.pthread != to.pthread)
        {
            let word = *self.words.word.get_or_init(|| CpuWord::find(process));
            let place = word.and_then(|word| word.address(memory, to.pthread));
            log::debug!("thread {} tells its CPU at {place:x?}", to.os_id);
            self.words.of = Some(ThreadWord { pthread: to.pthread, place });
        }
    }

    fn choose_thread(&mut self, records: &mut ThreadRecords, process: &Process) {
        if !self.may_pin {
            if self.to.is_some() {
                self.until = self.sample;
            }
            self.unpin();
            return;
        }
        let is_over = self.sample >= self.until;
        let stays_as_it_is = match self.to {
            Some(to) => self.goes_on_with(to, is_over, records, process),
            None => !is_over,
        };
        if stays_as_it_is {
            return;
        }
        let is_fast = |thread: &&RunningThread| {
            let history = records.of(thread.unit).map(|record| &record.history);
            history.is_some_and(|history| !history.is_steady() || thread.is_torn && history.is_fast())
        };
        let Some(next) = self.running.iter().find(is_fast).copied() else { return };
        records.entry(next.unit).history.record_pinning();
        let was_free_for_long = self.sample.saturating_sub(self.until) > SHORTEST_STAY;
        self.stay = if was_free_for_long { SHORTEST_STAY } else { (self.stay * 2).clamp(SHORTEST_STAY, LONGEST_STAY) };
        self.until = self.sample + self.stay;
        self.torn = 0;
        self.pin(next, process);
    }

    /// Whether there is nothing better than to stay with the thread that we are pinned to, or to go.
    fn goes_on_with(
        &mut self,
        to: RunningThread,
        is_over: bool,
        records: &mut ThreadRecords,
        process: &Process,
    ) -> bool {
        let now = self.running.iter().find(|thread| thread.unit == to.unit).copied();
        if let Some(now) = now {
            self.torn = self.torn << 1 | u16::from(now.is_torn);
        }
        if records.is_unsteady(to.unit) || self.torn.count_ones() >= TORN_LIMIT_OF_16 {
            // Nothing but our presence spoke for them.
            records.distrust_fast_threads();
            self.until = self.sample + GIVE_UP;
            self.unpin();
            return true;
        }
        if is_over {
            // From another CPU.
            records.entry(to.unit).history.start_probation();
            self.until = self.sample;
            self.unpin();
            return true;
        }
        if let Some(now) = now.filter(|now| now.is_torn) {
            self.pin(now, process);
        }
        now.is_some()
    }

    fn pin(&mut self, thread: RunningThread, process: &Process) {
        if self.own.is_none() {
            self.own = OwnCpus::of_this_thread().inspect_err(|error| log::debug!("CPUs: {error}")).ok();
        }
        let cpu = process.shareable_cpu(thread.os_id);
        let is_pinned = self.own.as_mut().zip(cpu).is_some_and(|(own, cpu)| own.stay_on(cpu));
        self.to = is_pinned.then_some(thread);
        if !is_pinned {
            self.until = self.sample + GIVE_UP;
            self.unpin();
        }
    }

    fn unpin(&mut self) {
        self.to = None;
        self.settled = None;
        if let Some(own) = &mut self.own {
            own.go_free();
        }
    }
}

/// The first four bytes of a word, in memory's order.
fn low_half(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}
