//! The functions by which event loops run tasks and callbacks, and in which they wait. Others in the same files are
//! called by tasks, too.

/// Folder, file, functions.
const LOOP_FUNCTIONS: [(&str, &str, &[&str]); 5] = [
    ("asyncio", "base_events.py", &["run_until_complete", "run_forever", "_run_once"]),
    ("asyncio", "events.py", &["_run"]),
    ("asyncio", "runners.py", &["run"]),
    ("uvloop", "__init__.py", &["run"]),
    ("_core", "_run.py", &["run", "unrolled_run"]),
];

/// Whether a function, by its name with or without class and its file, runs an event loop.
pub(crate) fn runs_loop(name: &str, file: &str) -> bool {
    let mut parts = file.rsplit(['/', '\\']);
    let (file, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let name = name.rsplit('.').next().unwrap_or_default();
    LOOP_FUNCTIONS.iter().any(|(of, known, names)| *of == folder && *known == file && names.contains(&name))
}

/// Whether it is the one in which a loop of asyncio waits for its sockets.
pub(crate) fn waits_for_loop(name: &str, file: &str) -> bool {
    name.rsplit('.').next() == Some("select") && file.rsplit(['/', '\\']).next() == Some("selectors.py")
}

#[cfg(test)]
mod tests {
    use super::{runs_loop, waits_for_loop};

    #[test]
    fn functions_that_run_loops_are_told_from_those_that_tasks_call() {
        let asyncio = "/usr/lib/python3.11/asyncio";
        assert!(runs_loop("BaseEventLoop._run_once", &format!("{asyncio}/base_events.py")));
        assert!(runs_loop("run", "C:\\Lib\\asyncio\\runners.py"));
        assert!(!runs_loop("BaseEventLoop.call_later", &format!("{asyncio}/base_events.py")));
        assert!(!runs_loop("TimerHandle.__init__", &format!("{asyncio}/events.py")));
        assert!(!runs_loop("run", "/srv/myasyncio/runners.py"));
        assert!(!runs_loop("run", "runners.py"));
        assert!(waits_for_loop("EpollSelector.select", "/usr/lib/python3.11/selectors.py"));
        assert!(!waits_for_loop("select", "/srv/app.py"));
    }
}
