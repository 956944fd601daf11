//! `top` with what the kernel samples: the same as what is read, and nothing stopped.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::kernel::{chosen, may_sample};
use crate::running::{Running, any, script};
use crate::target::{Target, alone_on_this_machine, print_note, pyspy, run};
use crate::terminal::{Terminal, leads};

/// One window of `top --json`.
#[track_caller]
fn window(pid: u32, args: &[&str]) -> Value {
    let pid = pid.to_string();
    let ran = pyspy(&[&["top", "--json", "--once", "--delay", "2s", "-p", &pid], args].concat());
    serde_json::from_str(ran.success()).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// The number that a window has for something.
#[track_caller]
fn number(window: &Value, name: &str) -> f64 {
    window[name].as_f64().unwrap_or_else(|| panic!("no {name} in {window:#}"))
}

/// How much of a window each function takes itself, in percent.
fn shares(window: &Value) -> HashMap<&str, f64> {
    let functions = window["functions"].as_array().unwrap().iter();
    functions.filter_map(|function| Some((function["name"].as_str()?, function["own_percent"].as_f64()?))).collect()
}

#[test]
fn both_sources_show_the_same_functions_shares_and_threads() {
    let _alone = alone_on_this_machine();
    if !may_sample("top from the kernel") {
        return;
    }
    for interpreter in chosen() {
        let target = Target::start(interpreter, "shares.py", &[]);
        for source in ["reader", "kernel"] {
            let window = window(target.pid(), &["--idle", &format!("--sampler={source}")]);
            assert_eq!(window["sampler"], source, "{interpreter}: {window:#}");
            let shares = shares(&window);
            for (function, range) in [("heavy", 40.0..80.0), ("medium", 15.0..53.0), ("light", 0.5..25.0)] {
                assert!(range.contains(&shares[function]), "{interpreter}, {source}: {shares:?}");
            }
            // It waits all the time; how much of the time is seen depends on how often pyspy gets a CPU.
            assert!((50.0..=101.0).contains(&shares["sleeper"]), "{interpreter}, {source}: {shares:?}");
            let parts = ["active_percent", "gil_percent"].into_iter();
            for part in parts.take(if interpreter.free_threaded { 1 } else { 2 }) {
                assert!(number(&window, part) > 80.0, "{interpreter}, {source}: {window:#}");
            }
            assert!(number(&window, "rate_held") <= 101.0, "{interpreter}, {source}: {window:#}");
            let threads = window["threads"].as_array().unwrap();
            let states: Vec<&str> = threads.iter().filter_map(|thread| thread["state"].as_str()).collect();
            let running = if interpreter.free_threaded { "run" } else { "run+gil" };
            let is_expected = states.len() == 2 && states.contains(&running) && states.contains(&"idle");
            assert!(is_expected, "{interpreter}, {source}: {states:?}");
            let places: Vec<&str> = threads.iter().filter_map(|thread| thread["at"].as_str()).collect();
            let is_at = |names: &[&str]| places.iter().any(|place| names.iter().any(|name| place.starts_with(name)));
            let runs = is_at(&["heavy", "medium", "light", "work"]);
            assert!(runs && is_at(&["sleeper"]), "{interpreter}, {source}: {places:?}");
            if source == "kernel" {
                assert!(number(&window, "stopped_percent") == 0.0, "{interpreter}: {window:#}");
                assert!(number(&window, "rate_held") > 80.0, "{interpreter}: {window:#}");
            }
        }
    }
}

#[test]
fn who_waits_for_the_gil_and_who_has_it_is_seen_by_both_sources() {
    let _alone = alone_on_this_machine();
    if !may_sample("the GIL in top from the kernel") {
        return;
    }
    let program = "import threading\ndef spins():\n    while True: pass\n\
        for _ in range(2): threading.Thread(target=spins).start()\nprint('ready', flush=True)\nspins()\n";
    for interpreter in chosen().filter(|interpreter| !interpreter.free_threaded) {
        let mut command = Command::new(&interpreter.path);
        command.args(["-c", program]);
        let target = Target::start_command(command, "three threads that compute");
        for source in ["reader", "kernel"] {
            let window = window(target.pid(), &[&format!("--sampler={source}")]);
            assert_eq!(window["sampler"], source, "{interpreter}: {window:#}");
            assert!(number(&window, "gil_percent") > 70.0, "{interpreter}, {source}: {window:#}");
            let waiters = number(&window, "gil_waiters");
            assert!((1.0..=2.2).contains(&waiters), "{interpreter}, {source}: {waiters}");
            assert_eq!(window["threads"].as_array().unwrap().len(), 3, "{interpreter}, {source}: {window:#}");
        }
    }
}

#[test]
fn a_busy_target_is_not_traced() {
    let _alone = alone_on_this_machine();
    if !may_sample("tracing top") {
        return;
    }
    // Small calls all the time: a reader has to stop it.
    let target = Target::start(any(), "fib.py", &[]);
    let calls = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("strace");
    command.args(["-f", "-e", "trace=ptrace,perf_event_open", "-o"]).arg(calls.path());
    command.arg(env!("CARGO_BIN_EXE_pyspy"));
    command.args(["top", "--once", "--delay", "2s", "-p", &target.pid().to_string()]);
    let Ok(ran) = run(&mut command, Duration::from_secs(60)) else {
        return print_note("skipped: the calls of top are not seen, for there is no strace");
    };
    assert!(ran.success().contains(" held in the kernel;"), "{ran:?}");
    let calls = fs::read_to_string(calls.path()).unwrap();
    assert!(calls.contains("perf_event_open("), "{calls}");
    assert!(!calls.contains("ptrace("), "{calls}");
}

#[test]
fn a_loop_that_computes_is_late_and_is_named() {
    let _alone = alone_on_this_machine();
    if !may_sample("loops in top from the kernel") {
        return;
    }
    let program = "import asyncio, time\nasync def computes():\n    while True:\n        \
        end = time.time() + 0.1\n        while time.time() < end: pass\n        await asyncio.sleep(0.05)\n\
        print('ready', flush=True)\n\
        asyncio.get_event_loop().run_until_complete(computes())\n";
    for interpreter in chosen().filter(|interpreter| matches!(interpreter.feature(), (3, 8 | 13))) {
        let mut command = Command::new(&interpreter.path);
        command.args(["-W", "ignore", "-c", program]);
        let target = Target::start_command(command, "a loop that computes");
        for source in ["reader", "kernel"] {
            let window = window(target.pid(), &[&format!("--sampler={source}")]);
            let [event_loop] = &window["loops"].as_array().unwrap()[..] else { panic!("no loop: {window:#}") };
            // All of a turn is seen, or what was of it at the last look.
            assert!(number(event_loop, "lag_seconds") > 0.06, "{interpreter}, {source}: {event_loop:#}");
            assert_eq!(event_loop["blocked_by"]["function"], "computes", "{interpreter}, {source}: {event_loop:#}");
        }
    }
}

#[test]
fn processes_come_go_and_become_others() {
    let _alone = alone_on_this_machine();
    if !may_sample("processes in top from the kernel") {
        return;
    }
    let python = any().path.display().to_string();
    let shows = |args: &[&str], is_there: &dyn Fn(&Value) -> bool| {
        let mut top = Running::start(&[&["top", "--json", "--delay", "200ms", "--sampler=kernel"], args].concat());
        let path = top.output_path("stdout");
        let windows = || -> Vec<Value> {
            let text = fs::read_to_string(&path).unwrap_or_default();
            // The last line may be half written.
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        top.wait_until(&format!("{args:?}"), || windows().iter().any(is_there));
        top.ended()
    };
    let of_kernel = |window: &Value| window["sampler"] == "kernel";
    let has = |window: &Value, name: &str| shares(window).get(name).is_some_and(|share| *share > 20.0);
    // Three processes that fork, run and end; all are seen at once.
    let tree = script("tree.py").display().to_string();
    for mode in ["fork", "subprocess"] {
        let ran = shows(&["-s", "--", &python, &tree, mode, "3", "4"], &|window| {
            let pids: std::collections::HashSet<u64> =
                window["threads"].as_array().unwrap().iter().filter_map(|thread| thread["pid"].as_u64()).collect();
            of_kernel(window) && pids.len() == 3 && has(window, "burn")
        });
        assert!(ran.stderr.contains("target exited, status 0"), "{ran:?}");
    }
    // One that becomes another program.
    let executes = script("executes.py").display().to_string();
    let ran = shows(
        &[
            "--",
            &python,
            &executes,
            "3",
            &python,
            "-c",
            "import time\nend = time.time() + 4\n\
        def after():\n    while time.time() < end: pass\nafter()",
        ],
        &|window| of_kernel(window) && has(window, "after"),
    );
    assert!(ran.stderr.contains("target exited, status 0"), "{ran:?}");
}

#[test]
fn another_rate_is_sampled_by_the_kernel_too() {
    let _alone = alone_on_this_machine();
    if !may_sample("rates of top from the kernel") {
        return;
    }
    let Some(terminal) = Terminal::open(120, 30) else { return };
    let target = Target::start(any(), "shares.py", &[]);
    terminal.top(&format!("-p {}", target.pid()));
    terminal.wait("the kernel's samples", |screen| screen.contains(" held in the kernel") && leads(screen, "heavy"));
    for (key, rate) in [("+", 200), ("+", 500), ("-", 200)] {
        terminal.keys(&[key]);
        let asked = format!("{rate} Hz asked, ");
        let held = |screen: &str| {
            let text = screen.lines().find(|line| line.contains(&asked))?.split(&asked).nth(1)?;
            text.split(" held in the kernel").next()?.trim().parse::<f64>().ok()
        };
        let is_held = |screen: &str| held(screen).is_some_and(|held| held > 0.8 * f64::from(rate));
        terminal.wait("another rate", |screen| is_held(screen) && leads(screen, "heavy"));
    }
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn what_top_cannot_have_of_the_kernel_is_refused_and_read_else() {
    for [option, value] in [["--blocking", ""], ["-r", "100000"]] {
        let mut args = vec!["top", "--once", "--sampler=kernel", "--pid", "1", option];
        args.extend((!value.is_empty()).then_some(value));
        let ran = pyspy(&args);
        assert!(ran.failure().contains("--sampler=kernel does not go with"), "{ran:#?}");
    }
    let target = Target::start(any(), "shares.py", &[]);
    for args in [&["--blocking"][..], &["--sampler=reader"], &["-r", "30000"]] {
        assert_eq!(window(target.pid(), args)["sampler"], "reader", "{args:?}");
    }
}

#[test]
fn without_rights_top_reads_and_the_kernel_alone_is_refused() {
    let Some(interpreter) = Interpreter::all().iter().find(|found| found.path.starts_with("/usr/bin")) else {
        return print_note("skipped: top without rights, which needs a Python that every user may run");
    };
    if !nix::unistd::geteuid().is_root() {
        return print_note("skipped: top without rights, which takes root to give them up");
    }
    let run = |args: &[&str]| {
        Command::new("setpriv")
            .args(["--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all"])
            .arg(env!("CARGO_BIN_EXE_pyspy"))
            .args([&["top", "--once", "--delay", "500ms"], args, &["--"]].concat())
            .arg(&interpreter.path)
            .args(["-c", "while True: pass"])
            .output()
    };
    let Ok(refused) = run(&["--sampler=kernel"]) else {
        return print_note("skipped: top without rights, for there is no setpriv");
    };
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("CAP_BPF and CAP_PERFMON"), "{said}");
    let read = run(&[]).unwrap();
    let shown = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(read.status.success() && shown.contains(" held;"), "{shown}");
}
