//! Native stacks that the kernel copies: the same as those of a stop, and nothing is stopped.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::interpreters::Interpreter;
use crate::kernel::{chosen, may_sample};
use crate::native::{has_ctypes, library};
use crate::recording::{Recording, names};
use crate::target::{Target, alone_on_this_machine, print_note, pyspy};

/// The functions of each stack, with their share of the time.
type Shares = BTreeMap<Vec<String>, f64>;

/// Records with native frames, nothing stopped if the kernel samples, and adds what was seen.
fn record(target: &Target, sampler: &str, sums: &mut BTreeMap<Vec<String>, u64>) {
    let recording = Recording::of(target.pid(), &["-n", sampler, "-r", "1000", "-d", "1"]);
    let is_kernel = sampler == "--sampler=kernel";
    assert_eq!(recording.stderr.contains("sampled in the kernel"), is_kernel, "{recording:#?}");
    assert!(recording.summary.stopped == 0 || !is_kernel, "{recording:#?}");
    for (stack, count) in &recording.stacks {
        *sums.entry(names(stack).into_iter().map(str::to_owned).collect()).or_default() += count;
    }
}

fn shares(sums: &BTreeMap<Vec<String>, u64>) -> Shares {
    let total: u64 = sums.values().sum();
    sums.iter().map(|(stack, count)| (stack.clone(), *count as f64 / total.max(1) as f64)).collect()
}

/// The stacks with some share of one that the other has not.
fn missing<'shares>(of: &'shares Shares, other: &Shares) -> Vec<(&'shares Vec<String>, f64)> {
    const SOME: f64 = 0.03;
    let missing = of.iter().filter(|(stack, share)| **share >= SOME && !other.contains_key(*stack));
    missing.map(|(stack, share)| (stack, *share)).collect()
}

#[test]
fn the_kernel_gives_the_merged_stacks_that_a_stop_gives() {
    let _alone = alone_on_this_machine();
    if !may_sample("native stacks of the kernel beside those of stops") {
        return;
    }
    for interpreter in chosen() {
        let target = Target::start(interpreter, "native_phases.py", &[]);
        let deadline = Instant::now() + Duration::from_secs(60);
        let (mut copied, mut stopped) = (BTreeMap::new(), BTreeMap::new());
        loop {
            record(&target, "--sampler=kernel", &mut copied);
            record(&target, "--sampler=reader", &mut stopped);
            let (copied, stopped) = (shares(&copied), shares(&stopped));
            let only = (missing(&copied, &stopped), missing(&stopped, &copied));
            // What is seldom comes in time, and what was met once by chance loses its share.
            if only.0.is_empty() && only.1.is_empty() {
                for phase in ["compresses", "digests", "sorts", "key"] {
                    let has_phase = |stack: &Vec<String>| stack.iter().any(|name| name == phase);
                    assert!(copied.keys().any(has_phase), "{interpreter}: {phase}: {copied:#?}");
                }
                break;
            }
            assert!(Instant::now() < deadline, "{interpreter}: {only:#?}");
        }
    }
}

#[test]
fn python_and_c_call_each_other_in_the_order_in_which_they_did() {
    let _alone = alone_on_this_machine();
    if !may_sample("C between Python in the kernel") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path(), "nest.c", &["-O2"]) else { return };
    for interpreter in Interpreter::all().iter().filter(|interpreter| has_ctypes(interpreter)) {
        let target = Target::start(interpreter, "native.py", &[library.to_str().unwrap(), "work"]);
        let recording = Recording::of(target.pid(), &["-n", "--sampler=kernel", "-r", "5000", "-d", "0.3"]);
        let nest = ["main", "key", "middle", "nest_outer", "nest_inner", "nest_hidden", "leaf"];
        let is_nest = |stack: &[&str]| {
            let ours = stack.iter().filter(|name| nest.contains(name) || **name == "nest_work");
            let ours: Vec<&str> = ours.copied().collect();
            ours == nest || ours == [&nest[..], &["nest_work"]].concat()
        };
        // At some instructions libffi does not say how it is left, and what is older is Python only.
        let is_part = |stack: &[&str]| {
            let mut rest = nest.iter().chain(&["nest_work"]);
            let mut ours = stack.iter().filter(|name| nest.contains(name) || **name == "nest_work");
            ours.all(|name| rest.any(|next| next == name)) && stack.contains(&"leaf")
        };
        let (whole, possible, all) = (recording.count(is_nest), recording.count(is_part), recording.total());
        assert!(possible == all && all > 100, "{interpreter}: {recording:#?}");
        assert!(whole as f64 >= 0.97 * all as f64, "{interpreter}: {recording:#?}");
    }
}

#[test]
fn what_is_deeper_than_the_copy_is_marked_and_counted() {
    let _alone = alone_on_this_machine();
    if !may_sample("deep native stacks in the kernel") {
        return;
    }
    // Each call goes through C, on every version, and takes a kilobyte or more.
    let script = "import sys, threading\nthreading.stack_size(1 << 26)\n\
        def descend(left):\n    if left:\n        sorted([1], key=lambda _: descend(left - 1))\n    \
        print('ready'); sys.stdout.flush()\n    while True: pass\n\
        thread = threading.Thread(target=descend, args=(140,))\nthread.daemon = True\nthread.start()\nthread.join()\n";
    for interpreter in chosen() {
        let mut command = Command::new(&interpreter.path);
        command.args(["-c", script]);
        let target = Target::start_command(command, "a program deep in C");
        let recording = Recording::of(target.pid(), &["-n", "--sampler=kernel", "-r", "200", "-d", "0.5"]);
        let is_mark = |name: &&&str| **name == "<deeper native frames>";
        let is_whole_and_marked = |stack: &[&str]| {
            let Some(mark) = stack.iter().position(|name| is_mark(&name)) else { return false };
            let sorts = |frames: &[&str]| frames.iter().filter(|name| name.contains("sort")).count();
            // From the mark up nothing is missing, and below it there is Python only.
            stack.iter().filter(is_mark).count() == 1
                && stack.iter().filter(|name| **name == "descend").count() == 141
                && sorts(&stack[..mark]) == 0
        };
        let is_deep = |stack: &[&str]| stack.contains(&"descend");
        let (cut, all) = (recording.count(is_whole_and_marked), recording.count(is_deep));
        assert!(cut == all && all > 20, "{interpreter}: {recording:#?}");
        let said = "native stacks are deeper than what is copied of them";
        assert!(recording.stderr.contains(said), "{interpreter}: {recording:#?}");
    }
}

#[test]
fn native_frames_of_the_kernel_need_no_stop() {
    let _alone = alone_on_this_machine();
    if !may_sample("native stacks without a stop") {
        return;
    }
    for interpreter in chosen() {
        let target = Target::start(interpreter, "native_phases.py", &[]);
        let folder = tempfile::tempdir().unwrap();
        let (calls, output) = (folder.path().join("calls"), folder.path().join("raw"));
        let pid = target.pid().to_string();
        let traced = Command::new("strace")
            .args(["-f", "-e", "trace=ptrace", "-o"])
            .arg(&calls)
            .arg(env!("CARGO_BIN_EXE_pyspy"))
            .args(["record", "--sampler=kernel", "-n", "--nonblocking", "-i", "-d", "0.5", "-r", "1000", "-f", "raw"])
            .arg("-o")
            .arg(&output)
            .args(["--pid", &pid])
            .output();
        let Ok(ran) = traced else {
            return print_note("skipped: the calls of pyspy are not seen, for there is no strace");
        };
        assert!(ran.status.success(), "{ran:?}");
        let (calls, raw) = (fs::read_to_string(calls).unwrap(), fs::read_to_string(output).unwrap());
        assert!(calls.contains("exited with 0") && !calls.contains("ptrace("), "{interpreter}: {calls}");
        assert!(raw.contains(";compresses (native_phases.py:") && raw.contains("deflate"), "{interpreter}: {raw}");
    }
}

#[test]
fn a_thread_that_sleeps_shows_its_native_stack_with_one_stop_at_most() {
    let _alone = alone_on_this_machine();
    if !may_sample("native stacks of idle threads beside the kernel") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path(), "nest.c", &["-O2"]) else { return };
    let interpreter = Interpreter::all().iter().rfind(|interpreter| has_ctypes(interpreter)).unwrap();
    let target = Target::start(interpreter, "native.py", &[library.to_str().unwrap(), "wait"]);
    let record = |more: &[&str]| {
        let args = [&["-n", "-i", "--sampler=kernel", "-r", "100", "-d", "1"], more].concat();
        Recording::of(target.pid(), &args)
    };
    // It may not have left yet from where it said that it was ready.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let recording = record(&[]);
        if recording.count(|names| names.contains(&"nest_hidden") && names.contains(&"leaf")) > 0 {
            // It sleeps since before we came, so the registers that it went to sleep with are not known.
            assert!(recording.summary.stopped <= 1, "{recording:#?}");
            break;
        }
        assert!(Instant::now() < deadline, "{recording:#?}");
    }
    let recording = record(&["--nonblocking"]);
    let (python, native) =
        (recording.count(|names| names.contains(&"leaf")), recording.count(|names| names.contains(&"nest_hidden")));
    assert!(python > 0 && native == 0 && recording.summary.stopped == 0, "{recording:#?}");
}

#[test]
fn threads_without_python_are_sampled_by_the_kernel_when_asked_for() {
    let _alone = alone_on_this_machine();
    if !may_sample("native threads in the kernel") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path(), "threads.c", &["-O1", "-pthread"]) else { return };
    for interpreter in chosen().filter(|interpreter| has_ctypes(interpreter)) {
        let library = library.to_str().unwrap();
        let start = |what: &str| Target::start(interpreter, "native_names.py", &["threads", library, what]);
        let target = start("alone");
        let args = ["-n", "--sampler=kernel", "-t", "-r", "500", "-d", "0.5"];
        let recording = Recording::of(target.pid(), &[&args[..], &["--native-threads"]].concat());
        let is_busy = |stack: &[&str]| stack.ends_with(&["busy", "spin_alone"]);
        let (busy, all) = (recording.count(is_busy), recording.total());
        assert!(busy as f64 > 0.9 * all as f64 && busy > 50, "{interpreter}: {recording:#?}");
        assert!(recording.stacks.iter().any(|(stack, _)| stack[0].ends_with(": busy-worker")), "{recording:#?}");
        assert_eq!(recording.summary.stopped, 0, "{interpreter}: {recording:#?}");
        let recording = Recording::of(target.pid(), &args);
        assert_eq!(recording.count(is_busy), 0, "{interpreter}: {recording:#?}");
        // One that has a thread state and no Python frames.
        let target = start("attached");
        let recording = Recording::of(target.pid(), &args);
        let attached = recording.count(|stack| stack.ends_with(&["attached", "spin_attached"]));
        assert!(attached > 50, "{interpreter}: {recording:#?}");
    }
}

#[test]
fn what_only_the_kernel_can_do_is_refused_without_it() {
    for wanted in [&["--native", "--nonblocking"][..], &["--kernel-frames"]] {
        let ran = pyspy(&[&["record", "--sampler=reader", "--pid", "1", "-o", "/dev/null"], wanted].concat());
        assert_eq!(ran.status.code(), Some(2), "{ran:#?}");
        assert!(ran.stderr.contains("--sampler=kernel"), "{ran:#?}");
    }
}

#[test]
fn system_calls_and_faults_have_the_frames_of_the_kernel_when_asked_for() {
    let _alone = alone_on_this_machine();
    if !may_sample("frames of the kernel") {
        return;
    }
    let script = "import os\nfile = os.open('/dev/zero', os.O_RDONLY)\n\
        def reads():\n    for _ in range(1000): os.read(file, 1 << 20)\n\
        def main():\n    print('ready', flush=True)\n    while True: reads()\nmain()\n";
    for interpreter in chosen() {
        let mut command = Command::new(&interpreter.path);
        command.args(["-c", script]);
        let target = Target::start_command(command, "a program that reads");
        for more in [&[][..], &["--native"]] {
            let args = [&["--sampler=kernel", "--kernel-frames", "-r", "500", "-d", "0.5"], more].concat();
            let recording = Recording::of(target.pid(), &args);
            let said = recording.stderr.lines().find(|line| line.contains("names of the kernel's functions"));
            if let Some(said) = said {
                return print_note(&format!("skipped: frames of the kernel: {said}"));
            }
            let is_of_kernel = |frame: &String| frame.ends_with(" ([kernel])");
            let (mut inside, mut all) = (0, 0);
            for (stack, count) in recording.stacks.iter().filter(|(stack, _)| names(stack).contains(&"reads")) {
                let border = stack.iter().position(is_of_kernel).unwrap_or(stack.len());
                let (program, kernel) = stack.split_at(border);
                // What the kernel does is above all that the program does, and begins where the program was left.
                assert!(kernel.iter().all(|frame| frame.ends_with("])")), "{interpreter}: {recording:#?}");
                // Within some instructions of the kernel it does not know its own stack, and tells the innermost frame
                // only.
                let begins = |first: &String| first.contains("entry") || first.starts_with("asm_");
                assert!(kernel.len() <= 2 || begins(&kernel[0]), "{interpreter}: {kernel:?}");
                assert!(names(program).contains(&"reads"), "{interpreter}: {recording:#?}");
                all += count;
                inside += if kernel.len() > 2 { *count } else { 0 };
            }
            assert!(inside > 5 && all >= inside, "{interpreter}: {inside} of {all}: {recording:#?}");
        }
    }
    let Some(interpreter) = chosen().last() else { return };
    let mut command = Command::new(&interpreter.path);
    command.args(["-c", script]);
    let target = Target::start_command(command, "a program that reads");
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("run.pyspy");
    let (recording, pid) = (recording.to_str().unwrap(), target.pid().to_string());
    let record = ["record", "--sampler=kernel", "--kernel-frames", "-r", "500", "-d", "1", "-o", recording];
    pyspy(&[&record[..], &["--pid", &pid]].concat()).success();
    for (format, kind) in [("raw", "([kernel])"), ("firefox", "\"Kernel\""), ("html", "the kernel")] {
        let output = folder.path().join(format);
        pyspy(&["convert", recording, "-f", format, "-o", output.to_str().unwrap()]).success();
        assert!(fs::read_to_string(&output).unwrap().contains(kind), "{format}");
    }
}
