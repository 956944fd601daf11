//! How a snapshot gets its bytes: spans in one call, or the page of a value that no span covers.

use super::prefetch::{Fetched, Prefetch, Span};
use super::{Buffers, Copies, LINE, LastWord, Memory, PAGE, ReadError, Request, Snapshot, recycle};
use crate::memory::Unit;

/// How far a run of misses in neighbouring pages widens the read, in bytes.
const WIDEST_MISS: u64 = 64 * 1024;
/// Bytes that are read for misses of one sample, at most; only a target that leads us astray has so many.
const MOST_MISSED: usize = 128 * 1024 * 1024;

/// Bytes that were fetched in this sample because no span covered them.
#[derive(Debug, Default)]
pub(super) struct Misses {
    pub(super) bytes: Vec<u8>,
    /// Sorted by address; may overlap.
    pieces: Vec<Piece>,
    /// Lines to learn.
    pub(super) touched: Vec<Touch>,
}

/// A range of the target whose bytes lie in a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// First address.
    pub(super) start: u64,
    /// End.
    pub(super) end: u64,
    /// Where its bytes begin.
    pub(super) offset: usize,
}

impl Piece {
    /// Bytes.
    pub(super) fn length(&self) -> usize {
        usize::try_from(self.end - self.start).unwrap_or(0)
    }
}

/// A line that a walk went through, and whether with its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Touch {
    pub(super) line: u64,
    pub(super) owner: Unit,
    pub(super) by_chain: bool,
}

impl Misses {
    /// What was read is out of date; what was touched is to be learned still.
    pub(super) fn forget_bytes(&mut self) {
        self.bytes.clear();
        self.pieces.clear();
    }

    /// Where in `bytes` the bytes of a value are, if they were read.
    pub(super) fn find(&self, address: u64, end: u64) -> Option<usize> {
        // Pieces may overlap where a wide miss met an older one; the nearest below is the one that can hold the value.
        let index = self.pieces.partition_point(|piece| piece.start <= address).checked_sub(1)?;
        let piece = self.pieces[index];
        (end <= piece.end).then(|| piece.offset + usize::try_from(address - piece.start).unwrap_or(0))
    }

    /// The lines of a value are to be learned for `owner`.
    pub(super) fn learn(&mut self, address: u64, length: usize, owner: Unit, by_chain: bool) {
        let lines = [address & !(LINE - 1), (address + length as u64 - 1) & !(LINE - 1)];
        for line in lines {
            let touch = Touch { line, owner, by_chain };
            if self.touched.last() != Some(&touch) {
                self.touched.push(touch);
            }
        }
    }

    /// What to read around a value that ends at `end`, the widest range first; the further a run of misses goes on
    /// through neighbouring pages, the more at a time.
    fn ranges_around(&self, address: u64, end: u64) -> [(u64, u64); 3] {
        let narrow = (address & !(PAGE - 1), (end + PAGE - 1) & !(PAGE - 1));
        let (mut low, mut high) = narrow;
        let position = self.pieces.partition_point(|piece| piece.start < low);
        let around = &self.pieces[position.saturating_sub(1)..(position + 1).min(self.pieces.len())];
        if let Some(neighbour) = around.iter().find(|piece| piece.start == high || piece.end == low) {
            let width = (2 * (neighbour.end - neighbour.start)).min(WIDEST_MISS);
            if neighbour.start == high {
                low = high.saturating_sub(width).max(PAGE).min(low);
            } else {
                high = high.max(low + width);
            }
        }
        [(low, high), narrow, (address, end)]
    }
}

impl<M: Memory> Snapshot<M> {
    /// The one vectored read of the `wanted` spans: of each unit its chain, its head and, of what is fetched twice, the
    /// chain again; at last the words of `last`.
    pub(super) fn fetch(&mut self, wanted: impl Fn(&Span) -> bool, last: &mut [LastWord]) {
        let Prefetch { spans, order, fetched, .. } = &mut self.prefetch;
        let is_wanted = |span: &Span| span.copies != Copies::None && wanted(span);
        list_fetched(spans, order, fetched, self.sample, is_wanted);
        let mut requests = recycle(std::mem::take(&mut self.requests));
        let mut copies = split_by_span(&mut self.buffers, spans, order);
        for Fetched { place, is_second } in &*fetched {
            let [now, again] = &mut copies[*place];
            let bytes = std::mem::take(if *is_second { again } else { now });
            requests.push(Request::new(spans[order[*place] as usize].start, bytes));
        }
        let mut words = vec![[0; 8]; last.len()];
        requests.extend(last.iter().zip(&mut words).map(|(word, bytes)| Request::new(word.address, bytes)));
        if !requests.is_empty() {
            self.memory.read_many(&mut requests);
        }
        for (Fetched { place, is_second }, request) in fetched.iter().zip(&requests) {
            let span = &mut spans[order[*place] as usize];
            if *is_second {
                span.is_twice = request.complete;
            } else {
                span.is_filled = request.complete;
            }
        }
        for (word, request) in last.iter_mut().zip(requests.iter().skip(fetched.len())) {
            let bytes: Option<[u8; 8]> = request.complete.then(|| request.buffer.as_ref().try_into().ok()).flatten();
            word.value = bytes.map(u64::from_ne_bytes);
        }
        self.requests = recycle(requests);
    }

    /// Fetches the page or pages around a value. Where its bytes are in those of the misses.
    pub(super) fn fetch_missed(&mut self, address: u64, length: usize) -> Result<usize, ReadError> {
        let end = address.checked_add(length as u64).filter(|end| *end < u64::MAX - WIDEST_MISS);
        let Some(end) = end.filter(|_| self.misses.bytes.len() < MOST_MISSED) else {
            return Err(ReadError::implausible(address));
        };
        let ranges = self.misses.ranges_around(address, end);
        let mut failure = ReadError::implausible(address);
        for (index, (low, high)) in ranges.into_iter().enumerate() {
            if index > 0 && ranges[index - 1] == (low, high) {
                continue;
            }
            let offset = self.misses.bytes.len();
            self.misses.bytes.resize(offset + usize::try_from(high - low).unwrap_or(0), 0);
            match self.memory.read(low, &mut self.misses.bytes[offset..]) {
                Ok(()) => {
                    let position = self.misses.pieces.partition_point(|piece| piece.start < low);
                    self.misses.pieces.insert(position, Piece { start: low, end: high, offset });
                    return Ok(offset + usize::try_from(address - low).unwrap_or(0));
                }
                Err(error) => {
                    self.misses.bytes.truncate(offset);
                    failure = error;
                }
            }
        }
        Err(ReadError::new(address, length, failure.failure))
    }
}

/// Lists the first copies of the spans that are wanted and, after those of the same unit, the second ones.
fn list_fetched(
    spans: &[Span],
    order: &[u32],
    fetched: &mut Vec<Fetched>,
    sample: u32,
    is_wanted: impl Fn(&Span) -> bool,
) {
    fetched.clear();
    let span_at = |place: usize| &spans[order[place] as usize];
    let mut first = 0;
    while first < order.len() {
        let unit = span_at(first).unit;
        let (mut end, mut is_any_twice) = (first, false);
        while end < order.len() && span_at(end).unit == unit {
            let span = span_at(end);
            if is_wanted(span) {
                fetched.push(Fetched { place: end, is_second: false });
                is_any_twice |= span.is_twice;
            }
            end += 1;
        }
        if is_any_twice {
            let turn = first + turn(sample, end - first);
            let again = (turn..end).chain(first..turn).filter(|place| span_at(*place).is_twice);
            let again = again.filter(|place| is_wanted(span_at(*place)));
            fetched.extend(again.map(|place| Fetched { place, is_second: true }));
        }
        first = end;
    }
}

/// The places of both copies of each span, in the order of the read.
fn split_by_span<'buffers>(
    buffers: &'buffers mut Buffers,
    spans: &[Span],
    order: &[u32],
) -> Vec<[&'buffers mut [u8]; 2]> {
    let (mut now, mut again) = (buffers.now.as_mut_slice(), buffers.again.as_mut_slice());
    let of_span = |index: &u32| {
        let length = spans[*index as usize].length();
        [&mut now, &mut again].map(|rest| {
            let (bytes, tail) = std::mem::take(rest).split_at_mut(length);
            *rest = tail;
            bytes
        })
    };
    order.iter().map(of_span).collect()
}

/// With which of `count` ranges the second copy begins in a sample: by turns with all of them, in no order that a loop
/// could follow. At equal distances the copies of a loop that takes as long would be equal always.
fn turn(sample: u32, count: usize) -> usize {
    // Knuth's multiplicative hash.
    let hash = sample.wrapping_mul(0x9E37_79B1) >> 16;
    hash as usize % count
}
