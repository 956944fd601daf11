//! `pyspy dump` against what each Python says of itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::target::{Target, pyspy};

/// The threads of `pyspy dump --json`.
#[track_caller]
pub(crate) fn dump(pid: u32, args: &[&str]) -> Vec<Value> {
    let pid = pid.to_string();
    let mut all = vec!["dump", "--json", "--pid", &pid];
    all.extend(args);
    let ran = pyspy(&all);
    serde_json::from_str(ran.success()).unwrap_or_else(|error| panic!("{error} in {ran:#?}"))
}

/// The frames of a thread as (name, file, line), newest first; line 0 is none.
pub(crate) fn frames<'thread>(thread: &'thread Value) -> Vec<(&'thread str, &'thread str, u64)> {
    let frames = thread["frames"].as_array().expect("a list of frames");
    let describe = |frame: &'thread Value| {
        let name = frame["name"].as_str().expect("a name");
        (name, frame["filename"].as_str().expect("a file"), frame["line"].as_u64().unwrap_or(0))
    };
    frames.iter().map(describe).collect()
}

/// The thread in which a function of that name is running.
#[track_caller]
pub(crate) fn thread_in<'a>(threads: &'a [Value], function: &str) -> &'a Value {
    let mut found = threads.iter().filter(|thread| {
        // The qualified name from 3.11 on.
        frames(thread).iter().any(|(name, ..)| *name == function || name.ends_with(&format!(".{function}")))
    });
    let thread = found.next().unwrap_or_else(|| panic!("no thread is in {function}: {threads:#?}"));
    assert!(found.next().is_none(), "more than one thread is in {function}: {threads:#?}");
    thread
}

/// What the kernel says of a thread.
#[derive(Debug)]
struct KernelState {
    letter: char,
    /// The system call that it waits in; none while it runs.
    call: Option<i64>,
    /// The nanoseconds that it has run.
    ran: u64,
}

impl KernelState {
    /// Whether it waits, and for something else than a lock.
    fn waits(&self) -> bool {
        self.letter == 'S' && self.call.is_some_and(|call| call != libc::SYS_futex)
    }
}

fn kernel_states(pid: u32) -> Vec<KernelState> {
    let first_word = |text: String| text.split_whitespace().next().map(str::to_owned);
    let read = |path: &Path, name: &str| fs::read_to_string(path.join(name)).ok();
    let state = |path: &Path| {
        let letter = read(path, "stat")?.rsplit_once(')')?.1.trim_start().chars().next()?;
        let call = read(path, "syscall").and_then(first_word).and_then(|number| number.parse().ok());
        let ran = read(path, "schedstat").and_then(first_word)?.parse().ok()?;
        Some(KernelState { letter, call, ran })
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the target runs").flatten();
    let states: Vec<_> = tasks.filter_map(|task| state(&task.path())).collect();
    assert!(states.iter().all(|state| state.letter != 'Z'), "the target has ended: {states:?}");
    states
}

/// Waits until all threads of a process wait in the kernel.
#[track_caller]
pub(crate) fn wait_until_waiting(pid: u32) {
    while kernel_states(pid).iter().any(|state| state.letter != 'S') {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until all threads of `waiting.py` but the one that computes wait for what they are to wait for, and not for
/// the GIL, and that one has gone on with it: on a busy machine, it may have been given the GIL and not taken it yet.
#[track_caller]
pub(crate) fn wait_until_all_but_one_wait(pid: u32) {
    let mut ran_before = None;
    loop {
        let states = kernel_states(pid);
        let others: Vec<u64> = states.iter().filter(|state| !state.waits()).map(|state| state.ran).collect();
        match (others.as_slice(), ran_before) {
            ([ran], Some(before)) if *ran > before => return,
            ([ran], None) => ran_before = Some(*ran),
            ([_], Some(_)) => {}
            _ => ran_before = None,
        }
        std::thread::yield_now();
    }
}

/// A dump of `known.py`, all of whose threads wait, against what it said of itself.
#[track_caller]
pub(crate) fn assert_is_as_python_says(interpreter: &Interpreter, pid: u32, threads: &[Value], said: &[Value]) {
    assert_eq!(threads.len(), said.len(), "{interpreter}");
    for expected in said {
        let name = expected["name"].as_str().unwrap();
        let found: Vec<&Value> = threads.iter().filter(|thread| thread["thread_id"] == expected["ident"]).collect();
        let [thread] = found.as_slice() else { panic!("{interpreter}: {} times {name}", found.len()) };
        let expected_frames: Vec<(&str, &str, u64)> = expected["frames"]
            .as_array()
            .unwrap()
            .iter()
            .map(|frame| (frame[0].as_str().unwrap(), frame[1].as_str().unwrap(), frame[2].as_u64().unwrap()))
            .collect();
        assert_eq!(frames(thread), expected_frames, "{interpreter}: {name}");
        assert_eq!(thread["thread_name"], name, "{interpreter}");
        assert_eq!(thread["os_thread_id"], expected["native_id"], "{interpreter}: {name}");
        assert_eq!(thread["pid"], pid, "{interpreter}");
        assert_eq!(thread["owns_gil"], false, "{interpreter}: {name}");
    }
}

#[test]
fn every_kind_of_place_is_as_python_says() {
    for interpreter in Interpreter::all() {
        let mut target = Target::start(interpreter, "known.py", &[]);
        let said: Vec<Value> = serde_json::from_str(&target.line()).unwrap();
        for mode in [&[][..], &["--nonblocking"]] {
            wait_until_waiting(target.pid());
            let threads = dump(target.pid(), mode);
            assert_is_as_python_says(interpreter, target.pid(), &threads, &said);
            assert!(threads.iter().all(|thread| thread["active"] == false), "{interpreter}: {threads:#?}");
        }
    }
}

#[test]
fn json_has_the_keys_of_py_spy() {
    for interpreter in Interpreter::all() {
        let mut target = Target::start(interpreter, "known.py", &[]);
        target.line();
        let threads = dump(target.pid(), &[]);
        let thread = thread_in(&threads, "in_json");
        for key in ["pid", "thread_id", "thread_name", "os_thread_id", "active", "owns_gil", "frames"] {
            assert!(thread.get(key).is_some(), "{interpreter}: no {key} in {thread:#}");
        }
        for frame in thread["frames"].as_array().unwrap() {
            for key in ["name", "filename", "module", "short_filename", "line", "locals"] {
                assert!(frame.get(key).is_some(), "{interpreter}: no {key} in {frame:#}");
            }
            assert!(frame["module"].is_null() && frame["locals"].is_null(), "{interpreter}: {frame:#}");
        }
        let short: Vec<&str> = thread["frames"]
            .as_array()
            .unwrap()
            .iter()
            .map(|frame| frame["short_filename"].as_str().unwrap())
            .collect();
        assert!(short.contains(&"json/encoder.py") && short.contains(&"json/__init__.py"), "{interpreter}: {short:?}");
        assert!(short.contains(&"known.py") && short.contains(&"threading.py"), "{interpreter}: {short:?}");
    }
}

/// The text of a dump without what a thread waits for and which exception it has, which stand between its heading and
/// its frames, and with frames that come again written as often as they come.
fn unfolded(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("  ") || line.starts_with("    ")) {
        let Some(note) = line.strip_prefix("    … ") else {
            lines.push(line);
            continue;
        };
        let numbers: Vec<usize> = note.split(' ').filter_map(|word| word.parse().ok()).collect();
        let (count, times) = if let [count, times] = numbers[..] { (count, times) } else { (1, numbers[0]) };
        let group = lines[lines.len() - count..].to_vec();
        (1..times).for_each(|_| lines.extend(&group));
    }
    lines.join("\n")
}

#[test]
fn text_shows_what_json_says() {
    for interpreter in Interpreter::all() {
        let mut target = Target::start(interpreter, "known.py", &[]);
        target.line();
        wait_until_waiting(target.pid());
        let pid = target.pid().to_string();
        let threads = dump(target.pid(), &[]);
        for (args, file_name) in [
            (&["dump", "--tasks=none", "--pid", &pid][..], "short_filename"),
            (&["dump", "--tasks=none", "--full-filenames", "--pid", &pid], "filename"),
        ] {
            wait_until_waiting(target.pid());
            let ran = pyspy(args);
            let text = &unfolded(ran.success());
            assert!(text.starts_with(&format!("Process {pid}: ")), "{interpreter}: {text}");
            let (major, minor, patch) = interpreter.version;
            assert!(text.contains(&format!("\nPython v{major}.{minor}.{patch}")), "{interpreter}: {text}");
            for thread in &threads {
                let mut lines = vec![format!(
                    "Thread {} (idle): \"{}\"",
                    thread["os_thread_id"],
                    thread["thread_name"].as_str().unwrap()
                )];
                for frame in thread["frames"].as_array().unwrap() {
                    let text = |key: &str| frame[key].as_str().unwrap().to_owned();
                    lines.push(format!("    {} ({}:{})", text("name"), text(file_name), frame["line"]));
                }
                let lines = lines.join("\n");
                assert!(text.contains(&lines), "{interpreter}: {lines}\nis not in\n{text}");
            }
        }
    }
}

#[test]
fn busy_sleeping_and_selecting_threads_are_told_apart() {
    for interpreter in Interpreter::all() {
        let target = Target::start(interpreter, "waiting.py", &[]);
        let mut owned = 0;
        wait_until_all_but_one_wait(target.pid());
        for _ in 0..12 {
            // The stop of the dump before has woken those that wait, and they may not be back yet.
            let threads = dump(target.pid(), &[]);
            assert_eq!(threads.len(), 4, "{interpreter}: {threads:#?}");
            for function in ["sleeps", "selects", "computes"] {
                let thread = thread_in(&threads, function);
                assert_eq!(thread["thread_name"], function, "{interpreter}");
                assert_eq!(thread["active"], function == "computes", "{interpreter}: {thread:#}");
                if function != "computes" {
                    assert_eq!(thread["owns_gil"], false, "{interpreter}: {thread:#}");
                    assert!(thread["waits_in"].is_string(), "{interpreter}: {thread:#}");
                }
            }
            let main = threads.iter().find(|thread| thread["thread_name"] == "MainThread").expect("the main thread");
            assert_eq!((&main["active"], &main["owns_gil"]), (&false.into(), &false.into()), "{interpreter}");
            owned += u32::from(thread_in(&threads, "computes")["owns_gil"] == true);
        }
        match (interpreter.free_threaded, interpreter.feature()) {
            (true, _) => assert_eq!(owned, 0, "{interpreter} has no lock to own"),
            // It lets go for a moment every hundred instructions, whether anyone waits or not.
            (false, (2, _)) => assert!(owned >= 3, "{interpreter}: {owned} of 12"),
            (false, _) => assert_eq!(owned, 12, "{interpreter}"),
        }
    }
}
