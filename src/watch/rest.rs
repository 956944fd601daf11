//! Where threads rest: places in which a thread waits for work, and may do so for ever without anything being wrong.
//!
//! A thread that waits for an answer, a lock or a place in a pool does not rest. The two cannot be told apart by the
//! system call alone: `recv` and a wait of a condition are either. So three things count: calls in which one waits for
//! whoever comes next (`accept`, `epoll_wait`, `select`, the end of a child, a time); functions of well-known libraries
//! whose waits are for work; and, for waits of queues, conditions and events, how little of the program's own code is
//! below them: a worker's function waits for its next piece of work directly.

/// A frame: the function's name, without its classes, and its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'text> {
    /// The function's own name.
    pub name: &'text str,
    /// Its file, as the code object has it.
    pub file: &'text str,
}

/// What a thread sleeps in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sleep<'text> {
    /// The system call.
    pub call: &'text str,
    /// Its first argument.
    pub first: u64,
    /// Its second argument.
    pub second: u64,
}

/// Calls that wait for whoever comes next, for a time, or for the end of a child.
const RESTING_CALLS: [&str; 17] = [
    "accept",
    "accept4",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "select",
    "pselect6",
    "nanosleep",
    "clock_nanosleep",
    "pause",
    "rt_sigtimedwait",
    "rt_sigsuspend",
    "wait4",
    "waitid",
    "io_getevents",
    "mq_timedreceive",
    "io_uring_enter",
];

/// Functions that wait for work or for the work of others, whatever they wait in: the end of the file's path, and the
/// names.
const RESTING_FUNCTIONS: [(&str, &[&str]); 16] = [
    ("selectors.py", &["select"]),
    ("socketserver.py", &["serve_forever"]),
    ("subprocess.py", &["wait", "_wait", "communicate", "_communicate"]),
    ("concurrent/futures/thread.py", &["_worker", "shutdown"]),
    ("concurrent/futures/_base.py", &["result", "exception", "wait", "as_completed"]),
    ("concurrent/futures/process.py", &["_process_worker", "wait_result_broken_or_wakeup", "shutdown"]),
    ("multiprocessing/pool.py", &["worker", "_handle_tasks", "_handle_results", "wait", "get", "join"]),
    ("multiprocessing/managers.py", &["serve_forever", "serve_client", "accepter"]),
    ("multiprocessing/forkserver.py", &["main"]),
    ("multiprocessing/queues.py", &["_feed"]),
    ("multiprocessing/process.py", &["join"]),
    ("logging/handlers.py", &["_monitor", "dequeue"]),
    ("billiard/pool.py", &["workloop", "wait_for_job", "wait_for_syn", "body"]),
    ("ipykernel/heartbeat.py", &["run"]),
    ("threading.py", &["join", "_wait_for_tstate_lock", "_shutdown"]),
    ("gunicorn/arbiter.py", &["sleep"]),
];

/// Files of debuggers, whose threads wait for who debugs.
const DEBUGGERS: [&str; 3] = ["pydevd", "debugpy/", "ptvsd/"];

/// Waits that are for work when a worker's own function makes them.
const WAITS_FOR_WORK: [(&str, &[&str]); 5] = [
    ("queue.py", &["get"]),
    ("Queue.py", &["get"]),
    ("multiprocessing/queues.py", &["get"]),
    ("multiprocessing/connection.py", &["recv", "recv_bytes", "poll", "wait"]),
    ("threading.py", &["wait", "wait_for"]),
];

/// Files of the standard library in which a thread or a process begins: no code of the program.
const BEGINNINGS: [&str; 7] = [
    "threading.py",
    "multiprocessing/process.py",
    "multiprocessing/popen_fork.py",
    "multiprocessing/spawn.py",
    "multiprocessing/forkserver.py",
    "multiprocessing/context.py",
    "<frozen runpy>",
];

/// So many functions of its own a worker has below the wait for work, at most.
const WORKER_DEPTH: usize = 2;

/// Which thread of its process it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The only one.
    Only,
    /// The first of several: it may be any number of functions deep when it waits for the others.
    First,
    /// Any other.
    Other,
}

/// Whether a thread rests: `places` are its frames, newest first, `sleep` is what it sleeps in.
pub(super) fn rests(places: &[Place<'_>], sleep: Option<Sleep<'_>>, role: Role) -> bool {
    // Without code of Python it is the host's thread, which waits for what the host gives it.
    if places.is_empty() {
        return true;
    }
    let is_debugger = |place: &Place<'_>| DEBUGGERS.iter().any(|part| place.file.contains(part));
    if places.iter().any(|place| is_in(place, &RESTING_FUNCTIONS) || is_debugger(place)) {
        return true;
    }
    if sleep.is_some_and(|sleep| is_resting_call(sleep, places)) {
        return true;
    }
    let waits = places.iter().take_while(|place| is_in(place, &WAITS_FOR_WORK)).count();
    // Where the library has more functions between, it is the wait of something else: of a semaphore, or for room.
    let is_direct = |caller: &Place<'_>| !WAITS_FOR_WORK.iter().any(|(file, _)| is_file(caller.file, file));
    let own = places[waits..].iter().filter(|place| !BEGINNINGS.iter().any(|file| is_file(place.file, file))).count();
    if waits > 0 {
        return places.get(waits).is_none_or(is_direct) && (role == Role::First || own <= WORKER_DEPTH);
    }
    // A thread that is there to read a pipe.
    role == Role::Other && own <= WORKER_DEPTH && sleep.is_some_and(|sleep| sleep.call == "read")
}

fn is_in(place: &Place<'_>, table: &[(&str, &[&str])]) -> bool {
    table.iter().any(|(file, names)| is_file(place.file, file) && names.contains(&place.name))
}

fn is_resting_call(sleep: Sleep<'_>, places: &[Place<'_>]) -> bool {
    match sleep.call {
        // One descriptor is polled by whoever waits for an answer on it; several are those of a server.
        "poll" | "ppoll" => sleep.second > 1 || places.first().is_some_and(|place| is_file(place.file, "selectors.py")),
        // Standard input: who types.
        "read" => sleep.first == 0,
        call => RESTING_CALLS.contains(&call),
    }
}

/// Whether `path` is that file: it ends in `end`, at the border of a name.
fn is_file(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with(['/', '\\']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'text>(name: &'text str, file: &'text str) -> Place<'text> {
        Place { name, file }
    }

    fn sleep(call: &str, first: u64, second: u64) -> Option<Sleep<'_>> {
        Some(Sleep { call, first, second })
    }

    const BOOT: [Place<'static>; 3] = [
        Place { name: "run", file: "/usr/lib/python3.11/threading.py" },
        Place { name: "_bootstrap_inner", file: "/usr/lib/python3.11/threading.py" },
        Place { name: "_bootstrap", file: "/usr/lib/python3.11/threading.py" },
    ];

    #[test]
    fn servers_and_sleepers_rest() {
        let main = [place("main", "app.py")];
        for call in ["accept4", "epoll_wait", "select", "clock_nanosleep", "wait4", "pause"] {
            assert!(rests(&main, sleep(call, 5, 0), Role::Only), "{call}");
        }
        for call in ["recvfrom", "futex", "flock", "fsync", "connect", "write", "pread64"] {
            assert!(!rests(&main, sleep(call, 5, 0), Role::Only), "{call}");
        }
        assert!(rests(&main, sleep("read", 0, 0), Role::Only) && !rests(&main, sleep("read", 5, 0), Role::Only));
        assert!(rests(&main, sleep("poll", 0, 3), Role::Only) && !rests(&main, sleep("poll", 0, 1), Role::Only));
        assert!(rests(&[], None, Role::Only));
        let selects = [place("select", "/usr/lib/python3.11/selectors.py"), main[0]];
        assert!(rests(&selects, sleep("poll", 0, 1), Role::Only));
    }

    #[test]
    fn workers_rest_and_those_who_wait_for_a_place_do_not() {
        let futex = sleep("futex", 1, 0);
        let lib = |name| place(name, "/usr/lib/python3.11/queue.py");
        let wait = place("wait", "/usr/lib/python3.11/threading.py");
        let worker = [wait, lib("get"), place("work", "app.py"), BOOT[0], BOOT[1], BOOT[2]];
        assert!(rests(&worker, futex, Role::Only));
        let handler = place("handle", "app.py");
        let pool = [wait, lib("get"), place("checkout", "pool.py"), handler, place("serve", "app.py"), BOOT[0]];
        assert!(!rests(&pool, futex, Role::Only));
        // Its own queue.
        let alchemy = [place("get", "/x/sqlalchemy/util/queue2.py"), handler, BOOT[0]];
        assert!(!rests(&alchemy, futex, Role::Only));
        let lock = [place("update", "app.py"), BOOT[0]];
        assert!(!rests(&lock, futex, Role::Only));
        let acquire = place("acquire", "/usr/lib/python3.11/threading.py");
        let semaphore = [wait, acquire, place("work", "app.py"), BOOT[0]];
        assert!(!rests(&semaphore, futex, Role::Only));
        let full = [wait, lib("put"), place("work", "app.py"), BOOT[0]];
        assert!(!rests(&full, futex, Role::Only));
    }

    #[test]
    fn a_thread_that_reads_a_pipe_rests() {
        let reader = [place("_watch_pipe_fd", "/x/ipykernel/iostream.py"), BOOT[0], BOOT[1], BOOT[2]];
        assert!(
            rests(&reader, sleep("read", 40, 0), Role::Other) && !rests(&reader, sleep("read", 40, 0), Role::First)
        );
        assert!(!rests(&reader, sleep("recvfrom", 40, 0), Role::Other));
    }

    #[test]
    fn a_main_thread_leaves_the_work_to_others() {
        let wait = place("wait", "/usr/lib/python3.11/threading.py");
        let command = place("invoke", "/x/click/core.py");
        let main = [wait, wait, place("run", "app.py"), command, command, place("<module>", "app.py")];
        assert!(rests(&main, sleep("futex", 1, 0), Role::First) && !rests(&main, sleep("futex", 1, 0), Role::Only));
    }

    #[test]
    fn files_are_known_by_whole_names() {
        assert!(is_file("/usr/lib/queue.py", "queue.py") && is_file("queue.py", "queue.py"));
        assert!(!is_file("/usr/lib/myqueue.py", "queue.py") && !is_file("/usr/lib/queue.pyc", "queue.py"));
    }
}
