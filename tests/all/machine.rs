//! `--all`: every process of the machine that runs Python, as it comes. Other tests' processes are there too, so no
//! process is stopped here.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::interpreters::Interpreter;
use crate::recording::stacks;
use crate::running::{Running, any, chosen, script};
use crate::target::{Target, print_note, pyspy};

/// Its own name in a command line, so that it is known among all.
fn busy(interpreter: &Interpreter, name: &str) -> Target {
    Target::start(interpreter, "busy.py", &["10", name])
}

/// The processes that a recording in the format raw begins its stacks with.
fn processes(raw: &str) -> Vec<String> {
    let mut first: Vec<String> = stacks(raw).into_iter().filter_map(|(stack, _)| stack.first().cloned()).collect();
    first.sort();
    first.dedup();
    first
}

/// A control group, which goes when it is dropped.
struct ControlGroup(PathBuf);

impl ControlGroup {
    /// Below the root of a hierarchy; `None` where we may make none.
    fn make(name: &str) -> Option<Self> {
        let roots = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(PathBuf::from);
        let path = roots.into_iter().find(|root| root.join("cgroup.procs").exists())?.join(name);
        fs::create_dir(&path).ok().map(|()| Self(path))
    }

    fn put(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let root = self.0.parent().unwrap().join("cgroup.procs");
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write(&root, pid);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn processes_of_all_versions_are_recorded_those_that_come_later_too() {
    let before: Vec<Target> = chosen().map(|interpreter| busy(interpreter, "here-before")).collect();
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("out.raw");
    let mut running = Running::start(&[
        "record",
        "--all",
        "--nonblocking",
        "-F",
        "-r",
        "25",
        "--every",
        "1",
        "-f",
        "raw",
        "-o",
        raw.to_str().unwrap(),
    ]);
    let written = || fs::read_to_string(&raw).unwrap_or_default();
    let node = |target: &Target| format!("process {}:", target.pid());
    let is_in = |target: &Target, text: &str| text.lines().any(|line| line.starts_with(&node(target)));
    running.wait_until("the processes that were there", || before.iter().all(|target| is_in(target, &written())));
    // One that starts Python, and one that becomes Python's.
    let later = busy(any(), "came-later");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\"", "sh"]).arg(&any().path).arg(script("busy.py")).args(["10", "became-python"]);
    let became = Target::start_command(shell, "a shell that executes Python");
    running.wait_until("those that came later", || [&later, &became].iter().all(|target| is_in(target, &written())));
    // One that is gone stays in the profile; who has its place is not waited for.
    drop(later);
    running.signal(Signal::SIGINT);
    let ran = running.ended();
    assert!(ran.success().is_empty() && ran.stderr.contains("interrupted"), "{ran:#?}");
    let text = written();
    for (name, count) in [("here-before", before.len()), ("came-later", 1), ("became-python", 1)] {
        let found: Vec<String> = processes(&text).into_iter().filter(|process| process.contains(name)).collect();
        assert_eq!(found.len(), count, "{name}: {found:#?}");
    }
    let own = stacks(&text).into_iter().filter(|(stack, _)| stack.iter().any(|frame| frame.contains("here-before")));
    let wrong: Vec<_> = own.filter(|(stack, _)| !stack.iter().any(|frame| frame.starts_with("<module> ("))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn containers_and_services_are_named() {
    let id = format!("{:064x}", 0xc0ff_ee00_u64 + u64::from(std::process::id()));
    let groups = [format!("docker-{id}.scope"), format!("pyspy-test-{}.service", std::process::id())];
    let made: Option<Vec<ControlGroup>> = groups.iter().map(|name| ControlGroup::make(name)).collect();
    let Some(made) = made else {
        return print_note("skipped: no control group can be made here");
    };
    let targets = [busy(any(), "in-a-container"), busy(any(), "of-a-service")];
    made.iter().zip(&targets).for_each(|(group, target)| group.put(target.pid()));
    let names = [format!("(container {})", &id[..12]), format!("({})", groups[1])];
    for (target, name) in targets.iter().zip(&names) {
        let pid = target.pid().to_string();
        let recorded = pyspy(&["record", "-s", "-d", "1", "-f", "raw", "-o", "-", "--pid", &pid]);
        assert!(processes(recorded.success()).iter().any(|process| process.ends_with(name)), "{name}: {recorded:#?}");
        let top = pyspy(&["top", "--once", "--delay", "500ms", "--pid", &pid]);
        assert!(top.success().lines().next().unwrap().ends_with(name), "{name}: {top:#?}");
    }
    // A recording keeps it.
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("all.pyspy");
    let kept = kept.to_str().unwrap();
    pyspy(&["record", "--all", "--nonblocking", "-r", "25", "-d", "4", "-o", kept]).success();
    let converted = pyspy(&["convert", kept, "-s", "-f", "raw", "-o", "-"]);
    for name in &names {
        assert!(processes(converted.success()).iter().any(|process| process.ends_with(name)), "{name}: {converted:#?}");
    }
}

#[test]
fn processes_are_dumped_and_shown_by_name() {
    let named: Vec<Target> = (0..2).map(|_| busy(any(), "shown-by-name")).collect();
    let dumped = pyspy(&["dump", "--nonblocking", "--name", "*shown-by-name*"]);
    let top = pyspy(&["top", "--nonblocking", "--once", "--delay", "500ms", "--name", "*shown-by-name*"]);
    let json = pyspy(&["dump", "--nonblocking", "--json", "--name", "*shown-by-name*"]);
    let json: serde_json::Value = serde_json::from_str(json.success()).unwrap();
    let pids: Vec<u64> = json.as_array().unwrap().iter().map(|thread| thread["pid"].as_u64().unwrap()).collect();
    let all = pyspy(&["dump", "--nonblocking", "--all"]);
    for target in &named {
        let line = format!("Process {}: ", target.pid());
        for ran in [&dumped, &top, &all] {
            assert_eq!(ran.success().lines().filter(|text| text.starts_with(&line)).count(), 1, "{ran:#?}");
        }
        assert!(pids.contains(&u64::from(target.pid())), "{pids:?}");
    }
    assert!(!dumped.success().contains("no Python"), "{dumped:#?}");
    let ran = pyspy(&["dump", "--name", "no-such-program"]);
    assert!(ran.failure().contains("no Python process has this name or a command line like"), "{ran:#?}");
}

#[test]
fn all_processes_are_sampled_live_and_watched() {
    let target = busy(any(), "seen-by-all");
    let ran = pyspy(&["top", "--all", "--nonblocking", "--once", "--delay", "3"]);
    let pid = target.pid().to_string();
    let line = format!("Process {pid}: ");
    assert!(ran.success().lines().any(|text| text.starts_with(&line)), "{ran:#?}");
    let folder = tempfile::tempdir().unwrap();
    let mut watch = Running::start(&[
        "watch",
        "--all",
        "--nonblocking",
        "--call",
        "compute:1s",
        "-o",
        folder.path().to_str().unwrap(),
    ]);
    let event = watch.output_path("stdout");
    let names_it = |text: &str| text.lines().any(|line| line.contains("compute") && line.contains(&pid));
    watch.wait_until("the event", || names_it(&fs::read_to_string(&event).unwrap()));
    for (arguments, with) in
        [(&["record", "--all", "-p", "1"], "--pid"), (&["record", "--all", "--name", "x"], "--name")]
    {
        let ran = pyspy(arguments.as_slice());
        assert_eq!(ran.status.code(), Some(2), "{ran:#?}");
        assert!(ran.stderr.contains(with), "{ran:#?}");
    }
}
