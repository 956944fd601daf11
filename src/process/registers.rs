//! The registers of a held thread, by the numbers that DWARF gives them.

use super::system_call::{CallNumbers, SystemCall};
use crate::memory::Memory;

/// The most registers that DWARF numbers on the machines that we know: those of aarch64, `x0` to `x30` and `sp`.
const MOST: usize = 32;

/// The registers that a native stack is followed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registers {
    /// The instruction that is next.
    pub pc: u64,
    values: [u64; MOST],
    /// A bit for each that is known.
    known: u32,
    /// The number of the system call that the stop has interrupted, to be made again when the thread goes on.
    interrupted: Option<u64>,
}

impl Registers {
    /// Whether registers can be read on this system.
    pub const READABLE: bool = cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")));

    /// Registers with these values in the order of their DWARF numbers; those past the 32nd are left out.
    pub fn new(pc: u64, values: &[u64]) -> Self {
        let mut registers = Self { pc, ..Self::default() };
        for (number, value) in (0..).zip(values) {
            registers.set(number, *value);
        }
        registers
    }

    /// Those of which only the stack pointer is known, which has that DWARF number.
    pub fn with_stack_pointer(pc: u64, number: u16, value: u64) -> Self {
        let mut registers = Self { pc, ..Self::default() };
        registers.set(number, value);
        registers
    }

    fn set(&mut self, number: u16, value: u64) {
        if let Some(register) = self.values.get_mut(usize::from(number)) {
            *register = value;
            self.known |= 1 << number;
        }
    }

    /// As these, of a thread that was in the system call with that number, if any, which will be made again.
    #[must_use]
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "no other system's registers are read"))]
    pub fn with_interrupted(mut self, number: Option<u64>) -> Self {
        self.interrupted = number;
        self
    }

    /// The system call that the thread waits in, or is on its way back to after a stop: the one that was interrupted,
    /// or one whose instruction is the very next in the target's `memory`. A thread that runs is as good as never found
    /// just there.
    pub fn waits_in(&self, memory: &impl Memory) -> Option<SystemCall> {
        // System V ABI: `rdi`, `rsi`, `rdx`, `r10`, `r8`, `r9`; the number in `rax`. aarch64: `x0` to `x5`; the number
        // in `x8`.
        let (numbers, number, arguments, instruction): (_, _, _, &[u8]) = match CallNumbers::HOST {
            CallNumbers::X86_64 => (CallNumbers::X86_64, 0, [5, 4, 1, 10, 8, 9], &[0x0f, 0x05]),
            CallNumbers::Aarch64 => (CallNumbers::Aarch64, 8, [0, 1, 2, 3, 4, 5], &[0x01, 0x00, 0x00, 0xd4]),
        };
        let is_next = || {
            let mut bytes = [0; 4];
            let bytes = &mut bytes[..instruction.len()];
            memory.read(self.pc, bytes).is_ok() && bytes == instruction
        };
        let number = match self.interrupted {
            Some(number) => number,
            None => self.get(number).filter(|_| is_next())?,
        };
        let arguments = arguments.map(|register| self.get(register).unwrap_or(0));
        Some(SystemCall { number, arguments, numbers })
    }

    /// The register with that DWARF number, if it is known.
    pub fn get(&self, number: u16) -> Option<u64> {
        let value = *self.values.get(usize::from(number))?;
        (self.known >> number & 1 == 1).then_some(value)
    }

    /// Whether it is the same instruction, and those registers that `other` knows are known and the same.
    pub fn has_all_of(&self, other: &Self) -> bool {
        let numbers = 0..MOST as u16;
        let is_known = |number| other.get(number).is_none_or(|value| self.get(number) == Some(value));
        self.pc == other.pc && numbers.into_iter().all(is_known)
    }

    /// One more than the highest number of a register that is known.
    pub fn len(&self) -> usize {
        (u32::BITS - self.known.leading_zeros()) as usize
    }

    /// Whether nothing is known but the instruction.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "no other system's registers are read"))]
    pub fn is_empty(&self) -> bool {
        self.known == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_thread_before_a_system_call_waits_in_it() {
        let mut memory = crate::memory::Image::default();
        memory.map(0x1000, vec![0x90, 0x0f, 0x05, 0x90]);
        let mut values = [0; 16];
        (values[0], values[5], values[10]) = (219, 3, 4);
        let at = |pc: u64| Registers::new(pc, &values);
        let call = at(0x1001).waits_in(&memory).unwrap();
        assert_eq!((call.number, call.arguments), (219, [3, 0, 0, 4, 0, 0]));
        assert_eq!([0x1000, 0x1002, 0x9000].map(|pc| at(pc).waits_in(&memory)), [None; 3]);
        let call = at(0x1003).with_interrupted(Some(230)).waits_in(&memory).unwrap();
        assert_eq!((call.number, call.arguments), (230, [3, 0, 0, 4, 0, 0]));
    }

    #[test]
    fn registers_are_had_by_number() {
        let registers = Registers::new(7, &[10, 11, 12]);
        assert_eq!((registers.get(0), registers.get(2), registers.get(3)), (Some(10), Some(12), None));
        assert_eq!((registers.pc, registers.len(), registers.is_empty()), (7, 3, false));
        assert_eq!(Registers::new(0, &[1; 100]).len(), MOST);
        assert!(registers.has_all_of(&Registers::with_stack_pointer(7, 2, 12)));
        for other in [(8, 2, 12), (7, 2, 11), (7, 3, 0)] {
            assert!(!registers.has_all_of(&Registers::with_stack_pointer(other.0, other.1, other.2)), "{other:?}");
        }
        let registers = Registers::with_stack_pointer(7, 2, 12);
        assert_eq!((registers.pc, registers.get(0), registers.get(2), registers.get(3)), (7, None, Some(12), None));
        assert_eq!((registers.len(), Registers::with_stack_pointer(7, 99, 12).is_empty()), (3, true));
    }
}
