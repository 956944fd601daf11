//! What things are called on the screen; everything that the target chose is escaped.

use std::borrow::Cow;

use super::index::{FunctionId, ROOT};
use super::rows::Key;
use super::state::State;
use crate::output::printable;
use crate::profile::{TextId, ThreadRef};

/// `name (file:first line)`.
pub(super) fn function(state: &State, id: FunctionId) -> String {
    let Some(function) = state.index.function(id) else { return String::new() };
    place(state, function.name, function.file, function.short_file, function.first_line)
}

/// A function's name alone.
pub(super) fn short_function(state: &State, id: FunctionId) -> Cow<'_, str> {
    match state.index.function(id) {
        Some(function) => text(state, function.name),
        None => Cow::Borrowed(""),
    }
}

/// What a row is about.
pub(super) fn of(state: &State, key: Key) -> String {
    match key {
        Key::Function(of_thread, id) => with_thread(state, of_thread, function(state, id)),
        Key::Line(of_thread, frame) => {
            let Some(frame) = state.profile.frames_from(frame as usize).next() else { return String::new() };
            let name = place(state, frame.name, frame.file, frame.short_file, frame.line);
            with_thread(state, of_thread, name)
        }
        Key::Thread(id) => thread(state, id),
        Key::Process(id) => {
            let process = state.profile.process(id);
            format!("{} {}", process.pid, printable(state.profile.text(process.command_line)))
        }
        Key::Node(Some(id), ROOT) => thread(state, id),
        Key::Node(_, node) => function(state, state.index.node(node).function),
    }
}

/// `id "name"` of a thread.
pub(super) fn thread(state: &State, id: ThreadRef) -> String {
    let (number, name) = thread_parts(state, id);
    if name.is_empty() { number } else { format!("{number} \"{name}\"") }
}

/// The number of a thread, the system's if it is known, and its name.
pub(super) fn thread_parts(state: &State, id: ThreadRef) -> (String, String) {
    let thread = state.profile.thread(id);
    let number = thread.os_id.map_or_else(|| format!("{:#x}", thread.python_id), |id| id.to_string());
    let mut name = thread.name.map(|name| text(state, name).into_owned()).unwrap_or_default();
    if thread.interpreter != 0 {
        name.push_str(&format!(" (interpreter {})", thread.interpreter));
    }
    (number, name)
}

/// A text of the target.
pub(super) fn text(state: &State, id: TextId) -> Cow<'_, str> {
    printable(state.profile.text(id))
}

fn with_thread(state: &State, id: Option<ThreadRef>, name: String) -> String {
    match id {
        Some(id) => format!("[{}] {name}", thread(state, id)),
        None => name,
    }
}

fn place(state: &State, name: TextId, file: TextId, short_file: TextId, line: u32) -> String {
    let short = short_file != TextId::EMPTY && !state.full_file_names;
    let file = text(state, if short { short_file } else { file });
    let name = if name == TextId::EMPTY { Cow::Borrowed("<unknown>") } else { text(state, name) };
    match (file.is_empty(), line) {
        (true, _) => name.into_owned(),
        (false, 0) => format!("{name} ({file})"),
        (false, line) => format!("{name} ({file}:{line})"),
    }
}
