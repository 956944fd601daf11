//! Tasks of asyncio, trio and anyio in `pyspy dump` against what the program says of them itself.
//!
//! The programs (tests/targets/tasks_*.py) start tasks of every shape, stand still, and answer with what their Python
//! tells of each: see tests/targets/tasks_oracle.py.

mod churn;
mod comparison;

use std::path::Path;

use serde_json::Value;

use crate::core_files::gcore;
use crate::interpreters::Interpreter;
use crate::packages::{Missing, start};
use crate::subinterpreters::makes_interpreters;
use crate::target::{Target, pyspy};
use comparison::{Differences, Library};

/// `pyspy dump --json --tasks=tree`, whole.
#[track_caller]
fn dump_tasks(pid: u32, args: &[&str]) -> Value {
    let pid = pid.to_string();
    let mut all = vec!["dump", "--json", "--tasks=tree", "--pid", &pid];
    all.extend(args);
    let ran = pyspy(&all);
    serde_json::from_str(ran.success()).unwrap_or_else(|error| panic!("{error} in {ran:#?}"))
}

/// Those that pyspy reads tasks of.
fn with_tasks() -> impl Iterator<Item = &'static Interpreter> {
    Interpreter::all().iter().filter(|interpreter| interpreter.feature() >= (3, 7))
}

/// Runs a program of asyncio and adds what differs. With uvloop it is left out where that is missing.
fn compare(
    interpreter: &Interpreter,
    program: &str,
    options: &[&str],
    missing: &Missing,
    differences: &mut Differences,
) {
    let uvloop = if options.contains(&"uvloop") {
        let Some(found) = missing.newest(interpreter, "uvloop") else { return };
        Some(found)
    } else {
        None
    };
    let packages: Vec<&Path> = uvloop.iter().map(|path| path.as_path()).collect();
    let mut args = vec![program];
    args.extend(options);
    let mut target = start(interpreter, "tasks_asyncio.py", &args, &packages, options.contains(&"debug"));
    differences.compare(&format!("{interpreter} {}", args.join(" ")), &mut target, Library::Asyncio);
}

#[test]
fn tasks_of_every_shape_are_what_python_says() {
    let (missing, mut differences) = (Missing::default(), Differences::default());
    for interpreter in with_tasks() {
        for options in [&[][..], &["uvloop"]] {
            compare(interpreter, "shapes", options, &missing, &mut differences);
        }
    }
    differences.assert_none();
}

#[test]
fn tasks_of_every_kind_are_what_python_says() {
    let (missing, mut differences) = (Missing::default(), Differences::default());
    for interpreter in with_tasks() {
        let kinds = [&["python"][..], &["subclass"], &["debug"], &["eager"], &["eager", "uvloop"]];
        // Tasks are started eagerly from 3.12 on, and by uvloop with what asyncio's factory takes from 3.14 on.
        let is_there = |kind: &&[&str]| match kind {
            ["eager"] => interpreter.feature() >= (3, 12),
            ["eager", ..] => interpreter.feature() >= (3, 14),
            _ => true,
        };
        for options in kinds.into_iter().filter(is_there) {
            compare(interpreter, "shapes", options, &missing, &mut differences);
        }
    }
    differences.assert_none();
}

#[test]
fn tasks_in_every_state_are_what_python_says() {
    let (missing, mut differences) = (Missing::default(), Differences::default());
    for interpreter in with_tasks() {
        for options in [&[][..], &["uvloop"], &["python"]] {
            compare(interpreter, "states", options, &missing, &mut differences);
        }
        if interpreter.feature() >= (3, 12) {
            compare(interpreter, "eager_states", &["eager"], &missing, &mut differences);
        }
    }
    differences.assert_none();
}

#[test]
fn tasks_of_all_threads_and_interpreters_are_what_python_says() {
    let (missing, mut differences) = (Missing::default(), Differences::default());
    for interpreter in with_tasks() {
        for options in [&[][..], &["uvloop"], &["python"]] {
            compare(interpreter, "threads", options, &missing, &mut differences);
        }
        // Before 3.12 the interpreters of a process share the extension module's registry.
        if interpreter.feature() >= (3, 12) && makes_interpreters(interpreter) {
            compare(interpreter, "interpreters", &[], &missing, &mut differences);
        }
    }
    differences.assert_none();
}

#[test]
fn thousands_of_tasks_are_what_python_says() {
    let (missing, mut differences) = (Missing::default(), Differences::default());
    // One of each way to keep tasks: a set, two sets, lists.
    let of_each_kind = |interpreter: &&Interpreter| [(3, 7), (3, 12), (3, 15)].contains(&interpreter.feature());
    for interpreter in with_tasks().filter(of_each_kind) {
        compare(interpreter, "many", &[], &missing, &mut differences);
    }
    differences.assert_none();
}

#[test]
fn tasks_of_trio_and_anyio_are_what_they_say() {
    let (missing, mut differences) = (Missing::default(), Differences::default());
    for interpreter in with_tasks() {
        for (program, package, library) in [
            ("trio", "trio", Library::Trio),
            ("anyio", "anyio", Library::Trio),
            ("anyio-asyncio", "anyio", Library::Asyncio),
        ] {
            let Some(package) = missing.newest(interpreter, package) else { continue };
            let mut target = start(interpreter, "tasks_trio.py", &[program], &[&package], false);
            differences.compare(&format!("{interpreter} {program}"), &mut target, library);
        }
    }
    differences.assert_none();
}

#[test]
fn tasks_in_a_core_file_are_those_of_the_process() {
    /// Without what a core cannot know: the time now, and to whom a socket is connected.
    fn lasting(dump: &Value) -> Vec<Value> {
        let mut tasks = dump["asyncio_tasks"].as_array().expect("a list").clone();
        for waits in tasks.iter_mut().filter_map(|task| task["waits"].as_object_mut()) {
            waits.retain(|field, _| field == "kind" || field == "object");
        }
        tasks
    }

    for interpreter in with_tasks() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::start(interpreter, "tasks_asyncio.py", &["shapes"]);
        let living = lasting(&dump_tasks(target.pid(), &[]));
        let Some(core) = gcore(&target, folder.path()) else { return };
        drop(target);
        let ran = pyspy(&["dump", "--json", "--tasks=tree", "--core", core.to_str().unwrap()]);
        let dead = lasting(&serde_json::from_str(ran.success()).unwrap());
        assert!(dead.len() > 80, "{interpreter}: {} tasks", dead.len());
        let differing: Vec<_> = living.iter().zip(&dead).filter(|(living, dead)| living != dead).take(3).collect();
        assert!(differing.is_empty(), "{interpreter}: {differing:#?}");
        assert_eq!(living.len(), dead.len(), "{interpreter}");
    }
}

#[test]
fn greenlets_belong_to_their_threads_in_a_process_and_in_its_core() {
    fn shape(dump: &Value) -> Vec<(String, String, Vec<String>)> {
        let threads = dump["threads"].as_array().expect("a list");
        let greenlets = dump["greenlets"].as_array().expect("a list").iter().map(|greenlet| {
            let is_its = |thread: &&Value| thread["thread_id"] == greenlet["thread_id"];
            let thread = threads.iter().find(is_its).map_or("", |thread| thread["thread_name"].as_str().unwrap());
            let frames = greenlet["frames"].as_array().unwrap().iter().map(|frame| frame["name"].as_str().unwrap());
            let state = greenlet["state"].as_str().unwrap().to_owned();
            (thread.to_owned(), state, frames.map(str::to_owned).collect())
        });
        let mut greenlets: Vec<_> = greenlets.collect();
        greenlets.sort();
        greenlets
    }

    let missing = Missing::default();
    for interpreter in Interpreter::all().iter().filter(|interpreter| interpreter.feature() >= (3, 8)) {
        let Some(package) = missing.newest(interpreter, "greenlet") else { continue };
        let folder = tempfile::tempdir().unwrap();
        let target = start(interpreter, "greenlets.py", &[], &[&package], false);
        let living = dump_tasks(target.pid(), &[]);
        let of = |thread: &str, state: &str| {
            let shape = shape(&living);
            shape.into_iter().filter(|greenlet| greenlet.0 == thread && greenlet.1 == state).collect::<Vec<_>>()
        };
        for thread in ["MainThread", "other"] {
            let paused = of(thread, "paused");
            assert_eq!(paused.len(), 3, "{interpreter}: {living:#}");
            assert!(paused.iter().all(|greenlet| greenlet.2 == ["pause", "work"]), "{interpreter}: {paused:?}");
            assert_eq!(of(thread, "running").len(), 1, "{interpreter}: {living:#}");
        }
        let Some(core) = gcore(&target, folder.path()) else { continue };
        drop(target);
        let ran = pyspy(&["dump", "--json", "--tasks=tree", "--core", core.to_str().unwrap()]);
        let dead: Value = serde_json::from_str(ran.success()).unwrap();
        assert_eq!(shape(&dead), shape(&living), "{interpreter}");
    }
}

#[test]
fn a_process_without_tasks_has_none() {
    for interpreter in Interpreter::all() {
        let target = Target::start(interpreter, "echo.py", &["heard"]);
        let dump = dump_tasks(target.pid(), &["--all-tasks"]);
        for list in ["asyncio_tasks", "trio_tasks", "greenlets"] {
            assert_eq!(dump[list], Value::Array(Vec::new()), "{interpreter}: {list}");
        }
        assert_eq!(dump["threads"].as_array().map(Vec::len), Some(1), "{interpreter}: {dump:#}");
    }
}

#[test]
fn plain_functions_that_await_through_a_greenlet_stand_in_their_tasks() {
    let missing = Missing::default();
    for interpreter in with_tasks().filter(|interpreter| [(3, 12), (3, 13)].contains(&interpreter.feature())) {
        for bridge in ["sqlalchemy", "greenback"] {
            let Some(packages) = missing.newest(interpreter, bridge) else { continue };
            let target = start(interpreter, "tasks_bridges.py", &[bridge], &[&packages], false);
            let dump = dump_tasks(target.pid(), &[]);
            let tasks = dump["asyncio_tasks"].as_array().unwrap();
            let is_request = |task: &&Value| task["coroutine"].as_str().is_some_and(|name| name.ends_with("request"));
            let requests: Vec<&Value> = tasks.iter().filter(is_request).collect();
            assert_eq!(requests.len(), 3, "{bridge} under {interpreter}: {dump:#}");
            for request in requests {
                let frames = request["frames"].as_array().unwrap().iter();
                let names = frames.map(|frame| frame["name"].as_str().unwrap().rsplit('.').next().unwrap());
                let own = ["sleep", "query", "flush", "commit", "request"];
                let of_program: Vec<&str> = names.filter(|name| own.contains(name)).collect();
                assert_eq!(of_program, own, "{bridge} under {interpreter}: {request:#}");
                assert_eq!(request["waits"]["kind"], "sleep", "{bridge} under {interpreter}: {request:#}");
            }
            // They are not shown once more.
            let greenlets = dump["greenlets"].as_array().unwrap().iter();
            let is_parked = |greenlet: &&Value| greenlet["state"] == "paused";
            assert_eq!(greenlets.filter(is_parked).count(), 0, "{bridge} under {interpreter}: {dump:#}");
        }
    }
}
