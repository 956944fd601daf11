//! The search through memory for what says that it is a greenlet.

use std::ops::Range;

use super::GreenletTypes;
use crate::memory::Request;
use crate::python::object::{ObjectReader, words};

/// Pieces of memory that are read together.
const PIECES: usize = 32;
/// The size of one, in bytes.
const PIECE: usize = 64 << 10;
/// Where a piece cannot be read, it is tried in parts of this size, in bytes: the least page of all systems.
const PAGE: usize = 4096;
/// More candidates than this are not kept.
const MOST_CANDIDATES: usize = 1 << 17;
/// Bits of the filter that words go through first.
const FILTER_BITS: usize = 1 << 16;

/// What a scan has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// What may be greenlets, in the order of the ranges.
    pub(crate) candidates: Vec<u64>,
    /// Bytes that were gone through.
    pub(crate) scanned: u64,
    /// Bytes of the ranges that were not, because they were beyond the limit or could not be read.
    pub(crate) left_out: u64,
    /// There were more candidates than are kept.
    pub(crate) is_cut: bool,
}

impl GreenletTypes {
    /// Goes through memory for what may be greenlets. `ranges` is where objects lie: memory that can be written and has
    /// no file behind it. At most `limit` bytes are read. The target may run meanwhile.
    ///
    /// It costs about as much as copying the memory; of what the target has never touched the system makes pages of
    /// zeros up.
    pub(crate) fn scan(&self, objects: ObjectReader<'_>, ranges: &[Range<u64>], limit: u64) -> Scan {
        let mut search = Search::new(self, objects);
        let mut buffer = vec![0; PIECES * PIECE];
        let mut left = limit;
        for range in ranges {
            let start = range.start.checked_next_multiple_of(8).unwrap_or(range.end).min(range.end);
            let length = (range.end - start).min(left);
            search.scan.left_out += range.end - start - length;
            left -= length;
            let mut done = 0;
            while done < length {
                // No more than the buffer holds.
                let step = (length - done).min(buffer.len() as u64);
                search.go_through(start + done, &mut buffer[..step as usize], PIECE);
                done += step;
            }
        }
        let Scan { candidates, .. } = &mut search.scan;
        let heads = self.read_heads(objects, candidates);
        *candidates = heads.into_iter().map(|head| head.greenlet).collect();
        search.scan
    }
}

struct Search<'search> {
    objects: ObjectReader<'search>,
    types: &'search GreenletTypes,
    /// A bit for the low half of the address of each type, without the four lowest bits: types are aligned.
    filter: Box<[u64; FILTER_BITS / 64]>,
    scan: Scan,
}

impl<'search> Search<'search> {
    fn new(types: &'search GreenletTypes, objects: ObjectReader<'search>) -> Self {
        let mut filter = Box::new([0; FILTER_BITS / 64]);
        for found in &types.types {
            let (word, bit) = filter_place(found.address);
            filter[word] |= bit;
        }
        Self { objects, types, filter, scan: Scan::default() }
    }

    /// Reads into `buffer` from `address` on, in pieces, and goes through what could be read.
    fn go_through(&mut self, address: u64, buffer: &mut [u8], piece: usize) {
        let pieces = buffer.chunks_mut(piece).zip((address..).step_by(piece));
        let mut requests: Vec<Request<'_>> = pieces.map(|(part, at)| Request::new(at, part)).collect();
        self.objects.memory().read_many(&mut requests);
        for request in requests {
            if request.complete {
                self.scan.scanned += request.buffer.len() as u64;
                self.search(request.address, request.buffer);
            } else if piece > PAGE {
                self.go_through(request.address, request.buffer, PAGE);
            } else {
                self.scan.left_out += request.buffer.len() as u64;
            }
        }
    }

    /// Looks for words that are the address of a type, each of which may be the type of an object.
    fn search(&mut self, address: u64, bytes: &[u8]) {
        let to_type = u64::from(self.objects.layout().object.ob_type);
        for (index, word) in words(bytes).enumerate() {
            let (at, bit) = filter_place(word);
            if self.filter[at] & bit == 0 || self.types.get(word).is_none() {
                continue;
            }
            if self.scan.candidates.len() >= MOST_CANDIDATES {
                self.scan.is_cut = true;
                return;
            }
            let place = address + 8 * index as u64;
            if let Some(object) = place.checked_sub(to_type) {
                self.scan.candidates.push(object);
            }
        }
    }
}

/// Which word of the filter an address belongs to, and which bit in it.
fn filter_place(address: u64) -> (usize, u64) {
    let place = (address >> 4) as usize % FILTER_BITS;
    (place / 64, 1 << (place % 64))
}
