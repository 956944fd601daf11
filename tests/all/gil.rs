//! Who waits for the GIL, and for how long, beside what the threads have measured themselves.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;

use crate::interpreters::Interpreter;
use crate::recording::Recording;
use crate::target::{Target, alone_on_this_machine};

/// The leaf of a thread that waits for it.
const WAIT: &str = "waiting for the GIL";
/// By so much a share of the time may differ from what was measured.
const TOLERANCE: f64 = 0.03;

/// What a thread has measured: the clock, its time on a CPU, and the time for which it wanted one, in seconds.
type Measured = BTreeMap<String, [f64; 3]>;

/// `gil_shares.py` with so many threads that compute.
struct Shares {
    target: Target,
    threads: usize,
}

impl Shares {
    fn start(interpreter: &Interpreter, threads: usize, keeps: bool) -> Self {
        let count = threads.to_string();
        let args: &[&str] = if keeps { &[&count, "keep"] } else { &[&count] };
        let target = Target::start(interpreter, "gil_shares.py", args);
        Self { target, threads: threads + usize::from(keeps) }
    }

    fn measured(&mut self) -> Measured {
        self.target.send("now");
        let line = |target: &mut Target| {
            let line = target.line();
            let mut words = line.rsplitn(4, ' ');
            let mut number = || words.next().unwrap().parse::<f64>().unwrap();
            let (wanted, on_cpu, clock) = (number(), number(), number());
            (words.next().unwrap().to_owned(), [clock, on_cpu, wanted])
        };
        (0..self.threads).map(|_| line(&mut self.target)).collect()
    }
}

/// The threads' samples, and how many of them waited for the GIL.
fn waits(recording: &Recording) -> BTreeMap<String, (u64, u64)> {
    let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (stack, count) in &recording.stacks {
        let Some((_, name)) = stack[0].split_once(": ") else { continue };
        let (all, waiting) = found.entry(name.to_owned()).or_default();
        *all += count;
        *waiting += if stack.last().is_some_and(|leaf| leaf == WAIT) { *count } else { 0 };
    }
    found
}

/// By so much a share that was seen may differ from the measured one: the fewer samples there were, the more by chance;
/// and what was not observed was measured nevertheless.
fn tolerance(recording: &Recording) -> f64 {
    let summary = &recording.summary;
    let ticks = (summary.rate_held * summary.seconds).max(1.0);
    TOLERANCE + 1.5 / ticks.sqrt() + summary.unobserved / summary.seconds
}

/// For which part of the time between two measurements a thread waited: at least, if all the time in which it wanted a
/// CPU it had the GIL, and at most, if it wanted the GIL all that time.
fn measured_share(before: [f64; 3], after: [f64; 3]) -> (f64, f64) {
    let [wall, on_cpu, wanted] = [0, 1, 2].map(|at| after[at] - before[at]);
    (1.0 - (on_cpu + wanted) / wall, 1.0 - on_cpu / wall)
}

#[test]
fn each_thread_waits_for_as_long_as_it_has_measured() {
    let _alone = alone_on_this_machine();
    let counts = |interpreter: &Interpreter| -> &[usize] {
        match interpreter.feature() {
            (3, 8) | (3, 13) => &[2, 8],
            (3, 11) => &[4],
            (3, 15) => &[2, 4],
            _ => &[],
        }
    };
    for interpreter in Interpreter::all() {
        for count in counts(interpreter) {
            let context = format!("{interpreter}, {count} threads");
            let mut shares = Shares::start(interpreter, *count, false);
            let before = shares.measured();
            let args = ["-d", "1.2", "-r", "500", "--threads", "--idle"];
            let recording = Recording::of(shares.target.pid(), &args);
            let after = shares.measured();
            let seen = waits(&recording);
            let (mut running, mut wanting) = (0.0, 0.0);
            for (name, after) in &after {
                let (all, waiting) = seen[name];
                let share = waiting as f64 / all as f64;
                running += 1.0 - share;
                if interpreter.free_threaded {
                    assert_eq!(waiting, 0, "{context}: {seen:?}");
                    continue;
                }
                let (least, most) = measured_share(before[name], *after);
                wanting += most - least;
                let tolerance = tolerance(&recording);
                let is_right = share >= least - tolerance && share <= most + tolerance;
                assert!(is_right, "{context}: {name} waited {share}, measured {least} to {most}: {seen:?}");
            }
            if interpreter.free_threaded {
                continue;
            }
            // Not more than the GIL lets run, but, up to 3.10, for threads that have given it away after an operator,
            // where C code may run as well, and want a CPU to wait for it.
            // Of time in which nobody looked who waits, the kernel has seen only who ran.
            let unseen = *count as f64 * recording.summary.unobserved / recording.summary.seconds;
            let limit = 1.15 + unseen + if interpreter.feature() < (3, 11) { wanting } else { 0.0 };
            assert!(running <= limit, "{context}: {running} run: {:#?}", recording.stacks);
            let line = recording.stderr.lines().find(|line| line.starts_with("pyspy: GIL: held "));
            let line = line.unwrap_or_else(|| panic!("{context}: {}", recording.stderr));
            assert!(line.contains("longest holder compute (gil_shares.py:"), "{context}: {line}");
        }
    }
}

#[test]
fn who_waits_is_shown_below_who_holds_it() {
    let _alone = alone_on_this_machine();
    let features = [(3, 8), (3, 11), (3, 13), (3, 15)];
    let chosen = Interpreter::all().iter().filter(|interpreter| features.contains(&interpreter.feature()));
    for interpreter in chosen.filter(|interpreter| !interpreter.free_threaded) {
        let mut shares = Shares::start(interpreter, 1, true);
        let before = shares.measured();
        let recording = Recording::of(shares.target.pid(), &["-d", "1.2", "-r", "500", "--threads", "--idle"]);
        let after = shares.measured();
        let (all, waiting) = waits(&recording)["computing 0"];
        let share = waiting as f64 / all as f64;
        let (least, most) = measured_share(before["computing 0"], after["computing 0"]);
        let tolerance = tolerance(&recording);
        let is_right = share >= least - tolerance && share <= most + tolerance;
        assert!(is_right, "{interpreter}: {share}, measured {least} to {most}: {recording:#?}");

        // On a machine with much to do there may be few samples.
        let record = || Recording::of(shares.target.pid(), &["-d", "0.6", "-r", "500", "--mode", "gil-wait"]);
        let is_by_keeper = |names: &[&str]| matches!(names, ["held by keep", .., "compute", WAIT]);
        let found = (0..20).map(|_| record()).find(|waiters| waiters.count(is_by_keeper) > 0);
        let waiters = found.unwrap_or_else(|| panic!("{interpreter}: nobody waits for the keeper"));
        let is_wait = |names: &[&str]| names[0].starts_with("held by ") && names.last() == Some(&WAIT);
        assert_eq!(waiters.count(is_wait), waiters.total(), "{interpreter}: {waiters:#?}");
    }
}

#[test]
fn without_threads_that_wait_nothing_is_said_of_the_gil() {
    for interpreter in Interpreter::all().iter().rev().take(2) {
        let target = Target::start(interpreter, "busy.py", &["20"]);
        let pid = target.pid();
        let recording = Recording::of(pid, &["-d", "0.3"]);
        assert!(!recording.stderr.contains("GIL"), "{interpreter}: {}", recording.stderr);
        let none = Recording::of(pid, &["-d", "0.2", "--mode", "gil-wait"]);
        assert_eq!(none.total(), 0, "{interpreter}: {none:#?}");
        assert!(none.stderr.contains("no thread was seen to wait for the GIL"), "{interpreter}: {}", none.stderr);
    }
}
