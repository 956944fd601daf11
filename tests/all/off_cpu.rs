//! `record --mode offcpu`: as long as threads are blocked, and in what.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::interpreters::Interpreter;
use crate::kernel::may_sample;
use crate::recording::{names, stacks};
use crate::running::Running;
use crate::target::{Target, pyspy};

/// What a recording brought.
#[derive(Debug)]
struct OffCpu {
    /// Each stack, oldest frame first, with the µs for which threads were blocked in it.
    stacks: Vec<(Vec<String>, u64)>,
    /// The last line that was printed.
    line: String,
}

/// Starts a recording of blocks and waits until it records.
fn start(pid: u32, args: &[&str]) -> Running {
    let of_blocks = ["--mode", "offcpu", "-f", "raw", "-o", "-", "--pid", &pid.to_string()];
    Running::start_recording(&[&of_blocks, args].concat())
}

/// Ends it.
fn end(running: Running) -> OffCpu {
    running.signal(Signal::SIGINT);
    let ran = running.ended();
    OffCpu { stacks: stacks(ran.success()), line: ran.stderr.lines().last().unwrap_or_default().to_owned() }
}

impl OffCpu {
    /// For how long threads were blocked in stacks that `is_it` picks by the names in them, s.
    fn seconds(&self, is_it: impl Fn(&[&str]) -> bool) -> f64 {
        let picked = self.stacks.iter().filter(|(stack, _)| is_it(&names(stack)));
        picked.map(|(_, us)| *us as f64 / 1e6).sum()
    }

    /// The number before `word` in the last line.
    fn number(&self, word: &str) -> f64 {
        let before = self.line.split(word).next().unwrap().trim_end();
        before.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("no number before {word}: {}", self.line))
    }
}

/// The versions that differ in how they keep their stacks and wait.
fn chosen() -> impl Iterator<Item = &'static Interpreter> {
    let features = [(3, 8), (3, 11), (3, 13), (3, 15)];
    Interpreter::all().iter().filter(move |interpreter| features.contains(&interpreter.feature()))
}

#[test]
fn threads_are_blocked_for_as_long_as_they_measure() {
    if !may_sample("blocked threads") {
        return;
    }
    for interpreter in chosen() {
        let mut target = Target::start(interpreter, "off_cpu.py", &[]);
        let recorder = start(target.pid(), &[]);
        target.send("");
        let results = target.line();
        let recording = end(recorder);
        let words: Vec<&str> = results.split(' ').collect();
        let measured: BTreeMap<&str, f64> =
            words.chunks(2).map(|result| (result[0], result[1].parse().unwrap())).collect();
        assert_eq!(measured.len(), 3, "{interpreter}: {results}");
        let mut sums = (0.0, 0.0);
        for (function, measured) in measured {
            let seen = recording.seconds(|names| names.contains(&function));
            assert!((seen / measured - 1.0).abs() < 0.01, "{interpreter}: {function} {measured}: {recording:#?}");
            sums = (sums.0 + measured, sums.1 + seen);
        }
        assert!((sums.1 / sums.0 - 1.0).abs() < 0.01, "{interpreter}: {sums:?}");
        assert_eq!(recording.number(" lost"), 0.0, "{interpreter}: {}", recording.line);
        let all = recording.seconds(|_| true);
        assert!((recording.number(" s in all") / all - 1.0).abs() < 0.001, "{interpreter}: {all} {}", recording.line);
        // The kernel tells which call it is, and a look at one that lasts which lock.
        let reads = recording.seconds(|names| names.contains(&"reads") && names.last().unwrap().contains(" fd "));
        assert!(reads > 0.4, "{interpreter}: {recording:#?}");
    }
}

#[test]
fn short_blocks_are_left_out_and_counted() {
    if !may_sample("short blocks") {
        return;
    }
    for interpreter in chosen() {
        let mut target = Target::start(interpreter, "off_cpu.py", &[]);
        let recorder = start(target.pid(), &["--min-block", "15ms"]);
        target.send("");
        target.line();
        let recording = end(recorder);
        assert!(recording.number(" shorter than 15 ms are left out") >= 100.0, "{interpreter}: {}", recording.line);
        // No timer is early.
        let sleeps = recording.seconds(|names| names.contains(&"sleeps"));
        assert!(sleeps >= 20.0 * 0.03, "{interpreter}: {recording:#?}");
    }
}

#[test]
fn what_lasts_counts_from_the_beginning_to_the_end() {
    if !may_sample("blocks that last") {
        return;
    }
    for interpreter in chosen() {
        let target = Target::start(interpreter, "waiting.py", &[]);
        let recorder = start(target.pid(), &[]);
        // Longer than the pieces in which a block counts while it lasts.
        std::thread::sleep(Duration::from_millis(1500));
        let recording = end(recorder);
        let seconds = recording.number(" s, ");
        for function in ["sleeps", "selects"] {
            let seen = recording.seconds(|names| names.contains(&function));
            assert!((seen - seconds).abs() < 0.06, "{interpreter}: {function} {seen} {recording:#?}");
        }
        // The one that computes wants a CPU, whether it has one or not.
        let of_gil = |names: &[&str]| names.last() == Some(&"waiting for the GIL");
        let computes = recording.seconds(|names| names.contains(&"computes") && !of_gil(names));
        assert!(computes < 0.01 * seconds, "{interpreter}: {computes} {recording:#?}");
    }
}

#[test]
fn threads_that_want_a_cpu_are_not_blocked() {
    if !may_sample("more threads than CPUs beside blocks") {
        return;
    }
    for interpreter in chosen() {
        let target = Target::start(interpreter, "hashing.py", &[]);
        let recorder = start(target.pid(), &[]);
        std::thread::sleep(Duration::from_millis(500));
        let recording = end(recorder);
        let of_gil = |names: &[&str]| names.last() == Some(&"waiting for the GIL");
        let digests = recording.seconds(|names| names.contains(&"digest") && !of_gil(names));
        assert!(digests < 0.01, "{interpreter}: {digests} {recording:#?}");
    }
}

/// Children that come in the course of a recording are found some time after they have begun: those that sleep since
/// before that count from when they went to sleep.
#[test]
fn children_are_blocked_since_before_they_were_found() {
    if !may_sample("blocks of children") {
        return;
    }
    for interpreter in chosen() {
        let mut target = Target::start(interpreter, "sleeping_children.py", &[]);
        let recorder = start(target.pid(), &["-s"]);
        target.send("2");
        assert_eq!(target.line(), "done");
        let recording = end(recorder);
        let sleeps = recording.seconds(|names| names.contains(&"sleeps"));
        // How long a sleep is beyond its time depends on who else wants a CPU; no timer is early.
        assert!((5.9..6.5).contains(&sleeps), "{interpreter}: {recording:#?}");
        let waits = recording.seconds(|names| names.contains(&"waits"));
        assert!(waits > sleeps - 0.5, "{interpreter}: {recording:#?}");
        assert!(recording.line.contains("; 3 processes; "), "{interpreter}: {recording:#?}");
        // A child may be gone, with what it ran last, before anybody looks at that.
        assert!(recording.number(" lost") <= 2.0, "{interpreter}: {}", recording.line);
    }
}

#[test]
fn blocks_of_all_processes_of_the_machine_are_told() {
    if !may_sample("blocks of a machine") {
        return;
    }
    let target = Target::start(crate::running::any(), "waiting.py", &[]);
    let ran = pyspy(&["record", "--mode", "offcpu", "--all", "-d", "3", "-f", "raw", "-o", "-"]);
    let process = format!("process {}:", target.pid());
    let of_it: Vec<_> = stacks(ran.success()).into_iter().filter(|(stack, _)| stack[0].starts_with(&process)).collect();
    for function in ["sleeps", "selects"] {
        let seen: u64 = of_it.iter().filter(|(stack, _)| names(stack).contains(&function)).map(|(_, us)| us).sum();
        // Whenever it was found, it has slept all the time.
        assert!(seen as f64 / 1e6 > 2.5, "{function} {seen}: {ran:#?}");
    }
}

#[test]
fn what_does_not_go_with_it_is_refused() {
    for (args, said) in [
        (&["--native"][..], "--mode=offcpu does not go with --native"),
        (&["--blocking"], "--mode=offcpu does not go with --blocking"),
        (&["--async"], "--mode=offcpu does not go with --async"),
        (&["-r", "1000"], "--mode=offcpu does not go with --rate"),
        (&["-r", "100"], "--mode=offcpu does not go with --rate"),
        (&["--sampler=reader"], "--mode=offcpu does not go with --sampler=reader"),
        (&["-g"], "cannot be used with"),
        (&["-i"], "cannot be used with"),
        (&["--waits"], "cannot be used with"),
    ] {
        let ran = pyspy(&[&["record", "--mode", "offcpu", "--pid", "1", "-o", "/dev/null"], args].concat());
        assert!(ran.failure().contains(said), "{args:?}: {ran:#?}");
    }
    let ran = pyspy(&["record", "--min-block", "1ms", "--pid", "1", "-o", "/dev/null"]);
    assert!(ran.failure().contains("--min-block goes with --mode=offcpu only"), "{ran:#?}");
}

#[test]
fn without_rights_it_says_what_is_missing_and_what_goes_instead() {
    if !nix::unistd::geteuid().is_root() {
        return crate::target::print_note("skipped: blocks without rights, which takes root to give them up");
    }
    let wrapper = ["--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all"];
    let record = ["record", "--mode", "offcpu", "--pid", "1", "-o", "/dev/null"];
    let ran = Command::new("setpriv").args(wrapper).arg(env!("CARGO_BIN_EXE_pyspy")).args(record).output();
    let Ok(ran) = ran else {
        return crate::target::print_note("skipped: blocks without rights, for there is no setpriv");
    };
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && said.contains("CAP_BPF and CAP_PERFMON") && said.contains("--waits"), "{said}");
}
