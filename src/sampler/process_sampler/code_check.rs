//! Makes sure of the code objects that frames refer to, together with the stacks that need a second look.

use super::judged_stack::JudgedStack;
use crate::memory::{Memory, Snapshot, Unit};
use crate::python::code::{CodeTable, Known};
use crate::python::layout::Layout;
use crate::python::stack::{RawFrame, Stacks, ThreadStack};
use crate::sampler::consistency::read_mode::ReadMode;
use crate::sampler::consistency::verdict::{Check, Verdict};

/// Lists that are kept from sample to sample.
#[derive(Debug, Default)]
pub(super) struct CodeCheck {
    /// Code objects that are to be read.
    unknown: Vec<u64>,
    /// Those that are to be looked at again.
    due: Vec<u64>,
}

impl CodeCheck {
    /// Reads the code objects of all stacks that are not known, checks those that are due, and looks again at the
    /// stacks that need it, with one look at all of it together.
    pub(super) fn settle<M: Memory>(
        &mut self,
        snapshot: &mut Snapshot<M>,
        codes: &mut CodeTable,
        stacks: &Stacks,
        judged_stacks: &mut [JudgedStack],
        layout: &Layout,
    ) {
        self.list(codes, stacks, judged_stacks);
        let is_stopped = snapshot.is_stopped();
        let mut not_code: Vec<u64> = Vec::new();
        for address in &self.unknown {
            if let Err(error) = codes.load(snapshot.memory(), layout, *address) {
                log::trace!("{error}");
                not_code.push(*address);
            }
        }
        // A stack with code that was read only now needs a look: its frame must still have referred to it afterwards.
        let new: &[u64] = if is_stopped { &[] } else { &self.unknown };
        let mut units: Vec<Unit> = Vec::new();
        for (judged, thread) in living(judged_stacks, stacks) {
            let evidence = &mut judged.evidence;
            if runs_any_of(stacks, thread, &not_code) {
                evidence.is_unchanged = Some(false);
                continue;
            }
            evidence.has_new_code = runs_any_of(stacks, thread, new);
            if evidence.has_new_code || judged.verdict == Verdict::Needs(Check::Revalidation) {
                units.push(thread.address);
            }
        }
        let is_code = |address: &&u64| not_code.binary_search(address).is_err();
        let checked: Vec<u64> = self.due.iter().chain(new).filter(is_code).copied().collect();
        if units.is_empty() && checked.is_empty() {
            return;
        }
        let (unchanged, changed) = look_again(snapshot, codes, &units, &checked);
        for address in &changed {
            if new.binary_search(address).is_ok() {
                codes.discard(*address);
            } else {
                codes.forget(*address);
                if is_stopped {
                    // The stacks stand still, so what is there now is what they mean.
                    let _ = codes.load(snapshot.memory(), layout, *address);
                }
            }
        }
        for (judged, thread) in living(judged_stacks, stacks) {
            if let Some(index) = units.iter().position(|unit| *unit == thread.address) {
                judged.evidence.is_unchanged = Some(unchanged[index]);
            }
            if !is_stopped && runs_any_of(stacks, thread, &changed) {
                judged.evidence.is_unchanged = Some(false);
            }
        }
    }

    /// The same for one thread that stands still. Whether all of its frames run code.
    pub(super) fn read_codes<M: Memory>(
        &mut self,
        snapshot: &mut Snapshot<M>,
        codes: &mut CodeTable,
        frames: &[RawFrame],
        layout: &Layout,
    ) -> bool {
        self.clear();
        self.list_codes_of(codes, frames);
        self.sort();
        if !self.due.is_empty() {
            let (_, changed) = look_again(snapshot, codes, &[], &self.due);
            for address in changed {
                codes.forget(address);
                self.unknown.push(address);
            }
        }
        self.unknown.iter().all(|address| codes.load(snapshot.memory(), layout, *address).is_ok())
    }

    /// Lists the code objects of all stacks that are not known or due; where some are due, those of about the same age
    /// too, so that they are checked in the same call.
    fn list(&mut self, codes: &CodeTable, stacks: &Stacks, judged_stacks: &mut [JudgedStack]) {
        self.clear();
        for (_, thread) in living(judged_stacks, stacks) {
            self.list_codes_of(codes, stacks.frames_of(thread));
        }
        if !self.due.is_empty() {
            for (_, thread) in living(judged_stacks, stacks) {
                let codes_of_frames = stacks.frames_of(thread).iter().map(|frame| frame.code);
                self.due.extend(codes_of_frames.filter(|address| codes.is_half_due(*address)));
            }
        }
        self.sort();
    }

    fn list_codes_of(&mut self, codes: &CodeTable, frames: &[RawFrame]) {
        let mut last = None;
        for frame in frames {
            if last == Some(frame.code) {
                continue;
            }
            last = Some(frame.code);
            match codes.knows(frame.code) {
                Known::Fresh => {}
                Known::Due => self.due.push(frame.code),
                Known::Unknown => self.unknown.push(frame.code),
            }
        }
    }

    fn clear(&mut self) {
        self.unknown.clear();
        self.due.clear();
    }

    fn sort(&mut self) {
        for list in [&mut self.unknown, &mut self.due] {
            list.sort_unstable();
            list.dedup();
        }
    }
}

/// The threads whose stacks were read and are not known to be torn.
fn living<'stacks>(
    judged_stacks: &'stacks mut [JudgedStack],
    stacks: &'stacks Stacks,
) -> impl Iterator<Item = (&'stacks mut JudgedStack, &'stacks ThreadStack)> {
    let threads = judged_stacks.iter_mut().zip(&stacks.threads);
    threads.filter(|(judged, _)| judged.verdict != Verdict::Torn && judged.mode != ReadMode::Unchanged)
}

/// Whether a frame of the thread runs one of `codes`, which are sorted.
fn runs_any_of(stacks: &Stacks, thread: &ThreadStack, codes: &[u64]) -> bool {
    !codes.is_empty() && stacks.frames_of(thread).iter().any(|frame| codes.binary_search(&frame.code).is_ok())
}

/// Looks again at what the walks of `units` depended on and at the evidence of the codes at `addresses`. Returns
/// whether each unit is unchanged and, sorted, the addresses that mean something else now; the others are confirmed.
fn look_again<M: Memory>(
    snapshot: &mut Snapshot<M>,
    codes: &mut CodeTable,
    units: &[Unit],
    addresses: &[u64],
) -> (Vec<bool>, Vec<u64>) {
    let mut evidence = Vec::new();
    let mut owners = Vec::new();
    for address in addresses {
        for piece in codes.evidence(*address) {
            evidence.push(piece);
            owners.push(*address);
        }
    }
    let seen = snapshot.revalidate(units, &evidence);
    let differs = owners.iter().zip(&seen.ranges).filter(|(_, holds)| !**holds);
    let mut changed: Vec<u64> = differs.map(|(owner, _)| *owner).collect();
    changed.sort_unstable();
    changed.dedup();
    for address in addresses.iter().filter(|address| changed.binary_search(address).is_err()) {
        codes.confirm(*address);
    }
    (seen.units, changed)
}
