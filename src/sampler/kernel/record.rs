//! What the program in the kernel puts into the ring: one record for each look at a thread.

use super::blocked_call::{BlockedCall, CALL_SLOTS};

/// Bytes of a record's head and of each of its slots (`struct record`, `struct slot` in `program.bpf.c`).
const HEAD: usize = 96;
const SLOT: usize = 32;

/// In the last word of a frame's slot: the next slot is evidence of its code; the frame is not traced.
const HAS_EVIDENCE: u64 = 1 << 63;
const IS_UNTRACED: u64 = 1 << 62;

/// Flags of a record, as the program sets them.
const RAN: u32 = 1;
const LEFT_CPU: u32 = 2;
const WAITS: u32 = 4;
const IS_FULL: u32 = 8;
const IS_BROKEN: u32 = 16;
const COLLECTS: u32 = 32;
const REQUESTS_GIL: u32 = 64;
const BLOCKED: u32 = 1 << 16;
const WOKE: u32 = 1 << 17;

/// Four words of a record: a frame, or the evidence of the code of the frame before.
type Slot = [u64; 4];

/// One look at a thread. Addresses are of the target, times are ns of `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// When, and for how long.
    pub times: RecordTimes,
    /// Its `PyThreadState`; 0 where none was found.
    pub state: u64,
    /// Its `pthread_t`.
    pub thread_id: u64,
    /// Who holds the GIL: a `PyThreadState`, or 0.
    pub holder: u64,
    /// `gc.frame` (3.15+), or 0.
    pub collecting_frame: u64,
    /// The process and the thread, by their outermost numbers.
    pub pid: u32,
    /// The thread.
    pub os_id: u32,
    /// Which run of a program in the process was meant.
    pub run: u64,
    /// The state of a task that goes to sleep.
    task_state: u32,
    flags: u32,
    slots: SlotSpan,
}

/// When a record was made and which time it stands for, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordTimes {
    /// When.
    pub made_ns: u64,
    /// The CPU time that it stands for; 0 if it was not made for that.
    pub weight_ns: u64,
    /// For how long the thread waited for a CPU with the stack with which it was last seen leaving one.
    pub delay_since_left_ns: u64,
    /// For how long it waited for a CPU otherwise since the record before.
    pub delay_ns: u64,
}

impl RecordTimes {
    /// The time in which the thread was at what the record shows, on its CPU or waiting for one.
    pub(in crate::sampler) fn active_ns(self) -> u64 {
        self.weight_ns.saturating_add(self.delay_ns)
    }
}

/// Where the slots of a record are among those of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SlotSpan {
    first: usize,
    end: usize,
}

impl Record {
    /// The thread ran, and the record has its stack.
    pub(in crate::sampler) fn ran(&self) -> bool {
        self.flags & RAN != 0
    }

    /// The thread was about to leave its CPU, and the record has its stack.
    pub(in crate::sampler) fn left_cpu(&self) -> bool {
        self.flags & LEFT_CPU != 0
    }

    /// The thread went to sleep.
    pub(in crate::sampler) fn went_to_sleep(&self) -> bool {
        self.flags & WAITS != 0
    }

    /// The thread goes to sleep, and the record has its stack.
    pub(in crate::sampler) fn is_blocked(&self) -> bool {
        self.flags & BLOCKED != 0
    }

    /// The thread was woken; the record has no stack.
    pub(in crate::sampler) fn woke(&self) -> bool {
        self.flags & WOKE != 0
    }

    /// Not all of its frames could be read, or there are too many.
    pub(in crate::sampler) fn is_truncated(&self) -> bool {
        self.flags & (IS_FULL | IS_BROKEN) != 0
    }

    /// The garbage collector ran in its interpreter; without a GIL, in this very thread.
    pub(in crate::sampler) fn collects(&self) -> bool {
        self.flags & COLLECTS != 0
    }

    /// The thread said that it wanted the GIL (3.15+).
    pub(in crate::sampler) fn requests_gil(&self) -> bool {
        self.flags & REQUESTS_GIL != 0
    }
}

/// A frame as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameSlot {
    /// The `PyFrameObject` or `_PyInterpreterFrame`.
    pub address: u64,
    /// Its code object.
    pub code: u64,
    /// What tells its instruction: a pointer, or two `int`s, `f_lasti` and `f_lineno`.
    pub position: u64,
    /// The line that its frame object says (3.11+), or 0.
    pub line: u32,
    /// Which thread-local copy of the bytecode the pointer points into (free-threaded).
    pub local_copy: u32,
    /// `f_trace` is NULL (≤ 3.9).
    pub is_untraced: bool,
    /// What the code object was recognized by, where the program did not know it.
    pub evidence: Option<[u64; 4]>,
}

/// Records that were taken out of the ring; kept and refilled.
#[derive(Debug, Default)]
pub(crate) struct Records {
    records: Vec<Record>,
    slots: Vec<Slot>,
}

impl Records {
    /// Forgets all.
    pub(in crate::sampler) fn clear(&mut self) {
        self.records.clear();
        self.slots.clear();
    }

    /// Adds a record as it lies in the ring. What is none is left out.
    pub(in crate::sampler) fn push(&mut self, bytes: &[u8]) {
        let Some((head, slots)) = bytes.split_at_checked(HEAD) else { return };
        let word = |at: usize| word_at(head, at);
        let halves = |at: usize| {
            let word = word(at);
            (word as u32, (word >> 32) as u32)
        };
        let ((pid, os_id), (flags, count)) = (halves(64), halves(72));
        let first = self.slots.len();
        let slots = slots.chunks_exact(SLOT).take(count as usize);
        self.slots.extend(slots.map(|slot| [0, 8, 16, 24].map(|at| word_at(slot, at))));
        self.records.push(Record {
            times: RecordTimes {
                made_ns: word(0),
                weight_ns: word(8),
                delay_since_left_ns: word(16),
                delay_ns: word(24),
            },
            state: word(32),
            thread_id: word(40),
            holder: word(48),
            collecting_frame: word(56),
            pid,
            os_id,
            run: word(88),
            task_state: halves(80).1,
            flags,
            slots: SlotSpan { first, end: self.slots.len() },
        });
    }

    /// All of them, in the order in which they were made.
    pub(in crate::sampler) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// Whether there are none.
    pub(in crate::sampler) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The system call in which the thread of a [blocked](Record::is_blocked) record went to sleep.
    pub(in crate::sampler) fn call(&self, record: &Record) -> Option<BlockedCall> {
        let slots = self.slots.get(record.slots.first..record.slots.end).filter(|_| record.is_blocked())?;
        Some(BlockedCall::new(slots.first_chunk::<CALL_SLOTS>()?, record.task_state, record.times.delay_ns))
    }

    /// The frames of a record, newest first.
    pub(in crate::sampler) fn frames(&self, record: &Record) -> impl Iterator<Item = FrameSlot> {
        let before = if record.is_blocked() { CALL_SLOTS } else { 0 };
        let mut slots = self.slots.get(record.slots.first + before..record.slots.end).unwrap_or(&[]).iter();
        let mut above = (0, None);
        std::iter::from_fn(move || {
            let [address, code, position, last] = *slots.next()?;
            // A frame of the same code as the one above has its evidence there.
            if last & HAS_EVIDENCE != 0 {
                above = (code, slots.next().copied());
            } else if above.0 != code {
                above = (code, None);
            }
            let evidence = above.1;
            Some(FrameSlot {
                address,
                code,
                position,
                line: last as u32,
                local_copy: (last >> 32) as u32 & 0xFF_FFFF,
                is_untraced: last & IS_UNTRACED != 0,
                evidence,
            })
        })
    }
}

/// The word at an offset at which there is one.
fn word_at(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
    word.map_or(0, u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_record_is_taken_apart_as_the_program_made_it() {
        let head = [5, 1000, 0, 7, 0x10, 0x20, 0x30, 0, 42 | 43 << 32, (RAN | COLLECTS) as u64 | 3 << 32, 0, 9];
        let frames = [0x100, 0x200, 0x201, HAS_EVIDENCE | 2 << 32 | 77, 1, 2, 3, 4, 0x101, 0x200, 0x203, IS_UNTRACED];
        let mut records = Records::default();
        records.push(&bytes(&[head, frames].concat()));
        let record = *records.iter().next().unwrap();
        let times = record.times;
        assert_eq!((times.made_ns, times.weight_ns, times.delay_since_left_ns, times.delay_ns), (5, 1000, 0, 7));
        assert_eq!(times.active_ns(), 1007);
        assert_eq!((record.pid, record.os_id, record.run, record.state, record.holder), (42, 43, 9, 0x10, 0x30));
        assert_eq!(record.thread_id, 0x20);
        assert!(record.ran() && record.collects() && !record.left_cpu() && !record.is_truncated());
        let frames: Vec<FrameSlot> = records.frames(&record).collect();
        assert_eq!(frames.len(), 2);
        assert_eq!((frames[0].code, frames[0].line, frames[0].local_copy), (0x200, 77, 2));
        assert_eq!(frames[0].evidence, Some([1, 2, 3, 4]));
        assert_eq!((frames[1].address, frames[1].is_untraced), (0x101, true));
        assert_eq!(frames[1].evidence, frames[0].evidence);
    }

    #[test]
    fn what_is_cut_off_does_no_harm() {
        let mut records = Records::default();
        records.push(&[0; HEAD - 1]);
        assert!(records.is_empty());
        let mut head = [0; 12];
        head[9] = 1000 << 32;
        records.push(&bytes(&[&head[..], &[1, 2, 3, HAS_EVIDENCE, 1, 2]].concat()));
        let record = *records.iter().next().unwrap();
        assert_eq!(records.frames(&record).map(|frame| frame.evidence).collect::<Vec<_>>(), [None]);
    }
}
