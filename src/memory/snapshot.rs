//! One sample's bytes in one system call: a cache over a [`Memory`] that learns what a sample reads.
//!
//! A walk reads as if memory were local. What it touches is remembered in lines of 64 bytes; neighbouring lines become
//! spans, and [`Snapshot::fetch_planned`] fetches all the spans of the next sample in one vectored read. A read that no
//! span covers goes to the target at once (a *miss*), a page or more, and is learned.
//!
//! # Evidence
//! A target that runs changes while it is read. Of each walk the snapshot tells what its bytes have shown
//! ([`Evidence`]): whether two copies of its chain, with its head fetched between them, were equal; whether it was
//! equal to the previous sample's; whether something had to be read later. [`Snapshot::revalidate`] looks once more at
//! all that walks depended on.
//!
//! Not its job: what to fetch how often, and what to believe ([`ReadPlan`] tells the one, the caller knows the other);
//! and anything about CPython.

use std::collections::HashMap;

use super::{Memory, ReadError, Reader, Request, Unit};

mod fetch;
mod prefetch;
mod revalidate;
mod values;

use fetch::Misses;
use prefetch::Prefetch;
use values::{Dependency, Walk, WalkRecord};

/// Bytes in a line, the grain of learning; divides a page, so that a line never reaches into an unmapped page.
const LINE: u64 = 64;
/// The least page size of the systems that we run on: a whole page can be read if any byte of it can.
const PAGE: u64 = 4096;

/// How often the spans of a unit are fetched in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// Not at all: nothing will be asked of it.
    None,
    /// Once.
    One,
    /// Once, or twice where the previous sample has no copy to compare with.
    OneIfKnown,
    /// The chain twice, and the head once, between the two copies of the chain.
    Two,
}

/// What is fetched for a sample.
#[derive(Clone, Copy)]
pub struct ReadPlan<'plan> {
    /// How often to fetch the spans of each unit.
    pub copies_of: &'plan dyn Fn(Unit) -> Copies,
    /// The units that are not fetched at all are those of the plan before.
    pub leaves_out_the_same: bool,
    /// Nothing in the target changes while what is fetched is walked.
    pub is_stopped: bool,
}

/// What the bytes of a walk have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// What the copies of one call say of the chain.
    pub copies: CopiesFound,
    /// The chain and the head are equal to those of the fetch before.
    pub is_as_before: bool,
    /// Something of it was read later than the rest, while the target ran.
    pub has_missed: bool,
}

/// What the copies of one call say of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopiesFound {
    /// There are not two of all of it, or not with the head between them.
    Single,
    /// Both are equal.
    Equal,
    /// A value differs.
    Torn,
}

/// An 8-byte word that is read after everything else in the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastWord {
    /// Where it is, in the target.
    pub address: u64,
    /// What it was; `None` where it could not be read.
    pub value: Option<u64>,
}

impl LastWord {
    /// A word at `address` that has not been read.
    pub fn new(address: u64) -> Self {
        Self { address, value: None }
    }
}

/// A prefetching view of `memory` that tells what its bytes have shown. See the module's text.
#[derive(Debug)]
pub struct Snapshot<M> {
    memory: M,
    /// Counts the samples, from far above 0, so that "never" can be written as 0 and is long ago.
    sample: u32,
    prefetch: Prefetch,
    /// This sample's bytes, their second copy, and the previous sample's.
    buffers: Buffers,
    misses: Misses,
    walk: Walk,
    dependencies: Vec<Dependency>,
    walks: HashMap<Unit, WalkRecord, foldhash::fast::RandomState>,
    stopped: Stopped,
    requests: Vec<Request<'static>>,
}

/// The bytes of all spans, in the order of the read.
#[derive(Debug, Default)]
struct Buffers {
    now: Vec<u8>,
    again: Vec<u8>,
    before: Vec<u8>,
}

/// What stands still while it is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Nothing,
    /// One unit; what was fetched for others is older than the stop.
    Unit(Unit),
    Everything,
}

impl<M: Memory> Snapshot<M> {
    /// A snapshot that has learned nothing yet.
    pub fn new(memory: M) -> Self {
        Self {
            memory,
            sample: 1000,
            prefetch: Prefetch::default(),
            buffers: Buffers::default(),
            misses: Misses::default(),
            walk: Walk::default(),
            dependencies: Vec::new(),
            walks: HashMap::default(),
            stopped: Stopped::Nothing,
            requests: Vec::new(),
        }
    }

    /// The memory below, for reads that are no part of a sample.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Begins a sample: fetches what the last samples touched, by `plan`, and after it `last`.
    pub fn fetch_planned(&mut self, plan: &ReadPlan<'_>, last: &mut [LastWord]) {
        self.sample += 1;
        self.stopped = if plan.is_stopped { Stopped::Everything } else { Stopped::Nothing };
        self.dependencies.clear();
        if self.prefetch.is_out_of_date(self.sample) || !self.misses.touched.is_empty() {
            self.lay_out(plan);
        }
        self.misses.forget_bytes();
        std::mem::swap(&mut self.buffers.now, &mut self.buffers.before);
        self.prefetch.follow_plan(plan);
        self.fetch(|_| true, last);
        self.prefetch.note_unreadable();
    }

    /// Fetches the spans of one unit anew for another walk of it in this sample, and after them `last`. While the unit
    /// `is_stopped`, one copy is fetched, and its values that lie in spans of others are read when they are asked for.
    pub fn fetch_unit(&mut self, unit: Unit, is_stopped: bool, last: &mut [LastWord]) {
        self.stopped = if is_stopped { Stopped::Unit(unit) } else { Stopped::Nothing };
        // A page that an earlier miss brought is older.
        self.misses.forget_bytes();
        for span in self.prefetch.spans.iter_mut().filter(|span| span.unit == unit) {
            span.copies = if is_stopped { Copies::One } else { Copies::Two };
            span.is_twice = !is_stopped && !span.is_head;
        }
        self.fetch(|span| span.unit == unit, last);
    }

    /// The unit of [`Snapshot::fetch_unit`] runs again.
    pub fn note_resumed(&mut self) {
        self.stopped = Stopped::Nothing;
    }

    /// Whether nothing in the target changes while this sample is walked.
    pub fn is_stopped(&self) -> bool {
        self.stopped == Stopped::Everything
    }

    /// Tells which owners of lines are part of whose unit from the next sample on, until the next call: what changes as
    /// a whole is fetched together. `pairs` are an owner and the unit each, sorted.
    pub fn join_owners(&mut self, pairs: &[(Unit, Unit)]) {
        self.prefetch.join_owners(pairs);
    }

    /// What the last walk of a unit in this sample has shown; `None` when there was none.
    pub fn evidence_of(&self, unit: Unit) -> Option<Evidence> {
        self.walks.get(&unit).filter(|record| record.sample == self.sample).map(|record| record.evidence)
    }
}

/// The same allocation, empty, for requests of another lifetime.
fn recycle<'old, 'new>(mut requests: Vec<Request<'old>>) -> Vec<Request<'new>> {
    requests.clear();
    requests.into_iter().map(|_| unreachable!("the requests were cleared")).collect()
}

#[cfg(test)]
mod tests;
