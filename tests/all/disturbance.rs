//! What is sampled goes on as without us, as far as that can be.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::running::{Running, chosen};
use crate::target::{Target, pyspy};

/// What the target says of its calls: how many there were, and how many ended early.
fn counts(target: &mut Target) -> (u32, u32) {
    target.send("count");
    let line = target.line();
    let (calls, interrupted) = line.split_once(' ').unwrap();
    (calls.parse().unwrap(), interrupted.parse().unwrap())
}

#[test]
fn a_thread_that_sleeps_with_the_gil_is_not_stopped_for_a_sample() {
    for interpreter in chosen() {
        let mut target = Target::start(interpreter, "sleeps_with_gil.py", &[]);
        let pid = target.pid().to_string();
        let args = ["record", "-i", "--blocking", "-r", "200", "-d", "2", "-f", "raw", "-o", "-", "-p", &pid];
        let before = counts(&mut target);
        let ran = Running::start(&args).ended();
        assert!(ran.success().contains("sleep_once"), "{interpreter}: {ran:#?}");
        let after = counts(&mut target);
        let (calls, interrupted) = (after.0 - before.0, after.1 - before.1);
        // When each sample stopped it, most calls ended early. That it goes to sleep between the look and the stop
        // remains.
        assert!(calls > 20 && interrupted * 10 <= calls, "{interpreter}: {interrupted} of {calls}: {ran:#?}");
    }
}

/// How often each thread of a process has been on a CPU.
fn runs(pid: &str) -> BTreeMap<String, String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap().path());
    let runs = threads.map(|path| {
        let schedstat = fs::read_to_string(path.join("schedstat")).unwrap();
        (path.display().to_string(), schedstat.split_whitespace().last().unwrap().to_owned())
    });
    runs.collect()
}

/// The longest that a thread of a dump is asleep, in seconds; `None` where the kernel does not tell.
fn longest_asleep(dump: &str) -> Option<f64> {
    let threads: Value = serde_json::from_str(dump).unwrap();
    let asleep = threads.as_array().unwrap().iter().filter_map(|thread| thread["asleep_for"].as_f64());
    asleep.max_by(f64::total_cmp)
}

#[test]
fn a_process_that_hangs_is_dumped_without_touching_it() {
    for interpreter in chosen() {
        let target = Target::start(interpreter, "pool.py", &["10"]);
        let pid = target.pid().to_string();
        let dump = || pyspy(&["dump", "--json", "--locals", "--pid", &pid]).success().to_owned();
        let deadline = Instant::now() + Duration::from_secs(60);
        // Its threads have to come to rest first.
        let first = loop {
            let before = runs(&pid);
            let first = dump();
            if runs(&pid) == before {
                break first;
            }
            assert!(Instant::now() < deadline, "{interpreter}: the threads of a process that hangs run for a dump");
        };
        assert!(first.contains("\"fetch\""), "{interpreter}: {first}");
        let Some(asleep) = longest_asleep(&first) else { continue };
        // So the next one can tell since when it hangs.
        let later = longest_asleep(&dump()).unwrap();
        assert!(later > asleep && later < 60.0, "{interpreter}: {asleep} s, then {later} s");
    }
}
