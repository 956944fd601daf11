//! The tasks of event loops in `pyspy top`.

use serde_json::Value;

use crate::interpreters::Interpreter;
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
