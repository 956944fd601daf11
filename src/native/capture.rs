//! What is taken of a thread while it is held: its registers and the bytes of its stack. Everything else is done after
//! it runs again.

use super::frame_info::Machine;
use crate::memory::{Memory, Request};
use crate::process::Registers;

/// The most that is copied of a stack: some thousand calls through C, which take some kilobytes each.
const MOST_BYTES: u64 = 32 << 20;
/// What is copied of a stack that lies in the middle of something larger, such as one that a program made for itself.
const PART_BYTES: u64 = 1 << 20;
/// What is tried when it is not known how far the stack goes.
const BLIND_BYTES: u64 = 128 << 10;
/// The length of one read.
const PIECE: usize = 64 << 10;
/// The same when it is not known how far the stack goes: a page.
const BLIND_PIECE: usize = 4 << 10;

/// A thread's registers and stack at one moment. Kept and refilled.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    /// What the registers held.
    pub(super) registers: Registers,
    start: u64,
    bytes: Vec<u8>,
    length: usize,
    /// Where the stack ends, if that is known to be beyond what was copied of it.
    end: Option<u64>,
}

impl Capture {
    /// Copies the stack of a thread that stands still, with these registers. `end` is where the memory of the stack
    /// ends, as far as that is known.
    pub(crate) fn fill(&mut self, memory: &impl Memory, registers: Registers, end: Option<u64>) {
        self.registers = registers;
        self.length = 0;
        self.end = None;
        self.start = registers.get(Machine::STACK_POINTER).unwrap_or(0) & !7;
        let (size, piece) = match end.and_then(|end| end.checked_sub(self.start)) {
            Some(size) if size <= MOST_BYTES => (size, PIECE),
            Some(_) => (PART_BYTES, PIECE),
            None => (BLIND_BYTES - self.start % BLIND_PIECE as u64, BLIND_PIECE),
        };
        let size = usize::try_from(size).unwrap_or(0);
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        }
        self.length = read_from(memory, self.start, &mut self.bytes[..size], piece);
        // The stack may end before the memory does that it lies in: at the guard of another thread's, which the
        // mappings do not show where it was made by `madvise` (MADV_GUARD_INSTALL, glibc 2.42 and later).
        if self.length < size && piece > BLIND_PIECE {
            let address = self.start.wrapping_add(self.length as u64);
            let rest = &mut self.bytes[self.length..size];
            let length = rest.len().min(piece);
            self.length += read_from(memory, address, &mut rest[..length], BLIND_PIECE);
        }
    }

    /// Takes what was copied of a stack elsewhere, from `start` on; `end` is where the stack ends, as far as that is
    /// known.
    pub(crate) fn take(&mut self, registers: Registers, start: u64, bytes: &[u8], end: Option<u64>) {
        self.registers = registers;
        (self.start, self.length) = (start, bytes.len());
        if self.bytes.len() < bytes.len() {
            self.bytes.resize(bytes.len(), 0);
        }
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.end = end.filter(|end| *end > start.saturating_add(bytes.len() as u64));
    }

    /// Whether the stack is deeper than what was copied of it.
    pub(super) fn is_cut(&self) -> bool {
        self.end.is_some()
    }

    /// The word of the stack at an address, if it was copied.
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.bytes[..self.length].get(offset..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
    }

    /// The stack pointer.
    pub(crate) fn stack_pointer(&self) -> u64 {
        self.registers.get(Machine::STACK_POINTER).unwrap_or(0)
    }

    /// Whether an address lies on the stack, copied or not.
    pub(super) fn spans(&self, address: u64) -> bool {
        self.holds(address) || self.end.is_some_and(|end| (self.start..end).contains(&address))
    }

    /// Whether an address lies in what was copied.
    pub(super) fn holds(&self, address: u64) -> bool {
        address.checked_sub(self.start).is_some_and(|offset| offset < self.length as u64)
    }

    /// Whether `value` is one of the words between two addresses.
    pub(super) fn has_word(&self, from: u64, to: u64, value: u64) -> bool {
        /// The most words of one frame that are looked at.
        const MOST: usize = 512;
        (from..to).step_by(8).take(MOST).any(|address| self.word(address) == Some(value))
    }
}

/// Reads memory from an address on, in pieces up to a border each; how many bytes could be had up to the first piece
/// that could not be read whole.
fn read_from(memory: &impl Memory, mut address: u64, mut rest: &mut [u8], piece: usize) -> usize {
    let mut requests = Vec::with_capacity(rest.len() / piece + 2);
    while !rest.is_empty() {
        // Up to a border, so that no piece fails for the sake of what comes after a page.
        let length = (piece - (address as usize) % piece).min(rest.len());
        let (buffer, after) = rest.split_at_mut(length);
        requests.push(Request::new(address, buffer));
        address = address.wrapping_add(length as u64);
        rest = after;
    }
    memory.read_many(&mut requests);
    requests.iter().take_while(|request| request.complete).map(|request| request.buffer.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Image;

    fn registers(sp: u64) -> Registers {
        let mut values = [0; 32];
        values[usize::from(Machine::STACK_POINTER)] = sp;
        Registers::new(1, &values)
    }

    fn stack(address: u64, words: u64) -> Image {
        let mut image = Image::new();
        image.map(address, (0..words).flat_map(u64::to_ne_bytes).collect());
        image
    }

    #[test]
    fn a_stack_is_copied_from_the_stack_pointer_to_its_end() {
        let image = stack(0x10000, 40_000);
        let mut capture = Capture::default();
        capture.fill(&image, registers(0x10010), Some(0x10000 + 40_000 * 8));
        assert_eq!(
            (capture.word(0x10008), capture.word(0x10010), capture.word(0x10000 + 39_999 * 8)),
            (None, Some(2), Some(39_999))
        );
        assert_eq!(capture.word(0x10000 + 40_000 * 8), None);
        assert!(capture.has_word(0x10010, 0x10100, 20) && !capture.has_word(0x10010, 0x10100, 40));
        assert!(capture.holds(0x10010) && !capture.holds(0x1000f));
        assert_eq!(capture.word(u64::MAX), None);
    }

    #[test]
    fn an_unknown_end_is_felt_for() {
        let image = stack(0x10000, 1024);
        let mut capture = Capture::default();
        capture.fill(&image, registers(0x10ff8), None);
        assert_eq!(
            (capture.word(0x10ff8), capture.word(0x11ff8), capture.word(0x12000)),
            (Some(511), Some(1023), None)
        );
    }

    #[test]
    fn a_stack_ends_where_nothing_can_be_read_though_the_memory_around_it_goes_on() {
        let mut image = stack(0x20000, 1024);
        image.map(0x23000, vec![1; 0x40000]);
        let mut capture = Capture::default();
        capture.fill(&image, registers(0x20010), Some(0x63000));
        assert_eq!((capture.word(0x20010), capture.word(0x21ff8)), (Some(2), Some(1023)));
        assert!(!capture.holds(0x22000) && capture.word(0x23000).is_none());
    }

    #[test]
    fn what_was_copied_elsewhere_may_end_before_the_stack_does() {
        let bytes: Vec<u8> = (0..4).flat_map(u64::to_ne_bytes).collect();
        let mut capture = Capture::default();
        capture.take(registers(0x1000), 0x1000, &bytes, Some(0x1040));
        assert_eq!((capture.word(0x1018), capture.word(0x1020)), (Some(3), None));
        assert!(capture.is_cut() && capture.spans(0x103f) && !capture.spans(0x1040) && !capture.spans(0xfff));
        assert!(capture.holds(0x101f) && !capture.holds(0x1020));
        for end in [None, Some(0x1020), Some(0)] {
            capture.take(registers(0x1000), 0x1000, &bytes, end);
            assert!(!capture.is_cut() && capture.spans(0x101f) && !capture.spans(0x1020), "{end:?}");
        }
        capture.take(registers(u64::MAX), !7, &bytes, Some(u64::MAX));
        assert!(!capture.is_cut() && !capture.spans(0));
        capture.fill(&stack(0x10000, 16), registers(0x10000), Some(0x10080));
        assert!(!capture.is_cut() && capture.spans(0x1007f) && !capture.spans(0x10080));
    }

    #[test]
    fn what_cannot_be_read_is_an_empty_stack() {
        let image = stack(0x10000, 16);
        let mut capture = Capture::default();
        for sp in [0, 7, u64::MAX, u64::MAX - 7, 0x20000] {
            for end in [None, Some(0), Some(sp), Some(sp.saturating_add(4096)), Some(u64::MAX)] {
                capture.fill(&image, registers(sp), end);
                assert!(capture.word(sp).is_none() && !capture.holds(sp), "{sp:#x} {end:?}");
            }
        }
    }
}
