//! Several interpreters in one process.

use std::process::Command;
use std::time::Duration;

use crate::dump::{dump, frames};
use crate::interpreters::Interpreter;
use crate::recording::{Recording, names};
use crate::target::{Target, print_note, run};

/// Whether an interpreter can make others.
pub(crate) fn makes_interpreters(interpreter: &Interpreter) -> bool {
    let imports = "try: import _interpreters\nexcept ImportError: import _xxsubinterpreters";
    let has_them = run(Command::new(&interpreter.path).args(["-c", imports]), Duration::from_secs(60));
    let has_them = has_them.is_ok_and(|ran| ran.status.success());
    if !has_them {
        print_note(&format!("skipped: {interpreter} cannot make interpreters"));
    }
    has_them
}

#[test]
fn a_thread_that_called_into_an_interpreter_is_one_thread_with_one_stack() {
    for interpreter in Interpreter::all().iter().filter(|interpreter| interpreter.feature() >= (3, 12)) {
        if !makes_interpreters(interpreter) {
            continue;
        }
        let mut target = Target::start(interpreter, "subinterpreters.py", &[]);
        let ids: Vec<i64> = target.line().split(' ').map(|id| id.parse().unwrap()).collect();
        let threads = dump(target.pid(), &[]);
        let mut numbers: Vec<u64> = threads.iter().map(|thread| thread["os_thread_id"].as_u64().unwrap()).collect();
        assert_eq!(numbers.len(), 3, "{interpreter}: {threads:#?}");
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 3, "{interpreter}: {threads:#?}");

        let main = threads.iter().find(|thread| thread["thread_name"] == "MainThread").expect("the main thread");
        assert_eq!(main["os_thread_id"], target.pid(), "{interpreter}");
        assert_eq!(frames(main).last().unwrap().0, "<module>", "{interpreter}");
        for (number, id) in ids.iter().enumerate() {
            let name = format!("runs {number}");
            let thread = threads.iter().find(|thread| thread["thread_name"] == name.as_str()).expect("its thread");
            let names: Vec<&str> = frames(thread).iter().map(|(name, ..)| *name).collect();
            let border = format!("<interpreter {id}>");
            // 3.12 runs it with the thread state of whoever made the interpreter, and with that one's ids.
            assert_eq!(names[..4], ["in_sub", "<module>", border.as_str(), "runs"], "{interpreter}: {thread:#}");
            assert_eq!(thread["interpreter"], 0, "{interpreter}");
        }
        let recording = Recording::of(target.pid(), &["-d", "0.3", "--idle", "--threads"]);
        let most = recording.summary.most_intervals("100");
        for number in 0..2 {
            let thread = format!("runs {number}");
            let stacks = recording.stacks.iter().filter(|(stack, _)| stack[0].ends_with(&thread));
            let counted: u64 = stacks.clone().map(|(_, count)| count).sum();
            assert!((20..=most).contains(&counted), "{interpreter}: {recording:#?}");
            assert!(stacks.clone().all(|(stack, _)| names(stack).contains(&"in_sub")), "{interpreter}: {recording:#?}");
        }
    }
}

#[test]
fn time_in_an_interpreter_below_another_is_counted_once() {
    for interpreter in Interpreter::all().iter().filter(|interpreter| interpreter.feature() >= (3, 8)) {
        if !makes_interpreters(interpreter) {
            continue;
        }
        // Up to 3.11 the program hangs when another thread has made the interpreter, and up to 3.12 an interpreter
        // below another does not know the others. 3.12 runs it with the thread state, and the ids, of the thread that
        // made it; the native stack tells all the same whose it is.
        let kinds: &[&str] = match interpreter.feature() {
            (3, ..=11) => &["here"],
            (3, 12) => &["here", "elsewhere"],
            _ => &["here", "elsewhere", "between"],
        };
        for kind in kinds {
            let target = Target::start(interpreter, "subinterpreter_calls.py", &[kind]);
            let recording = Recording::of(target.pid(), &["-d", "0.5", "--threads"]);
            let most = recording.summary.most_intervals("100");
            let counted = recording.count(|names| names.contains(&"in_sub"));
            assert!((15..=most).contains(&counted), "{interpreter} {kind}: {recording:#?}");
            let of_thread = recording.stacks.iter().filter(|(stack, _)| stack[0].ends_with(": runs"));
            let of_thread: u64 = of_thread.map(|(_, count)| count).sum();
            assert_eq!(counted, of_thread, "{interpreter} {kind}: {recording:#?}");
            let is_whole = |names: &[&str]| {
                let places: Vec<Option<usize>> = ["runs", "in_between", "in_sub"]
                    .into_iter()
                    .filter(|name| *name != "in_between" || *kind == "between")
                    .map(|wanted| names.iter().position(|name| *name == wanted))
                    .collect();
                let borders = names.iter().filter(|name| name.starts_with("<interpreter ")).count();
                places.iter().all(Option::is_some)
                    && places.is_sorted()
                    && borders == 1 + usize::from(*kind == "between")
            };
            assert_eq!(recording.count(is_whole), counted, "{interpreter} {kind}: {recording:#?}");
        }
    }
}
