//! One sample's bytes in one system call: a cache over a [`Memory`] that learns what a sample reads.
//!
//! The walker reads as if memory were local. What it touches is remembered in lines of 64 bytes; neighbouring lines become
//! spans, and [`Snapshot::begin`] fetches all the spans of the next sample in one vectored read. A read that no span covers goes to
//! the target at once (a *miss*), a page or more, and is learned.
//!
//! # Proof
//! A target that runs changes while it is read. Bytes are grouped in *units* (one per thread). A unit's walk has a *head*, which says where its chain
//! begins, and a *chain*. It is *proven* when every value of the chain was seen twice, equal, and the head in between: then the chain was as it was
//! read at the moment of the head, whatever the head was before and afterwards. The two views are, whichever there are:
//! - two copies in the same vectored read, with the head between them, for units that moved lately but are *steady*: those whose copies are mostly equal;
//! - the previous sample's copy, for units at rest whose previous sample was proven;
//! - a second look at the very values ([`Snapshot::verify`]), for the rest.
//!
//! Of a unit that the caller holds, or of which he finds out afterwards that it stood still ([`Snapshot::presume_still`]), one copy is enough.
//!
//! A value that changed and changed back between two views is not noticed. Of a single value that gives a stack that existed just before or after; but a
//! unit that changes in nearly every read, and comes back to the same values, may show equal copies of what never was. Such a unit is never proven;
//! nor is one that changes now and then by a read that took unusually long.
//!
//! Not its job: deciding what to do about a unit that moved, and anything about CPython.

use std::collections::HashMap;
use std::time::Duration;

use super::{Memory, ReadError, Request};

mod fetch;
mod layout;
mod steadiness;
mod still;
mod values;
mod verify;

use layout::Span;
use steadiness::UnitState;
use values::{Dependency, Window};

/// Whose bytes a value is part of: any number that the caller keeps for one thing that changes as a whole, such as a thread.
pub type Unit = u64;

/// The unit of what belongs to no thread.
pub const COMMON: Unit = 0;

/// Bytes in a line, the grain of learning; divides a page, so that a line never reaches into an unmapped page.
const LINE: u64 = 64;
/// The least page size of the systems that we run on: a whole page can be read if any byte of it can.
const PAGE: u64 = 4096;
/// Samples for which a unit that moved is read twice in the same call.
const RESTLESS: u32 = 64;
/// A read that took this many times the usual time may have been interrupted between two ranges.
const SLOW: u32 = 2;
/// Reads over which the usual time is taken, roughly.
const READS: u32 = 16;
/// How far a run of misses in neighbouring pages widens the read, in bytes.
const WIDEST_MISS: u64 = 64 * 1024;
/// Bytes that are read for misses of one sample, at most; only a target that leads us astray has so many.
const MOST_MISSED: usize = 128 * 1024 * 1024;

/// What [`Snapshot::finish_unit`] and [`Snapshot::verify`] say of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that the walk depended on held at one moment.
    Proven,
    /// Nothing contradicts the walk, but something was seen only once: [`Snapshot::verify`] can settle it.
    Open,
    /// A value changed while it was being read.
    Moved,
}

/// What the snapshot did so far: counts since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotStatistics {
    /// Samples begun.
    pub samples: u64,
    /// Values that no prefetched span covered.
    pub misses: u64,
    /// Reads of [`Snapshot::verify`].
    pub verifications: u64,
    /// Bytes prefetched, both copies.
    pub prefetched_bytes: u64,
}

/// A prefetching, self-proving view of `memory`. See the module's text.
#[derive(Debug)]
pub struct Snapshot<M> {
    memory: M,
    /// Sorted by address, disjoint.
    spans: Vec<Span>,
    /// Indices of `spans` in the order of their bytes in the buffers, which is the order of the read.
    order: Vec<u32>,
    /// For each line of the buffers, when it was touched.
    stamps: Vec<Stamp>,
    now: Vec<u8>,
    again: Vec<u8>,
    before: Vec<u8>,
    sample: u32,
    laid_out_at: u32,
    misses: Misses,
    units: Units,
    current: Walk,
    dependencies: Vec<Dependency>,
    /// Everything is held still: no second look is needed.
    frozen: bool,
    /// The one unit that is held still and was fetched for that; what was fetched for others is older.
    frozen_unit: Option<Unit>,
    /// Units that are held still during the whole of this sample.
    held: Vec<Unit>,
    /// The unit that the caller will make sure of himself.
    presumed_still: Option<Unit>,
    /// The word that is read last, and what it was in this sample.
    last_word_at: Option<u64>,
    last_word: Option<u32>,
    /// Units of which nothing will be asked in the next sample, sorted.
    resting: Vec<Unit>,
    /// Owners of lines that are part of another's unit, with that unit.
    joined: Vec<(Unit, Unit)>,
    /// What of `resting` the spans were last marked for; `None` when they are new.
    left_out: Option<Vec<Unit>>,
    requests: Vec<Request<'static>>,
    /// A span could not be read in this sample: it is to go, for it costs a call each time.
    gap: bool,
    /// A chain went through a line that was taken for part of heads only, or other units are joined now.
    reclassed: bool,
    /// How long the read of a sample takes usually, a moving mean; zero where that is not known.
    usual_read: Duration,
    /// The read of this sample took much longer than that.
    slow_read: bool,
    statistics: SnapshotStatistics,
}

type Units = HashMap<Unit, UnitState, foldhash::fast::RandomState>;

#[derive(Debug, Clone, Copy)]
struct Walk {
    unit: Unit,
    /// Who keeps the lines that are learned now: the unit itself, or what is joined to it.
    owner: Unit,
    /// It is at its head still.
    in_head: bool,
    /// All values of the chain so far were equal in both copies of this sample, and the head lies between these.
    same_again: bool,
    /// All values so far were equal to the previous sample's.
    same_before: bool,
    /// A value differs between two copies of this sample.
    torn: bool,
    /// Something was read for it alone, after the rest.
    has_missed: bool,
    /// Only the caller can tell whether its unit has changed.
    is_presumed: bool,
    /// The line of the buffers that it touched last in this part, if any.
    line: Option<usize>,
    /// The span that it read last; the next value is nearly always in the same one.
    window: Window,
    first: usize,
}

impl Walk {
    fn new(unit: Unit, first: usize) -> Self {
        Self {
            unit,
            owner: unit,
            in_head: true,
            same_again: true,
            same_before: true,
            torn: false,
            has_missed: false,
            is_presumed: false,
            line: None,
            window: Window::default(),
            first,
        }
    }
}

/// The last sample that touched a line, and the last whose chain did.
#[derive(Debug, Clone, Copy, Default)]
struct Stamp {
    any: u32,
    chain: u32,
}

/// Bytes that were fetched in this sample because no span covered them.
#[derive(Debug, Default)]
struct Misses {
    bytes: Vec<u8>,
    /// (first address, end, offset in `bytes`), sorted by address.
    pieces: Vec<(u64, u64, usize)>,
    /// Lines to learn.
    touched: Vec<Touch>,
}

/// A line that a walk went through, and whether with its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Touch {
    line: u64,
    owner: Unit,
    by_chain: bool,
}

impl<M: Memory> Snapshot<M> {
    /// A snapshot that has learned nothing yet.
    pub fn new(memory: M) -> Self {
        Self {
            memory,
            spans: Vec::new(),
            order: Vec::new(),
            stamps: Vec::new(),
            now: Vec::new(),
            again: Vec::new(),
            before: Vec::new(),
            // So that "never" can be written as 0 and is long ago.
            sample: 1000,
            laid_out_at: 0,
            misses: Misses::default(),
            units: Units::default(),
            current: Walk::new(COMMON, 0),
            dependencies: Vec::new(),
            frozen: false,
            frozen_unit: None,
            held: Vec::new(),
            presumed_still: None,
            last_word_at: None,
            last_word: None,
            resting: Vec::new(),
            joined: Vec::new(),
            left_out: None,
            requests: Vec::new(),
            gap: false,
            reclassed: false,
            usual_read: Duration::ZERO,
            slow_read: false,
            statistics: SnapshotStatistics::default(),
        }
    }

    /// The memory below, for reads that are no part of a sample's proof.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Counts since the beginning.
    pub fn statistics(&self) -> SnapshotStatistics {
        self.statistics
    }

    /// Begins a sample: fetches what the last samples touched. With `frozen`, the caller promises that nothing in the target changes until the next
    /// `begin`, and each value is fetched once.
    pub fn begin(&mut self, frozen: bool) {
        self.statistics.samples += 1;
        self.sample += 1;
        self.frozen = frozen;
        self.frozen_unit = None;
        self.dependencies.clear();
        let is_old = self.sample - self.laid_out_at >= layout::LIFETIME / 2;
        if !self.misses.touched.is_empty() || self.gap || self.reclassed || is_old {
            self.lay_out();
        }
        self.misses.bytes.clear();
        self.misses.pieces.clear();
        std::mem::swap(&mut self.now, &mut self.before);
        self.leave_out(frozen);
        for span in &mut self.spans {
            span.has_before = span.filled;
            span.twice = false;
            if frozen || span.skipped || span.is_head {
                continue;
            }
            // Of a unit whose two copies would prove nothing, the second is fetched only to see whether that has changed.
            let state = self.units.get(&span.unit);
            let is_looked_at = state.is_none_or(|state| state.is_looked_at(self.sample));
            let is_still = self.held.contains(&span.unit) || self.presumed_still == Some(span.unit);
            span.twice = is_looked_at && !is_still && (!span.has_before || is_restless(span.unit, state, self.sample));
        }
        self.fetch();
    }

    /// Tells of which units nothing will be asked from the next [`Snapshot::begin`] on, until the next call: they are not fetched, unless everything is.
    pub fn rest(&mut self, units: impl Iterator<Item = Unit>) {
        self.resting.clear();
        self.resting.extend(units);
        self.resting.sort_unstable();
    }

    /// Tells which owners of lines are part of whose unit from the next [`Snapshot::begin`] on, until the next call:
    /// what changes as a whole is fetched together and proven together. `pairs` are an owner and the unit each, sorted.
    pub fn join(&mut self, pairs: &[(Unit, Unit)]) {
        if self.joined != pairs {
            self.joined.clear();
            self.joined.extend_from_slice(pairs);
            self.reclassed = true;
        }
    }

    /// Marks the spans of units that rest. From one sample to the next they are nearly always the same.
    fn leave_out(&mut self, frozen: bool) {
        let nothing = Vec::new();
        let resting = if frozen { &nothing } else { &self.resting };
        if self.left_out.as_ref() == Some(resting) {
            return;
        }
        for span in &mut self.spans {
            span.skipped = resting.binary_search(&span.unit).is_ok();
        }
        let left_out = self.left_out.get_or_insert_default();
        left_out.clone_from(resting);
    }

    /// Whether nothing in the target changes during this sample.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Ends [`Snapshot::begin_frozen_unit`].
    pub fn thaw(&mut self) {
        self.frozen = false;
        self.frozen_unit = None;
    }

    /// Begins the walk of one unit; what is read until [`Snapshot::finish_unit`] is part of it: first its head.
    pub fn start_unit(&mut self, unit: Unit) {
        self.current = Walk::new(unit, self.dependencies.len());
        self.current.is_presumed = self.presumed_still == Some(unit) && !self.held.contains(&unit);
    }

    /// What is read from now on in the walk of this unit is kept for `owner`, which is joined to it: by now, or from
    /// the next sample on.
    pub fn start_owner(&mut self, owner: Unit) {
        self.current.owner = owner;
    }

    /// The walk has got to a head: what is read from now on may move on without harm to the chain.
    pub fn start_head(&mut self) {
        self.current.in_head = true;
        self.current.line = None;
    }

    /// The walk has got to know where its chain begins: what is read from now on is of the chain.
    pub fn start_chain(&mut self) {
        self.current.in_head = false;
        self.current.line = None;
    }

    /// Ends the walk of the unit and judges it.
    pub fn finish_unit(&mut self) -> Verdict {
        let walk = self.current;
        let state = self.units.entry(walk.unit).or_insert_with(|| UnitState::new(self.sample));
        state.first = walk.first;
        state.last = self.dependencies.len();
        let proven_before = state.proven_at + 1 == self.sample;
        if !walk.same_before && proven_before {
            state.moved_at = self.sample;
        }
        state.has_missed = walk.has_missed;
        let held = self.frozen || self.held.contains(&walk.unit);
        if !held && !walk.is_presumed && (walk.same_again || walk.torn) {
            state.note(walk.same_again);
        }
        if walk.torn {
            state.torn_at = self.sample;
        }
        if walk.is_presumed {
            // Nobody looks whether it does.
            state.moved_at = self.sample;
        }
        // What a held unit was not fetched with was read when it ran again.
        let is_beyond_doubt = held && (self.frozen || !walk.has_missed);
        let is_chance = walk.same_again && (!state.is_steady || self.slow_read && !state.is_sure());
        let verdict = if is_beyond_doubt || walk.is_presumed {
            Verdict::Proven
        } else if held || walk.torn || is_chance {
            Verdict::Moved
        } else if !state.is_steady {
            Verdict::Open
        } else if walk.same_again || (walk.same_before && proven_before) {
            Verdict::Proven
        } else {
            Verdict::Open
        };
        match verdict {
            Verdict::Proven => state.proven_at = self.sample,
            Verdict::Moved => state.moved_at = self.sample,
            Verdict::Open => {}
        }
        verdict
    }

    /// Whether the last walk found both copies of all that it depended on equal, which proves it only of a steady unit.
    pub fn was_same_again(&self) -> bool {
        self.current.same_again
    }
}

/// Whether a unit moved lately, or is new.
fn is_restless(unit: Unit, state: Option<&UnitState>, sample: u32) -> bool {
    unit != COMMON && state.is_none_or(|state| sample - state.moved_at < RESTLESS)
}

/// The same allocation, empty, for requests of another lifetime.
fn recycle<'old, 'new>(mut requests: Vec<Request<'old>>) -> Vec<Request<'new>> {
    requests.clear();
    requests.into_iter().map(|_| unreachable!("the requests were cleared")).collect()
}

#[cfg(test)]
mod tests;
