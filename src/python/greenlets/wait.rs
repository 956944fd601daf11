//! What a greenlet that is put aside waits in: by the functions of gevent or eventlet that it is in, and by the object
//! that will wake it.

use super::gevent::GeventWaits;
use crate::python::code::CodeTable;
use crate::python::tasks::{TaskFrame, TaskWait, WaitKind};

/// What a greenlet waits in. `frames` are its own, newest first.
pub(crate) fn greenlet_wait(
    codes: &CodeTable,
    greenlet: u64,
    frames: &[TaskFrame],
    objects: &mut GeventWaits<'_>,
) -> Option<TaskWait> {
    let by_frames = wait_by_frames(codes, frames);
    if by_frames.as_ref().is_some_and(|wait| wait.kind == WaitKind::Sleep) {
        return by_frames;
    }
    match (by_frames, objects.wait(greenlet, frames)) {
        // The frames say what was called, the object who else waits.
        (Some(called), Some(wait)) => Some(TaskWait { kind: called.kind, operation: called.operation, ..wait }),
        (called, wait) => wait.or(called),
    }
}

/// The outermost function of the library's that a greenlet is in.
fn wait_by_frames(codes: &CodeTable, frames: &[TaskFrame]) -> Option<TaskWait> {
    let code = |frame: &TaskFrame| codes.get(frame.place.code);
    let code = code(frames.iter().take_while(|frame| is_of_library(&code(frame).filename)).last()?);
    let name = code.name.rsplit('.').next().unwrap_or_default();
    let kind = kind_of_function(name, code.filename.rsplit(['/', '\\']).next().unwrap_or_default())?;
    Some(TaskWait { operation: code.name.clone(), ..TaskWait::new(kind) })
}

/// Whether a file is one of gevent's or eventlet's.
fn is_of_library(file: &str) -> bool {
    let mut folders = file.rsplit(['/', '\\']).skip(1).take(2);
    folders.any(|folder| folder == "gevent" || folder == "eventlet")
}

/// What is waited for in a function without its class of a file of the library's; `None` for the loop itself and what
/// only leads there.
fn kind_of_function(name: &str, file: &str) -> Option<WaitKind> {
    Some(match file {
        "hub.py" | "greenthread.py" if name == "sleep" => WaitKind::Sleep,
        "hub.py" => return None,
        "lock.py" | "thread.py" => WaitKind::Lock,
        "_semaphore.py" | "semaphore.py" => WaitKind::Semaphore,
        "queue.py" => WaitKind::Queue,
        "event.py" => WaitKind::Event,
        "greenlet.py" | "pool.py" | "greenthread.py" | "greenpool.py" => WaitKind::Task,
        "threadpool.py" | "tpool.py" => WaitKind::Executor,
        "subprocess.py" => WaitKind::Process,
        file if file.contains("socket") || file.contains("ssl") || file == "base.py" || file == "select.py" => {
            WaitKind::Socket
        }
        _ => WaitKind::Other,
    })
}
