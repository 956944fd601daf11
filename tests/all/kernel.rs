//! What the kernel samples: as true as what is read, nothing stopped, nothing left behind.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interpreters::Interpreter;
use crate::recording::{Recording, names, stacks};
use crate::running::{Running, cpu_time};
use crate::subinterpreters::makes_interpreters;
use crate::target::{Target, alone_on_this_machine, print_note, pyspy};
use crate::truth::{Tally, is_fib, is_in_its_file, is_in_one_chain, is_paired, wanted_cpu};

/// Whether the kernel samples here; if not, what is skipped is said.
pub(crate) fn may_sample(what: &str) -> bool {
    let ran = pyspy(&["record", "--sampler=kernel", "-d", "0.1", "-o", "/dev/null", "--", "/usr/bin/env", "true"]);
    let refused = ran.stderr.lines().find(|line| line.contains("the kernel cannot take"));
    if let Some(line) = refused {
        print_note(&format!("skipped: {what}: {line}"));
    }
    refused.is_none()
}

/// Waits until something is so, which a broken pyspy never makes it.
#[track_caller]
fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The versions that differ in how they keep their stacks.
pub(crate) fn chosen() -> impl Iterator<Item = &'static Interpreter> {
    let features = [(3, 8), (3, 11), (3, 13), (3, 15)];
    Interpreter::all().iter().filter(move |interpreter| features.contains(&interpreter.feature()))
}

fn record(interpreter: &Interpreter, script: &str, args: &[&str]) -> Recording {
    let target = Target::start(interpreter, script, &[]);
    let recording = Recording::of(target.pid(), &[&["--sampler=kernel", "--full-filenames"], args].concat());
    assert!(recording.stderr.contains("sampled in the kernel"), "{interpreter}: {recording:#?}");
    assert_eq!(recording.summary.stopped, 0, "{interpreter}: {recording:#?}");
    recording
}

#[test]
fn the_kernel_sees_only_possible_chains_in_every_version() {
    let _alone = alone_on_this_machine();
    if !may_sample("chains in the kernel") {
        return;
    }
    let mut tally = Tally::default();
    for interpreter in Interpreter::all() {
        let recording = record(interpreter, "chains.py", &["-r", "10000", "-d", "0.3"]);
        tally.add_any(interpreter, &recording, is_in_one_chain);
        // A thread that runs or wants to is sampled all the time, whoever else needs the CPU.
        let (seen, summary) = (recording.total(), &recording.summary);
        // One run beside a compiler had half a per cent more than the time, for a reason that is not known.
        let most = 1.02 * summary.most_intervals("10000") as f64;
        let is_all = seen as f64 >= 0.8 * summary.intervals("10000") && seen as f64 <= most;
        assert!(is_all, "{interpreter}: {seen} {summary:?}");
    }
    assert_eq!(tally.impossible, 0, "{tally:#?}");
}

#[test]
fn the_kernel_sees_only_what_was_there_of_recursion_and_of_code_that_comes_and_goes() {
    let _alone = alone_on_this_machine();
    if !may_sample("churn in the kernel") {
        return;
    }
    let (mut tally, mut unversioned) = (Tally::default(), Tally::default());
    for interpreter in chosen() {
        let recording = record(interpreter, "fib.py", &["-r", "10000", "-d", "0.3"]);
        tally.add_any(interpreter, &recording, is_fib);
        let recording = record(interpreter, "churn.py", &["-r", "5000", "-d", "0.6"]);
        // Up to 3.11 code has no version of its own: what says that it is the same is not all of it.
        let of_churn = if interpreter.feature() < (3, 12) { &mut unversioned } else { &mut tally };
        of_churn.add_any(interpreter, &recording, is_in_its_file);
        of_churn.add_any(interpreter, &recording, is_paired);
        assert!(recording.count(|names| names.iter().any(|name| name.starts_with("g_"))) > 0, "{interpreter}");
    }
    assert_eq!(tally.impossible, 0, "{tally:#?}");
    assert!(unversioned.impossible as f64 <= 0.001 * unversioned.total as f64, "{unversioned:#?}");
}

#[test]
fn frames_of_two_moments_are_never_in_one_deep_stack() {
    let _alone = alone_on_this_machine();
    if !may_sample("deep chains in the kernel") {
        return;
    }
    let mut tally = Tally::default();
    for interpreter in Interpreter::all() {
        let recording = record(interpreter, "deep_chains.py", &["-r", "5000", "-d", "0.4"]);
        tally.add_any(interpreter, &recording, |stack| has_its_leaf(&names(stack)));
        let whole = recording.count(|names| leaf_of(names).is_some());
        assert!(whole > 100, "{interpreter}: {:?}", recording.summary);
    }
    assert_eq!(tally.impossible, 0, "{tally:#?}");
}

/// The number of the function at the end of a stack of `deep_chains.py`, and where its frame is.
fn leaf_of(names: &[&str]) -> Option<(usize, u64)> {
    names.iter().enumerate().find_map(|(place, name)| Some((place, name.strip_prefix("leaf_")?.parse().ok()?)))
}

/// Whether that function is the one that belongs to the frames above it, as the program computes it.
fn has_its_leaf(names: &[&str]) -> bool {
    let Some((place, leaf)) = leaf_of(names) else { return true };
    let levels: Vec<&str> = names[..place].iter().copied().filter(|name| ["a", "b"].contains(name)).collect();
    // The outermost one is that of no level.
    let bits = levels.iter().skip(1).map(|name| u64::from(*name == "b"));
    let sum: u64 = (0..).zip(bits).map(|(level, bit)| (level * level + 3 * level + 1) * bit).sum();
    levels.len() == 151 && sum % 16 == leaf
}

#[test]
fn three_thousand_frames_are_taken_in_one_interrupt() {
    let _alone = alone_on_this_machine();
    if !may_sample("deep stacks in the kernel") {
        return;
    }
    for interpreter in chosen() {
        let script = "import sys, threading\nsys.setrecursionlimit(100000)\nthreading.stack_size(1 << 28)\n\
            def descend(left):\n    if left:\n        return descend(left - 1)\n    print('ready', flush=True)\n    \
            while True: pass\n\
            thread = threading.Thread(target=descend, args=(2999,))\nthread.start()\n";
        let mut command = Command::new(&interpreter.path);
        command.args(["-c", script]);
        let target = Target::start_command(command, "a deep program");
        let recording = Recording::of(target.pid(), &["--sampler=kernel", "-d", "0.5", "-r", "100"]);
        let depth = |names: &[&str]| names.iter().filter(|name| **name == "descend").count();
        let whole = recording.count(|names| depth(names) == 3000);
        assert!(whole > 20, "{interpreter}: {:?}", recording.summary);
        // The main thread may not have left `start` yet.
        let cut = recording.count(|names| ![0, 3000].contains(&depth(names)));
        assert_eq!(cut, 0, "{interpreter}: {:?}", recording.summary);
    }
}

#[test]
fn threads_that_want_a_cpu_count_as_when_they_have_one() {
    let _alone = alone_on_this_machine();
    if !may_sample("more threads than CPUs in the kernel") {
        return;
    }
    for interpreter in chosen().filter(|interpreter| matches!(interpreter.feature(), (3, 8 | 13))) {
        let target = Target::start(interpreter, "hashing.py", &[]);
        let (before, started) = (wanted_cpu(target.pid()), Instant::now());
        let recording = Recording::of(target.pid(), &["--sampler=kernel", "-d", "1.5", "-r", "500"]);
        let (after, elapsed) = (wanted_cpu(target.pid()), started.elapsed().as_secs_f64());
        let wanted: f64 = after.iter().map(|(thread, time)| time - before.get(thread).unwrap_or(&0.0)).sum();
        let threads = recording.total() as f64 / 500.0 / recording.summary.seconds;
        assert!((threads / (wanted / elapsed) - 1.0).abs() < 0.1, "{interpreter}: {threads} of {wanted} / {elapsed}");
        // More threads than CPUs: at every switch one waits, whatever the rate.
        assert!(
            recording.stderr.contains("; sampled in the kernel, ")
                && recording.stderr.contains(" times waiting for a CPU")
        );
        // The main thread may only just be on its way into its wait, and want a CPU for that.
        let digests = recording.count(|names| names.last() == Some(&"digest"));
        assert!(digests as f64 >= 0.95 * recording.total() as f64, "{interpreter}: {recording:#?}");
    }
}

/// A thread that has waited for a CPU ends, and another gets its number: that one's waits are its own.
#[test]
fn a_thread_with_the_number_of_one_that_has_ended_is_another() {
    let _alone = alone_on_this_machine();
    if !may_sample("threads with the same number") {
        return;
    }
    if !Path::new("/proc/sys/kernel/ns_last_pid").exists() {
        return print_note("skipped: threads with the same number, which this kernel does not let us choose");
    }
    let mut target = Target::start(crate::running::any(), "reused_thread_id.py", &[]);
    let pid = target.pid().to_string();
    let recorder = Running::start_recording(&["--sampler=kernel", "-r", "100", "-f", "raw", "-o", "-", "-p", &pid]);
    target.send("go");
    let line = target.line();
    recorder.signal(Signal::SIGINT);
    let ran = recorder.ended();
    if !line.starts_with("reused") {
        return print_note("skipped: threads with the same number, which others have taken");
    }
    // It was the time since the beginning that came on top, in whatever the second did first.
    let (computing, other): (Vec<_>, Vec<_>) =
        stacks(ran.success()).into_iter().partition(|(stack, _)| names(stack).contains(&"computes"));
    let samples = |stacks: &[(Vec<String>, u64)]| stacks.iter().map(|(_, count)| count).sum::<u64>();
    let (computing, other) = (samples(&computing), samples(&other));
    assert!(computing > 0 && other < computing / 4, "{other} beside {computing}: {ran:#?}");
}

/// A process with the lowest priority beside one that computes all the time, on one CPU: it runs for some milliseconds,
/// then waits for some hundred.
#[test]
fn a_wait_for_a_cpu_counts_that_goes_on_when_the_recording_begins_or_ends() {
    let _alone = alone_on_this_machine();
    if !may_sample("long waits for a CPU in the kernel") {
        return;
    }
    for interpreter in chosen() {
        let on_one_cpu = |arguments: &[&str]| {
            let mut command = Command::new("taskset");
            command.args(["-c", "0"]).args(arguments).arg(&interpreter.path);
            command
        };
        // Of one stack: each that there is counts for an interval at least.
        let script = ["-c", "print('ready', flush=True)\nwhile True: pass"];
        let mut waits = on_one_cpu(&["nice", "-n", "19"]);
        waits.args(script);
        let target = Target::start_command(waits, "a process of low priority");
        let mut computes = on_one_cpu(&[]);
        computes.args(script);
        let _busy = Target::start_command(computes, "a process that keeps the CPU");
        // Nothing is known of what has not run at all.
        let recordings = std::iter::repeat_with(|| Recording::of(target.pid(), &["--sampler=kernel", "-d", "1"]));
        let recording = recordings.take(20).find(|recording| recording.summary.samples > 0).unwrap();
        let (seen, summary) = (recording.total(), &recording.summary);
        let is_all = seen as f64 >= 0.95 * summary.intervals("100") && seen <= summary.most_intervals("100");
        assert!(is_all, "{interpreter}: {seen} {summary:?}");
    }
}

#[test]
fn threads_that_are_gone_when_the_ring_is_emptied_are_there_with_their_frames() {
    let _alone = alone_on_this_machine();
    if !may_sample("brief threads in the kernel") {
        return;
    }
    for interpreter in chosen() {
        let recording = record(interpreter, "brief_threads.py", &["-r", "1000", "-d", "0.8"]);
        let (brief, all) = (recording.count(|names| names.contains(&"compute")), recording.total());
        assert!(brief > 20, "{interpreter}: {brief} of {all}: {:?}", recording.summary);
        let lost = recording.summary.lost as f64 / recording.summary.samples as f64;
        assert!(lost < 0.1, "{interpreter}: {:?}", recording.summary);
    }
}

/// A sample of the kernel stands for 5 ms here, and most of these threads run for less.
#[test]
fn threads_that_end_before_a_sample_is_due_count_for_what_they_ran() {
    let _alone = alone_on_this_machine();
    if !may_sample("threads briefer than a sample") {
        return;
    }
    for interpreter in chosen() {
        let target = Target::start(interpreter, "brief_threads.py", &[]);
        let args = ["-r", "200", "-f", "raw", "-o", "-", "--sampler=kernel", "--pid", &target.pid().to_string()];
        let running = Running::start_recording(&args);
        let before = cpu_time(target.pid());
        wait_until(|| cpu_time(target.pid()) - before > 4.0);
        let ran_for = cpu_time(target.pid()) - before;
        running.signal(Signal::SIGINT);
        let recording = Recording::from_run(&running.ended());
        // Waits for a CPU are in it, too.
        let seen = recording.total() as f64 / 200.0;
        assert!(seen > 0.88 * ran_for, "{interpreter}: {seen} s of {ran_for} s: {recording:?}");
        let computing = recording.count(|names| names.contains(&"compute")) as f64 / 200.0;
        assert!(computing > 0.7 * ran_for, "{interpreter}: {computing} s of {ran_for} s: {recording:?}");
        let lost = recording.summary.lost as f64 / recording.summary.samples as f64;
        assert!(lost < 0.02, "{interpreter}: {:?}", recording.summary);
    }
}

#[test]
fn what_waits_is_read_beside_what_the_kernel_samples() {
    let _alone = alone_on_this_machine();
    if !may_sample("idle threads beside the kernel") {
        return;
    }
    for interpreter in chosen().filter(|interpreter| matches!(interpreter.feature(), (3, 8 | 13))) {
        let recording = record(interpreter, "waiting.py", &["-r", "100", "-d", "1", "--idle"]);
        for function in ["computes", "sleeps", "selects"] {
            let seen = recording.count(|names| names.contains(&function)) as f64 / recording.summary.intervals("100");
            assert!(seen >= 0.8, "{interpreter}: {function} {seen}: {:?}", recording.summary);
        }
    }
}

#[test]
fn no_thread_that_the_kernel_samples_is_traced() {
    let _alone = alone_on_this_machine();
    if !may_sample("tracing ourselves") {
        return;
    }
    for interpreter in chosen().filter(|interpreter| interpreter.feature() == (3, 13)) {
        let target = Target::start(interpreter, "fib.py", &[]);
        let folder = tempfile::tempdir().unwrap();
        let calls = folder.path().join("calls");
        let pid = target.pid().to_string();
        let traced = Command::new("strace")
            .args(["-f", "-e", "trace=ptrace,process_vm_readv", "-o"])
            .arg(&calls)
            .arg(env!("CARGO_BIN_EXE_pyspy"))
            .args(["record", "--sampler=kernel", "-d", "0.5", "-r", "1000", "-f", "raw", "-o", "/dev/null"])
            .args(["--pid", &pid])
            .output();
        let Ok(ran) = traced else {
            return print_note("skipped: the calls of pyspy are not seen, for there is no strace");
        };
        assert!(ran.status.success(), "{ran:?}");
        let calls = fs::read_to_string(calls).unwrap();
        assert!(calls.contains("process_vm_readv("), "{calls}");
        assert!(!calls.contains("ptrace("), "{calls}");
    }
}

#[test]
fn nothing_stays_in_the_kernel_of_a_recording_that_is_killed() {
    let _alone = alone_on_this_machine();
    if !may_sample("what is left in the kernel") {
        return;
    }
    let programs = || {
        let listed = Command::new("bpftool").args(["prog", "show"]).output().ok()?;
        Some(String::from_utf8_lossy(&listed.stdout).matches("name sample_running").count())
    };
    let Some(before) = programs() else {
        return print_note("skipped: what is left in the kernel, for there is no bpftool");
    };
    let Some(interpreter) = chosen().last() else { return };
    let mut target = Target::start(interpreter, "fib.py", &[]);
    for delay_ms in [0, 5, 20, 50, 100, 200] {
        let mut recording = Command::new(env!("CARGO_BIN_EXE_pyspy"))
            .args(["record", "--sampler=kernel", "-f", "raw", "-o", "/dev/null", "--pid", &target.pid().to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        kill(Pid::from_raw(recording.id() as i32), Signal::SIGKILL).unwrap();
        recording.wait().unwrap();
        // The kernel frees them when nobody reads them any more.
        wait_until(|| programs() == Some(before));
    }
    let recording = Recording::of(target.pid(), &["-d", "0.2", "--sampler=kernel"]);
    assert!(recording.total() > 0, "the target runs on: {recording:#?}");
    target.send("");
}

#[test]
fn what_the_kernel_cannot_do_is_refused() {
    let options = [["--blocking", ""], ["--async", ""], ["--mode", "gil-wait"], ["-r", "100000"]];
    for [option, value] in options {
        let mut args = vec!["record", "--sampler=kernel", "--pid", "1", "-o", "/dev/null", option];
        args.extend((!value.is_empty()).then_some(value));
        let ran = pyspy(&args);
        let said = ran.failure();
        assert!(said.contains("--sampler=kernel does not go with"), "{ran:#?}");
    }
}

#[test]
fn without_rights_the_kernel_is_refused_and_auto_says_what_they_would_bring() {
    let Some(interpreter) = Interpreter::all().iter().find(|found| found.path.starts_with("/usr/bin")) else {
        return print_note("skipped: recording without rights, which needs a Python that every user may run");
    };
    let run = |sampler: &str| {
        let wrapper = ["--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all"];
        let record = ["record", sampler, "-d", "0.3", "-f", "raw", "-o", "/dev/null", "--"];
        Command::new("setpriv")
            .args(wrapper)
            .arg(env!("CARGO_BIN_EXE_pyspy"))
            .args(record)
            .arg(&interpreter.path)
            .args(["-c", "while True: pass"])
            .output()
    };
    if !nix::unistd::geteuid().is_root() {
        return print_note("skipped: recording without rights, which takes root to give them up");
    }
    let Ok(refused) = run("--sampler=kernel") else {
        return print_note("skipped: recording without rights, for there is no setpriv");
    };
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("CAP_BPF and CAP_PERFMON"), "{said}");
    let read = run("--sampler=auto").unwrap();
    let said = String::from_utf8_lossy(&read.stderr).into_owned();
    assert!(read.status.success() && said.contains("as root it has the kernel sample"), "{said}");
    assert!(!said.contains("sampled in the kernel"), "{said}");
}

/// The program in the kernel is what its source gives.
#[test]
fn the_object_is_what_the_pinned_compiler_makes_of_its_source() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sampler/kernel");
    let version = Command::new("clang-14").arg("--version").output();
    if !version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(" 14.0.6")) {
        return print_note("skipped: program.bpf.o is not compared with its source, for there is no clang-14 14.0.6");
    }
    let made = tempfile::tempdir().unwrap();
    let object = made.path().join("program.bpf.o");
    let ran = Command::new("clang-14")
        .current_dir(&folder)
        .args(["-O2", "-g", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu", "-fdebug-compilation-dir=."])
        .args(["-c", "program.bpf.c", "-o"])
        .arg(&object)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    if said.contains("bpf/bpf_helpers.h") {
        return print_note("skipped: program.bpf.o is not compared with its source, for there is no libbpf-dev");
    }
    assert!(ran.status.success(), "{said}");
    let (ours, its) = (fs::read(folder.join("program.bpf.o")).unwrap(), fs::read(object).unwrap());
    assert!(ours == its, "program.bpf.o is not what program.bpf.c gives: {} and {} bytes", ours.len(), its.len());
}

#[test]
fn what_the_kernel_cannot_sample_is_no_empty_file() {
    if !may_sample("a process with several interpreters") {
        return;
    }
    for interpreter in chosen().filter(|interpreter| interpreter.feature() >= (3, 12)) {
        if !makes_interpreters(interpreter) {
            continue;
        }
        let target = Target::start(interpreter, "subinterpreters.py", &[]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.txt");
        let (pid, output) = (target.pid().to_string(), path.to_str().unwrap());
        let ran = pyspy(&["record", "--sampler=kernel", "-d", "5", "-f", "raw", "-o", output, "--pid", &pid]);
        assert_eq!(ran.status.code(), Some(1), "{interpreter}: {ran:#?}");
        let said = "nothing was recorded: the kernel cannot take its samples: the process has several interpreters";
        assert!(ran.stderr.contains(said), "{interpreter}: {ran:#?}");
        assert!(!path.exists(), "{interpreter}: {ran:#?}");
    }
}
