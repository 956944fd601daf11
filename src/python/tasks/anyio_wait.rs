//! What tasks wait in by anyio, whose locks, streams, sockets, groups and threads are made of events and futures of the
//! loop below.

use super::transports::descriptor;
use super::wait::{FRAMES_ASKED, TaskWait, WaitKind, WaitReader};
use super::{Task, TaskFrame};

/// What a task waits in, if the innermost function that is not the loop's own is one of anyio's, and a known one.
pub(super) fn anyio_wait(waits: WaitReader<'_>, task: &Task, future: Option<u64>) -> Option<TaskWait> {
    let of_libraries: Vec<&TaskFrame> = task
        .innermost_frames()
        .take(2 * FRAMES_ASKED)
        .skip_while(|frame| waits.place(frame).0 == "__await__")
        .take_while(|frame| is_in(waits.place(frame).1, &["anyio", "asyncio", "trio"]))
        .collect();
    let is_anyio = |frame: &&&TaskFrame| is_in(waits.place(frame).1, &["anyio"]);
    // Its events are what most of the rest is made of.
    let is_event = |frame: &&&TaskFrame| class_of_self(waits, frame).is_some_and(|class| class.starts_with("Event"));
    // Where it is not known what another one waits for (`TaskGroup.start`), or that has only called (`_run_coro`), the
    // event is what is known.
    let is_known = |frame: &&&TaskFrame| {
        let (name, file) = waits.place(frame);
        kind_of(name, &class_of_self(waits, frame).unwrap_or_default(), file).is_some()
    };
    let inner = of_libraries.iter().filter(is_anyio).find(|frame| !is_event(frame)).filter(is_known);
    let inner = *inner.or_else(|| of_libraries.iter().rfind(|frame| is_anyio(frame) && is_event(frame)))?;
    let object = waits.variable(inner, "self");
    // The outermost method of the same object is what was called.
    let is_its = |frame: &&&TaskFrame| object.is_some() && waits.variable(frame, "self") == object;
    let called = of_libraries.iter().rfind(is_its).copied().unwrap_or(inner);
    let (name, file) = waits.place(called);
    let class = object.and_then(|object| waits.class_name(object));
    let kind = kind_of(name, class.as_deref().unwrap_or_default(), file)?;
    let name = if name == "__aenter__" { "acquire" } else { name };
    let operation = class.map_or_else(|| name.to_owned(), |class| format!("{class}.{name}"));
    let mut wait = TaskWait { operation, object, ..TaskWait::new(kind) };
    match kind {
        WaitKind::Group => wait.object = None,
        WaitKind::Executor => (wait.object, wait.operation) = (future, String::new()),
        WaitKind::Queue => {
            let state = object.and_then(|object| waits.types().member(object, "_state"));
            let waiting = if name == "send" { "waiting_senders" } else { "waiting_receivers" };
            wait.waiters = state.and_then(|state| waits.length(state, waiting));
        }
        WaitKind::Socket => {
            let sends_by = object.or_else(|| waits.variable(inner, "sock")).or_else(|| waits.variable(inner, "obj"));
            wait.descriptor = sends_by.and_then(|object| descriptor(waits.types(), object));
        }
        _ => {
            let waiters = |name| object.and_then(|object| waits.length(object, name));
            wait.waiters = waiters("_waiters").or_else(|| waiters("_wait_queue"));
        }
    }
    Some(wait)
}

fn class_of_self(waits: WaitReader<'_>, frame: &TaskFrame) -> Option<String> {
    waits.class_name(waits.variable(frame, "self")?)
}

/// What is waited for in a method or function; `None` for what is better told by what it calls.
fn kind_of(name: &str, class: &str, file: &str) -> Option<WaitKind> {
    // Where a backend is chosen later, there is an adapter before the object.
    Some(match class.strip_suffix("Adapter").unwrap_or(class) {
        "Event" => WaitKind::Event,
        "Lock" => WaitKind::Lock,
        "Semaphore" | "CapacityLimiter" => WaitKind::Semaphore,
        "Condition" => WaitKind::Condition,
        "TaskGroup" if name == "__aexit__" => WaitKind::Group,
        "TaskHandle" if name == "wait" => WaitKind::Task,
        "Process" => WaitKind::Process,
        _ if name == "run_sync_in_worker_thread" => WaitKind::Executor,
        class if class.starts_with("MemoryObject") => WaitKind::Queue,
        class if ["Stream", "Socket", "Listener", "Wrapper"].iter().any(|part| class.contains(part)) => {
            WaitKind::Socket
        }
        _ if matches!(name, "wait_readable" | "wait_writable" | "wait_socket_readable") => WaitKind::Socket,
        _ if file.ends_with("memory.py") => WaitKind::Queue,
        _ => return None,
    })
}

/// Whether a file is in one of these packages, in whichever of their folders.
fn is_in(file: &str, packages: &[&str]) -> bool {
    let mut folders = file.rsplit(['/', '\\']).skip(1).take(2);
    folders.any(|folder| packages.contains(&folder))
}

#[cfg(test)]
mod tests {
    use super::{is_in, kind_of};
    use crate::python::tasks::WaitKind;

    #[test]
    fn what_is_called_says_what_for() {
        let backend = "/x/anyio/_backends/_asyncio.py";
        assert_eq!(kind_of("acquire", "CapacityLimiter", backend), Some(WaitKind::Semaphore));
        assert_eq!(kind_of("wait", "EventAdapter", backend), Some(WaitKind::Event));
        assert_eq!(kind_of("receive", "SocketStream", backend), Some(WaitKind::Socket));
        assert_eq!(
            kind_of("receive", "MemoryObjectReceiveStream", "/x/anyio/streams/memory.py"),
            Some(WaitKind::Queue)
        );
        assert_eq!(kind_of("start", "TaskGroup", backend), None);
        assert_eq!(kind_of("run_sync_in_worker_thread", "", backend), Some(WaitKind::Executor));
        assert!(is_in(backend, &["anyio"]) && !is_in("/srv/anyio_app/main.py", &["anyio"]));
    }
}
