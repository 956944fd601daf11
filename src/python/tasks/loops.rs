//! The functions by which event loops run tasks and callbacks, and in which they wait. Others in the same files are
//! called by tasks, too.

/// Whose functions run an event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoopKind {
    /// asyncio's, also for uvloop.
    Asyncio,
    /// trio's.
    Trio,
    /// The hub of gevent or eventlet.
    Hub,
}

/// Folder, file, functions. In a guest run of trio the host's loop calls the last two of trio's.
const LOOP_FUNCTIONS: [(LoopKind, &str, &str, &[&str]); 8] = [
    (LoopKind::Asyncio, "asyncio", "base_events.py", &["run_until_complete", "run_forever", "_run_once"]),
    (LoopKind::Asyncio, "asyncio", "events.py", &["_run"]),
    (LoopKind::Asyncio, "asyncio", "runners.py", &["run"]),
    (LoopKind::Asyncio, "uvloop", "__init__.py", &["run"]),
    (LoopKind::Trio, "_core", "_run.py", &["run", "unrolled_run", "guest_tick", "in_main_thread"]),
    (LoopKind::Hub, "gevent", "hub.py", &["run"]),
    (LoopKind::Hub, "hubs", "hub.py", &["run"]),
    (LoopKind::Hub, "hubs", "asyncio.py", &["run"]),
];

/// Whose event loop a function runs, by its name with or without class and its file; `None` where it runs none.
pub(crate) fn loop_run_by(name: &str, file: &str) -> Option<LoopKind> {
    let mut parts = file.rsplit(['/', '\\']);
    let (file, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let name = name.rsplit('.').next().unwrap_or_default();
    let found =
        LOOP_FUNCTIONS.iter().find(|(_, of, known, names)| *of == folder && *known == file && names.contains(&name));
    found.map(|(kind, ..)| *kind)
}

/// Whether a function, by its name with or without class and its file, runs an event loop.
pub(crate) fn runs_loop(name: &str, file: &str) -> bool {
    loop_run_by(name, file).is_some()
}

/// Whether it is the one by which a loop of asyncio calls a task or a callback.
pub(crate) fn runs_callback(name: &str, file: &str) -> bool {
    name.rsplit('.').next() == Some("_run") && loop_run_by(name, file) == Some(LoopKind::Asyncio)
}

/// Whether it is the one in which a loop of asyncio waits for its sockets.
pub(crate) fn waits_for_loop(name: &str, file: &str) -> bool {
    name.rsplit('.').next() == Some("select") && file.rsplit(['/', '\\']).next() == Some("selectors.py")
}

#[cfg(test)]
mod tests {
    use super::{LoopKind, loop_run_by, runs_callback, runs_loop, waits_for_loop};

    #[test]
    fn functions_that_run_loops_are_told_from_those_that_tasks_call() {
        let asyncio = "/usr/lib/python3.11/asyncio";
        assert!(runs_loop("BaseEventLoop._run_once", &format!("{asyncio}/base_events.py")));
        assert!(runs_loop("run", "C:\\Lib\\asyncio\\runners.py"));
        assert!(!runs_loop("BaseEventLoop.call_later", &format!("{asyncio}/base_events.py")));
        assert!(!runs_loop("TimerHandle.__init__", &format!("{asyncio}/events.py")));
        assert!(!runs_loop("run", "/srv/myasyncio/runners.py"));
        assert!(!runs_loop("run", "runners.py"));
        assert_eq!(loop_run_by("unrolled_run", "/x/trio/_core/_run.py"), Some(LoopKind::Trio));
        assert_eq!(loop_run_by("Hub.run", "/x/gevent/hub.py"), Some(LoopKind::Hub));
        assert_eq!(loop_run_by("BaseHub.run", "/x/eventlet/hubs/hub.py"), Some(LoopKind::Hub));
        assert!(runs_callback("Handle._run", &format!("{asyncio}/events.py")));
        assert!(!runs_callback("BaseEventLoop._run_once", &format!("{asyncio}/base_events.py")));
        assert!(waits_for_loop("EpollSelector.select", "/usr/lib/python3.11/selectors.py"));
        assert!(!waits_for_loop("select", "/srv/app.py"));
    }
}
