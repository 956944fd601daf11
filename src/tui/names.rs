//! What things are called on the screen; everything that the target chose is escaped.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr;

use super::fit;
use super::index::{FunctionId, ROOT};
use super::state::{Key, State};
use crate::output::dump::TaskKind;
use crate::output::printable;
use crate::profile::{TextId, ThreadRef};

/// A width in which everything fits.
const WHOLE: usize = usize::MAX;

/// `name (file:first line)`.
pub(super) fn function(state: &State, id: FunctionId) -> String {
    function_within(state, id, WHOLE)
}

/// The same in so many columns.
pub(super) fn function_within(state: &State, id: FunctionId, width: usize) -> String {
    let Some(function) = state.data.index.function(id) else { return String::new() };
    place(state, function.name, function.file, function.short_file, function.first_line, width)
}

/// A function's name alone.
pub(super) fn short_function(state: &State, id: FunctionId) -> Cow<'_, str> {
    match state.data.index.function(id) {
        Some(function) => text(state, function.name),
        None => Cow::Borrowed(""),
    }
}

/// What a row is about.
pub(super) fn row_name(state: &State, key: Key) -> String {
    row_name_within(state, key, WHOLE)
}

/// The same in so many columns, so that what tells most stays to be seen.
/// What stands before the name of those that are no tasks of asyncio, of which there are the most.
fn kind(kind: TaskKind) -> String {
    if kind == TaskKind::Asyncio { String::new() } else { format!("{} ", kind.name()) }
}

pub(super) fn row_name_within(state: &State, key: Key, width: usize) -> String {
    match key {
        Key::Function(of_thread, id) => {
            let (prefix, room) = thread_before(state, of_thread, width);
            prefix + &function_within(state, id, room)
        }
        Key::Line(of_thread, frame) => {
            let Some(frame) = state.data.profile.frames_from(frame as usize).next() else { return String::new() };
            let (prefix, room) = thread_before(state, of_thread, width);
            prefix + &place(state, frame.name, frame.file, frame.short_file, frame.line, room)
        }
        Key::Thread(id) => thread(state, id),
        Key::Process(id) => {
            let process = state.data.profile.process(id);
            let pid = format!("{} ", process.pid);
            let supervisor = in_brackets(&text(state, process.supervisor));
            let room = width.saturating_sub(pid.len() + supervisor.width());
            pid + &fit::command_line(&text(state, process.command_line), room) + &supervisor
        }
        Key::Tasks(id) => {
            let group = state.data.facts.tasks.iter().find(|group| group.id == id);
            group.map(|group| format!("{}{}", kind(group.kind), printable(&group.coroutine))).unwrap_or_default()
        }
        Key::Node(Some(id), ROOT) => thread(state, id),
        Key::Node(_, node) => function_within(state, state.data.index.node(node).function, width),
    }
}

/// What may follow a name, with the blank before it; nothing where there is nothing to say.
pub(super) fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

/// `id "name"` of a thread: the system's number if it is known, else CPython's.
pub(super) fn thread(state: &State, id: ThreadRef) -> String {
    let thread = state.data.profile.thread(id);
    let number = thread.os_id.map_or_else(|| format!("{:#x}", thread.python_id), |id| id.to_string());
    let mut name = thread.name.map(|name| text(state, name).into_owned()).unwrap_or_default();
    if thread.interpreter != 0 {
        name.push_str(&format!(" (interpreter {})", thread.interpreter));
    }
    if name.is_empty() { number } else { format!("{number} \"{name}\"") }
}

/// A text of the target.
pub(super) fn text(state: &State, id: TextId) -> Cow<'_, str> {
    printable(state.data.profile.text(id))
}

/// What stands before a row's name where threads are apart, and the columns left for the name.
fn thread_before(state: &State, id: Option<ThreadRef>, width: usize) -> (String, usize) {
    let prefix = id.map(|id| format!("[{}] ", thread(state, id))).unwrap_or_default();
    let room = width.saturating_sub(prefix.width());
    (prefix, room)
}

fn place(state: &State, name: TextId, file: TextId, short_file: TextId, line: u32, width: usize) -> String {
    let short = short_file != TextId::EMPTY && !state.selection.full_file_names;
    let file = text(state, if short { short_file } else { file });
    let name = if name == TextId::EMPTY { Cow::Borrowed("<unknown>") } else { text(state, name) };
    fit::place(&name, &file, line, width)
}
