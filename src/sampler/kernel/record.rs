//! What the program in the kernel puts into the ring: one record for each look at a thread.

use std::sync::Arc;

use foldhash::HashMap;

use super::blocked_call::{BlockedCall, CALL_SLOTS};
use super::frame_slots::{FrameSlot, Frames, HAS_EVIDENCE};
use super::kept_stacks::{KeptStacks, Slot, StackSlots};
use crate::process::Registers;

/// Bytes of a record's head and of each of its slots (`struct record`, `struct slot` in `program.bpf.c`).
const HEAD: usize = 112;
const SLOT: usize = 32;
/// Bytes of what stands before a native stack (`struct native_head`), and of its registers.
const NATIVE_HEAD: usize = 8 + REGISTERS * 8;
pub(super) const REGISTERS: usize = 21;
/// Where in these (`struct pt_regs`) the registers are, in the order of their DWARF numbers, and the instruction.
const BY_NUMBER: [usize; 16] = [10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0];
const INSTRUCTION: usize = 16;
const STACK_POINTER: usize = 19;

/// The registers of a thread, of which `register` tells each by its place in `struct pt_regs`.
pub(super) fn registers_of(register: impl Fn(usize) -> u64) -> Registers {
    Registers::new(register(INSTRUCTION), &BY_NUMBER.map(&register))
}

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
const HAS_NATIVE: u32 = 1 << 18;
const EXECUTED: u32 = 1 << 19;
const IS_BASE: u32 = 1 << 20;

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
    flags: u32,
    slots: SlotSpan,
    of_kernel: KernelDetail,
    /// Its native part, among the bytes of all.
    native: Span,
}

/// What the kernel tells beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KernelDetail {
    /// Of a thread that goes to sleep the state in which it does.
    TaskState(u32),
    /// Of others how many addresses of the kernel's own stack are in the first slots.
    Frames(u32),
}

impl KernelDetail {
    fn frames(self) -> usize {
        match self {
            Self::TaskState(_) => 0,
            Self::Frames(count) => count as usize,
        }
    }
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

/// Where something of a record is among that of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: usize,
    end: usize,
}

/// Where the slots of a record are among those of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SlotSpan {
    first: usize,
    end: usize,
    /// Then come so many of the last slots of a kept stack, which is this of those in use.
    base: usize,
    shared: usize,
    /// So many of the last ones, without evidence, are as in the record of the thread before.
    repeated: usize,
    has_evidence: bool,
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

    /// The process executed another program; the record has no stack.
    pub(in crate::sampler) fn executed(&self) -> bool {
        self.flags & EXECUTED != 0
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

/// The registers with which a thread left user space, and what was copied of its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordedStack<'records> {
    /// The registers.
    pub registers: Registers,
    /// Where in the target the copy begins: at the stack pointer.
    pub start: u64,
    /// Where the stack ends, as far as is known: beyond the copy, if that was too long for it.
    pub end: Option<u64>,
    /// The copy.
    pub bytes: &'records [u8],
}

/// Records that were taken out of the ring; kept and refilled.
#[derive(Debug, Default)]
pub(crate) struct Records {
    records: Vec<Record>,
    slots: Vec<Slot>,
    /// The kept stacks whose slots they share.
    bases: Vec<Arc<[Slot]>>,
    native: Vec<u8>,
    /// The last record of each thread.
    last: HashMap<u32, usize>,
}

impl Records {
    /// Forgets all.
    pub(in crate::sampler) fn clear(&mut self) {
        self.records.clear();
        self.last.clear();
        self.slots.clear();
        self.bases.clear();
        self.native.clear();
    }

    /// Adds a record as it lies in the ring. What is none is left out.
    pub(in crate::sampler) fn push(&mut self, bytes: &[u8], kept: &mut KeptStacks) {
        let Some((head, rest)) = bytes.split_at_checked(HEAD) else { return };
        let word = |at: usize| word_at(head, at);
        let halves = |at: usize| {
            let word = word(at);
            (word as u32, (word >> 32) as u32)
        };
        let ((pid, os_id), (mut flags, count), (_, detail)) = (halves(64), halves(72), halves(80));
        let (base, shared) = (word(96), halves(104).0 as usize);
        let first_native = self.native.len();
        let (slots, native) = rest.split_at((count as usize).saturating_mul(SLOT).min(rest.len()));
        let (slots, _) = slots.as_chunks::<SLOT>();
        let slots = match flags & IS_BASE {
            0 if base == 0 => self.push_slots(os_id, slots, None),
            0 => {
                let of_base = kept.find(base).filter(|slots| slots.len() >= shared);
                if of_base.is_none() {
                    log::debug!("a record shares slots that nobody has");
                    flags |= IS_BROKEN;
                }
                self.push_slots(os_id, slots, of_base.map(|of_base| (of_base, shared)))
            }
            _ => {
                let (own, clean) = slots.split_at(slots.len().saturating_sub(shared));
                let clean: Arc<[Slot]> = clean.iter().map(slot_of).collect();
                kept.keep(base, clean.clone());
                self.push_slots(os_id, own, Some((&clean, clean.len())))
            }
        };
        if flags & HAS_NATIVE != 0 {
            self.native.extend_from_slice(native);
        }
        self.last.insert(os_id, self.records.len());
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
            flags,
            slots,
            of_kernel: match flags & BLOCKED {
                0 => KernelDetail::Frames(detail),
                _ => KernelDetail::TaskState(detail),
            },
            native: Span { first: first_native, end: self.native.len() },
        });
    }

    /// Adds the slots of a record of a thread: its own, and so many of the last ones of a kept stack.
    fn push_slots(&mut self, os_id: u32, own: &[[u8; SLOT]], shared: Option<(&Arc<[Slot]>, usize)>) -> SlotSpan {
        let first = self.slots.len();
        self.slots.extend(own.iter().map(slot_of));
        let (base, shared) = shared.map_or((usize::MAX, 0), |(slots, shared)| {
            let known = self.bases.iter().rposition(|base| Arc::ptr_eq(base, slots));
            let base = known.unwrap_or_else(|| {
                self.bases.push(slots.clone());
                self.bases.len() - 1
            });
            (base, shared)
        });
        let span = SlotSpan { first, end: self.slots.len(), base, shared, repeated: 0, has_evidence: false };
        let slots = self.stack_slots(span);
        let before = self.last.get(&os_id).map(|index| self.records[*index].slots);
        let before = before.map(|before| (self.stack_slots(before), before.has_evidence));
        // What is as in a record without evidence has none either, nor has what is shared.
        let repeated = before.map_or(0, |(mut before, has_evidence)| {
            if has_evidence {
                before.own = &[];
            }
            slots.same_at_end(&before)
        });
        let new = (slots.own.len() + slots.shared).saturating_sub(repeated).min(slots.own.len());
        let has_evidence = slots.own[..new].iter().any(|[.., last]| last & HAS_EVIDENCE != 0);
        let repeated = if has_evidence { repeated.min(shared) } else { repeated };
        SlotSpan { repeated, has_evidence, ..span }
    }

    fn stack_slots(&self, span: SlotSpan) -> StackSlots<'_> {
        let own = self.slots.get(span.first..span.end).unwrap_or(&[]);
        StackSlots { own, kept: self.bases.get(span.base), shared: span.shared }
    }

    /// Where in the kernel's own code the thread was, the innermost first.
    pub(in crate::sampler) fn kernel_frames(&self, record: &Record) -> impl Iterator<Item = u64> {
        let slots = self.slots.get(record.slots.first..record.slots.end).unwrap_or(&[]);
        slots.as_flattened().iter().copied().take(record.of_kernel.frames())
    }

    /// The native stack of a record, if it has one.
    pub(in crate::sampler) fn native_stack(&self, record: &Record) -> Option<RecordedStack<'_>> {
        let (head, bytes) = self.native.get(record.native.first..record.native.end)?.split_at_checked(NATIVE_HEAD)?;
        let register = |number: usize| word_at(head, 8 + 8 * number);
        let end = Some(word_at(head, 0)).filter(|end| *end != 0);
        Some(RecordedStack { registers: registers_of(register), start: register(STACK_POINTER) & !7, end, bytes })
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
        let KernelDetail::TaskState(task_state) = record.of_kernel else { return None };
        let slots = self.slots.get(record.slots.first..record.slots.end)?;
        Some(BlockedCall::new(slots.first_chunk::<CALL_SLOTS>()?, task_state, record.times.delay_ns))
    }

    /// The slots of a record's frames.
    pub(in crate::sampler) fn frame_slots(&self, record: &Record) -> StackSlots<'_> {
        let of_kernel = record.of_kernel.frames().div_ceil(size_of::<Slot>() / 8);
        let first = record.slots.first + if record.is_blocked() { CALL_SLOTS } else { of_kernel };
        self.stack_slots(SlotSpan { first, ..record.slots })
    }

    /// The frames of a record, newest first.
    pub(in crate::sampler) fn frames(&self, record: &Record) -> Frames<'_> {
        Frames::new(self.frame_slots(record))
    }

    /// The same without the oldest ones that are as in the record of the thread before.
    pub(in crate::sampler) fn new_frames(&self, record: &Record) -> impl Iterator<Item = FrameSlot<'_>> {
        let mut frames = self.frames(record);
        let repeated = record.slots.repeated;
        std::iter::from_fn(move || frames.next_above(repeated).map(|(_, frame)| frame))
    }
}

fn slot_of(bytes: &[u8; SLOT]) -> Slot {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|at| u64::from_ne_bytes(words[at]))
}

/// The word at an offset at which there is one.
fn word_at(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
    word.map_or(0, u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::frame_slots::{IS_BORDER, IS_ENTRY, IS_UNTRACED};
    use super::super::kept_stacks::BASE_CPU;
    use super::*;

    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_record_is_taken_apart_as_the_program_made_it() {
        let head = [5, 1000, 0, 7, 0x10, 0x20, 0x30, 0, 42 | 43 << 32, (RAN | COLLECTS) as u64 | 3 << 32, 0, 9, 0, 0];
        let frames = [0x100, 0x200, 0x201, HAS_EVIDENCE | 2 << 32 | 77, 1, 2, 3, 4, 0x101, 0x200, 0x203, IS_UNTRACED];
        let both = [&head[..], &frames].concat();
        let mut records = Records::default();
        records.push(&bytes(&both), &mut KeptStacks::default());
        let record = *records.iter().next().unwrap();
        let times = record.times;
        assert_eq!((times.made_ns, times.weight_ns, times.delay_since_left_ns, times.delay_ns), (5, 1000, 0, 7));
        assert_eq!(times.active_ns(), 1007);
        assert_eq!((record.pid, record.os_id, record.run, record.state, record.holder), (42, 43, 9, 0x10, 0x30));
        assert_eq!(record.thread_id, 0x20);
        assert!(record.ran() && record.collects() && !record.left_cpu() && !record.is_truncated());
        let frames: Vec<FrameSlot<'_>> = records.frames(&record).collect();
        assert_eq!(frames.len(), 2);
        assert_eq!((frames[0].code(), frames[0].line(), frames[0].local_copy()), (0x200, 77, 2));
        assert_eq!(frames[0].evidence, Some(&[1, 2, 3, 4]));
        assert_eq!((frames[1].address(), frames[1].is_untraced()), (0x101, true));
        assert_eq!(frames[1].evidence, frames[0].evidence);
    }

    #[test]
    fn a_native_stack_follows_the_frames_and_the_borders_between_them() {
        let head = [0, 0, 0, 0, 0x10, 0x20, 0, 0, 42, HAS_NATIVE as u64 | 8 << 32, 5 << 32, 0, 0, 0];
        let slots = [
            [0xf1, 0xf2, 0xf3, IS_BORDER],
            [0xf5, 0, 0, 0],
            [0x90, 0, 0, IS_BORDER],
            [0x100, 0x200, 0, HAS_EVIDENCE],
            [1, 2, 3, u64::MAX],
            [0x110, 0, 0, IS_BORDER],
            [0x118, 0, 0, IS_BORDER],
            [0x120, 0x200, 0, IS_ENTRY],
        ];
        let mut native = [0; 1 + REGISTERS + 2];
        native[0] = 0x9000;
        for (number, register) in native[1..=REGISTERS].iter_mut().enumerate() {
            *register = number as u64;
        }
        native[1 + STACK_POINTER] = 0x8004;
        native[1 + REGISTERS + 1] = 77;
        let mut records = Records::default();
        let both = [bytes(&[&head[..], &slots.concat()].concat()), bytes(&native)].concat();
        for bytes in [&both, &both[..both.len() - 16], &both[..HEAD + 8 * SLOT + 8]] {
            records.push(bytes, &mut KeptStacks::default());
        }
        let of: Vec<Record> = records.iter().copied().collect();
        let frames: Vec<FrameSlot<'_>> = records.frames(&of[0]).collect();
        assert_eq!(frames.iter().map(FrameSlot::address).collect::<Vec<_>>(), [0x100, 0x120]);
        assert_eq!([frames[0].border(), frames[1].border()], [Some(0x110), None]);
        assert_eq!([frames[0].is_entry(), frames[1].is_entry()], [false, true]);
        assert_eq!(records.kernel_frames(&of[0]).collect::<Vec<_>>(), [0xf1, 0xf2, 0xf3, IS_BORDER, 0xf5]);
        let stack = records.native_stack(&of[0]).unwrap();
        assert_eq!((stack.start, stack.end, stack.bytes.len(), stack.bytes[8]), (0x8000, Some(0x9000), 16, 77));
        // The System V ABI of x86-64 has rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp first; the kernel has rsp next to last.
        assert_eq!((stack.registers.pc, stack.registers.get(7), stack.registers.get(15)), (16, Some(0x8004), Some(0)));
        assert!(records.native_stack(&of[1]).unwrap().bytes.is_empty());
        assert_eq!(records.native_stack(&of[2]), None);
    }

    #[test]
    fn frames_as_in_the_record_before_are_not_new() {
        let head = |count: u64| [0, 0, 0, 0, 0x10, 0x20, 0, 0, 42 | 43 << 32, count << 32, 0, 9, 0, 0];
        let old = [[0x100, 0x200, 1, 0], [0x101, 0x201, 2, 0], [0x102, 0x202, 3, 0]];
        let new = [[0x100, 0x200, 9, 0], old[1], old[2]];
        let with_evidence = [[0x100, 0x200, 9, HAS_EVIDENCE], [1, 2, 3, 4], old[1], old[2]];
        let mut records = Records::default();
        for slots in [&old[..], &new, &with_evidence, &new] {
            let bytes = bytes(&[&head(slots.len() as u64)[..], slots.as_flattened()].concat());
            records.push(&bytes, &mut KeptStacks::default());
        }
        let new: Vec<usize> = records.iter().map(|record| records.new_frames(record).count()).collect();
        assert_eq!(new, [3, 1, 3, 3], "evidence counts each time");
    }

    #[test]
    fn a_record_ends_with_what_it_shares_with_a_kept_stack() {
        let base_of = |cpu: u64, number: u64| cpu << BASE_CPU | number;
        let mut kept = KeptStacks::default();
        let mut records = Records::default();
        let push = |records: &mut Records, kept: &mut KeptStacks, slots: &[Slot], flags: u32, base: (u64, u64)| {
            let counts = u64::from(flags) | (slots.len() as u64) << 32;
            let head = [0, 0, 0, 0, 0x10, 0x20, 0, 0, 42 | 43 << 32, counts, 0, 9, base.0, base.1];
            records.push(&bytes(&[&head[..], slots.as_flattened()].concat()), kept);
        };
        let evidence = [[0x104, 0x204, 5, HAS_EVIDENCE], [1, 2, 3, 4]];
        let old: Vec<Slot> = (0..4).map(|number| [0x103 - number, 0x203, 5, 0]).collect();
        let first = base_of(1, 7);
        push(&mut records, &mut kept, &[&evidence[..], &old].concat(), IS_BASE, (first, 4));
        push(&mut records, &mut kept, &[[0x109, 0x203, 8, 0]], 0, (first, 3));
        push(&mut records, &mut kept, &evidence, 0, (first, 4));
        let addresses = |records: &Records, number: usize| -> Vec<u64> {
            let record = records.iter().nth(number).unwrap();
            assert!(!record.is_truncated());
            records.frames(record).map(|frame| frame.address()).collect()
        };
        assert_eq!(addresses(&records, 0), [0x104, 0x103, 0x102, 0x101, 0x100]);
        assert_eq!(addresses(&records, 1), [0x109, 0x102, 0x101, 0x100]);
        assert_eq!(addresses(&records, 2), [0x104, 0x103, 0x102, 0x101, 0x100]);
        let evidence_of: Vec<_> = records.frames(records.iter().nth(2).unwrap()).map(|frame| frame.evidence).collect();
        assert_eq!(evidence_of, [Some(&[1, 2, 3, 4]), None, None, None, None]);
        let new: Vec<usize> = records.iter().map(|record| records.new_frames(record).count()).collect();
        assert_eq!(new, [5, 1, 2], "what is shared has no evidence, and counts once");
        // What was kept outlasts the records; another CPU has its own, and a stack that was replaced is nobody's.
        records.clear();
        push(&mut records, &mut kept, &old[..2], IS_BASE, (base_of(2, 1), 2));
        push(&mut records, &mut kept, &[], 0, (first, 4));
        push(&mut records, &mut kept, &old[..1], IS_BASE, (base_of(1, 8), 1));
        for (base, shared) in [(first, 4), (base_of(1, 8), 2)] {
            push(&mut records, &mut kept, &[], 0, (base, shared));
        }
        assert_eq!(addresses(&records, 1), [0x103, 0x102, 0x101, 0x100]);
        let are_lost: Vec<bool> = records.iter().map(Record::is_truncated).collect();
        assert_eq!(are_lost, [false, false, false, true, true]);
    }

    #[test]
    fn what_is_cut_off_does_no_harm() {
        let mut records = Records::default();
        records.push(&[0; HEAD - 1], &mut KeptStacks::default());
        assert!(records.is_empty());
        let mut head = [0; HEAD / 8];
        head[9] = 1000 << 32;
        records.push(&bytes(&[&head[..], &[1, 2, 3, HAS_EVIDENCE, 1, 2]].concat()), &mut KeptStacks::default());
        let record = *records.iter().next().unwrap();
        assert_eq!(records.frames(&record).map(|frame| frame.evidence).collect::<Vec<_>>(), [None]);
    }
}
