//! The frames of one thread state, from its newest to its oldest.

use super::{Entered, MOST_FRAMES, MOST_FRAMES_OF_ALL, RawFrame, Stacks};
use crate::memory::{ReadError, Reader};
use crate::python::cycle::CycleWatch;
use crate::python::frame_line::read_instruction;
use crate::python::layout::{FrameEntry, Layout};

/// A thread state whose frames are followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// The `PyThreadState`.
    pub(super) state: u64,
    /// Index of its interpreter.
    pub(super) interpreter: usize,
    /// Its newest frame is the newest of the kernel thread.
    pub(super) is_innermost: bool,
}

impl Stacks {
    /// Adds the frames of a part of a stack, newest first. Where on the native stack its oldest frame was entered, as
    /// far as that can be told: the structs that the evaluation loop keeps there tell it from 3.11 on.
    pub(super) fn follow_frames(
        &mut self,
        reader: &mut impl Reader,
        layout: &Layout,
        part: Part,
    ) -> (Result<(), ReadError>, Option<u64>) {
        reader.start_owner(part.state);
        // While a thread runs on in another interpreter, what it left behind does not change at all.
        if part.is_innermost {
            reader.start_head();
        } else {
            reader.start_chain();
        }
        let first = self.frames.len();
        let (newest, cframe) = match find_newest(reader, layout, part.state) {
            Ok(found) => found,
            Err(error) => return (Err(error), None),
        };
        reader.start_chain();
        let followed = self.follow_chain(reader, layout, newest, part);
        let shim = self.frames[first..].last().and_then(|oldest| match oldest.entry {
            Entered::ByShim(address) => Some(address),
            Entered::Within | Entered::FromC => None,
        });
        let is_outside = |address: &u64| address.wrapping_sub(part.state) >= u64::from(layout.thread.size);
        (followed, shim.or(cframe).filter(is_outside))
    }

    /// Adds the frames from the one at `newest` on.
    pub(super) fn follow_chain(
        &mut self,
        reader: &mut impl Reader,
        layout: &Layout,
        newest: u64,
        part: Part,
    ) -> Result<(), ReadError> {
        let frame_layout = &layout.frame;
        let first = self.frames.len();
        let mut address = newest;
        let mut watch = CycleWatch::default();
        while address != 0 {
            let is_full = self.frames.len() - first >= MOST_FRAMES || self.frames.len() >= MOST_FRAMES_OF_ALL;
            if is_full || watch.comes_again(address) {
                return Err(ReadError::implausible(address));
            }
            let previous = reader.word(address.wrapping_add(u64::from(frame_layout.previous)))?;
            let code = reader.word(address.wrapping_add(u64::from(frame_layout.code)))? & !frame_layout.tag_mask;
            let shim = match frame_layout.owner {
                Some(owner) => {
                    let value = reader.volatile_byte(address.wrapping_add(u64::from(owner.offset)))?;
                    owner.shims.contains(&Some(value))
                }
                None => false,
            };
            if !shim {
                let moves_on = part.is_innermost && self.frames.len() == first;
                let (position, line) = read_instruction(reader, layout, address, moves_on)?;
                let entry = match (frame_layout.is_entry, frame_layout.owner) {
                    (Some(offset), _) if reader.volatile_byte(address.wrapping_add(u64::from(offset)))? == 0 => {
                        Entered::Within
                    }
                    (None, Some(_)) => Entered::Within,
                    _ => Entered::FromC,
                };
                let interpreter = part.interpreter;
                self.frames.push(RawFrame { address, code, position, line, entry, interpreter });
            } else if let Some(above) = self.frames[first..].last_mut()
                && above.entry == Entered::Within
            {
                above.entry = Entered::ByShim(address);
            }
            address = previous;
        }
        // Whatever the oldest frame says, nothing in Python called it.
        if let Some(oldest) = self.frames[first..].last_mut()
            && oldest.entry == Entered::Within
        {
            oldest.entry = Entered::FromC;
        }
        Ok(())
    }
}

/// The newest frame of a thread state, 0 for none, and the `_PyCFrame` that leads to it (3.11, 3.12).
fn find_newest(reader: &mut impl Reader, layout: &Layout, state: u64) -> Result<(u64, Option<u64>), ReadError> {
    match layout.thread.frame {
        FrameEntry::Direct(offset) => Ok((reader.word(state.wrapping_add(u64::from(offset)))?, None)),
        FrameEntry::ThroughCFrame { cframe, current_frame } => {
            let cframe = reader.word(state.wrapping_add(u64::from(cframe)))?;
            if cframe == 0 {
                return Ok((0, None));
            }
            Ok((reader.word(cframe.wrapping_add(u64::from(current_frame)))?, Some(cframe)))
        }
    }
}
