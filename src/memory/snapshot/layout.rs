//! What a snapshot prefetches and in which order: lines grow into spans, and are forgotten when no sample touches them.

use super::{COMMON, LINE, Memory, PAGE, Snapshot, Stamp, Unit, is_restless};

/// Samples for which an untouched line stays in the prefetch.
pub(super) const LIFETIME: u32 = 256;
/// Two lines are fetched as one range when they are at most this many bytes apart: a further range costs as much as copying some kilobytes.
const JOIN: u64 = 1024;
/// The most that is prefetched; beyond it only what the last sample touched is kept.
const MOST: u64 = 32 * 1024 * 1024;

/// A range of the target that is prefetched as one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// First address, a multiple of the line size.
    pub(super) start: u64,
    /// End, a multiple of the line size.
    pub(super) end: u64,
    /// Who keeps its lines.
    pub(super) owner: Unit,
    /// Whose values these are: the owner's, or those of the unit that it is joined to.
    pub(super) unit: Unit,
    /// Only heads go through it: it is fetched once, after the unit's other spans and before their second copies.
    pub(super) is_head: bool,
    /// Where its bytes are in the buffers, a multiple of the line size.
    pub(super) offset: usize,
    /// Its bytes could be read in this sample.
    pub(super) filled: bool,
    /// The previous sample's bytes are there to compare with.
    pub(super) has_before: bool,
    /// It is fetched a second time in the same call.
    pub(super) twice: bool,
    /// It was left out of this sample, for its unit rests.
    pub(super) skipped: bool,
}

impl Span {
    /// Bytes.
    pub(super) fn length(&self) -> usize {
        usize::try_from(self.end - self.start).unwrap_or(0)
    }
}

/// A line that some walk went through.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: u64,
    stamp: Stamp,
    owner: Unit,
}

/// A range with the place of its bytes in one buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) offset: usize,
}

impl Piece {
    pub(super) fn length(&self) -> usize {
        usize::try_from(self.end - self.start).unwrap_or(0)
    }
}

/// Ranges in order, those that lie close together joined, each with an offset in one buffer.
pub(super) fn coalesce_ranges(mut ranges: Vec<(u64, u64)>) -> Vec<Piece> {
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

/// Whether what lies between `end` and `start` may be read too: little, and on no page but those of the two.
fn can_join(end: u64, start: u64) -> bool {
    start <= end || (start - end <= JOIN && start / PAGE - (end - 1) / PAGE <= 1)
}

impl<M: Memory> Snapshot<M> {
    /// Makes the spans anew from the lines that were touched lately; the bytes of lines that stay are kept as the previous sample's.
    pub(super) fn lay_out(&mut self) {
        let sample = self.sample;
        let lines = self.lines();
        let mut spans: Vec<Span> = Vec::new();
        for line in &lines {
            let is_head = sample - line.stamp.chain >= LIFETIME;
            match spans.last_mut() {
                Some(span) if span.owner == line.owner && span.is_head == is_head && can_join(span.end, line.start) => {
                    span.end = line.start + LINE;
                }
                _ => spans.push(Span {
                    start: line.start,
                    end: line.start + LINE,
                    owner: line.owner,
                    unit: self.unit_of(line.owner),
                    is_head,
                    offset: 0,
                    filled: false,
                    has_before: false,
                    twice: false,
                    skipped: false,
                }),
            }
        }
        let mut order: Vec<u32> = (0..spans.len() as u32).collect();
        let units = &self.units;
        order.sort_by_key(|index| {
            let span = &spans[*index as usize];
            let is_restless = is_restless(span.unit, units.get(&span.unit), sample);
            (span.unit != COMMON, is_restless, span.unit, span.is_head, span.start)
        });
        let mut offset = 0;
        for index in &order {
            let span = &mut spans[*index as usize];
            span.offset = offset;
            offset += span.length();
        }
        // Lines between touched ones get the stamp of long ago and stay only as long as both their neighbours do.
        let mut stamps = vec![Stamp::default(); offset / LINE as usize];
        let mut bytes = vec![0; offset];
        let mut cursor = 0;
        for line in &lines {
            while spans[cursor].end <= line.start {
                cursor += 1;
            }
            let place = spans[cursor].offset + usize::try_from(line.start - spans[cursor].start).unwrap_or(0);
            stamps[place / LINE as usize] = line.stamp;
        }
        for span in &mut spans {
            let old =
                self.spans.partition_point(|old| old.start <= span.start).checked_sub(1).map(|index| self.spans[index]);
            if let Some(old) = old
                && old.filled
                && span.end <= old.end
            {
                let from = old.offset + usize::try_from(span.start - old.start).unwrap_or(0);
                let length = span.length();
                bytes[span.offset..span.offset + length].copy_from_slice(&self.now[from..from + length]);
                span.filled = true;
            }
        }
        self.spans = spans;
        self.order = order;
        self.stamps = stamps;
        self.now = bytes;
        self.before = vec![0; offset];
        self.again.clear();
        self.laid_out_at = self.sample;
        self.left_out = None;
        self.reclassed = false;
        self.units.retain(|_, state| sample - state.proven_at.max(state.moved_at) < LIFETIME);
    }

    /// Whose unit an owner of lines belongs to.
    fn unit_of(&self, owner: Unit) -> Unit {
        let place = self.joined.binary_search_by_key(&owner, |(joined, _)| *joined);
        place.map_or(owner, |place| self.joined[place].1)
    }

    /// The lines that were touched lately, sorted and each once; of those that were not learned yet the list is emptied.
    fn lines(&mut self) -> Vec<Line> {
        let sample = self.sample;
        let mut lines: Vec<Line> = Vec::with_capacity(self.stamps.len() + self.misses.touched.len());
        for span in self.spans.iter().filter(|span| span.filled || span.skipped) {
            let first = span.offset / LINE as usize;
            for index in 0..span.length() / LINE as usize {
                let stamp = self.stamps[first + index];
                if sample - stamp.any < LIFETIME {
                    lines.push(Line { start: span.start + index as u64 * LINE, stamp, owner: span.owner });
                }
            }
        }
        lines.extend(self.misses.touched.drain(..).map(|touch| {
            let stamp = Stamp { any: sample, chain: if touch.by_chain { sample } else { 0 } };
            Line { start: touch.line, stamp, owner: touch.owner }
        }));
        lines.sort_by_key(|line| (line.start, u32::MAX - line.stamp.any));
        lines.dedup_by(|later, kept| {
            let same = later.start == kept.start;
            if same && later.owner == kept.owner {
                kept.stamp.chain = kept.stamp.chain.max(later.stamp.chain);
            }
            same
        });
        if lines.len() as u64 * LINE > MOST {
            let newest = lines.iter().map(|line| line.stamp.any).max().unwrap_or(0);
            lines.retain(|line| line.stamp.any == newest);
            lines.truncate((MOST / LINE) as usize);
        }
        lines
    }
}
