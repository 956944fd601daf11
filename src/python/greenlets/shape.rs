//! Where a greenlet has what.
//!
//! Up to greenlet 1.1 everything is in the object, in the same order in all releases (greenlet.h, `struct _greenlet`):
//! four words of the stack, the link to the stack below, parent, `run_info`, `top_frame`.
//!
//! From 2.0 on the object has, behind its list of weak references and its dict, a pointer to a C++ object
//! (TGreenlet.hpp, class `Greenlet`). That begins with the table of its virtual functions, from 3.1.1 on followed by
//! the address of the greenlet; then come the exceptions being handled, the two arguments of a switch, the five words
//! of the stack, the context (Python 3.7+) and `_top_frame`: up to there only Python's version matters. What follows
//! differs between patch releases (in 3.5.3 and 3.5.6, for instance), up to the end of the class. There a main
//! greenlet has its own address and its thread's state (class `ThreadState`, which begins with that main greenlet and
//! the current greenlet). Any other has its main greenlet, what it is to run, and its parent; before 3.1.1 its own
//! address comes first.
//!
//! The first releases for Python 3.12 (3.0.0) cut a paused greenlet's newest frame off its caller, which they keep in
//! one more word at the end of the class.

use crate::python::layout::Layout;

/// As far behind `_top_frame` the end of the class is looked for, in bytes. It was 16 to 120 so far.
const FURTHEST_END: u32 = 192;

/// Where a word is, from the beginning of the object that has the data.
pub(super) type Offset = u32;

/// What is known of the objects from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectShape {
    /// The greenlet has the data itself (up to 1.1).
    Direct,
    /// The greenlet has a pointer at this offset to a C++ object that has them (2.0+).
    Pointer(u32),
}

/// Where the data are in the object that has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// The address of the table of virtual functions of main greenlets; `None` where there is no such thing (up to
    /// 1.1).
    pub(super) main_table: Option<u64>,
    /// The address of the greenlet; `None` where the data are in the greenlet.
    pub(super) own: Option<Offset>,
    /// `_stack_start`; `stack_stop`, `stack_copy` and `_stack_saved` are the following words.
    pub(super) stack: Offset,
    /// `_top_frame`, a `PyFrameObject`: the newest frame.
    pub(super) top_frame: Offset,
    /// The main greenlet, of a greenlet that is none itself.
    pub(super) main: Option<Offset>,
    /// The thread's state, of a main greenlet.
    pub(super) thread_state: Option<Offset>,
    /// The caller of the newest frame, where that is cut off.
    pub(super) caller: Option<Offset>,
    /// What it is to run.
    pub(super) run: Offset,
    /// The parent, of a greenlet that is no main one.
    pub(super) parent: Offset,
}

/// As much of the object that has the data is read, in bytes.
pub(super) const BODY_SIZE: usize = 384;

/// The data of one greenlet, as it lies in memory; what could not be read is 0.
#[derive(Debug, Clone)]
pub(super) struct Body(pub(super) [u8; BODY_SIZE]);

impl Body {
    /// The word at an offset.
    pub(super) fn word(&self, offset: Offset) -> u64 {
        let bytes = self.0.get(offset as usize..).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }

    /// Whether an aligned word of it is `word`.
    pub(super) fn has_word(&self, word: u64) -> bool {
        self.0.as_chunks::<8>().0.iter().any(|chunk| u64::from_ne_bytes(*chunk) == word)
    }
}

impl ObjectShape {
    /// By the size of greenlet's own type; `None` when no release has that for this version of Python.
    pub(super) fn of(layout: &Layout, size: i64) -> Option<Self> {
        let head = layout.object.head_size;
        if size == i64::from(head) + 24 {
            return Some(Self::Pointer(head + 16));
        }
        let direct = match layout.version.feature() {
            (3, 6) => 128,
            (3, 7..=9) => 152,
            (3, 10) => 160,
            (3, 11) => 176,
            _ => return None,
        };
        (size == direct).then_some(Self::Direct)
    }
}

impl Shape {
    /// The shape up to 1.1.
    pub(super) fn direct() -> Self {
        Self {
            main_table: None,
            own: None,
            stack: 16,
            top_frame: 72,
            main: None,
            thread_state: None,
            caller: None,
            run: 64,
            parent: 56,
        }
    }

    /// Where the stack is, given whether the greenlet's address comes before everything else (3.1.1+).
    pub(super) fn stack(layout: &Layout, says_own_first: bool) -> Offset {
        // `_PyErr_StackItem` and a pointer to one (cpython/pystate.h): an exception was three words and since 3.11 is
        // one. Before 3.7 there is none of it, but the three words of the thread.
        let exceptions = if matches!(layout.version.feature(), (3, 7..=10)) { 40 } else { 24 };
        8 + 8 * u32::from(says_own_first) + exceptions + 16
    }

    /// Learned from the data of a main greenlet, of which `thread_state_is_of` tells whether a word is the address of a
    /// thread's state for it.
    pub(super) fn learn(
        layout: &Layout,
        greenlet: u64,
        body: &Body,
        thread_state_is_of: impl Fn(u64) -> bool,
    ) -> Option<Self> {
        let says_own_first = body.word(8) == greenlet;
        let stack = Self::stack(layout, says_own_first);
        if body.word(stack + 8) != u64::MAX {
            return None;
        }
        let context = if layout.version.feature() >= (3, 7) { 8 } else { 0 };
        let top_frame = stack + 40 + context;
        let end = (top_frame + 8..top_frame + FURTHEST_END)
            .step_by(8)
            .find(|end| body.word(*end) == greenlet && thread_state_is_of(body.word(end + 8)))?;
        let main = if says_own_first { end } else { end + 8 };
        Some(Self {
            main_table: Some(body.word(0)),
            own: Some(if says_own_first { 8 } else { end }),
            stack,
            top_frame,
            main: Some(main),
            thread_state: Some(end + 8),
            caller: (!says_own_first && layout.version.feature() == (3, 12) && end - top_frame == 72).then(|| end - 8),
            run: main + 8,
            parent: main + 16,
        })
    }
}
