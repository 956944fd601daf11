//! The second look: whether what was seen once in this sample is still so.

use super::values::{Place, find};
use super::{Memory, Misses, Request, Snapshot, Unit, Verdict, layout, recycle};

impl<M: Memory> Snapshot<M> {
    /// Looks again, in one vectored read, at everything that the walks of `units` in this sample depended on and at `evidence` (ranges with the
    /// bytes that they held). Returns a verdict a unit and, for each piece of evidence, whether it
    /// still holds.
    pub fn verify(&mut self, units: &[Unit], evidence: &[(u64, &[u8])]) -> (Vec<Verdict>, Vec<bool>) {
        self.statistics.verifications += 1;
        let mut ranges: Vec<(u64, u64)> = units
            .iter()
            .filter_map(|unit| self.units.get(unit))
            .flat_map(|state| &self.dependencies[state.first..state.last])
            .map(|dependency| (dependency.address, dependency.address + u64::from(dependency.length)))
            .collect();
        ranges.extend(evidence.iter().map(|(address, bytes)| (*address, address + bytes.len() as u64)));
        let pieces = layout::coalesce_ranges(ranges);
        let mut bytes = vec![0; pieces.last().map_or(0, |piece| piece.offset + piece.length())];
        let mut rest = bytes.as_mut_slice();
        let mut requests = recycle(std::mem::take(&mut self.requests));
        for piece in &pieces {
            let (buffer, tail) = rest.split_at_mut(piece.length());
            rest = tail;
            requests.push(Request::new(piece.start, buffer));
        }
        self.memory.read_many(&mut requests);
        let complete: Vec<bool> = requests.iter().map(|request| request.complete).collect();
        self.requests = recycle(requests);
        let look = |address: u64, length: usize| {
            let index = pieces.partition_point(|piece| piece.start <= address).checked_sub(1)?;
            let offset = pieces[index].offset + usize::try_from(address - pieces[index].start).ok()?;
            complete[index].then(|| bytes.get(offset..offset + length)).flatten()
        };
        let mut verdicts = Vec::with_capacity(units.len());
        for unit in units {
            let Some(state) = self.units.get(unit).copied() else {
                verdicts.push(Verdict::Moved);
                continue;
            };
            let holds = self.dependencies[state.first..state.last].iter().all(|dependency| {
                let length = dependency.length as usize;
                let old = find(&self.spans, &self.misses, dependency.address, length, None)
                    .map(|place| slice(&self.now, &self.misses, place, length));
                old.is_some() && old == look(dependency.address, length)
            });
            // Of a unit that moves too fast two equal looks mean as little as two equal copies.
            let holds = holds && state.is_steady;
            let sample = self.sample;
            if let Some(state) = self.units.get_mut(unit) {
                if holds {
                    state.proven_at = sample;
                } else {
                    state.moved_at = sample;
                }
            }
            verdicts.push(if holds { Verdict::Proven } else { Verdict::Moved });
        }
        let held = evidence.iter().map(|(address, old)| look(*address, old.len()) == Some(*old)).collect();
        (verdicts, held)
    }
}

fn slice<'bytes>(now: &'bytes [u8], misses: &'bytes Misses, place: Place, length: usize) -> &'bytes [u8] {
    match place {
        Place::Learned { offset, .. } => &now[offset..offset + length],
        Place::Missed(offset) => &misses.bytes[offset..offset + length],
    }
}
