//! What records of deep stacks have in common: stacks that both sides keep, and slots that are partly in one.

use std::sync::Arc;

use foldhash::HashMap;

/// The lowest bit of the number of a CPU in that of a stack that it keeps (`base.id`).
pub(super) const BASE_CPU: u32 = 40;

/// Four words of a record: a frame, or the evidence of the code of the frame before.
pub(in crate::sampler) type Slot = [u64; 4];

/// The stacks that the program in the kernel compares others with, which then need not have what is the same: of each
/// CPU one, by its number.
#[derive(Debug, Default)]
pub(in crate::sampler) struct KeptStacks(HashMap<u64, (u64, Arc<[Slot]>)>);

impl KeptStacks {
    /// Keeps a stack in place of the one that its CPU had.
    pub(super) fn keep(&mut self, id: u64, slots: Arc<[Slot]>) {
        self.0.insert(id >> BASE_CPU, (id, slots));
    }

    /// The stack with this number, if its CPU still keeps it.
    pub(super) fn find(&self, id: u64) -> Option<&Arc<[Slot]>> {
        self.0.get(&(id >> BASE_CPU)).filter(|(kept, _)| *kept == id).map(|(_, slots)| slots)
    }
}

/// The slots of a record's frames, newest first: its own, then those that it shares with a kept stack. Of these none
/// is or has evidence.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::sampler) struct StackSlots<'records> {
    /// Its own.
    pub(in crate::sampler) own: &'records [Slot],
    /// The kept stack.
    pub(in crate::sampler) kept: Option<&'records Arc<[Slot]>>,
    /// So many of the last slots of that are meant.
    pub(in crate::sampler) shared: usize,
}

impl<'records> StackSlots<'records> {
    /// Those of the kept stack.
    pub(super) fn shared_slots(&self) -> &'records [Slot] {
        self.kept.and_then(|kept| kept.get(kept.len().checked_sub(self.shared)?..)).unwrap_or(&[])
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &'records Slot> {
        self.own.iter().chain(self.shared_slots())
    }

    /// How many slots at the end of both are the same.
    pub(in crate::sampler) fn same_at_end(&self, others: &Self) -> usize {
        match (self.kept, others.kept) {
            (None, None) => same_at_end(self.own, others.own),
            (Some(kept), Some(other)) if Arc::ptr_eq(kept, other) => match self.shared == others.shared {
                true => self.shared + same_at_end(self.own, others.own),
                false => self.shared.min(others.shared),
            },
            _ => self.iter().rev().zip(others.iter().rev()).take_while(|(slot, other)| slot == other).count(),
        }
    }
}

/// How many slots at the end of both are the same.
fn same_at_end(slots: &[Slot], others: &[Slot]) -> usize {
    /// So many are compared in one go: the most of a deep stack is the same in the next sample.
    const BLOCK: usize = 32;
    let blocks = slots.rchunks_exact(BLOCK).zip(others.rchunks_exact(BLOCK));
    let same = BLOCK * blocks.take_while(|(slots, others)| slots.as_flattened() == others.as_flattened()).count();
    let (slots, others) = (&slots[..slots.len() - same], &others[..others.len() - same]);
    same + slots.iter().rev().zip(others.iter().rev()).take_while(|(slot, other)| slot == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_slots_at_the_end_are_counted_whatever_their_number() {
        let slots = |count: u64| (0..count).rev().map(|number| [number, 0, 0, 0]).collect::<Vec<Slot>>();
        for (one, other) in [(0, 0), (0, 5), (31, 31), (32, 40), (100, 100), (100, 64), (95, 96)] {
            assert_eq!(same_at_end(&slots(one), &slots(other)), one.min(other) as usize, "{one} {other}");
        }
        for differs in 0..100 {
            let (slots, mut others) = (slots(100), slots(100));
            others[differs][3] = 1;
            assert_eq!(same_at_end(&slots, &others), 99 - differs);
        }
    }

    #[test]
    fn stacks_are_alike_at_their_ends_wherever_their_slots_are() {
        let slots = |places: std::ops::Range<u64>| places.rev().map(|place| [place, 0, 0, 0]).collect::<Vec<Slot>>();
        let kept: [Arc<[Slot]>; 2] = [slots(0..50).into(), slots(0..50).into()];
        // Whole stacks of 60, which are told in different ways, and the last of which differs at one place.
        let mut other = slots(0..60);
        other[5] = [99, 0, 0, 0];
        let (all, tops) = (slots(0..60), [slots(50..60), slots(40..60)]);
        let stacks = [
            StackSlots { own: &all, ..StackSlots::default() },
            StackSlots { own: &tops[0], kept: Some(&kept[0]), shared: 50 },
            StackSlots { own: &tops[0], kept: Some(&kept[1]), shared: 50 },
            StackSlots { own: &tops[1], kept: Some(&kept[1]), shared: 40 },
        ];
        for one in &stacks {
            for other in &stacks {
                // Of what one stack shares more of than the other it is enough to know the lesser part.
                let same = one.same_at_end(other);
                assert!(same == 60 || same == one.shared.min(other.shared), "{same}");
            }
            assert_eq!(one.same_at_end(&StackSlots { own: &other, ..StackSlots::default() }), 54);
            assert_eq!(one.same_at_end(&StackSlots::default()), 0);
        }
    }
}
