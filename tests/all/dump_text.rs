//! How `dump` looks: source lines, folded recursion, order, colours, variables, trees of processes, JSON.

use std::collections::HashSet;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::target::{Target, pyspy, run};

fn dump(target: &Target, args: &[&str]) -> String {
    let pid = target.pid().to_string();
    let args: Vec<&str> = ["dump", "--pid", &pid].iter().chain(args).copied().collect();
    pyspy(&args).success().to_owned()
}

/// The newest interpreters write their sources in UTF-8 anyway, and 2.7's names are bytes.
fn python3() -> impl Iterator<Item = &'static Interpreter> {
    Interpreter::all().iter().filter(|interpreter| interpreter.version.0 == 3)
}

#[test]
fn source_lines_are_marked_and_recursion_is_folded() {
    for interpreter in python3() {
        let target = Target::start(interpreter, "recursion.py", &[]);
        crate::dump::wait_until_waiting(target.pid());
        let text = dump(&target, &["--source"]);
        assert!(text.contains("      > 18 |     sys.stdin.readline()\n"), "{interpreter}:\n{text}");
        assert!(text.contains("        17 |     sys.stdout.flush()\n"), "{interpreter}:\n{text}");
        assert!(text.contains("… this frame 60 times in all\n"), "{interpreter}:\n{text}");
        assert_eq!(text.matches("fall (recursion.py:9)").count(), 1, "{interpreter}:\n{text}");
        // Two of the characters before the call are two columns wide and three bytes long.
        let line = "      > 10 |     return \"深い\" and (wait(\"底\") or None)\n";
        assert!(text.contains(line), "{interpreter}:\n{text}");
        if interpreter.feature() >= (3, 11) {
            let underline = format!("{line}           |                        {}\n", "^".repeat(10));
            assert!(text.contains(&underline), "{interpreter}:\n{text}");
        } else {
            assert!(!text.contains('^'), "{interpreter}:\n{text}");
        }
        // Neither a pipe nor the option that forbids it shows source.
        for plain in [dump(&target, &[]), dump(&target, &["--no-source"])] {
            assert!(!plain.contains("sys.stdin"), "{interpreter}:\n{plain}");
        }

        let forwards: Vec<String> = dump(&target, &[]).lines().map(str::to_owned).collect();
        let backwards = dump(&target, &["--reverse"]);
        let frames =
            |lines: &[String]| -> Vec<String> { lines.iter().filter(|line| line.contains(".py:")).cloned().collect() };
        let mut backwards = frames(&backwards.lines().map(str::to_owned).collect::<Vec<_>>());
        backwards.reverse();
        assert_eq!(backwards, frames(&forwards)[..], "{interpreter}");
        assert!(forwards.iter().any(|line| line == "    wait (recursion.py:18)"), "{interpreter}: {forwards:#?}");
    }
}

#[test]
fn colours_follow_the_convention() {
    let target = Target::start(Interpreter::all().last().unwrap(), "recursion.py", &[]);
    let with = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyspy"));
        command.args(["dump", "--pid", &target.pid().to_string()]).envs(variables.iter().copied());
        run(&mut command, Duration::from_secs(60)).unwrap().success().to_owned()
    };
    assert!(!with(&[]).contains('\u{1b}'));
    assert!(!with(&[("CLICOLOR", "1")]).contains('\u{1b}'));
    assert!(with(&[("CLICOLOR_FORCE", "1")]).contains("\u{1b}[32mwait\u{1b}[0m"));
}

#[test]
fn variables_are_one_escaped_line_each() {
    for interpreter in python3() {
        let target = Target::start(interpreter, "recursion.py", &[]);
        crate::dump::wait_until_waiting(target.pid());
        let text = dump(&target, &["--locals"]);
        assert!(text.contains("        Arguments:\n            label: '底'\n"), "{interpreter}:\n{text}");
        assert!(text.contains("            number:  3.0\n"), "{interpreter}:\n{text}");
        assert!(text.contains(r"            hostile: '底\x1b[31m\n\u202e'"), "{interpreter}:\n{text}");
        // Each call of the recursion has another argument, so that none is folded.
        assert_eq!(text.matches("fall (recursion.py:9)").count(), 60, "{interpreter}");
        assert!(text.contains("            depth: 37\n"), "{interpreter}");

        let json: Value = serde_json::from_str(&dump(&target, &["--json", "-l"])).unwrap();
        let frame = &json[0]["frames"][0];
        let names: Vec<&str> =
            frame["locals"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["label", "hostile", "number"], "{interpreter}");
        assert_eq!(frame["locals"][0]["arg"], true);
        assert_eq!(frame["locals"][2]["repr"], "3.0");
        assert!(frame["locals"][1]["addr"].as_u64().unwrap() > 0x1000);
    }
}

#[test]
fn json_has_the_keys_of_py_spy_and_the_facts_of_the_process() {
    let interpreter = Interpreter::all().last().unwrap();
    let target = Target::start(interpreter, "recursion.py", &[]);
    let json: Value = serde_json::from_str(&dump(&target, &["--json"])).unwrap();
    let keys = |value: &Value| -> HashSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let thread = &json[0];
    for key in ["pid", "thread_id", "thread_name", "os_thread_id", "active", "owns_gil", "frames", "process_info"] {
        assert!(keys(thread).contains(key), "{key}");
    }
    for key in ["name", "filename", "module", "short_filename", "line", "locals"] {
        assert!(keys(&thread["frames"][0]).contains(key), "{key}");
    }
    let info = &thread["process_info"];
    assert_eq!(info["pid"], target.pid());
    assert!(info["command_line"].as_str().unwrap().ends_with("recursion.py"));
    assert_eq!(info["parent"], Value::Null);
    let (major, minor, patch) = interpreter.version;
    assert!(info["python_version"].as_str().unwrap().starts_with(&format!("{major}.{minor}.{patch}")));
    assert!(info["uptime_seconds"].as_f64().unwrap() < 600.0);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let then = info["snapshot_unix_ms"].as_u64().unwrap();
    assert!((now - 600_000..=now).contains(&then), "{then} {now}");
    // What waits has stood still without a stop.
    assert_eq!(info["stopped_us"], 0);
}

#[test]
fn what_runs_is_stopped_for_a_dump() {
    let target = Target::start(Interpreter::all().last().unwrap(), "busy.py", &["3"]);
    let stopped = |args: &[&str]| -> u64 {
        let json: Value = serde_json::from_str(&dump(&target, args)).unwrap();
        json[0]["process_info"]["stopped_us"].as_u64().unwrap()
    };
    let time = stopped(&["--json"]);
    assert!((1..10_000_000).contains(&time), "{time}");
    assert_eq!(stopped(&["--json", "--nonblocking"]), 0);
}

#[test]
fn a_tree_is_shown_whole_with_what_is_no_python_named() {
    for interpreter in [Interpreter::all().first().unwrap(), Interpreter::all().last().unwrap()] {
        if interpreter.version.0 == 2 {
            continue;
        }
        let target = Target::start(interpreter, "recursion.py", &["children"]);
        crate::dump::wait_until_waiting(target.pid());
        let text = dump(&target, &["--subprocesses"]);
        assert_eq!(text.matches("wait (recursion.py:18)").count(), 2, "{text}");
        assert_eq!(text.matches(&format!("\nParent {}: ", target.pid())).count(), 2, "{text}");
        assert!(text.contains("sleep 1000"), "{text}");
        assert!(text.contains("Not read: process "), "{text}");
        assert!(text.contains("runs no Python that can be read"), "{text}");

        let json: Value = serde_json::from_str(&dump(&target, &["--subprocesses", "--json"])).unwrap();
        let pids: HashSet<u64> =
            json.as_array().unwrap().iter().map(|thread| thread["pid"].as_u64().unwrap()).collect();
        // The program, its copy, the shell, and `sleep`.
        assert_eq!(pids.len(), 4, "{json:#}");
        let read = |thread: &&Value| thread["process_info"]["unreadable"].is_null();
        assert_eq!(json.as_array().unwrap().iter().filter(read).count(), 2);
        let parents: HashSet<Option<u64>> =
            json.as_array().unwrap().iter().map(|thread| thread["process_info"]["parent"]["pid"].as_u64()).collect();
        assert!(parents.contains(&None) && parents.contains(&Some(u64::from(target.pid()))), "{parents:?}");

        // A tree without any Python is an error, that of its root.
        let shell = json.as_array().unwrap().iter().find(|thread| !read(thread)).unwrap()["pid"].to_string();
        let ran = pyspy(&["dump", "--subprocesses", "--pid", &shell]);
        assert!(ran.failure().contains("runs no Python"), "{ran:#?}");
        assert_eq!(ran.status.code(), Some(5));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn who_waits_for_the_gil_is_seen() {
    for interpreter in Interpreter::all() {
        if interpreter.free_threaded || interpreter.feature() < (3, 7) {
            continue;
        }
        let target = Target::start(interpreter, "gil.py", &[]);
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen: HashSet<String> = HashSet::new();
        let mut main = String::new();
        // Now and then one is between two waits, and which one has the GIL changes; the main thread wants it once more
        // before it reads.
        while !(0..3).all(|number| seen.contains(&format!("spinner {number}"))) || !main.starts_with("read fd 0") {
            assert!(Instant::now() < deadline, "{interpreter}: {seen:?} were seen to wait, the main thread in {main}");
            let json: Value = serde_json::from_str(&dump(&target, &["--json"])).unwrap();
            let threads = json.as_array().unwrap();
            for thread in threads.iter().filter(|thread| thread["waits_for_gil"] == true) {
                assert_eq!(thread["owns_gil"], false, "{interpreter}: {thread:#}");
                seen.insert(thread["thread_name"].as_str().unwrap().to_owned());
            }
            assert!(threads.iter().filter(|thread| thread["owns_gil"] == true).count() <= 1);
            main = threads[0]["waits_in"].as_str().unwrap_or_default().to_owned();
        }
    }
}
