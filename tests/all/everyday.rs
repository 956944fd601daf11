//! What programs have every day, on every interpreter: names beyond ASCII, variables of all kinds, children that nobody
//! has waited for, shells that start Python late, threads that come and go, threads with names, processes that sleep.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::dump::{dump, frames, wait_until_waiting};
use crate::interpreters::Interpreter;
use crate::recording::{Recording, names, stacks};
use crate::running::{Running, script, wait_for_handlers};
use crate::target::{Target, alone_on_this_machine, pyspy};

#[test]
fn names_beyond_ascii_are_shown_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for interpreter in Interpreter::all() {
        // Only from Python 3 on may names have other letters; file names always may.
        let (function, class) =
            if interpreter.version.0 == 2 { ("uzhin", "Stol") } else { ("ужин_晩飯", "Стіл") };
        let path = folder.path().join("сніданок 🥐.py");
        let program = format!(
            "# -*- coding: utf-8 -*-\nimport sys\n\n\nclass {class}(object):\n    def {function}(self):\n        \
             sys.stdout.write('ready\\n')\n        sys.stdout.flush()\n        sys.stdin.readline()\n\n\n\
             {class}().{function}()\n"
        );
        fs::write(&path, program).unwrap();
        let mut command = Command::new(&interpreter.path);
        command.arg(&path).env("LC_ALL", "C.UTF-8");
        let target = Target::start_command(command, &format!("a program beyond ASCII under {interpreter}"));
        wait_until_waiting(target.pid());
        let qualified =
            if interpreter.feature() >= (3, 11) { format!("{class}.{function}") } else { function.to_owned() };
        let file = path.to_str().unwrap();
        let threads = dump(target.pid(), &[]);
        let outer = [(qualified.as_str(), file, 9), ("<module>", file, 12)];
        let found = frames(&threads[0]);
        // On some versions reading a line runs Python code.
        assert_eq!(found[found.len() - 2..], outer, "{interpreter}: {threads:#?}");
        let pid = target.pid().to_string();
        let text = pyspy(&["dump", "-p", &pid]);
        let line = format!("{qualified} (сніданок 🥐.py:9)");
        assert!(text.success().contains(&line), "{interpreter}: no {line} in {text:#?}");
        let recording = Recording::of(target.pid(), &["-d", "0.3", "--idle"]);
        let is_there = recording.stacks.iter().all(|(stack, _)| stack.get(1) == Some(&line));
        assert!(is_there && recording.total() > 0, "{interpreter}: {recording:?}");
    }
}

#[test]
fn variables_of_every_kind_are_told_with_what_is_an_argument() {
    for interpreter in Interpreter::all() {
        let mut target = Target::start(interpreter, "everyday.py", &["variables"]);
        let said: Value = serde_json::from_str(&target.line()).unwrap();
        wait_until_waiting(target.pid());
        let threads = dump(target.pid(), &["--locals"]);
        let is_it = |frame: &&Value| frame["name"] == "keeps";
        let frame = threads[0]["frames"].as_array().unwrap().iter().find(is_it).unwrap();
        let told = |variable: &Value| Value::from(["name", "arg", "repr"].map(|key| variable[key].clone()).to_vec());
        let told: Vec<Value> = frame["locals"].as_array().unwrap().iter().map(told).collect();
        assert_eq!(Value::from(told), said, "{interpreter}");
    }
}

#[test]
fn a_child_that_nobody_has_waited_for_is_no_obstacle() {
    for interpreter in Interpreter::all() {
        let target = Target::start(interpreter, "everyday.py", &["unwaited"]);
        let threads = dump(target.pid(), &["--subprocesses"]);
        let in_it = |thread: &&Value| frames(thread).iter().any(|(name, ..)| *name == "computes");
        assert_eq!(threads.iter().filter(in_it).count(), 1, "{interpreter}: {threads:#?}");
        let read = threads.iter().filter(|thread| thread["process_info"]["unreadable"].is_null());
        assert!(read.clone().all(|thread| thread["pid"] == target.pid()), "{interpreter}: {threads:#?}");
        let recording = Recording::of(target.pid(), &["-d", "0.3", "--subprocesses"]);
        assert!(recording.count(|names| names.contains(&"computes")) > 0, "{interpreter}: {recording:?}");
        assert!(!recording.stderr.contains("not read"), "{interpreter}: {recording:?}");
    }
}

/// We are attached to a shell that waits; the Python that it starts is then recorded to its end.
#[test]
fn a_python_that_a_shell_starts_later_is_recorded() {
    for interpreter in Interpreter::all() {
        let python = format!("'{}' '{}'", interpreter.path.display(), script("tree.py").display());
        let inner = format!("echo ready; read word; {python} exec 1 0.7; true");
        let mut shell = Command::new("sh");
        shell.args(["-c", &inner]);
        let mut target = Target::start_command(shell, &format!("a shell for {interpreter}"));
        let pid = target.pid().to_string();
        let mut running = Running::start(&["record", "-s", "-F", "-f", "raw", "-o", "-", "-p", &pid]);
        wait_for_handlers(&mut running);
        target.send("go");
        assert!(target.line().starts_with("burned "), "{interpreter}");
        let ran = running.ended();
        let found = stacks(ran.success());
        let burned =
            found.iter().filter(|(stack, _)| names(stack).contains(&"burn")).map(|(_, count)| count).sum::<u64>();
        let summary = Recording::summary_of(&ran.stderr);
        // 0.7 s, of which the start is not seen, and what pyspy had no CPU for.
        let least = 20.0 - 100.0 * summary.unobserved;
        assert!(burned as f64 >= least, "{interpreter}: {burned} of 70 samples: {ran:#?}");
        assert!(
            found.iter().all(|(stack, _)| !stack[0].starts_with(&format!("process {pid}:"))),
            "{interpreter}: {ran:#?}"
        );
    }
}

/// The system gives the numbers and the stacks of threads that have ended to others.
#[test]
fn threads_that_come_and_go_are_no_obstacle_to_native_frames() {
    for interpreter in Interpreter::all() {
        let target = Target::start(interpreter, "brief_threads.py", &[]);
        let recording = Recording::of(target.pid(), &["-d", "1", "--native"]);
        let computing = recording.count(|names| names.contains(&"compute"));
        let lost = recording.summary.lost;
        assert!(computing > 0 && lost * 20 <= recording.summary.samples, "{interpreter}: {recording:?}");
        for _ in 0..3 {
            let threads = dump(target.pid(), &["--native"]);
            let main = |thread: &&Value| frames(thread).last().is_some_and(|(name, ..)| *name == "<module>");
            assert_eq!(threads.iter().filter(main).count(), 1, "{interpreter}: {threads:#?}");
        }
    }
}

#[test]
fn each_process_and_each_thread_of_a_tree_is_shown_once() {
    for interpreter in Interpreter::all() {
        let target = Target::start(interpreter, "everyday.py", &["family"]);
        wait_until_waiting(target.pid());
        let threads = dump(target.pid(), &["--subprocesses"]);
        let pids: BTreeSet<u64> = threads.iter().map(|thread| thread["pid"].as_u64().unwrap()).collect();
        let ids: BTreeSet<u64> = threads.iter().map(|thread| thread["os_thread_id"].as_u64().unwrap()).collect();
        assert_eq!((pids.len(), threads.len(), ids.len()), (2, 8, 8), "{interpreter}: {threads:#?}");
        let pid = target.pid().to_string();
        let text = pyspy(&["dump", "--subprocesses", "-p", &pid]);
        let headings: Vec<&str> = text.success().lines().filter(|line| line.starts_with("Process ")).collect();
        let of = |pid: &u64| headings.iter().filter(|line| line.starts_with(&format!("Process {pid}: "))).count();
        assert!(headings.len() == 2 && pids.iter().all(|pid| of(pid) == 1), "{interpreter}: {text:#?}");
    }
}

#[test]
fn threads_of_a_recording_are_called_as_the_program_calls_them() {
    for interpreter in Interpreter::all() {
        let target = Target::start(interpreter, "everyday.py", &["named"]);
        wait_until_waiting(target.pid());
        let recording = Recording::of(target.pid(), &["-d", "0.3", "--idle", "--threads"]);
        let name = |stack: &Vec<String>| stack[0].split_once("): ").map(|(_, name)| name.to_owned());
        let found: BTreeSet<Option<String>> = recording.stacks.iter().map(|(stack, _)| name(stack)).collect();
        let expected = (0..10).map(|number| format!("custom name {number}")).chain(["MainThread".to_owned()]);
        assert_eq!(found, expected.map(Some).collect(), "{interpreter}: {recording:?}");
    }
}

/// What sleeps holds no GIL and runs nothing; it is seen where idle threads are wanted, always at the same place. What
/// computes is always seen, and has the GIL where there is one.
#[test]
fn who_sleeps_and_who_computes_is_told_apart() {
    let _alone = alone_on_this_machine();
    for interpreter in Interpreter::all() {
        let sleeping = Target::start(interpreter, "everyday.py", &["named"]);
        wait_until_waiting(sleeping.pid());
        let without_idle: &[&[&str]] = &[&["-d", "0.4"], &["-d", "0.4", "--gil"]];
        for args in without_idle {
            let recording = Recording::of(sleeping.pid(), args);
            assert_eq!(recording.total(), 0, "{interpreter} {args:?}: {recording:?}");
        }
        let record =
            |pid: u32, args: &[&str]| Recording::fed(100.0, || Recording::of(pid, &[&["-d", "0.4"], args].concat()));
        let idle = record(sleeping.pid(), &["--idle", "--main-thread"]);
        let in_main = idle.count(|names| names.last() == Some(&"sleep_in_main"));
        assert!(in_main == idle.total() && in_main as f64 >= idle.summary.intervals("100"), "{interpreter}: {idle:?}");
        drop(sleeping);
        let computing = Target::start(interpreter, "everyday.py", &["unwaited"]);
        let holds: &[&str] = if interpreter.free_threaded { &[] } else { &["--gil"] };
        let busy = record(computing.pid(), holds);
        let in_loop = busy.count(|names| names.contains(&"computes"));
        assert!(in_loop as f64 >= 0.9 * busy.summary.intervals("100"), "{interpreter}: {busy:?}");
    }
}
