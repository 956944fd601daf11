//! What `dump` shows of many threads: the odd one first, alike ones joined, some of them on wish.

use std::time::{Duration, Instant};

use crate::interpreters::Interpreter;
use crate::target::{Target, pyspy};

/// Rows of a terminal that nobody has enlarged.
const SCREEN: usize = 24;

/// The oldest of 2.7 and 3, one whose locks wait in the kernel by themselves, and the newest.
fn some_interpreters() -> impl Iterator<Item = &'static Interpreter> {
    let all = Interpreter::all();
    let wanted = [(2, 7), (3, 8), (3, 12)];
    let newest = all.iter().map(Interpreter::feature).max();
    all.iter().filter(move |interpreter| {
        wanted.contains(&interpreter.feature()) || Some(interpreter.feature()) == newest && !interpreter.free_threaded
    })
}

fn dump(target: &Target, args: &[&str]) -> String {
    let pid = target.pid().to_string();
    let args: Vec<&str> = ["dump", "--pid", &pid].iter().chain(args).copied().collect();
    pyspy(&args).success().to_owned()
}

/// The dump once all threads of `pool.py` have come to rest.
fn dump_of_pool(target: &Target) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = dump(target, &[]);
        if text.contains("63 alike") && !text.contains("(active") {
            return text;
        }
        assert!(Instant::now() < deadline, "the threads do not come to rest:\n{text}");
    }
}

#[test]
fn the_hung_worker_of_a_pool_is_on_the_first_screen() {
    for interpreter in some_interpreters() {
        let target = Target::start(interpreter, "pool.py", &["60"]);
        let text = dump_of_pool(&target);
        let screen: Vec<&str> = text.lines().take(SCREEN).collect();
        let screen = screen.join("\n");
        assert!(screen.contains("\"worker-37\""), "{interpreter}:\n{text}");
        assert!(screen.contains("fetch (pool.py:24)"), "{interpreter}:\n{text}");
        assert!(screen.contains("waits in recvfrom fd "), "{interpreter}:\n{text}");
        let summary = screen.lines().nth(2).unwrap_or_default();
        assert!(summary.starts_with("65 threads: 63 wait in "), "{interpreter}: {summary}");
        assert!(summary.contains("1 waits in recvfrom"), "{interpreter}: {summary}");
        // The main thread, however deep, and what rests after it; each once.
        let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{interpreter}: no {part} in\n{text}"));
        assert!(place("\"worker-37\"") < place("\"MainThread\""), "{interpreter}");
        assert!(
            place("\"MainThread\"") < place("63 alike): \"worker-0\", \"worker-1\", … \"worker-63\""),
            "{interpreter}"
        );
        assert_eq!(text.matches("\nThread").count(), 3, "{interpreter}:\n{text}");

        let json: serde_json::Value = serde_json::from_str(&dump(&target, &["--json"])).unwrap();
        assert_eq!(json.as_array().unwrap().len(), 65, "{interpreter}");
    }
}

#[test]
fn threads_are_chosen_as_in_record() {
    let interpreter = Interpreter::all().last().unwrap();
    let target = Target::start(interpreter, "pool.py", &["1"]);
    dump_of_pool(&target);
    let chosen = |args: &[&str]| -> Vec<String> {
        let json = dump(&target, &[&["--json"], args].concat());
        let threads: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        threads.iter().map(|thread| thread["thread_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(chosen(&["--main-thread"]), ["MainThread"]);
    assert_eq!(chosen(&["--thread", "worker-3?"]).len(), 10);
    assert_eq!(chosen(&["--thread", "worker-5", "--thread", "Main*"]), ["MainThread", "worker-5"]);
    // The variables of the first of alike ones, or of the one that was asked for; no secret among them.
    let all = dump(&target, &["-l"]);
    assert!(all.contains("63 alike, variables of the first): \"worker-0\""), "{all}");
    assert!(all.contains("number: 0\n") && all.contains("number: 37\n") && !all.contains("number: 5\n"), "{all}");
    assert!(dump(&target, &["-l", "--thread", "worker-5"]).contains("number: 5\n"));
    let of_hung = |args: &[&str]| dump(&target, &[&["-l", "--thread", "worker-37"], args].concat());
    assert!(of_hung(&[]).contains("password:   …\n"), "{}", of_hung(&[]));
    assert!(of_hung(&["--show-secrets"]).contains("password:   'hunter2'\n"), "{}", of_hung(&["--show-secrets"]));
    assert!(!dump(&target, &["--json", "-lll"]).contains("hunter2"));

    let pid = target.pid().to_string();
    let ran = pyspy(&["dump", "--pid", &pid, "--thread", "walker-*"]);
    assert!(ran.failure().contains("MainThread, worker-0, "), "{ran:#?}");
}
