//! What a snapshot prefetches and in which order: lines grow into spans, and are forgotten when no sample touches them.

use super::{Copies, LINE, Memory, PAGE, ReadPlan, Snapshot};
use crate::memory::{COMMON, Unit};

/// Samples for which an untouched line stays in the prefetch.
pub(super) const LIFETIME: u32 = 256;
/// Two lines are fetched as one range when they are at most this many bytes apart: a further range costs as much as
/// copying some kilobytes.
const JOIN: u64 = 1024;
/// The most that is prefetched, in bytes; beyond it only what the last sample touched is kept.
const MOST: u64 = 32 * 1024 * 1024;

/// What is fetched at the beginning of a sample.
#[derive(Debug, Default)]
pub(super) struct Prefetch {
    /// Sorted by address, disjoint.
    pub(super) spans: Vec<Span>,
    /// Indices of `spans` in the order of their bytes in the buffers, which is the order of the read.
    pub(super) order: Vec<u32>,
    /// For each line of the buffers, when it was touched.
    pub(super) stamps: Vec<Stamp>,
    /// The sample in which the spans were made.
    laid_out_at: u32,
    /// Owners of lines that are part of another's unit, with that unit.
    joined: Vec<(Unit, Unit)>,
    /// The spans are to be made anew: a chain went through a line that was taken for part of heads only, other owners
    /// are joined now, or a span could not be read, which costs a call each time.
    pub(super) is_to_be_made_anew: bool,
    /// No plan has been followed since they were made.
    is_new: bool,
    /// What is fetched in this sample, in the order of the read; kept, so that a steady state allocates little.
    pub(super) fetched: Vec<Fetched>,
}

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
    pub(super) is_filled: bool,
    /// The previous sample's bytes are there to compare with.
    pub(super) has_before: bool,
    /// How often this sample's plan fetches it.
    pub(super) copies: Copies,
    /// There are, or are to be, two copies.
    pub(super) is_twice: bool,
}

impl Span {
    /// Bytes.
    pub(super) fn length(&self) -> usize {
        usize::try_from(self.end - self.start).unwrap_or(0)
    }
}

/// A span to be fetched: its place in the order of the read, and which copy it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetched {
    pub(super) place: usize,
    pub(super) is_second: bool,
}

/// The last sample that touched a line, and the last whose chain did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stamp {
    pub(super) any: u32,
    pub(super) chain: u32,
}

/// A line that some walk went through.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: u64,
    stamp: Stamp,
    owner: Unit,
}

/// Whether what lies between `end` and `start` may be read too: little, and on no page but those of the two.
pub(super) fn can_join(end: u64, start: u64) -> bool {
    start <= end || (start - end <= JOIN && start / PAGE - (end - 1) / PAGE <= 1)
}

impl Prefetch {
    /// Whether the spans are to be made anew before the next read.
    pub(super) fn is_out_of_date(&self, sample: u32) -> bool {
        self.is_to_be_made_anew || sample - self.laid_out_at >= LIFETIME / 2
    }

    /// See [`Snapshot::join_owners`].
    pub(super) fn join_owners(&mut self, pairs: &[(Unit, Unit)]) {
        if self.joined != pairs {
            self.joined.clear();
            self.joined.extend_from_slice(pairs);
            self.is_to_be_made_anew = true;
        }
    }

    /// Marks how often each span is to be fetched.
    pub(super) fn follow_plan(&mut self, plan: &ReadPlan<'_>) {
        let leaves_out_the_same = !std::mem::take(&mut self.is_new) && plan.leaves_out_the_same;
        // The spans of a unit mostly lie together.
        let (mut unit, mut copies) = (COMMON, if plan.is_stopped { Copies::One } else { (plan.copies_of)(COMMON) });
        for span in &mut self.spans {
            // Of what is not fetched the buffers hold bytes of some older sample.
            span.has_before = std::mem::take(&mut span.is_filled);
            span.is_twice = false;
            if span.copies == Copies::None && leaves_out_the_same {
                continue;
            }
            if span.unit != unit && !plan.is_stopped {
                (unit, copies) = (span.unit, (plan.copies_of)(span.unit));
            }
            span.copies = copies;
            span.is_twice = !span.is_head
                && match span.copies {
                    Copies::Two => true,
                    Copies::OneIfKnown => !span.has_before,
                    Copies::None | Copies::One => false,
                };
        }
    }

    /// Spans that could not be read are to go.
    pub(super) fn note_unreadable(&mut self) {
        self.is_to_be_made_anew |= self.spans.iter().any(|span| !span.is_filled && span.copies != Copies::None);
    }

    /// Whose unit an owner of lines belongs to.
    fn unit_of(&self, owner: Unit) -> Unit {
        let place = self.joined.binary_search_by_key(&owner, |(joined, _)| *joined);
        place.map_or(owner, |place| self.joined[place].1)
    }

    /// Neighbouring lines of one owner and kind as spans without a place in the buffers.
    fn spans_of(&self, lines: &[Line], sample: u32) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for line in lines {
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
                    is_filled: false,
                    has_before: false,
                    copies: Copies::One,
                    is_twice: false,
                }),
            }
        }
        spans
    }

    /// The stamps of the lines in the buffers. Lines between touched ones get the stamp of long ago and stay only as
    /// long as both their neighbours do.
    fn stamps_of(spans: &[Span], lines: &[Line], length: usize) -> Vec<Stamp> {
        let mut stamps = vec![Stamp::default(); length / LINE as usize];
        let mut cursor = 0;
        for line in lines {
            while spans[cursor].end <= line.start {
                cursor += 1;
            }
            let place = spans[cursor].offset + usize::try_from(line.start - spans[cursor].start).unwrap_or(0);
            stamps[place / LINE as usize] = line.stamp;
        }
        stamps
    }
}

impl<M: Memory> Snapshot<M> {
    /// Makes the spans anew from the lines that were touched lately; the bytes of lines that stay are kept as the
    /// previous sample's.
    pub(super) fn lay_out(&mut self, plan: &ReadPlan<'_>) {
        let lines = self.lines();
        let mut spans = self.prefetch.spans_of(&lines, self.sample);
        let mut order: Vec<u32> = (0..spans.len() as u32).collect();
        // What is fetched once comes before what is fetched twice, so that nothing lies between two copies.
        order.sort_by_key(|index| {
            let span = &spans[*index as usize];
            let is_twice = (plan.copies_of)(span.unit) == Copies::Two;
            (span.unit != COMMON, is_twice, span.unit, span.is_head, span.start)
        });
        let mut length = 0;
        for index in &order {
            let span = &mut spans[*index as usize];
            span.offset = length;
            length += span.length();
        }
        let mut bytes = vec![0; length];
        let old_spans = &self.prefetch.spans;
        for span in &mut spans {
            let old = old_spans.partition_point(|old| old.start <= span.start).checked_sub(1);
            if let Some(old) = old.map(|index| old_spans[index])
                && old.is_filled
                && span.end <= old.end
            {
                let from = old.offset + usize::try_from(span.start - old.start).unwrap_or(0);
                let old_bytes = &self.buffers.now[from..from + span.length()];
                bytes[span.offset..span.offset + old_bytes.len()].copy_from_slice(old_bytes);
                span.is_filled = true;
            }
        }
        self.prefetch.stamps = Prefetch::stamps_of(&spans, &lines, length);
        (self.prefetch.spans, self.prefetch.order) = (spans, order);
        (self.buffers.now, self.buffers.before, self.buffers.again) = (bytes, vec![0; length], vec![0; length]);
        self.prefetch.laid_out_at = self.sample;
        (self.prefetch.is_new, self.prefetch.is_to_be_made_anew) = (true, false);
        let sample = self.sample;
        self.walks.retain(|_, record| sample - record.sample < LIFETIME);
    }

    /// The lines that were touched lately, sorted and each once; the list of those that were not learned yet is
    /// emptied.
    fn lines(&mut self) -> Vec<Line> {
        let sample = self.sample;
        let stamps = &self.prefetch.stamps;
        let mut lines: Vec<Line> = Vec::with_capacity(stamps.len() + self.misses.touched.len());
        for span in self.prefetch.spans.iter().filter(|span| span.is_filled || span.copies == Copies::None) {
            let first = span.offset / LINE as usize;
            for index in 0..span.length() / LINE as usize {
                let stamp = stamps[first + index];
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
