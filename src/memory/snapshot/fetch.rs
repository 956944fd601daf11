//! How a snapshot gets its bytes: all spans in one call, those of one unit, or the page of a value that no span covers.

use super::{MOST_MISSED, Memory, PAGE, READS, ReadError, Request, SLOW, Snapshot, Unit, WIDEST_MISS, recycle};

impl<M: Memory> Snapshot<M> {
    /// While `unit` alone is held still: fetches its spans anew and walks of it need no second look until [`Snapshot::thaw`].
    /// Values of it in spans of others, which share a line with it, are read when they are asked for. The words at `beside` are read in
    /// the same call; those that could not be read are `None`.
    pub fn begin_frozen_unit(&mut self, unit: Unit, beside: &[u64]) -> Vec<Option<u64>> {
        self.frozen = true;
        self.frozen_unit = Some(unit);
        self.fetch_unit(unit, false, beside)
    }

    /// Fetches the spans of one unit anew, twice, for another walk of it in this sample. The words at `beside` are read after that in the same call.
    pub fn begin_unit_again(&mut self, unit: Unit, beside: &[u64]) -> Vec<Option<u64>> {
        self.presumed_still = None;
        self.fetch_unit(unit, true, beside)
    }

    fn fetch_unit(&mut self, unit: Unit, twice: bool, beside: &[u64]) -> Vec<Option<u64>> {
        // A page that an earlier miss brought is older.
        self.misses.bytes.clear();
        self.misses.pieces.clear();
        self.again.resize(self.now.len(), 0);
        let mut requests = recycle(std::mem::take(&mut self.requests));
        for buffer in [self.now.as_mut_slice(), self.again.as_mut_slice()].into_iter().take(1 + usize::from(twice)) {
            let mut rest = buffer;
            let is_first = requests.is_empty();
            for &index in &self.order {
                let span = &self.spans[index as usize];
                let (bytes, tail) = rest.split_at_mut(span.length());
                rest = tail;
                if span.unit == unit && (is_first || !span.is_head) {
                    requests.push(Request::new(span.start, bytes));
                }
            }
        }
        let mut words = vec![[0; 8]; beside.len()];
        requests.extend(beside.iter().zip(&mut words).map(|(address, word)| Request::new(*address, word)));
        self.statistics.prefetched_bytes += requests.iter().map(|request| request.buffer.len() as u64).sum::<u64>();
        self.memory.read_many(&mut requests);
        let count = self.spans.iter().filter(|span| span.unit == unit).count();
        let mut done = requests.iter().map(|request| request.complete);
        let mut done_again = requests.iter().skip(count).map(|request| request.complete);
        for &index in &self.order {
            let span = &mut self.spans[index as usize];
            if span.unit == unit {
                span.filled = done.next().unwrap_or(false);
                span.twice = twice && !span.is_head && done_again.next().unwrap_or(false);
            }
        }
        let of_words = requests.len() - beside.len();
        let are_complete: Vec<bool> = requests.iter().skip(of_words).map(|request| request.complete).collect();
        self.requests = recycle(requests);
        words.iter().zip(are_complete).map(|(word, complete)| complete.then(|| u64::from_ne_bytes(*word))).collect()
    }

    /// The one vectored read: units at rest and common values once, then of each restless unit its chain, its head and its chain again. The second copy
    /// begins in another place each time: at equal distances, the copies of a loop of that length would be equal always.
    pub(super) fn fetch(&mut self) {
        self.again.resize(self.now.len(), 0);
        let mut requests = recycle(std::mem::take(&mut self.requests));
        let (mut now, mut again) = (self.now.as_mut_slice(), self.again.as_mut_slice());
        let mut index = 0;
        while index < self.order.len() {
            let unit = self.spans[self.order[index] as usize].unit;
            let group = self.order[index..].iter().take_while(|span| self.spans[**span as usize].unit == unit).count();
            let group = &self.order[index..index + group];
            for &span in group {
                let span = &self.spans[span as usize];
                let (bytes, tail) = now.split_at_mut(span.length());
                now = tail;
                if !span.skipped {
                    requests.push(Request::new(span.start, bytes));
                }
            }
            let (first, second) = group.split_at(turn(self.sample, group.len()));
            let length = |group: &[u32]| group.iter().map(|span| self.spans[*span as usize].length()).sum();
            let (bytes_of_first, tail) = again.split_at_mut(length(first));
            let (bytes_of_second, tail) = tail.split_at_mut(length(second));
            again = tail;
            for (group, mut rest) in [(second, bytes_of_second), (first, bytes_of_first)] {
                for &span in group {
                    let span = &self.spans[span as usize];
                    let (bytes, tail) = rest.split_at_mut(span.length());
                    rest = tail;
                    if span.twice {
                        requests.push(Request::new(span.start, bytes));
                    }
                }
            }
            index += group.len();
        }
        let mut word = [0; 4];
        requests.extend(self.last_word_at.map(|address| Request::new(address, &mut word)));
        if !requests.is_empty() {
            self.statistics.prefetched_bytes += requests.iter().map(|request| request.buffer.len() as u64).sum::<u64>();
            self.memory.read_many(&mut requests);
        }
        let has_read = !requests.is_empty();
        let has_last = self.last_word_at.is_some() && requests.last().is_some_and(|request| request.complete);
        let mut done = requests.iter().map(|request| request.complete);
        let mut index = 0;
        while index < self.order.len() {
            let unit = self.spans[self.order[index] as usize].unit;
            let end =
                index + self.order[index..].iter().take_while(|span| self.spans[**span as usize].unit == unit).count();
            for &span in &self.order[index..end] {
                let span = &mut self.spans[span as usize];
                span.filled = !span.skipped && done.next().unwrap_or(false);
            }
            let (first, second) = self.order[index..end].split_at(turn(self.sample, end - index));
            for &span in second.iter().chain(first) {
                let span = &mut self.spans[span as usize];
                if span.twice {
                    span.twice = done.next().unwrap_or(false);
                }
            }
            index = end;
        }
        self.gap = self.spans.iter().any(|span| !span.filled && !span.skipped);
        self.requests = recycle(requests);
        self.last_word = has_last.then(|| u32::from_ne_bytes(word));
        if has_read {
            self.time_read();
        }
    }

    /// Takes note of how long the read of this sample took.
    fn time_read(&mut self) {
        let Some(took) = self.memory.last_read_time() else { return };
        self.slow_read = !self.usual_read.is_zero() && took > self.usual_read * SLOW;
        self.usual_read = (self.usual_read * (READS - 1) + took) / READS;
    }

    /// Fetches the page or pages around a value; the further a run of misses goes on through neighbouring pages, the more at a time.
    pub(super) fn miss(&mut self, address: u64, length: usize) -> Result<usize, ReadError> {
        self.statistics.misses += 1;
        let Some(end) = address.checked_add(length as u64).filter(|end| *end < u64::MAX - WIDEST_MISS) else {
            return Err(ReadError::implausible(address));
        };
        let (mut low, mut high) = (address & !(PAGE - 1), (end + PAGE - 1) & !(PAGE - 1));
        if self.misses.bytes.len() >= MOST_MISSED {
            return Err(ReadError::implausible(address));
        }
        let pieces = &self.misses.pieces;
        let position = pieces.partition_point(|(start, _, _)| *start < low);
        let around = &pieces[position.saturating_sub(1)..(position + 1).min(pieces.len())];
        let neighbour = around.iter().find(|(start, stop, _)| *start == high || *stop == low).copied();
        let narrow = (low, high);
        if let Some((start, stop, _)) = neighbour {
            let width = (2 * (stop - start)).min(WIDEST_MISS);
            if start == high {
                low = high.saturating_sub(width).max(PAGE).min(low);
            } else {
                high = high.max(low + width);
            }
        }
        let tries = [(low, high), narrow, (address, end)];
        let mut failure = ReadError::implausible(address);
        for (index, (low, high)) in tries.into_iter().enumerate() {
            if index > 0 && tries[index - 1] == (low, high) {
                continue;
            }
            let offset = self.misses.bytes.len();
            self.misses.bytes.resize(offset + usize::try_from(high - low).unwrap_or(0), 0);
            match self.memory.read(low, &mut self.misses.bytes[offset..]) {
                Ok(()) => {
                    let position = self.misses.pieces.partition_point(|(start, _, _)| *start < low);
                    self.misses.pieces.insert(position, (low, high, offset));
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

/// With which of `count` ranges the second copy begins in a sample: by turns with all of them, in no order that a loop could follow.
fn turn(sample: u32, count: usize) -> usize {
    // Knuth's multiplicative hash.
    let hash = sample.wrapping_mul(0x9E37_79B1) >> 16;
    hash as usize % count
}
