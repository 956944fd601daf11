//! What the live view is told, and what it has done outside.

use ratatui::crossterm::event::Event as Input;

use super::window::Window;
use crate::profile::{ProcessRef, TextId, ThreadRef};

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A key, the mouse, or another size.
    Input(Input),
    /// A window of samples.
    Window(Box<Window>),
    /// The target has written something.
    Output(String),
    /// A source that was asked for, or none.
    Source(TextId, Option<Vec<String>>),
    /// What threads are doing, as asked for.
    Dump(String),
    /// Something to tell.
    Notice(String),
    /// The target is no more; how it ended.
    Ended(String),
}

/// Something to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// End.
    Quit,
    /// Sample at this rate.
    Rate(u32),
    /// Read a source file; answered by [`Event::Source`].
    Source(TextId),
    /// Look at a thread, or at all of a process, or at all; answered by [`Event::Dump`].
    Dump(Option<ProcessRef>, Option<ThreadRef>),
    /// Look at the tasks of a group; answered by [`Event::Dump`].
    Task(u64),
    /// Write what was collected to this file; answered by [`Event::Notice`].
    Write(String),
    /// Draw all of the screen.
    Redraw,
    /// Stop ourselves.
    Suspend,
    /// Have the sampler begin its tables anew: the next window but one, or so, is fresh.
    BeginAnew,
}
