//! Greenlets in the form of tasks: with the code of their frames and a name.

use super::{Greenlet, GreenletKind, GreenletState};
use crate::python::code::{Code, CodeTable};
use crate::python::object::ObjectReader;
use crate::python::tasks::{Link, Task, TaskFrame, TaskLibrary, TaskState, TaskWait};

/// The frames of a greenlet with their code, newest first; up to one whose code cannot be read.
pub(crate) fn frames_of(objects: ObjectReader<'_>, codes: &mut CodeTable, greenlet: &mut Greenlet) -> Vec<TaskFrame> {
    let memory = objects.memory();
    let mut frames = Vec::with_capacity(greenlet.frames.len());
    for frame in std::mem::take(&mut greenlet.frames) {
        let is_known = codes.evidence(frame.code).next().is_some();
        if !is_known && codes.load(&memory, objects.layout(), frame.code).is_err() {
            greenlet.is_truncated = true;
            break;
        }
        let Some(place) = codes.resolve(&memory, objects.layout(), &frame) else { break };
        frames.push(TaskFrame { address: frame.address, code_address: frame.code, place });
    }
    frames
}

/// Whether a function, by its name with or without class and its file, is one by which a library calls what a greenlet
/// is for.
pub(crate) fn is_trampoline(name: &str, file: &str) -> bool {
    let mut parts = file.rsplit(['/', '\\']);
    let (file, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let name = name.rsplit('.').next().unwrap_or_default();
    matches!((folder, file, name), ("eventlet", "greenthread.py", "main") | ("gevent", "greenlet.py", "run"))
}

/// The function that a greenlet is for, if it has begun: its outermost one that is written in Python.
pub(crate) fn own_function<'codes>(codes: &'codes CodeTable, frames: &[TaskFrame]) -> Option<&'codes Code> {
    own_code(frames.iter().map(|frame| codes.get(frame.place.code)))
}

/// The same of the code of its frames, the newest first.
pub(crate) fn own_code<'codes>(frames: impl DoubleEndedIterator<Item = &'codes Code> + Clone) -> Option<&'codes Code> {
    let mut outermost = frames.rev();
    outermost.clone().find(|code| !is_trampoline(&code.name, &code.filename)).or_else(|| outermost.next())
}

/// A greenlet with its frames as a task. `parent` is the place of its parent among all.
pub(crate) fn as_task(
    codes: &CodeTable,
    greenlet: &Greenlet,
    frames: &[TaskFrame],
    wait: Option<TaskWait>,
    parent: Option<usize>,
) -> Task {
    let run_name = || greenlet.run_name.clone().filter(|name| name != "NoneType");
    let name = own_function(codes, frames).map(|code| code.name.clone()).or_else(run_name);
    Task {
        library: TaskLibrary::Greenlet,
        address: greenlet.address,
        interpreter: 0,
        event_loop: greenlet.main.unwrap_or(0),
        thread: None,
        name: match greenlet.kind {
            GreenletKind::Main => Some("main greenlet".to_owned()),
            GreenletKind::Hub => Some("hub".to_owned()),
            GreenletKind::Ordinary => None,
        },
        coroutine: name.unwrap_or_else(|| greenlet.type_name.clone()),
        state: match greenlet.state {
            GreenletState::New => TaskState::New,
            GreenletState::Paused => TaskState::Waiting,
            GreenletState::Running => TaskState::Running,
            GreenletState::Finished => TaskState::Done,
        },
        links: frames.iter().map(|frame| Link::Frame(*frame)).collect(),
        is_truncated: greenlet.is_truncated,
        wait,
        awaits: Vec::new(),
        awaited_by: Vec::new(),
        group_of: parent,
        held_by: Vec::new(),
    }
}
