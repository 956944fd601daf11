//! Bytes of the target that say that something still holds, and one short read that tells whether they are there.
//!
//! What was read of objects are mostly single words, many of one object and some of them twice. Each range that a call
//! names costs about half a microsecond however short it is, so what lies side by side is fetched in one.

use crate::memory::{Memory, Request};
use crate::process::LiveMemory;

/// So many bytes that say nothing are fetched between two pieces, at most. The pages that they are on have pieces too.
const WIDEST_GAP: u64 = 256;

/// What was read, in the order of the addresses.
#[derive(Debug)]
pub(super) struct Evidence {
    /// Where the ranges begin, and how long they are.
    ranges: Vec<(u64, usize)>,
    /// Where in all ranges, one behind the other, bytes begin that count, and the bytes.
    pieces: Vec<(usize, Vec<u8>)>,
    /// Bytes in all ranges.
    size: usize,
}

impl Evidence {
    /// Of bytes by their addresses. What contradicts itself never holds.
    pub(super) fn new(mut reads: Vec<(u64, Vec<u8>)>) -> Self {
        reads.sort();
        reads.dedup();
        let mut evidence = Self { ranges: Vec::new(), pieces: Vec::new(), size: 0 };
        for (address, bytes) in reads {
            let end = address.saturating_add(bytes.len() as u64);
            // Where the last range begins among all of them.
            let mut first = evidence.size;
            match evidence.ranges.last_mut() {
                Some((start, length)) if address <= start.saturating_add(*length as u64 + WIDEST_GAP) => {
                    first -= *length;
                    let longer = usize::try_from(end - *start).unwrap_or(usize::MAX).max(*length);
                    evidence.size = first + longer;
                    *length = longer;
                    let place = first + usize::try_from(address - *start).unwrap_or(usize::MAX);
                    evidence.pieces.push((place, bytes));
                }
                _ => {
                    evidence.ranges.push((address, bytes.len()));
                    evidence.size += bytes.len();
                    evidence.pieces.push((first, bytes));
                }
            }
        }
        evidence
    }

    /// Whether all bytes are still there, by one read.
    pub(super) fn holds(&self, memory: &LiveMemory) -> bool {
        self.holds_in(|requests| memory.read_many(requests))
    }

    fn holds_in(&self, read_many: impl FnOnce(&mut [Request<'_>])) -> bool {
        let mut buffer = vec![0; self.size];
        let mut left = buffer.as_mut_slice();
        let requests = self.ranges.iter().map(|(address, length)| {
            let (part, behind) = std::mem::take(&mut left).split_at_mut(*length);
            left = behind;
            Request::new(*address, part)
        });
        let mut requests: Vec<Request<'_>> = requests.collect();
        read_many(&mut requests);
        requests.iter().all(|request| request.complete)
            && self
                .pieces
                .iter()
                .all(|(place, bytes)| buffer.get(*place..*place + bytes.len()) == Some(bytes.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::Evidence;
    use crate::memory::{Image, Memory};

    fn image(changed: Option<(usize, u8)>) -> Image {
        let mut bytes: Vec<u8> = (0..2048_u32).map(|byte| byte as u8).collect();
        if let Some((place, value)) = changed {
            bytes[place] = value;
        }
        let mut image = Image::new();
        image.map(0x1000, bytes);
        image
    }

    #[test]
    fn only_what_was_read_must_hold() {
        let before = image(None);
        let places = [(0x1010, 8), (0x1400, 4), (0x1018, 8), (0x1010, 8), (0x1014, 8), (0x1100, 1), (0x1700, 64)];
        let reads = places.iter().map(|(address, length)| {
            let mut bytes = vec![0; *length];
            before.read(*address, &mut bytes).unwrap();
            (*address, bytes)
        });
        let evidence = Evidence::new(reads.collect());
        assert_eq!(evidence.ranges, [(0x1010, 0xf1), (0x1400, 4), (0x1700, 64)]);
        let holds = |image: &Image| evidence.holds_in(|requests| image.read_many(requests));
        assert!(holds(&before));
        for place in 0..2048 {
            let counts = places.iter().any(|(address, length)| {
                (*address - 0x1000..*address - 0x1000 + *length as u64).contains(&(place as u64))
            });
            assert_eq!(
                holds(&image(Some((place, 0x5a ^ place as u8)))),
                !counts || 0x5a ^ place as u8 == place as u8,
                "{place}"
            );
        }
        assert!(!holds(&Image::new()));
    }

    #[test]
    fn what_contradicts_itself_never_holds() {
        let before = image(None);
        let evidence = Evidence::new(vec![(0x1001, vec![1]), (0x1001, vec![2])]);
        assert!(!evidence.holds_in(|requests| before.read_many(requests)));
    }
}
