//! Greenlets: the stacks that a thread has put aside (greenlet, and gevent and eventlet, which are made of it).
//!
//! There is no list of all greenlets anywhere, so memory is searched for them: every object says its type. In order:
//! [`GreenletTypes::find`] finds the type of greenlets and its subclasses through `sys.modules`;
//! [`GreenletTypes::scan`] goes through the memory where objects lie, which needs no stop and gives candidates;
//! [`GreenletTypes::read`] proves these and reads them, in the stop if there is one. A process that has not imported
//! greenlet costs one look into `sys.modules`.
//!
//! Where things lie in the C++ object behind a greenlet is greenlet's private matter and differs between patch
//! releases. But the order of what matters does not, and a main greenlet says where it ends, so most of it is learned
//! from the objects themselves ([`shape`]), and what does not fit is refused.
//!
//! Limits: greenlet 0.4.17 and later on CPython 3.6 and later, 64 bits. Before greenlet 2.0 nothing tells a running
//! greenlet from one that waits in C code without Python frames and whose stack is where it was, nor whether a thread
//! has ended.

mod gevent;
mod kept_stack;
mod places;
mod read;
mod running;
mod scan;
mod shape;
#[cfg(test)]
mod tests;
mod timers;
mod types;
mod wait;

use std::fmt;

use thiserror::Error;

use super::stack::RawFrame;
use super::version::Version;
use crate::memory::ReadError;

pub(crate) use gevent::GeventWaits;
pub(crate) use places::{as_task, frames_of, is_trampoline, own_code, own_function};
pub(crate) use running::{GreenletShape, RunningGreenlet};
pub(crate) use types::GreenletTypes;
pub(crate) use wait::greenlet_wait;

/// One greenlet. Texts are the target's: escape them before they are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greenlet {
    /// The `PyGreenlet`, in the target.
    pub(crate) address: u64,
    /// Its type with its module: `greenlet.greenlet`, `gevent.hub.Hub`.
    pub(crate) type_name: String,
    /// What it is for.
    pub(crate) kind: GreenletKind,
    /// What it does.
    pub(crate) state: GreenletState,
    /// Its Python frames, newest first, if it is put aside. Those of one that runs are its thread's.
    pub(crate) frames: Vec<RawFrame>,
    /// The chain of frames ended in something unreadable: older frames are missing.
    pub(crate) is_truncated: bool,
    /// The greenlet that goes on when this one ends.
    pub(crate) parent: Option<u64>,
    /// The main greenlet of its thread, where that can be told; its own address if it is one.
    pub(crate) main: Option<u64>,
    /// Where its part of its thread's C stack begins, the lower end; `None` for one that has not begun or has ended,
    /// and for a main greenlet that was never left. The greenlets of one thread have one `main`, so one address that
    /// lies in the stack of a thread tells the thread of all of them.
    pub(crate) stack_start: Option<u64>,
    /// What its thread's greenlets have in common, a `ThreadState` of greenlet, if it is the main one of a thread that
    /// lives (2.0+).
    pub(crate) thread_state: Option<u64>,
    /// What it will run; only while it has not begun.
    pub(crate) run: Option<u64>,
    /// The qualified name of the function that it will run, or of the type of what it will run; only while it has not
    /// begun.
    pub(crate) run_name: Option<String>,
}

/// What a greenlet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GreenletKind {
    /// What the thread itself ran before its first switch.
    Main,
    /// Runs the event loop of gevent or eventlet. That of eventlet is known by its oldest frame only, so while it runs
    /// the thread's oldest frame tells .
    Hub,
    /// Any other.
    Ordinary,
}

/// What a greenlet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GreenletState {
    /// It has not begun.
    New,
    /// It was left and can go on.
    Paused,
    /// It is what its thread runs, or what its thread waits in.
    Running,
    /// It has ended, or its thread has: nothing can go on with it.
    Finished,
}

/// A version of greenlet, `greenlet.__version__` as far as it is numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GreenletVersion {
    /// 3 in 3.1.2.
    pub(crate) major: u16,
    /// 1 in 3.1.2.
    pub(crate) minor: u16,
    /// 2 in 3.1.2.
    pub(crate) patch: u16,
}

impl GreenletVersion {
    /// Reads `3.5.6`, `3.0`, `2.0.0.post0`, `3.0.0rc3` and the like.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let mut number = |is_required: bool| {
            let part = parts.next();
            let digits = part.unwrap_or_default();
            let digits = &digits[..digits.bytes().take_while(u8::is_ascii_digit).count()];
            match digits.parse() {
                Ok(number) => Some(number),
                Err(_) => (part.is_none() && !is_required).then_some(0),
            }
        };
        Some(Self { major: number(true)?, minor: number(true)?, patch: number(false)? })
    }
}

impl fmt::Display for GreenletVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Why greenlets cannot be shown, though the process has imported greenlet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum GreenletError {
    /// `greenlet.__version__` is no text that begins with two numbers.
    #[error("the version of greenlet cannot be read")]
    NoVersion,
    /// The size of the object is not that of any release for this Python.
    #[error("the objects of greenlet {greenlet} on Python {python} have an unknown size, {size} bytes")]
    UnknownSize {
        /// The version of greenlet.
        greenlet: GreenletVersion,
        /// That of CPython.
        python: Version,
        /// `tp_basicsize`.
        size: i64,
    },
    /// The objects are not as those of the known releases.
    #[error(
        "greenlet {greenlet} on Python {python} keeps its data in an unknown way \
         ({inconsistent} of {identified} objects make no sense)"
    )]
    UnknownShape {
        /// The version of greenlet.
        greenlet: GreenletVersion,
        /// That of CPython.
        python: Version,
        /// Objects that say that they are greenlets.
        identified: usize,
        /// How many of these make no sense.
        inconsistent: usize,
    },
    /// `sys.modules`, the module or the type cannot be read.
    #[error("greenlet's module cannot be read")]
    Unreadable(#[from] ReadError),
}
