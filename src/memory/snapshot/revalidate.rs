//! The second look: whether what was seen once in this sample is still so.

use super::fetch::Piece;
use super::prefetch::can_join;
use super::values::Place;
use super::{Memory, Request, Snapshot, recycle};
use crate::memory::Unit;

/// What a second look has shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revalidation {
    /// For each unit whether all that its walk depended on is still so.
    pub units: Vec<bool>,
    /// For each range whether it still holds its bytes.
    pub ranges: Vec<bool>,
}

/// Bytes that were read a second time.
struct SecondLook {
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
    /// Which of the pieces could be read.
    are_complete: Vec<bool>,
}

impl SecondLook {
    fn bytes_at(&self, address: u64, length: usize) -> Option<&[u8]> {
        let index = self.pieces.partition_point(|piece| piece.start <= address).checked_sub(1)?;
        let offset = self.pieces[index].offset + usize::try_from(address - self.pieces[index].start).ok()?;
        self.are_complete[index].then(|| self.bytes.get(offset..offset + length)).flatten()
    }
}

impl<M: Memory> Snapshot<M> {
    /// Looks again, in one vectored read, at everything that the walks of `units` in this sample depended on, heads
    /// included, and at `ranges` with the bytes that they held.
    pub fn revalidate(&mut self, units: &[Unit], ranges: &[(u64, &[u8])]) -> Revalidation {
        let mut wanted: Vec<(u64, u64)> = units
            .iter()
            .filter_map(|unit| self.walks.get(unit))
            .flat_map(|record| self.dependencies.get(record.first..record.end).unwrap_or(&[]))
            .map(|dependency| (dependency.address, dependency.address + u64::from(dependency.length)))
            .collect();
        wanted.extend(ranges.iter().map(|(address, bytes)| (*address, address + bytes.len() as u64)));
        let seen = self.look_again(wanted);
        let holds = |unit: &Unit| {
            let record = self.walks.get(unit).filter(|record| record.sample == self.sample);
            record.is_some_and(|record| {
                self.dependencies[record.first..record.end].iter().all(|dependency| {
                    let length = dependency.length as usize;
                    let before = self.known_bytes(dependency.address, length);
                    before.is_some() && before == seen.bytes_at(dependency.address, length)
                })
            })
        };
        let units = units.iter().map(holds).collect();
        let ranges = ranges.iter().map(|(address, old)| seen.bytes_at(*address, old.len()) == Some(*old)).collect();
        Revalidation { units, ranges }
    }

    fn look_again(&mut self, ranges: Vec<(u64, u64)>) -> SecondLook {
        let pieces = join_ranges(ranges);
        let mut bytes = vec![0; pieces.last().map_or(0, |piece| piece.offset + piece.length())];
        let mut rest = bytes.as_mut_slice();
        let mut requests = recycle(std::mem::take(&mut self.requests));
        for piece in &pieces {
            let (buffer, tail) = rest.split_at_mut(piece.length());
            rest = tail;
            requests.push(Request::new(piece.start, buffer));
        }
        self.memory.read_many(&mut requests);
        let are_complete = requests.iter().map(|request| request.complete).collect();
        self.requests = recycle(requests);
        SecondLook { pieces, bytes, are_complete }
    }

    /// What this sample has read there.
    fn known_bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        match self.find(address, length, None)? {
            Place::Learned { offset, .. } => self.buffers.now.get(offset..offset + length),
            Place::Missed(offset) => self.misses.bytes.get(offset..offset + length),
        }
    }
}

/// Ranges in order, those that lie close together joined, each with an offset in one buffer.
fn join_ranges(mut ranges: Vec<(u64, u64)>) -> Vec<Piece> {
    ranges.sort_unstable();
    let mut pieces: Vec<Piece> = Vec::new();
    for (start, end) in ranges {
        if let Some(last) = pieces.last_mut()
            && can_join(last.end, start)
        {
            last.end = last.end.max(end);
            continue;
        }
        let offset = pieces.last().map_or(0, |last| last.offset + last.length());
        pieces.push(Piece { start, end, offset });
    }
    pieces
}
