//! Which instruction a frame is at, and what it says itself of its line.
//!
//! CPython computes the line from the instruction, but a frame can say it, in `f_lineno`: a frame whose trace function
//! runs does, and one of a program that was compiled to C (Nuitka) always, for it has no instructions. CPython's own
//! lookup (`PyFrame_GetLineNumber`) prefers what the frame says: from 3.10 on any line but 0, before that the line of
//! a frame that is traced. Up to 3.9 the field of any other frame holds the line that the function begins in.

use super::layout::{InstructionPosition, Layout, OwnLine};
use crate::memory::{ReadError, Reader};

/// Where in its code a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Bytes from the beginning of the bytecode; negative before the first instruction.
    Offset(i64),
    /// An address in the bytecode that is part of the code object.
    Pointer(u64),
    /// An address in one of the thread-local copies of the bytecode (free-threaded).
    LocalCopy {
        /// The address.
        pointer: u64,
        /// Which copy; 0 is the one in the code object.
        index: u32,
    },
}

/// What a frame says of its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameLine {
    /// Nothing: the line is that of the instruction.
    Unsaid,
    /// It is at this line.
    Said(u32),
    /// This line, but it is not traced: to be believed only of code without instructions (≤ 3.9).
    SaidUntraced(u32),
}

/// The instruction of a frame and what it says of its line. Only those of the newest frame may change while they are
/// looked at.
///
/// # Errors
/// When the frame cannot be read; a frame object that cannot be read says nothing.
pub(super) fn read_instruction(
    reader: &mut impl Reader,
    layout: &Layout,
    frame: u64,
    newest: bool,
) -> Result<(Position, FrameLine), ReadError> {
    let at = |offset: u32| frame.wrapping_add(u64::from(offset));
    match layout.frame.position {
        InstructionPosition::Lasti { offset, scale } => {
            // `f_lasti` and `f_lineno`, two `int`s.
            let [instruction, line] = halves(word(reader, at(offset), newest)?);
            let is_believed = match layout.frame.own_line {
                OwnLine::InFrame { trace: Some(trace) } => word(reader, at(trace), newest)? != 0,
                _ => true,
            };
            let said = if is_believed { FrameLine::Said } else { FrameLine::SaidUntraced };
            let line = if line.cast_signed() > 0 { said(line) } else { FrameLine::Unsaid };
            Ok((Position::Offset(i64::from(instruction.cast_signed()) * i64::from(scale)), line))
        }
        InstructionPosition::Pointer { offset } => {
            let pointer = word(reader, at(offset), newest)?;
            let position = match layout.frame.tlbc_index {
                Some(offset) if layout.free_threaded => {
                    Position::LocalCopy { pointer, index: reader.volatile_half(at(offset))? }
                }
                _ => Position::Pointer(pointer),
            };
            let line = match layout.frame.own_line {
                OwnLine::InObject { object: place, frame: owner, line } => {
                    match word(reader, at(place), newest)? {
                        0 => FrameLine::Unsaid,
                        object => {
                            let at = |offset: u32| object.wrapping_add(u64::from(offset));
                            let said = line_of_object(reader, frame, [at(owner), at(line)], newest);
                            let said = said.unwrap_or(FrameLine::Unsaid);
                            if newest && said != FrameLine::Unsaid {
                                // The line may change; whose line it is may not.
                                reader.word(frame.wrapping_add(u64::from(place)))?;
                                reader.word(at(owner))?;
                            }
                            said
                        }
                    }
                }
                OwnLine::InFrame { .. } => FrameLine::Unsaid,
            };
            Ok((position, line))
        }
    }
}

/// What a frame object says: at the two places are the frame that it is of, and the line.
fn line_of_object(
    reader: &mut impl Reader,
    frame: u64,
    [owner, line]: [u64; 2],
    newest: bool,
) -> Result<FrameLine, ReadError> {
    if word(reader, owner, newest)? != frame {
        return Ok(FrameLine::Unsaid);
    }
    let line = if newest { reader.volatile_half(line)? } else { reader.half(line)? };
    Ok(if line.cast_signed() > 0 { FrameLine::Said(line) } else { FrameLine::Unsaid })
}

/// A word of a frame: the walk depends on it unless the frame is the newest one.
fn word(reader: &mut impl Reader, address: u64, newest: bool) -> Result<u64, ReadError> {
    if newest { reader.volatile_word(address) } else { reader.word(address) }
}

/// The two `int`s that a word of the target holds, in the order in which they lie in memory.
fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}
