//! Makes sure of the code objects that frames refer to, and of the stacks that were seen only once.

use crate::memory::{Memory, Snapshot, Unit, Verdict};
use crate::python::code::{CodeTable, Known};
use crate::python::layout::Layout;
use crate::python::stack::{RawFrame, Stacks, ThreadStack};

/// Lists that are kept from sample to sample.
#[derive(Debug, Default)]
pub(super) struct Settler {
    /// Code objects that are to be read.
    unknown: Vec<u64>,
    /// Those that are to be looked at again.
    due: Vec<u64>,
}

impl Settler {
    /// Reads the code objects of all stacks that are not known, checks those that are due, and proves the stacks that are still open, with one
    /// look at all of it together.
    pub(super) fn settle<M: Memory>(
        &mut self,
        snapshot: &mut Snapshot<M>,
        codes: &mut CodeTable,
        stacks: &mut Stacks,
        layout: &Layout,
    ) {
        self.begin();
        for thread in stacks.threads.iter().filter(|thread| thread.verdict != Verdict::Moved) {
            self.sort(codes, stacks.frames_of(thread));
        }
        if !self.due.is_empty() {
            // So that code of the same age is checked in the same call.
            for thread in stacks.threads.iter().filter(|thread| thread.verdict != Verdict::Moved) {
                let codes_of_frames = stacks.frames_of(thread).iter().map(|frame| frame.code);
                self.due.extend(codes_of_frames.filter(|address| codes.is_half_due(*address)));
            }
        }
        self.tidy();
        let unknown = &self.unknown;
        let bad: Vec<u64> = unknown
            .iter()
            .filter(|address| {
                let loaded = codes.load(snapshot.memory(), layout, **address);
                loaded.inspect_err(|error| log::trace!("{error}")).is_err()
            })
            .copied()
            .collect();
        let frozen = snapshot.is_frozen();
        // A stack with code that was read only now is open again: the frame must still have referred to it afterwards.
        let new: &[u64] = if frozen { &[] } else { unknown };
        let mut open: Vec<Unit> = Vec::new();
        let Stacks { threads, frames, .. } = stacks;
        for thread in threads.iter_mut().filter(|thread| thread.verdict != Verdict::Moved) {
            if refers_to(thread, frames, &bad) {
                thread.verdict = Verdict::Moved;
            } else if thread.verdict == Verdict::Open || refers_to(thread, frames, new) {
                thread.verdict = Verdict::Open;
                open.push(thread.address);
            }
        }
        let checked: Vec<u64> =
            self.due.iter().chain(new).filter(|address| bad.binary_search(address).is_err()).copied().collect();
        if open.is_empty() && checked.is_empty() {
            return;
        }
        let (verdicts, changed) = look_again(snapshot, codes, &open, &checked);
        for address in &changed {
            if new.binary_search(address).is_ok() {
                codes.discard(*address);
            } else {
                codes.forget(*address);
                if frozen {
                    // The stacks stand still, so what is there now is what they mean.
                    let _ = codes.load(snapshot.memory(), layout, *address);
                }
            }
        }
        for thread in threads {
            if let Some(index) = open.iter().position(|unit| *unit == thread.address) {
                thread.verdict = verdicts[index];
            }
            if !frozen && refers_to(thread, frames, &changed) {
                thread.verdict = Verdict::Moved;
            }
        }
    }

    /// The same for one thread that stands still. Whether all of its frames run code.
    pub(super) fn settle_stopped<M: Memory>(
        &mut self,
        snapshot: &mut Snapshot<M>,
        codes: &mut CodeTable,
        frames: &[RawFrame],
        layout: &Layout,
    ) -> bool {
        self.begin();
        self.sort(codes, frames);
        self.tidy();
        if !self.due.is_empty() {
            let (_, changed) = look_again(snapshot, codes, &[], &self.due);
            for address in changed {
                codes.forget(address);
                self.unknown.push(address);
            }
        }
        self.unknown.iter().all(|address| codes.load(snapshot.memory(), layout, *address).is_ok())
    }

    fn begin(&mut self) {
        self.unknown.clear();
        self.due.clear();
    }

    fn sort(&mut self, codes: &CodeTable, frames: &[RawFrame]) {
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

    fn tidy(&mut self) {
        for list in [&mut self.unknown, &mut self.due] {
            list.sort_unstable();
            list.dedup();
        }
    }
}

/// Whether a frame of the thread runs one of `codes`, which are sorted.
fn refers_to(thread: &ThreadStack, frames: &[RawFrame], codes: &[u64]) -> bool {
    let frames = frames.get(thread.first_frame..thread.end_frame).unwrap_or(&[]);
    !codes.is_empty() && frames.iter().any(|frame| codes.binary_search(&frame.code).is_ok())
}

/// Looks again at what the walks of `units` depended on and at the evidence of `addresses`. Returns a verdict a unit and, sorted, the addresses that
/// mean something else now; the others are confirmed.
fn look_again<M: Memory>(
    snapshot: &mut Snapshot<M>,
    codes: &mut CodeTable,
    units: &[Unit],
    addresses: &[u64],
) -> (Vec<Verdict>, Vec<u64>) {
    let mut evidence = Vec::new();
    let mut owners = Vec::new();
    for address in addresses {
        for piece in codes.evidence(*address) {
            evidence.push(piece);
            owners.push(*address);
        }
    }
    let (verdicts, held) = snapshot.verify(units, &evidence);
    let mut changed: Vec<u64> = owners.iter().zip(&held).filter(|(_, held)| !**held).map(|(owner, _)| *owner).collect();
    changed.sort_unstable();
    changed.dedup();
    for address in addresses.iter().filter(|address| changed.binary_search(address).is_err()) {
        codes.confirm(*address);
    }
    (verdicts, changed)
}
