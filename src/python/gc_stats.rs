//! What the interpreter itself has counted of its garbage collections.
//!
//! Up to 3.14 each generation has {collections, collected, uncollectable} in `gc.generation_stats`, an array of three
//! directly before `gc.collecting` (internal/mem.h, pycore_pymem.h, pycore_gc.h, pycore_interp_structs.h). 3.15 has a
//! ring of its last collections for each generation instead, `struct gc_stats`, to which `gc.generation_stats` points;
//! each entry has the totals as of that collection, and when it began and stopped.
//!
//! Limits: 2.7 and 3.6 keep these numbers in statics that are not looked for.

use super::layout::Layout;
use super::runtime::Runtime;
use crate::memory::{Memory, ReadError};

const GENERATIONS: u64 = 3;
/// `sizeof(struct gc_generation_stats)` up to 3.14, `collections` being its first word.
const OLD_ENTRY: u64 = 24;
/// The same in 3.15: begin and stop (ns of the monotonic clock), collections, collected, uncollectable, candidates,
/// duration (a `double` in seconds), heap size.
const ENTRY: usize = 64;
/// How many entries the rings have, youngest generation first: with a GIL, and without. Each ring ends with the index
/// of its newest entry in a byte, in a word of its own.
const RINGS: [[usize; 3]; 2] = [[11, 3, 3], [1, 1, 1]];

/// The collections of one interpreter since its start.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct GcTotals {
    /// How many there were.
    pub collections: u64,
    /// For how long they went on, in seconds, where that is counted (3.15+).
    pub seconds: Option<f64>,
    /// The last of them, as far as they are kept (3.15+).
    pub last: Vec<GcRun>,
}

/// One collection (3.15+).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GcRun {
    /// Which generation it was for, 0 the youngest.
    pub generation: u8,
    /// When it began, ns of the monotonic clock.
    pub begun: i64,
    /// When it was over.
    pub stopped: i64,
    /// How many objects it has freed, where the one before is kept too.
    pub collected: Option<u64>,
}

impl GcTotals {
    /// Those of the interpreter whose `PyInterpreterState` is at `interpreter`; `None` where they are not known.
    pub(crate) fn read(memory: &impl Memory, runtime: &Runtime, interpreter: u64) -> Option<Self> {
        let layout = &runtime.layout;
        if let Some(offset) = layout.interpreter.gc_stats {
            return parse_rings(&read_rings(memory, layout, offset, interpreter).ok()?, lengths(layout));
        }
        let collecting = match (layout.interpreter.gc_collecting, layout.version.feature()) {
            (Some(offset), (3, ..=14)) => interpreter.wrapping_add(u64::from(offset)),
            (None, (3, 7 | 8)) => runtime.collecting?,
            _ => return None,
        };
        let first = collecting.wrapping_sub(GENERATIONS * OLD_ENTRY);
        let length = GENERATIONS * OLD_ENTRY;
        let counts = memory.read_bytes(first, length, length as usize).ok()?;
        let first_words = counts.chunks_exact(OLD_ENTRY as usize).filter_map(|entry| entry.first_chunk());
        let collections = first_words.map(|word| u64::from_ne_bytes(*word)).fold(0, u64::wrapping_add);
        Some(Self { collections, ..Self::default() })
    }
}

fn read_rings(memory: &impl Memory, layout: &Layout, offset: u32, interpreter: u64) -> Result<Vec<u8>, ReadError> {
    let rings = memory.read_u64(interpreter.wrapping_add(u64::from(offset)))?;
    let size = lengths(layout).iter().map(|length| length * ENTRY + 8).sum();
    memory.read_bytes(rings, size as u64, size)
}

fn lengths(layout: &Layout) -> [usize; 3] {
    RINGS[usize::from(layout.free_threaded)]
}

/// The totals that the rings tell; `None` where they are no such rings.
fn parse_rings(bytes: &[u8], lengths: [usize; 3]) -> Option<GcTotals> {
    let mut totals = GcTotals { seconds: Some(0.0), ..GcTotals::default() };
    let mut rest = bytes;
    for (generation, length) in (0..).zip(lengths) {
        let ring = rest.split_off(..length * ENTRY + 8)?;
        let (entries, index) = ring.split_at(length * ENTRY);
        let newest = usize::from(*index.first()?);
        let entries: Vec<&[u8]> = entries.chunks_exact(ENTRY).collect();
        let word = |entry: &[u8], at: usize| entry.get(8 * at..8 * at + 8)?.try_into().ok().map(u64::from_ne_bytes);
        let last = entries.get(newest)?;
        totals.collections = totals.collections.wrapping_add(word(last, 2)?);
        let seconds = f64::from_bits(word(last, 6)?);
        if !(seconds.is_finite() && seconds >= 0.0) {
            return None;
        }
        totals.seconds = totals.seconds.map(|sum| sum + seconds);
        for entry in &entries {
            let (begun, stopped) = (word(entry, 0)?.cast_signed(), word(entry, 1)?.cast_signed());
            if begun > 0 && stopped >= begun {
                let count = word(entry, 2)?;
                let before = entries
                    .iter()
                    .find(|other| word(other, 2).is_some_and(|other| other.checked_add(1) == Some(count)));
                let collected = before.and_then(|before| word(entry, 3)?.checked_sub(word(before, 3)?));
                totals.last.push(GcRun { generation, begun, stopped, collected });
            }
        }
    }
    Some(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(entries: &[(u64, u64, u64, f64)], newest: u64) -> Vec<u8> {
        let words = entries.iter().flat_map(|(begun, stopped, collections, seconds)| {
            [*begun, *stopped, *collections, 0, 0, 0, seconds.to_bits(), 0]
        });
        words.chain([newest]).flat_map(u64::to_ne_bytes).collect()
    }

    #[test]
    fn the_newest_entry_of_each_ring_has_its_totals() {
        let one = |collections, seconds| ring(&[(10, 20, collections, seconds)], 0);
        let bytes = [one(5, 0.5), one(2, 0.25), one(1, 1.0)].concat();
        let totals = parse_rings(&bytes, [1, 1, 1]).unwrap();
        assert_eq!((totals.collections, totals.seconds), (8, Some(1.75)));
        let run = |generation| GcRun { generation, begun: 10, stopped: 20, collected: None };
        assert_eq!(totals.last, [run(0), run(1), run(2)]);

        let young = ring(&[(30, 45, 7, 0.7), (10, 20, 6, 0.6), (0, 0, 0, 0.0)], 0);
        let bytes = [young, one(0, 0.0), one(0, 0.0)].concat();
        let totals = parse_rings(&bytes, [3, 1, 1]).unwrap();
        assert_eq!((totals.collections, totals.seconds), (7, Some(0.7)));
        assert_eq!(totals.last[0], GcRun { generation: 0, begun: 30, stopped: 45, collected: Some(0) });
        assert!(totals.last.iter().all(|run| run.begun > 0));
    }

    #[test]
    fn what_makes_no_sense_is_no_ring() {
        let one = ring(&[(10, 20, 5, 0.5)], 0);
        let mut bytes = [one.clone(), one.clone(), one.clone()].concat();
        assert!(parse_rings(&bytes[..bytes.len() - 1], [1, 1, 1]).is_none(), "too short");
        bytes[ENTRY] = 9;
        assert!(parse_rings(&bytes, [1, 1, 1]).is_none(), "an index that is none");
        let endless = [ring(&[(10, 20, 5, f64::INFINITY)], 0), one.clone(), one].concat();
        assert!(parse_rings(&endless, [1, 1, 1]).is_none());
    }
}
