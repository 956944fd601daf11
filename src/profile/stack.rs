//! Stacks as one prefix tree: a stack is its caller's stack and one more frame.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::frame::FrameId;
use super::index;

/// Distinct stacks kept (each costs some 25 bytes); past it a new stack is its caller's.
const MAX_STACKS: usize = 1 << 26;

/// A whole stack, outermost frame to innermost, as one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct StackId(pub(super) u32);

impl StackId {
    /// The stack without frames: a thread that runs no Python code.
    pub const EMPTY: Self = Self(0);

    /// The number of this stack; see [`Profile::stacks_from`](super::Profile::stacks_from).
    pub fn number(self) -> u32 {
        self.0
    }
}

#[derive(Debug, Default)]
pub(super) struct StackTree {
    /// (caller's stack, innermost frame) of stack 1 and on.
    nodes: Vec<(StackId, FrameId)>,
    ids: HashMap<(StackId, FrameId), StackId, BuildHasherDefault<IdHasher>>,
    full: bool,
}

impl StackTree {
    pub(super) fn push(&mut self, parent: StackId, frame: FrameId) -> StackId {
        if let Some(id) = self.ids.get(&(parent, frame)) {
            return *id;
        }
        if self.nodes.len() >= MAX_STACKS {
            self.full = true;
            return parent;
        }
        self.nodes.push((parent, frame));
        let id = StackId(index(self.nodes.len()));
        self.ids.insert((parent, frame), id);
        id
    }

    pub(super) fn pop(&self, stack: StackId) -> Option<(StackId, FrameId)> {
        let at = (stack.0 as usize).checked_sub(1)?;
        self.nodes.get(at).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len() + 1
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }
}

/// A fast hash for ids. Ids are numbers that we give out ourselves, so the target cannot choose them to collide.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // An odd number near 2^64 divided by the golden ratio spreads consecutive ids over the whole word.
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
