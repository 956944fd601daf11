//! The data stack: where a thread's frames lie one above the other (3.11+), for when the links between them are broken.
//!
//! From 3.12 on a call from C into the interpreter puts a frame of its own on the C stack, between the Python frames. A
//! debugger that could not read a C stack leaves it out of its core file, and the chain of frames ends there; but the
//! frames below are still in the data stack, in order.
//!
//! Limits: frames of generators lie in their generators and are not found here.

use super::layout::{Layout, stack_chunk};
use super::object::ObjectReader;
use crate::memory::Memory;

/// Chunks of one thread that are looked at.
const MOST_CHUNKS: usize = 4096;
/// Frames of one chunk that are looked at.
const MOST_FRAMES: usize = 1 << 18;
/// The largest chunk, in bytes: it is made for at least one frame, and frames are small.
const LARGEST_CHUNK: u64 = 1 << 30;
/// The most words of one frame.
const LARGEST_FRAME: u32 = 1 << 20;

/// What lies below a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Below {
    /// Another frame, at this address.
    Frame(u64),
    /// The frame is the first of the data stack.
    Nothing,
    /// The frame is not in the data stack, or that makes no sense.
    Unknown,
}

/// What lies right below `frame` in the data stack of `thread`.
pub(crate) fn below(memory: &dyn Memory, layout: &Layout, thread: u64, frame: u64) -> Below {
    find_below(memory, layout, thread, frame).unwrap_or(Below::Unknown)
}

fn find_below(memory: &dyn Memory, layout: &Layout, thread: u64, frame: u64) -> Option<Below> {
    let objects = ObjectReader::new(memory, layout);
    let mut chunk = objects.pointer(thread, layout.thread.datastack_chunk?).ok()?;
    for _ in 0..MOST_CHUNKS {
        let older = objects.pointer(chunk, stack_chunk::PREVIOUS).ok()?;
        let size = objects.pointer(chunk, stack_chunk::SIZE).ok().filter(|size| *size <= LARGEST_CHUNK)?;
        let end = chunk.checked_add(size)?;
        if (chunk..end).contains(&frame) {
            if frame != first_frame(chunk, older)? {
                return last_frame(&objects, chunk, older, frame).map(Below::Frame);
            }
            if older == 0 {
                return Some(Below::Nothing);
            }
            let top = objects.pointer(older, stack_chunk::TOP).ok()?.checked_mul(8)?;
            let top = older.checked_add(u64::from(stack_chunk::DATA))?.checked_add(top)?;
            let oldest = objects.pointer(older, stack_chunk::PREVIOUS).ok()?;
            return last_frame(&objects, older, oldest, top).map(Below::Frame);
        }
        chunk = older;
    }
    None
}

/// Where the first frame of a chunk is.
fn first_frame(chunk: u64, older: u64) -> Option<u64> {
    // The first chunk's first word is never used (push_chunk, Python/pystate.c).
    let unused = if older == 0 { 8 } else { 0 };
    chunk.checked_add(u64::from(stack_chunk::DATA))?.checked_add(unused)
}

/// The last frame of a chunk that ends at `end` or below.
fn last_frame(objects: &ObjectReader<'_>, chunk: u64, older: u64, end: u64) -> Option<u64> {
    let layout = objects.layout();
    let mut next = first_frame(chunk, older)?;
    let mut last = None;
    for _ in 0..MOST_FRAMES {
        if next >= end {
            break;
        }
        let code = objects.pointer(next, layout.frame.code).ok()? & !layout.frame.tag_mask;
        if !objects.is_code(code) {
            return None;
        }
        // `co_stacksize` stands before `co_firstlineno`, `co_nlocalsplus` after it (cpython/code.h, 3.11 to 3.15).
        let stack = objects.int(code, layout.code.first_line.checked_sub(4)?).ok()?;
        let locals = objects.int(code, layout.code.first_line.checked_add(4)?).ok()?;
        let words = u32::try_from(stack).ok()?.checked_add(u32::try_from(locals).ok()?)?;
        if words > LARGEST_FRAME {
            return None;
        }
        last = Some(next);
        next = next.checked_add(u64::from(layout.frame.locals) + 8 * u64::from(words))?;
    }
    // The frames must fill the stack up to the one above, or they are not what they seem.
    last.filter(|_| next == end)
}
