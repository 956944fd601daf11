//! The tasks of event loops in `pyspy top`.

use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::packages::{Missing, start};
use crate::target::{Target, pyspy};
use crate::terminal::{Terminal, leads};

fn interpreters() -> impl Iterator<Item = &'static Interpreter> {
    let features = [(3, 8), (3, 12), (3, 15)];
    Interpreter::all().iter().filter(move |interpreter| features.contains(&interpreter.feature()))
}

#[test]
fn tasks_are_told_of_by_their_functions() {
    for interpreter in interpreters() {
        let target = Target::start(interpreter, "async_stacks.py", &[]);
        let ran = pyspy(&["top", "--once", "--json", "--pid", &target.pid().to_string()]);
        let window: Value = serde_json::from_str(ran.success()).unwrap();
        let tasks = window["tasks"].as_array().unwrap();
        let group = |name: &str| {
            let found = tasks.iter().find(|group| group["coroutine"] == name);
            found.unwrap_or_else(|| panic!("{interpreter}: no {name} in {tasks:#?}"))
        };
        assert_eq!(group("sleeper")["count"], 10, "{interpreter}: {tasks:#?}");
        assert_eq!(group("sleeper")["waiting"], 10, "{interpreter}: {tasks:#?}");
        assert_eq!(group("sleeper")["waits"], "sleeps", "{interpreter}: {tasks:#?}");
        // They wake up now and then.
        assert!(group("sleeper")["running_percent"].as_f64().unwrap() < 5.0, "{interpreter}: {tasks:#?}");
        assert_eq!(group("main")["waits"], "waits for tasks", "{interpreter}: {tasks:#?}");
        // Two handlers have half of the time, as far as the program gets all of a CPU.
        let running = group("handler")["running_percent"].as_f64().unwrap();
        assert!((5.0..75.0).contains(&running), "{interpreter}: {tasks:#?}");
        assert_eq!(window["loops"].as_array().unwrap().len(), 1, "{interpreter}: {window:#}");
    }
}

#[test]
fn a_task_is_looked_at_closely() {
    let Some(terminal) = Terminal::open(100, 30) else { return };
    let Some(interpreter) = interpreters().last() else { return };
    let target = Target::start(interpreter, "async_stacks.py", &[]);
    terminal.top(&format!("-p {}", target.pid()));
    let screen = terminal.wait("a tab for tasks", |screen| screen.contains("F8 Tasks"));
    assert!(screen.contains("lag "), "{screen}");
    terminal.keys(&["F8"]);
    terminal.wait("tasks", |screen| leads(screen, "sleeper  sleeps") && screen.contains("main  waits for tasks"));
    terminal.keys(&["Home", "Enter"]);
    let is_stack = |screen: &str| {
        screen.contains("10 alike): sleeper") && screen.contains("wakes in") && screen.contains("delay:  3600")
    };
    terminal.wait("the stack of one of them", is_stack);
    terminal.keys(&["Escape", "q"]);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn tasks_of_trio_say_whose_they_are() {
    let missing = Missing::default();
    for interpreter in interpreters() {
        let Some(packages) = missing.newest(interpreter, "trio") else { continue };
        let target = start(interpreter, "trio_stacks.py", &[], &[&packages], false);
        let ran = pyspy(&["top", "--once", "--json", "--pid", &target.pid().to_string()]);
        let window: Value = serde_json::from_str(ran.success()).unwrap();
        let tasks = window["tasks"].as_array().unwrap();
        assert!(tasks.iter().all(|group| group["kind"] == "trio"), "{interpreter}: {tasks:#?}");
        let sleepers = tasks.iter().find(|group| group["coroutine"] == "sleeper").unwrap();
        assert_eq!(
            (&sleepers["count"], &sleepers["waits"]),
            (&10.into(), &"sleeps".into()),
            "{interpreter}: {tasks:#?}"
        );
    }
}

#[test]
fn greenlets_are_told_of_and_looked_at_closely() {
    let missing = Missing::default();
    let Some(interpreter) = interpreters().find(|interpreter| interpreter.feature() == (3, 12)) else { return };
    for library in ["gevent", "eventlet"] {
        let Some(terminal) = Terminal::open(100, 30) else { return };
        let Some(packages) = missing.newest(interpreter, library) else { continue };
        let target = start(interpreter, "greenlet_stacks.py", &[library], &[&packages], false);
        terminal.top(&format!("-p {}", target.pid()));
        // They are searched for while it runs.
        terminal.wait("a tab for tasks", |screen| screen.contains("F8 Tasks"));
        terminal.keys(&["F8"]);
        let are_told = |screen: &str| {
            leads(screen, "greenlet of_hub.<locals>.sleeper  sleeps")
                && screen.contains("greenlet of_hub.<locals>.handler")
        };
        let screen = terminal.wait("greenlets", are_told);
        // The main one is the thread itself, and the hub is the loop.
        assert!(!screen.contains("greenlet <module>") && !screen.contains("Hub.run"), "{screen}");
        terminal.keys(&["Home", "Enter"]);
        terminal
            .wait("their stack", |screen| screen.contains("10 alike") && screen.contains("sleeper (greenlet_stacks"));
        terminal.keys(&["Escape", "q"]);
        assert_eq!(terminal.ended(), 0);
    }
}
