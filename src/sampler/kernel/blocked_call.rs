//! What a thread was doing in the kernel when it went to sleep, as it was recorded at that moment.

use crate::memory::{Memory, ReadError};
use crate::process::{CallNumbers, SystemCall};

/// Slots that it takes before the frames of a record (`CALL_SLOTS` in `program.bpf.c`).
pub(super) const CALL_SLOTS: usize = 4;
/// Bytes of the target that are recorded with it.
const COPIED: usize = 64;

/// States of a task (`include/linux/sched.h`): `__TASK_STOPPED`, `__TASK_TRACED`.
const STOPPED: u32 = 4;
const TRACED: u32 = 8;

/// Why a thread is off the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OffCpu {
    /// A signal or a tracer has stopped it.
    Stopped,
    /// It sleeps in a system call.
    Call(SystemCall),
    /// It sleeps outside of one: for a page that is read from a disk, mostly.
    Fault,
}

/// A system call, and what its arguments pointed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockedCall {
    state: u32,
    number: u64,
    arguments: [u64; 6],
    copied_at: u64,
    copied: [u8; COPIED],
    copied_length: usize,
}

impl BlockedCall {
    /// From the slots of a record, the thread's state and how many bytes were copied.
    pub(super) fn new(slots: &[[u64; 4]; CALL_SLOTS], state: u32, copied: u64) -> Self {
        let [[number, first, second, third], [fourth, fifth, sixth, copied_at], ..] = *slots;
        let mut bytes = [0; COPIED];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(slots[2..].iter().flatten()) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        let arguments = [first, second, third, fourth, fifth, sixth];
        let copied_length = usize::try_from(copied).unwrap_or(0).min(COPIED);
        Self { state, number, arguments, copied_at, copied: bytes, copied_length }
    }

    /// Why the thread was off the CPU.
    pub(in crate::sampler) fn off_cpu(&self) -> OffCpu {
        if self.state & (STOPPED | TRACED) != 0 {
            OffCpu::Stopped
        } else if self.number.cast_signed() < 0 {
            OffCpu::Fault
        } else {
            let numbers = CallNumbers::HOST;
            OffCpu::Call(SystemCall { number: self.number, arguments: self.arguments, numbers })
        }
    }

    /// By what waits of one place in the program are told apart: the number of the call, or another where there is
    /// none, and two arguments.
    pub(in crate::sampler) fn place(&self) -> (u64, [u64; 2]) {
        let [first, second, ..] = self.arguments;
        match self.off_cpu() {
            OffCpu::Call(call) => (call.number, [first, second]),
            OffCpu::Fault => (u64::MAX, [0; 2]),
            OffCpu::Stopped => (u64::MAX - 1, [0; 2]),
        }
    }

    /// The futex that the thread slept in, if it did.
    pub(in crate::sampler) fn futex(&self) -> Option<u64> {
        match self.off_cpu() {
            OffCpu::Call(call) => call.futex(),
            OffCpu::Stopped | OffCpu::Fault => None,
        }
    }

    /// Memory as it was at that moment where that was recorded, and elsewhere as it is now.
    pub(in crate::sampler) fn memory<'call, M: Memory>(&'call self, now: &'call M) -> MemoryThen<'call, M> {
        MemoryThen { call: self, now }
    }
}

/// See [`BlockedCall::memory`].
#[derive(Debug)]
pub(crate) struct MemoryThen<'call, M> {
    call: &'call BlockedCall,
    now: &'call M,
}

impl<M: Memory> Memory for MemoryThen<'_, M> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let at = address.checked_sub(self.call.copied_at).and_then(|at| usize::try_from(at).ok());
        let copied = &self.call.copied[..self.call.copied_length];
        let then = at.and_then(|at| copied.get(at..at.checked_add(buffer.len())?));
        match then {
            Some(then) => {
                buffer.copy_from_slice(then);
                Ok(())
            }
            None => self.now.read(address, buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Image;

    #[test]
    fn memory_is_as_it_was_where_that_is_known() {
        let slots = [[202, 0x1008, 0x189, 0], [0, 0, 0, 0x1000], [0xabc, 2, 0, 0], [0, 0, 0, 9]];
        let call = BlockedCall::new(&slots, 1, 64);
        let mut image = Image::new();
        image.map(0x1000, [7_u64; 9].map(u64::to_ne_bytes).concat());
        let memory = call.memory(&image);
        let read = |address| memory.read_u64(address).ok();
        assert_eq!([read(0x1000), read(0x1038), read(0x1040), read(0x2000)], [Some(0xabc), Some(9), Some(7), None]);
        assert_eq!(call.futex(), Some(0x1008));
        let shorter = BlockedCall::new(&slots, 1, 16);
        assert_eq!(shorter.memory(&image).read_u64(0x1038).ok(), Some(7));
    }

    #[test]
    fn what_is_no_call_is_told() {
        let of = |number: i64, state| {
            BlockedCall::new(&[[number.cast_unsigned(), 0, 0, 0], [0; 4], [0; 4], [0; 4]], state, 0).off_cpu()
        };
        assert_eq!([of(-1, 2), of(202, 4), of(0, 8)], [OffCpu::Fault, OffCpu::Stopped, OffCpu::Stopped]);
        assert!(matches!(of(0, 1), OffCpu::Call(call) if call.name() == Some("read")));
    }
}
