//! Stacks that the kernel has recorded: which code objects their addresses meant at that moment.
//!
//! A code object may die, and another be born at its address, between the record and our look at it. So a record has
//! evidence of each code object that the program in the kernel does not know: what it was recognized by while the
//! thread could not move. It is named if what is at the address now is alive and recognized by the same, before and
//! after it is read, or was so earlier. What has died meanwhile cannot be named, and its record is counted as lost.
//!
//! To read the evidence costs as much as the frame. So once so many records in a row have had the same for an address,
//! the program is told that the code is known, and leaves it out from then on. What is known is looked at again
//! whenever the ring is emptied: if it is still the same, it was the same at all records in between. If not, they are
//! lost, and the address is never known again: in a program that makes and drops code they come and go.
//!
//! Limits: up to 3.11 code has no version of its own. There another code object counts as the same one if it has a name
//! with the same hash, the same places of name, file and line table, and begins in the same line.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt, HashSet};

use crate::memory::Memory;
use crate::process::ThreadId;
use crate::python::code::{CodeId, CodeTable, Place, offset_of};
use crate::python::layout::{InstructionPosition, Layout, OwnLine};
use crate::python::stack::{FrameLine, Position};
use crate::sampler::kernel::{
    CodeNews, FrameSlot, Frames, Identity, Record, Records, Slot, StackSlots, read_identities,
};
use crate::sampler::moment::MomentFrame;

/// So many records in a row must have the same evidence for an address.
const PROBATION: u32 = 64;
/// Code objects that are kept by their evidence, and lines; beyond that all are forgotten.
const MOST_PROVEN: usize = 1 << 16;
const MOST_LINES: usize = 1 << 18;

/// What is known of the code that records of one process name.
#[derive(Debug, Default)]
pub(super) struct KernelStacks {
    by_address: HashMap<u64, Candidate>,
    proven: HashMap<(u64, Identity), Proven>,
    /// Addresses at which different code was seen.
    reused: HashSet<u64>,
    lines: HashMap<(CodeId, i64), u32>,
    /// Where frames without evidence are, by [what they tell of that](FrameSlot::place).
    places: HashMap<(u64, u64, u64), Place>,
    /// What each thread's last record showed.
    last: HashMap<ThreadId, LastStack>,
    /// What the program in the kernel has not been told yet.
    news: Vec<CodeNews>,
    /// Kept and refilled.
    new: Vec<NamedFrame>,
}

/// The stack of a thread's last record.
#[derive(Debug, Default)]
struct LastStack {
    own: Vec<Slot>,
    kept: Option<Arc<[Slot]>>,
    shared: usize,
    /// Its frames, oldest first.
    frames: Vec<NamedFrame>,
    /// What code was recognized by that the program did not know, with the `slots` of the frame.
    evidence: Vec<(usize, Identity)>,
}

/// A frame of a record, with its name.
#[derive(Debug, Clone, Copy)]
struct NamedFrame {
    frame: MomentFrame,
    /// How many slots there are from its own to the end.
    slots: usize,
    has_evidence: bool,
}

impl LastStack {
    /// Takes in the frames of a record with these slots, in place of those before. `frame_of` names those that are not
    /// the same, newest first; `new` is for them. Whether all have names.
    fn take_in(
        &mut self,
        slots: StackSlots<'_>,
        new: &mut Vec<NamedFrame>,
        mut frame_of: impl FnMut(&FrameSlot<'_>) -> Option<MomentFrame>,
    ) -> bool {
        self.keep_repeated(slots);
        let mut are_named = true;
        loop {
            new.clear();
            let end = self.slots();
            let mut above = Frames::new(slots);
            while let Some((slots, slot)) = above.next_above(end) {
                match frame_of(&slot) {
                    Some(frame) => new.push(NamedFrame { frame, slots, has_evidence: slot.has_evidence() }),
                    // What is above it is of no use to the next record.
                    None => {
                        are_named = false;
                        new.clear();
                    }
                }
                self.evidence.extend(slot.evidence.map(|evidence| (slots, *evidence)));
            }
            if self.goes_on_below(&mut above) {
                break;
            }
            self.frames.clear();
            self.evidence.clear();
        }
        self.frames.extend(new.iter().rev());
        are_named
    }

    /// Keeps of its frames the oldest ones, which a record with these slots seems to have too.
    fn keep_repeated(&mut self, slots: StackSlots<'_>) {
        let before = StackSlots { own: &self.own, kept: self.kept.as_ref(), shared: self.shared };
        let same = slots.same_at_end(&before);
        self.frames.truncate(self.frames.partition_point(|named| named.slots <= same));
        let end = self.slots();
        self.evidence.retain(|(slots, _)| *slots <= end);
        self.own.clear();
        self.own.extend_from_slice(slots.own);
        self.kept = slots.kept.cloned();
        self.shared = slots.shared;
    }

    /// How many slots at the end of the record its frames take.
    fn slots(&self) -> usize {
        self.frames.last().map_or(0, |named| named.slots)
    }

    /// Whether its frames are those of the record indeed, of which the frames above have been taken: what the newest of
    /// them is recognized by may be above it, where not all is the same.
    fn goes_on_below(&self, above: &mut Frames<'_>) -> bool {
        self.frames.last().is_none_or(|named| {
            let before = self.evidence.iter().find(|(slots, _)| *slots == named.slots).map(|(_, evidence)| evidence);
            let is_recognized = named.has_evidence || above.evidence_above(named.frame.code_address) == before;
            is_recognized && above.slots_left() == named.slots
        })
    }
}

/// A code object that may become known to the program in the kernel.
#[derive(Debug)]
struct Candidate {
    identity: Identity,
    records: u32,
    is_known: bool,
}

/// A code object that was read.
#[derive(Debug)]
struct Proven {
    code: CodeId,
    /// Where the thread-local copies of its bytecode begin.
    copies: Vec<u64>,
}

/// Where everything is read and kept.
pub(super) struct CodeReader<'sampler, M> {
    pub(super) memory: &'sampler M,
    pub(super) layout: &'sampler Layout,
    pub(super) codes: &'sampler mut CodeTable,
    /// The process has ended, or executed another program: nothing can be looked at again.
    pub(super) has_ended: bool,
}

impl KernelStacks {
    /// Looks at all code that the records of a process name, the known as well as what is new.
    pub(super) fn check_codes<M: Memory>(&mut self, records: &Records, pid: u32, reader: &mut CodeReader<'_, M>) {
        let mut used: HashSet<u64> = HashSet::default();
        let mut met: Vec<(u64, Identity)> = Vec::new();
        for record in records.iter().filter(|record| record.pid == pid) {
            let mut last = 0;
            for frame in
                records.new_frames(record).filter(|frame| frame.code() != std::mem::replace(&mut last, frame.code()))
            {
                match frame.evidence {
                    Some(identity) => met.push((frame.code(), *identity)),
                    None => drop(used.insert(frame.code())),
                }
            }
        }
        if !reader.has_ended {
            self.check_known(&used, reader);
        }
        self.prove_new(&met, reader);
        for (address, identity) in met {
            self.note_evidence(address, identity);
        }
        if self.proven.len() > MOST_PROVEN {
            self.forget_codes();
        }
        if self.lines.len().max(self.places.len()) > MOST_LINES {
            self.lines = HashMap::new();
            self.places = HashMap::new();
        }
    }

    /// What the program in the kernel is to be told.
    pub(super) fn take_news(&mut self) -> Vec<CodeNews> {
        std::mem::take(&mut self.news)
    }

    /// Forgets all code. The program in the kernel is to do so too.
    pub(super) fn forget_codes(&mut self) {
        let known = self.by_address.keys().map(|address| CodeNews::Unknown(*address)).collect();
        *self = Self { news: known, reused: std::mem::take(&mut self.reused), ..Self::default() };
    }

    /// Looks again at known code that was used.
    fn check_known<M: Memory>(&mut self, used: &HashSet<u64>, reader: &CodeReader<'_, M>) {
        let known = |address: &u64| self.by_address.get(address).is_some_and(|candidate| candidate.is_known);
        let used: Vec<u64> = used.iter().copied().filter(known).collect();
        let now = read_identities(reader.memory, reader.layout, reader.codes.code_type(), &used);
        for (address, now) in used.iter().zip(now) {
            if self.by_address.get(address).map(|candidate| candidate.identity) != now {
                self.note_reuse(*address);
            }
        }
    }

    /// Reads the code that was not met before, if it is still there.
    fn prove_new<M: Memory>(&mut self, met: &[(u64, Identity)], reader: &mut CodeReader<'_, M>) {
        let is_new = |met: &&(u64, Identity)| !self.proven.contains_key(*met);
        let new: HashSet<(u64, Identity)> = met.iter().filter(is_new).copied().collect();
        if new.is_empty() {
            return;
        }
        let addresses: Vec<u64> = new.iter().map(|(address, _)| *address).collect();
        let before = read_identities(reader.memory, reader.layout, reader.codes.code_type(), &addresses);
        let is_still = new.iter().zip(before).filter(|((_, identity), before)| *before == Some(*identity));
        let mut read: Vec<(u64, Identity, CodeId)> = Vec::new();
        for ((address, identity), _) in is_still {
            match reader.codes.load(reader.memory, reader.layout, *address) {
                Ok(code) => read.push((*address, *identity, code)),
                Err(error) => log::trace!("{error}"),
            }
        }
        let addresses: Vec<u64> = read.iter().map(|(address, ..)| *address).collect();
        let after = read_identities(reader.memory, reader.layout, reader.codes.code_type(), &addresses);
        for ((address, identity, code), after) in read.into_iter().zip(after) {
            if after == Some(identity) {
                self.proven.insert((address, identity), Proven { code, copies: Vec::new() });
            }
        }
    }

    /// Takes note of evidence that a record had.
    fn note_evidence(&mut self, address: u64, identity: Identity) {
        if !self.proven.contains_key(&(address, identity)) {
            return;
        }
        let is_reused = self.reused.contains(&address);
        match self.by_address.get_mut(&address) {
            Some(candidate) if candidate.identity != identity => {
                self.note_reuse(address);
                let candidate = Candidate { identity, records: 0, is_known: false };
                self.by_address.insert(address, candidate);
            }
            Some(candidate) => {
                candidate.records += 1;
                if candidate.records == PROBATION && !is_reused {
                    candidate.is_known = true;
                    self.news.push(CodeNews::Known(address));
                }
            }
            None => {
                self.by_address.insert(address, Candidate { identity, records: 0, is_known: false });
                if !is_reused {
                    self.news.push(CodeNews::OnProbation(address));
                }
            }
        }
    }

    /// What was at an address is another by now.
    fn note_reuse(&mut self, address: u64) {
        self.by_address.remove(&address);
        self.reused.insert(address);
        self.news.push(CodeNews::Unknown(address));
        self.last.clear();
        self.places.clear();
        if self.reused.len() > MOST_PROVEN {
            self.reused = HashSet::default();
        }
    }

    /// The frames of a record, newest first, added to `frames`. Whether each of them could be named; if not, none is
    /// added.
    pub(super) fn name_frames<M: Memory>(
        &mut self,
        records: &Records,
        record: &Record,
        interpreter: i64,
        reader: &mut CodeReader<'_, M>,
        frames: &mut Vec<MomentFrame>,
    ) -> bool {
        let os_id = u64::from(record.os_id);
        let slots = records.frame_slots(record);
        let mut last = std::mem::take(self.last.entry(os_id).or_default());
        let mut new = std::mem::take(&mut self.new);
        let are_named = last.take_in(slots, &mut new, |slot| self.frame_of(slot, interpreter, reader));
        if are_named {
            frames.extend(last.frames.iter().rev().map(|named| named.frame));
        }
        self.new = new;
        self.last.insert(os_id, last);
        are_named
    }

    /// Forgets the threads for which `keep` says no.
    pub(super) fn retain_threads(&mut self, mut keep: impl FnMut(ThreadId) -> bool) {
        self.last.retain(|thread, _| keep(*thread));
    }

    /// A frame with its name; `None` if that cannot be told.
    fn frame_of<M: Memory>(
        &mut self,
        slot: &FrameSlot<'_>,
        interpreter: i64,
        reader: &mut CodeReader<'_, M>,
    ) -> Option<MomentFrame> {
        let Place { code, line, offset } = self.place_of(slot, reader)?;
        Some(MomentFrame { address: slot.address(), code_address: slot.code(), code, line, offset, interpreter })
    }

    fn place_of<M: Memory>(&mut self, slot: &FrameSlot<'_>, reader: &mut CodeReader<'_, M>) -> Option<Place> {
        if slot.evidence.is_some() {
            return self.find_place(slot, reader);
        }
        if let Some(place) = self.places.get(&slot.place()) {
            return Some(*place);
        }
        let place = self.find_place(slot, reader)?;
        self.places.insert(slot.place(), place);
        Some(place)
    }

    fn find_place<M: Memory>(&mut self, slot: &FrameSlot<'_>, reader: &mut CodeReader<'_, M>) -> Option<Place> {
        let identity = match slot.evidence {
            Some(identity) => *identity,
            None => self.by_address.get(&slot.code()).filter(|candidate| candidate.is_known)?.identity,
        };
        let proven = self.proven.get_mut(&(slot.code(), identity))?;
        let (position, said) = instruction(slot, reader.layout);
        let offset = offset_of(reader.memory, reader.layout, slot.code(), position, &mut proven.copies);
        let code = proven.code;
        let line = *self.lines.entry((code, offset)).or_insert_with(|| reader.codes.line_at(code, offset));
        Some(reader.codes.place(code, (offset, line), said))
    }
}

/// Where a recorded frame is, and what it says of its line.
fn instruction(slot: &FrameSlot<'_>, layout: &Layout) -> (Position, FrameLine) {
    match layout.frame.position {
        InstructionPosition::Lasti { scale, .. } => {
            let [instruction, line] = halves(slot.position());
            let is_believed =
                !slot.is_untraced() || !matches!(layout.frame.own_line, OwnLine::InFrame { trace: Some(_) });
            let said = if is_believed { FrameLine::Said } else { FrameLine::SaidUntraced };
            let line = if line.cast_signed() > 0 { said(line) } else { FrameLine::Unsaid };
            (Position::Offset(i64::from(instruction.cast_signed()) * i64::from(scale)), line)
        }
        InstructionPosition::Pointer { .. } => {
            let pointer = slot.position();
            let position = if layout.free_threaded && layout.frame.tlbc_index.is_some() {
                Position::LocalCopy { pointer, index: slot.local_copy() }
            } else {
                Position::Pointer(pointer)
            };
            let line = if slot.line().cast_signed() > 0 { FrameLine::Said(slot.line()) } else { FrameLine::Unsaid };
            (position, line)
        }
    }
}

/// The two `int`s that a word of the target holds, in the order in which they lie in memory.
fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the program in the kernel sets them.
    const HAS_EVIDENCE: u64 = 1 << 63;
    const IS_BORDER: u64 = 1 << 60;

    /// A frame of a recorded one, without a name.
    fn unnamed(slot: &FrameSlot<'_>) -> MomentFrame {
        let (code, line, offset, interpreter) = (CodeId::FIRST, 0, 0, 0);
        MomentFrame { address: slot.address(), code_address: slot.code(), code, line, offset, interpreter }
    }

    /// The addresses of the frames that are named when these slots follow what was before.
    fn new(last: &mut LastStack, own: &[Slot]) -> Vec<u64> {
        let mut new = Vec::new();
        let slots = StackSlots { own, ..StackSlots::default() };
        assert!(last.take_in(slots, &mut new, |slot| Some(unnamed(slot))));
        new.iter().map(|named| named.frame.address).collect()
    }

    #[test]
    fn frames_that_are_the_same_from_the_oldest_on_are_not_named_again() {
        let mut last = LastStack::default();
        let [oldest, middle, newest] = [[1, 10, 5, 0], [2, 20, 5, 0], [3, 30, 5, 0]];
        assert_eq!(new(&mut last, &[newest, middle, oldest]), [3, 2, 1]);
        assert_eq!(new(&mut last, &[newest, middle, oldest]), [0; 0]);
        assert_eq!(new(&mut last, &[[3, 30, 6, 0], middle, oldest]), [3]);
        assert_eq!(new(&mut last, &[middle, oldest]), [0; 0]);
        let border = [9, 0, 0, IS_BORDER];
        assert_eq!(new(&mut last, &[newest, border, middle, oldest]), [3]);
        assert_eq!(new(&mut last, &[newest, middle, oldest]), [3], "its border has gone");
    }

    #[test]
    fn what_is_below_a_frame_without_a_name_keeps_its_own() {
        let mut last = LastStack::default();
        let own: Vec<Slot> = (0..4).rev().map(|number| [number + 1, 10 + number, 5, 0]).collect();
        let slots = StackSlots { own: &own, ..StackSlots::default() };
        let mut asked = Vec::new();
        for _ in 0..2 {
            assert!(!last.take_in(slots, &mut Vec::new(), |slot| {
                asked.push(slot.address());
                Some(unnamed(slot)).filter(|frame| frame.address != 3)
            }));
        }
        assert_eq!(asked, [4, 3, 2, 1, 4, 3]);
        assert_eq!(new(&mut last, &own), [4, 3]);
    }

    #[test]
    fn what_a_frame_has_its_evidence_from_counts_with_it() {
        let mut last = LastStack::default();
        let evidence = |of: u64| [of, 0, 0, 0];
        let [oldest, newest] = [[1, 10, 5, 0], [2, 10, 7, HAS_EVIDENCE]];
        assert_eq!(new(&mut last, &[newest, evidence(1), oldest]), [2, 1]);
        assert_eq!(new(&mut last, &[[2, 10, 8, HAS_EVIDENCE], evidence(1), oldest]), [2]);
        assert_eq!(new(&mut last, &[newest, evidence(2), oldest]), [2, 1], "the code is another one");
        assert_eq!(new(&mut last, &[[2, 10, 7, 0], oldest]), [2, 1], "the code is known by now");
    }
}
