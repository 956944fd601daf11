//! The registers of a held thread, by the numbers that DWARF gives them.

/// The most registers that DWARF numbers on the machines that we know: those of aarch64, `x0` to `x30` and `sp`.
const MOST: usize = 32;

/// The registers that a native stack is followed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registers {
    /// The instruction that is next.
    pub pc: u64,
    values: [u64; MOST],
    count: usize,
}

impl Registers {
    /// Whether registers can be read on this system.
    pub const READABLE: bool =
        cfg!(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")));

    /// Registers with these values in the order of their DWARF numbers; those past the 32nd are left out.
    pub fn new(pc: u64, values: &[u64]) -> Self {
        let mut registers = Self { pc, count: values.len().min(MOST), ..Self::default() };
        for (register, value) in registers.values.iter_mut().zip(values) {
            *register = *value;
        }
        registers
    }

    /// The register with that DWARF number.
    pub fn get(&self, number: u16) -> Option<u64> {
        self.values.get(..self.count)?.get(usize::from(number)).copied()
    }

    /// How many registers there are: they are numbered from 0.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is known but the instruction.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_had_by_number() {
        let registers = Registers::new(7, &[10, 11, 12]);
        assert_eq!((registers.get(0), registers.get(2), registers.get(3)), (Some(10), Some(12), None));
        assert_eq!((registers.pc, registers.len(), registers.is_empty()), (7, 3, false));
        assert_eq!(Registers::new(0, &[1; 100]).len(), MOST);
    }
}
