//! Frames: a place in a function.

use std::collections::HashMap;

use super::index;
use super::text::TextId;

/// Distinct frames kept; past it every new one is the first frame of the table, `<unknown>`.
const MAX_FRAMES: usize = 1 << 22;

/// An interned frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(pub(super) u32);

impl FrameId {
    /// The number of this frame; see [`Profile::frames_from`](super::Profile::frames_from).
    pub fn number(self) -> u32 {
        self.0
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum FrameKind {
    /// A Python function.
    #[default]
    Python,
    /// Machine code: a C function or an address; `file` is the library or the source file.
    Native,
    /// A function of the kernel; `file` is `[kernel]` or its module in brackets.
    Kernel,
    /// The garbage collector at work.
    Gc,
    /// A border: the frames that it called run in another interpreter, which its name tells.
    Interpreter,
    /// A border: the frames that it called are of a task or a greenlet, which its name tells, or of an event loop.
    Task,
    /// No code: what the thread waits in, which its name tells, or whom it waits for.
    Wait,
}

/// A place in a function. Two samples in the same line of the same function have equal frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Frame {
    /// What it is.
    pub kind: FrameKind,
    /// The function, qualified where the target knows it (3.11+).
    pub name: TextId,
    /// The source file as the target names it, mostly a full path.
    pub file: TextId,
    /// The source file without the prefix of its package.
    pub short_file: TextId,
    /// The module or library, empty when not known.
    pub module: TextId,
    /// The current line, from 1; 0 when not known.
    pub line: u32,
    /// The function's first line, from 1; 0 when not known.
    pub first_line: u32,
    /// The current column, from 1; 0 when not known or not wanted.
    pub column: u32,
}

#[derive(Debug, Default)]
pub(super) struct FrameTable {
    frames: Vec<Frame>,
    ids: HashMap<Frame, FrameId>,
    full: bool,
}

impl FrameTable {
    pub(super) fn intern(&mut self, frame: Frame) -> FrameId {
        if let Some(id) = self.ids.get(&frame) {
            return *id;
        }
        if self.frames.len() >= MAX_FRAMES {
            self.full = true;
            return self.intern_line_lost(frame);
        }
        let id = FrameId(index(self.frames.len()));
        self.frames.push(frame);
        self.ids.insert(frame, id);
        id
    }

    /// The table is full: the same function without its line if that is there, else the first frame of all.
    fn intern_line_lost(&self, frame: Frame) -> FrameId {
        let function = Frame { line: frame.first_line, column: 0, ..frame };
        self.ids.get(&function).copied().unwrap_or(FrameId(0))
    }

    pub(super) fn get(&self, id: FrameId) -> Frame {
        self.frames[id.0 as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }
}
