//! The whole command line, from the stack that the kernel made for the program: it puts the arguments' addresses, those
//! of the environment and the auxiliary vector one after the other, and the core has that vector.

use super::headers::Segment;
use super::notes::{AT_RANDOM, Notes};
use crate::memory::Memory;

/// The most of a stack's end that is looked through, in bytes.
const SEARCHED: u64 = 8 << 20;
/// Arguments that are taken.
const MOST_ARGUMENTS: usize = 4096;
/// Bytes of one argument that are taken.
const LONGEST_ARGUMENT: usize = 64 * 1024;

/// The arguments, if the vector is found on the stack and what stands before it makes sense.
pub(super) fn from_stack(memory: &impl Memory, segments: &[Segment], notes: &Notes) -> Option<Vec<String>> {
    let near = notes.auxiliary(AT_RANDOM)?;
    let stack = segments.iter().find(|segment| (segment.start..segment.end).contains(&near))?;
    let start = stack.start.max(near.saturating_sub(SEARCHED)) & !7;
    let length = (near & !7).checked_sub(start)?;
    let bytes = memory.read_bytes(start, length, usize::try_from(SEARCHED).ok()?).ok()?;
    let (chunks, _) = bytes.as_chunks::<8>();
    let words: Vec<u64> = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
    let vector: Vec<u64> = notes.auxiliary.iter().flat_map(|(key, value)| [*key, *value]).collect();
    let place = words.windows(vector.len()).rposition(|window| window == vector)?;
    // Backwards: the zero after the environment, the environment, the zero after the arguments, the arguments, their
    // number.
    let before = words.get(..place.checked_sub(1)?)?;
    let environment = before.iter().rposition(|word| *word == 0)?;
    let arguments = before.get(..environment)?;
    let count = (1..=MOST_ARGUMENTS.min(arguments.len().saturating_sub(1)))
        .find(|count| arguments[arguments.len() - count - 1] == *count as u64)?;
    arguments[arguments.len() - count..].iter().map(|address| text(memory, *address)).collect()
}

fn text(memory: &impl Memory, address: u64) -> Option<String> {
    let mut bytes = Vec::new();
    let mut next = address;
    while bytes.len() < LONGEST_ARGUMENT {
        let step = 64 - next % 64;
        let part = memory.read_bytes(next, step, 64).ok()?;
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            bytes.extend_from_slice(&part[..end]);
            break;
        }
        bytes.extend_from_slice(&part);
        next = next.checked_add(step)?;
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
