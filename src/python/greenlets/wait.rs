//! What a greenlet that is put aside waits in: by the functions of gevent or eventlet that it is in, by those of the
//! standard library that call these where it is patched, and by the object that will wake it.

use super::gevent::GeventWaits;
use crate::python::code::{Code, CodeTable};
use crate::python::lock_waits::is_waiting_method;
use crate::python::tasks::{TaskFrame, TaskWait, WaitKind};

/// Frames of the standard library that are asked for what was called.
const FRAMES_ASKED: usize = 4;
/// Descriptors that are named of one wait.
const DESCRIPTORS_NAMED: usize = 4;

/// What a greenlet waits in. `frames` are its own, newest first.
pub(crate) fn greenlet_wait(
    codes: &CodeTable,
    greenlet: u64,
    frames: &[TaskFrame],
    objects: &mut GeventWaits<'_>,
) -> Option<TaskWait> {
    let by_frames = wait_by_frames(codes, frames, objects);
    if by_frames.as_ref().is_some_and(|wait| wait.kind == WaitKind::Sleep) {
        return by_frames;
    }
    match (by_frames, objects.wait(greenlet, frames)) {
        // To be woken by one of several descriptors it has an event of its own.
        (Some(called), _) if called.descriptor.is_some() => Some(called),
        // The frames say what was called, the object who else waits.
        (Some(called), Some(wait)) => {
            Some(TaskWait { waiters: wait.waiters, object: called.object.or(wait.object), ..called })
        }
        (called, wait) => wait.or(called),
    }
}

/// The outermost function of the library's that a greenlet is in.
fn wait_by_frames(codes: &CodeTable, frames: &[TaskFrame], objects: &mut GeventWaits<'_>) -> Option<TaskWait> {
    let code = |frame: &TaskFrame| codes.get(frame.place.code);
    let of_library: Vec<&TaskFrame> = frames.iter().take_while(|frame| is_of_library(&code(frame).filename)).collect();
    let outermost = *of_library.last()?;
    // Where the standard library is patched, what the program called is a method of that.
    let patched = frames[of_library.len()..].iter().take(FRAMES_ASKED);
    let patched = patched.take_while(|frame| is_waiting_method(&code(frame).name, &code(frame).filename)).last();
    if let Some(frame) = patched
        && let Some(wait) = wait_in_patched(code(frame), frame, objects)
    {
        return Some(wait);
    }
    // To look up a name is a part of connecting, and mostly the one that hangs.
    let looks_up = |frame: &&&TaskFrame| is_look_up(name_of(code(frame)));
    let (frame, kind) = match of_library.iter().rfind(looks_up) {
        Some(frame) => (*frame, WaitKind::Executor),
        None => (outermost, kind_of_function(name_of(code(outermost)), file_of(code(outermost)))?),
    };
    let object = objects.variable(frame, "self");
    let class = object.and_then(|object| objects.class_name(object));
    // What `threading.Lock` is where that is patched.
    let class = class.map(|class| if class == "LockType" { "Lock".to_owned() } else { class });
    let kind = match class.as_deref() {
        Some("ThreadPool") => WaitKind::Executor,
        Some("Lock" | "RLock") => WaitKind::Lock,
        _ => kind,
    };
    let name = name_of(code(frame));
    let mut wait = TaskWait::new(kind);
    wait.operation = match (&class, kind) {
        (_, WaitKind::Sleep) => name.to_owned(),
        (Some(class), _) if name != "__init__" => format!("{class}.{name}"),
        _ if is_look_up(name) => name.to_owned(),
        _ => code(frame).name.clone(),
    };
    match kind {
        WaitKind::Sleep => {
            wait.duration = objects.variable(frame, "seconds").and_then(|number| objects.number(number));
            wait.until = objects.timer_due(frame);
        }
        WaitKind::Executor if is_look_up(name) => wait.operation = name.to_owned(),
        WaitKind::Socket | WaitKind::Server | WaitKind::Process => {
            // The innermost one that has it: what is called for a request has no socket, what it calls in the end has.
            wait.descriptor = of_library.iter().find_map(|frame| {
                let holder =
                    ["self", "sock", "fd", "fileno"].into_iter().find_map(|name| objects.variable(frame, name));
                objects.descriptor(holder?)
            });
            if wait.descriptor.is_none() {
                let watched = watched_descriptors(frame, objects);
                wait.descriptor = watched.first().copied();
                wait.detail = other_descriptors(&watched);
            }
            let pid =
                object.and_then(|object| objects.member(object, "pid")).or_else(|| objects.variable(frame, "pid"));
            let pid = pid.filter(|_| kind == WaitKind::Process).and_then(|pid| objects.number(pid));
            wait.detail = pid.map(|pid| format!("pid {pid}")).or(wait.detail);
        }
        WaitKind::Lock | WaitKind::Semaphore | WaitKind::Event | WaitKind::Queue | WaitKind::Condition => {
            wait.object = object;
        }
        _ => {}
    }
    Some(wait)
}

/// All descriptors for which a `select`, `poll` or selector waits, in which a frame is; none where not all are known.
fn watched_descriptors(frame: &TaskFrame, objects: &mut GeventWaits<'_>) -> Vec<i32> {
    let own = objects.variable(frame, "self");
    // `poll` and `GeventSelector` of gevent.
    let by_descriptor = ["fds", "_fd_to_key"].into_iter().find_map(|name| objects.member(own?, name));
    // `select` of gevent and eventlet, which do not wait for errors.
    let lists = ["rlist", "wlist", "read_list", "write_list"];
    let lists = lists.into_iter().filter_map(|name| objects.variable(frame, name));
    let lists: Vec<u64> = lists.chain(by_descriptor).collect();
    let watched = lists.iter().map(|list| objects.items(*list));
    let watched = watched.collect::<Option<Vec<_>>>().unwrap_or_default().concat();
    let descriptors = watched.into_iter().map(|object| objects.descriptor(object));
    let mut descriptors = descriptors.collect::<Option<Vec<i32>>>().unwrap_or_default();
    descriptors.sort_unstable();
    descriptors.dedup();
    descriptors
}

/// Words for the descriptors but the first.
fn other_descriptors(descriptors: &[i32]) -> Option<String> {
    let others = descriptors.get(1..).filter(|others| !others.is_empty())?;
    let named = others.iter().take(DESCRIPTORS_NAMED - 1).map(|descriptor| format!("fd {descriptor}"));
    let mut words: Vec<String> = named.collect();
    if descriptors.len() > DESCRIPTORS_NAMED {
        words.push(format!("… {} in all", descriptors.len()));
    }
    Some(words.join(", "))
}

/// A method of the standard library's, of `threading`, `queue` or `concurrent.futures`.
fn wait_in_patched(code: &Code, frame: &TaskFrame, objects: &mut GeventWaits<'_>) -> Option<TaskWait> {
    let object = objects.variable(frame, "self")?;
    let class = objects.class_name(object)?;
    let kind = match (class.trim_start_matches('_'), file_of(code)) {
        (_, "queue.py" | "Queue.py") => WaitKind::Queue,
        (_, "_base.py") => WaitKind::Executor,
        ("Condition", _) => WaitKind::Condition,
        ("Semaphore" | "BoundedSemaphore", _) => WaitKind::Semaphore,
        ("Event", _) => WaitKind::Event,
        ("Barrier", _) => WaitKind::Barrier,
        ("RLock" | "Lock", _) => WaitKind::Lock,
        _ if name_of(code) == "join" => WaitKind::Task,
        _ => WaitKind::Other,
    };
    let name = if name_of(code) == "__enter__" { "acquire" } else { name_of(code) };
    let operation = format!("{}.{name}", class.trim_start_matches('_'));
    Some(TaskWait { operation, object: Some(object), ..TaskWait::new(kind) })
}

fn name_of(code: &Code) -> &str {
    code.name.rsplit('.').next().unwrap_or_default()
}

fn file_of(code: &Code) -> &str {
    code.filename.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// Whether a function looks up a name or an address.
fn is_look_up(name: &str) -> bool {
    matches!(name, "getaddrinfo" | "gethostbyname" | "gethostbyname_ex" | "gethostbyaddr" | "getnameinfo" | "getfqdn")
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
        "os.py" if name == "waitpid" => WaitKind::Process,
        "baseserver.py" | "pywsgi.py" | "wsgi.py" => WaitKind::Server,
        file if file.contains("socket") || file.contains("ssl") || file.contains("fileobject") => WaitKind::Socket,
        "base.py" | "select.py" | "selectors.py" | "os.py" | "__init__.py" => WaitKind::Socket,
        _ => WaitKind::Other,
    })
}
