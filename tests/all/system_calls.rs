//! How many calls for the target's memory a sample costs.

use std::process::Command;
use std::time::Duration;

use crate::interpreters::Interpreter;
use crate::target::{Target, alone_on_this_machine, print_note, run};

/// So many calls a recording of two seconds makes that are for no sample: names, collections, places of modules.
const BESIDE_SAMPLES: f64 = 60.0;
/// A busy machine is given so many tries.
const TRIES: usize = 12;

/// Calls for memory in a recording at 100 Hz for 2 s, per sample; none without strace. Where a busy machine has let us
/// take fewer samples, less what is read at the beginning and some times a second.
fn reads_a_sample(target: &Target) -> Option<f64> {
    let pid = target.pid().to_string();
    let calls = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("strace");
    // With the paths of files: only pread64 of /proc/PID/mem reads memory, that of task/TID/stat the state of a thread.
    command.args(["-f", "-y", "-e", "trace=process_vm_readv,preadv,pread64", "-o"]).arg(calls.path());
    command.arg(env!("CARGO_BIN_EXE_pyspy"));
    command.args(["record", "--pid", &pid, "-r", "100", "-d", "2", "-f", "raw", "-o", "/dev/null"]);
    let ran = match run(&mut command, Duration::from_secs(60)) {
        Ok(ran) => ran,
        Err(error) => {
            print_note(&format!("skipped: system calls are not counted, for strace {error}"));
            return None;
        }
    };
    ran.success();
    let calls = std::fs::read_to_string(calls.path()).unwrap();
    // "PID call(arguments) = result", or "PID <... call resumed> = result" after "PID call(arguments <unfinished ...>".
    let is_read = |line: &&str| line.contains(" process_vm_readv(") || line.contains("/mem>,");
    let calls = calls.lines().filter(is_read).count();
    let summary = crate::recording::Summary::parse(&ran.stderr).expect("a summary");
    let beside = if summary.rate_held < 90.0 { BESIDE_SAMPLES } else { 0.0 };
    Some((calls as f64 - beside) / (summary.rate_held * summary.seconds))
}

#[test]
fn one_busy_thread_costs_four_at_any_depth() {
    let _alone = alone_on_this_machine();
    for interpreter in Interpreter::all() {
        for depth in ["20", "200"] {
            let target = Target::start(interpreter, "busy.py", &[depth]);
            // What is read at the beginning, and some times a second, weighs the more the fewer samples a busy machine
            // lets us take.
            let mut tried = Vec::new();
            while tried.last().is_none_or(|reads| *reads > 4.0) && tried.len() < TRIES {
                let Some(reads) = reads_a_sample(&target) else { return };
                tried.push(reads);
            }
            assert!(tried.last().is_some_and(|reads| *reads <= 4.0), "{interpreter} at depth {depth}: {tried:?}");
        }
    }
}

#[test]
fn sixteen_waiting_threads_and_a_busy_one_cost_eight() {
    let _alone = alone_on_this_machine();
    for interpreter in Interpreter::all() {
        let target = Target::start(interpreter, "many.py", &["16", "1"]);
        let mut tried = Vec::new();
        while tried.last().is_none_or(|reads| *reads > 8.0) && tried.len() < TRIES {
            let Some(reads) = reads_a_sample(&target) else { return };
            tried.push(reads);
        }
        assert!(tried.last().is_some_and(|reads| *reads <= 8.0), "{interpreter}: {tried:?}");
    }
}
