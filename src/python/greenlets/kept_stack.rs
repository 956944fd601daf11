//! The C stack of a greenlet that is put aside.

use crate::memory::{Memory, ReadError};

/// Memory as it is while a greenlet runs: what of its stack had to give way to others is read from where it is kept.
///
/// From Python 3.12 on some of the structs that link frames lie on the C stack.
pub(super) struct KeptStack<'memory> {
    memory: &'memory dyn Memory,
    start: u64,
    /// Bytes from `start` on that are kept elsewhere.
    size: u64,
    copy: u64,
}

impl<'memory> KeptStack<'memory> {
    /// With the `size` bytes of the stack from `start` on that are kept at `copy`.
    pub(super) fn new(memory: &'memory dyn Memory, start: u64, size: u64, copy: u64) -> Self {
        Self { memory, start, size, copy }
    }

    /// How many bytes from `address` on are all kept elsewhere or all not, and where the first of them is.
    fn run_at(&self, address: u64) -> (u64, u64) {
        match address.wrapping_sub(self.start) {
            inside if inside < self.size => (self.size - inside, self.copy.wrapping_add(inside)),
            _ => (self.start.wrapping_sub(address), address),
        }
    }
}

impl Memory for KeptStack<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let (mut address, mut rest) = (address, buffer);
        while !rest.is_empty() {
            let (length, place) = self.run_at(address);
            let length = usize::try_from(length).unwrap_or(usize::MAX).clamp(1, rest.len());
            let (part, behind) = rest.split_at_mut(length);
            self.memory.read(place, part)?;
            address = address.wrapping_add(length as u64);
            rest = behind;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Image;

    #[test]
    fn what_was_put_aside_is_read_from_there() {
        let mut image = Image::new();
        image.map(1000, (0..100).collect());
        image.map(5000, vec![200; 10]);
        let stack = KeptStack::new(&image, 1020, 10, 5000);
        let mut bytes = [0; 40];
        stack.read(1005, &mut bytes).unwrap();
        assert_eq!(bytes[14..16], [19, 200]);
        assert_eq!(bytes[24..26], [200, 30]);
        assert_eq!(stack.read_u8(1029), Ok(200));
        assert_eq!(stack.read_u8(1030), Ok(30));
        assert_eq!(stack.read_u8(1019), Ok(19));
        assert!(stack.read(1095, &mut bytes).is_err());
    }

    #[test]
    fn nothing_that_the_target_names_is_too_much() {
        let mut image = Image::new();
        image.map(1000, vec![1; 100]);
        for (start, size, copy) in [(0, u64::MAX, 1000), (u64::MAX, u64::MAX, u64::MAX), (1000, 0, 0), (0, 0, 0)] {
            let mut bytes = [0; 64];
            let _ = KeptStack::new(&image, start, size, copy).read(1000, &mut bytes);
            let _ = KeptStack::new(&image, start, size, copy).read(u64::MAX - 3, &mut bytes);
        }
    }
}
