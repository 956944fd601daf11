//! Trees of processes: all are found soon, each has its time, and what is known of one costs nothing for the next.

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::time::Duration;

use crate::interpreters::Interpreter;
use crate::recording::{Recording, stacks, until_fed};
use crate::running::{any, chosen, script};
use crate::target::{Ran, alone_on_this_machine, print_note, pyspy, run};

/// Samples a second.
const RATE: f64 = 200.0;

/// Records `tree.py MODE DEPTH SECONDS` with all its processes.
#[track_caller]
fn record(interpreter: &Interpreter, options: &[&str], tree: [&str; 3]) -> Ran {
    let script = script("tree.py");
    let mut args = vec!["record", "-s", "-F", "-f", "raw", "-r", "200", "-o", "/dev/stderr"];
    args.extend(options);
    args.extend(["--", interpreter.path.to_str().unwrap(), script.to_str().unwrap()]);
    args.extend(tree);
    until_fed(RATE, |ran: &Ran| Recording::summary_of(&ran.stderr), || pyspy(&args))
}

/// What each process says that it computed, in seconds, and its parent.
fn truth(stdout: &str) -> HashMap<u32, (f64, u32)> {
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let ["burned", pid, seconds, parent] = words[..] else { panic!("{line}") };
        (pid.parse().unwrap(), (seconds.parse().unwrap(), parent.parse().unwrap()))
    };
    stdout.lines().map(line).collect()
}

/// The pid of a frame that stands for a process.
fn pid_of(frame: &str) -> Option<u32> {
    frame.strip_prefix("process ")?.split_once(":\"")?.0.parse().ok()
}

/// Seconds in which each process was seen computing, and the processes above it, outermost first.
fn sampled(stderr: &str) -> HashMap<u32, (f64, Vec<u32>)> {
    let raw: String = stderr.lines().filter(|line| line.contains(";burn (")).map(|line| format!("{line}\n")).collect();
    let mut found: HashMap<u32, (f64, Vec<u32>)> = HashMap::new();
    for (stack, count) in stacks(&raw) {
        let mut line: Vec<u32> = stack.iter().map_while(|frame| pid_of(frame)).collect();
        let pid = line.pop().unwrap_or_else(|| panic!("no process in {stack:?}"));
        let entry = found.entry(pid).or_insert((0.0, line));
        entry.0 += count as f64 / RATE;
    }
    found
}

/// How far the time of a process may be off: 5 % where a processor is free for us, more where we have to wait for one
/// as the processes do.
const SHARE: f64 = 0.25;

/// Whether the time of a process is right, given what was recorded and for how long nothing was.
fn is_near(found: f64, seconds: f64, stderr: &str) -> bool {
    is_near_all(found, seconds, 1.0, stderr)
}

/// The same for the sum over so many processes that run at the same time: when nothing is recorded, it is of none.
fn is_near_all(found: f64, seconds: f64, processes: f64, stderr: &str) -> bool {
    let unobserved = processes * Recording::summary_of(stderr).unobserved;
    ((1.0 - SHARE) * seconds - unobserved..=(1.0 + SHARE) * seconds).contains(&found)
}

#[test]
fn every_process_of_a_deep_tree_has_its_time() {
    let _alone = alone_on_this_machine();
    for interpreter in chosen() {
        for mode in ["fork", "spawn", "forkserver", "subprocess", "prefork"] {
            let ran = record(interpreter, &[], [mode, "3", "1.5"]);
            let truth = truth(ran.success());
            let sampled = sampled(&ran.stderr);
            assert_eq!(truth.len(), 3, "{interpreter} {mode}: {ran:#?}");
            for (pid, (seconds, parent)) in &truth {
                let (found, above) =
                    sampled.get(pid).unwrap_or_else(|| panic!("{interpreter} {mode}: no {pid}: {ran:#?}"));
                assert!(
                    is_near(*found, *seconds, &ran.stderr),
                    "{interpreter} {mode}: process {pid} was seen for {found} s of {seconds} s: {ran:#?}"
                );
                // Below whoever started it, as far as that one is recorded, which only the first process's parent is
                // not.
                assert!(
                    above.is_empty() || above.last() == Some(parent),
                    "{interpreter} {mode}: {pid} below {above:?}"
                );
            }
            let below = sampled.values().filter(|(_, above)| !above.is_empty()).count();
            assert!(below >= 2, "{interpreter} {mode}: {sampled:?}");
            let processes: usize =
                ran.stderr.split(" processes").next().and_then(|text| text.rsplit(' ').next()?.parse().ok()).unwrap();
            assert!(processes >= 3, "{}", ran.stderr);
        }
    }
}

/// Children one after the other, each there for a tenth of a second: of the time of each, no more than 50 ms is
/// missing.
#[test]
fn processes_that_come_and_go_are_all_seen_and_soon() {
    let _alone = alone_on_this_machine();
    for interpreter in chosen() {
        let ran = record(interpreter, &[], ["often", "20", "0.1"]);
        let (truth, sampled) = (truth(ran.success()), sampled(&ran.stderr));
        assert_eq!(truth.len(), 20);
        let missing: Vec<_> = truth.keys().filter(|pid| !sampled.contains_key(pid)).collect();
        assert!(missing.is_empty(), "{interpreter}: {missing:?} of 20 were not seen: {ran:#?}");
        let mut late: Vec<f64> = truth.iter().map(|(pid, (seconds, _))| seconds - sampled[pid].0).collect();
        late.sort_by(f64::total_cmp);
        print_note(&format!(
            "{interpreter}: children are found after {:.0} ms, the last after {:.0} ms",
            late[10] * 1e3,
            late[19] * 1e3
        ));
        assert!(late[10] < 0.03 && late[17] < 0.05, "{interpreter}: seconds until each was found: {late:?}");
    }
}

/// What a file tells of the Python in it is read once, however many processes have it mapped.
#[test]
fn a_forked_child_costs_no_work_on_symbols() {
    let interpreter = any();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyspy"));
    command.env("RUST_LOG", "pyspy=debug").args(["record", "-s", "-f", "raw", "-o", "/dev/null", "--"]);
    command.arg(&interpreter.path).arg(script("tree.py")).args(["prefork", "8", "0.5"]);
    let ran = run(&mut command, Duration::from_secs(60)).unwrap();
    assert_eq!(truth(ran.success()).len(), 8);
    let mut looked = HashSet::new();
    for line in ran.stderr.lines().filter_map(|line| line.split_once("looking for Python in ")) {
        assert!(looked.insert(line.1), "{} was parsed twice: {}", line.1, ran.stderr);
    }
    assert!(!looked.is_empty(), "{}", ran.stderr);
    let children = ran.stderr.lines().filter(|line| line.contains(" has come below process ")).count();
    assert_eq!(children, 8, "{}", ran.stderr);
}

/// Shells and launchers come before Python does, and stay above it.
#[test]
fn a_python_below_a_shell_is_recorded() {
    for interpreter in chosen() {
        let inner = format!("'{}' '{}' exec 1 0.7; true", interpreter.path.display(), script("tree.py").display());
        let args = ["record", "-F", "-f", "raw", "-r", "200", "-o", "/dev/stderr", "--", "sh", "-c", &inner];
        let ran = pyspy(&args);
        let truth = truth(ran.success());
        let (seconds, _) = truth.values().next().unwrap();
        let raw: String =
            ran.stderr.lines().filter(|line| line.contains(";burn (")).map(|line| format!("{line}\n")).collect();
        let found = stacks(&raw).iter().map(|(_, count)| *count as f64 / RATE).sum::<f64>();
        assert!(is_near(found, *seconds, &ran.stderr), "{interpreter}: {found} s of {seconds} s: {ran:#?}");
    }
}

/// A process that becomes another program is recorded on, and each program is called what it is.
#[test]
fn a_process_that_executes_another_program_goes_on() {
    for interpreter in chosen() {
        let ran = record(interpreter, &[], ["exec", "3", "0.5"]);
        ran.success();
        for number in 1..=3 {
            let name = format!(" exec {number} 0.5\";");
            let burned: u64 = ran
                .stderr
                .lines()
                .filter(|line| line.contains(&name) && line.contains(";burn ("))
                .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
                .sum();
            let seconds = burned as f64 / RATE;
            assert!(is_near(seconds, 0.5, &ran.stderr), "{interpreter}: {seconds} s of 0.5 s in{name} {ran:#?}");
        }
    }
}

/// Equal workers are one process, whose times add up.
#[test]
fn equal_workers_are_merged_when_asked() {
    let _alone = alone_on_this_machine();
    let interpreter = any();
    let ran = record(interpreter, &["--merge"], ["prefork", "4", "0.7"]);
    let truth = truth(ran.success());
    let all: f64 = truth.values().map(|(seconds, _)| seconds).sum();
    let sampled = sampled(&ran.stderr);
    assert_eq!(sampled.len(), 1, "{sampled:?}");
    let seconds = sampled.values().next().unwrap().0;
    assert!(is_near_all(seconds, all, 4.0, &ran.stderr), "{seconds} s of {all} s: {ran:#?}");
    assert!(Recording::summary_of(&ran.stderr).samples > 0);
}
