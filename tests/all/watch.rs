//! `watch`: hangs of many kinds are found, and what works is left alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::packages::Missing;
use crate::running::{Running, Unmount, any, prometheus_numbers, script, status_kb};
use crate::target::{Target, print_note, pyspy};

/// A way to hang: the function of `hangs.py`, the condition, its cause, and what must be in the event's text.
type Hang = (&'static str, &'static [&'static str], &'static str, &'static [&'static str]);

const HANGS: [Hang; 10] = [
    ("deadlock", &["--deadlock"], "deadlock", &["2 threads wait for each other", "\"transfer-0\"", "\"transfer-1\""]),
    ("task_deadlock", &["--deadlock"], "deadlock", &["2 tasks wait for each other", "transfer)", "Lock.acquire"]),
    ("blocked_loop", &["--lag", "1s"], "lag", &["query (hangs.py:", "user_id: 4711", "recvfrom"]),
    (
        "blocked_uvloop",
        &["--lag", "1s"],
        "lag",
        &["of uvloop blocked", "query (hangs.py:", "user_id: 4711", "recvfrom"],
    ),
    ("gil", &["--gil-held", "1s"], "gil-held", &["native_call (hangs.py:", "seconds: 100"]),
    ("no_answer", &["--stuck", "1s"], "stuck", &["recvfrom", "statement: 'select 1'", "user_id: 4711"]),
    (
        "held_lock",
        &["--stuck", "1s"],
        "stuck",
        &["handler (hangs.py:", "user_id: 4711", "  it waits for ", "\"refresher\"", "recvfrom", "cache: 'prices'"],
    ),
    // What it gets where others compute is little.
    ("busy", &["--cpu", "5%:2s"], "cpu", &["% of a CPU"]),
    ("pool", &["--stuck", "1s"], "stuck", &["6 threads wait", "Queue.get", "checkout (hangs.py:", "user_id: 470"]),
    ("call", &["--call", "report:1s"], "call", &["report", "looks", "customer: '4711'"]),
];

fn chosen() -> impl Iterator<Item = &'static Interpreter> {
    let features = [(3, 8), (3, 11), (3, 13), (3, 15)].into_iter();
    let of = |feature| Interpreter::all().iter().find(|found| found.feature() == feature && !found.free_threaded);
    features.filter_map(of)
}

/// Starts a program that hangs, unless this interpreter lacks what it needs for that.
fn start_hang(interpreter: &Interpreter, hang: &str, args: &[&str], missing: &Missing) -> Option<Target> {
    let mut command = Command::new(&interpreter.path);
    let mut has_ctypes = || command.args(["-c", "import ctypes"]).stderr(Stdio::null()).status().unwrap().success();
    if hang == "gil" && !has_ctypes() {
        print_note(&format!("skipped: {interpreter} has no ctypes"));
        return None;
    }
    let packages = match hang {
        "blocked_uvloop" => vec![missing.newest(interpreter, "uvloop")?],
        _ => Vec::new(),
    };
    let mut command = Command::new(&interpreter.path);
    command.arg(script("hangs.py")).arg(hang).args(args);
    command.env("PYTHONPATH", std::env::join_paths(packages).expect("paths without a colon"));
    Some(Target::start_command(command, &format!("hangs.py {hang} under {interpreter}")))
}

/// The only folder of evidence in a directory.
#[track_caller]
fn only_folder(directory: &Path) -> PathBuf {
    let folders: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [folder] = &folders[..] else { panic!("{folders:?}") };
    folder.clone()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// Starts all programs under all chosen interpreters, and with each a `watch` with these arguments.
fn start_all(
    mode: &[&str],
    arguments: impl Fn(&Hang) -> Vec<&'static str>,
) -> Vec<(String, &'static Hang, Target, Running, tempfile::TempDir)> {
    let missing = Missing::default();
    let all = chosen().flat_map(|interpreter| HANGS.iter().map(move |hang| (interpreter, hang)));
    let started = all.filter_map(|(interpreter, hang)| {
        let target = start_hang(interpreter, hang.0, mode, &missing)?;
        let directory = tempfile::tempdir().unwrap();
        let (pid, output) = (target.pid().to_string(), directory.path().to_str().unwrap());
        let running = Running::start(&[&["watch", "-p", &pid, "-o", output][..], &arguments(hang)].concat());
        Some((format!("{interpreter}, {}", hang.0), hang, target, running, directory))
    });
    started.collect()
}

#[test]
fn hangs_are_found_and_told() {
    let started = start_all(&[], |hang| [&["--once", "--dumps", "2"], hang.1].concat());
    for (name, (_, _, cause, words), target, running, directory) in started {
        let ran = running.ended();
        let text = ran.success();
        for word in *words {
            assert!(text.contains(word), "{name}: no {word:?} in {text}");
        }
        let folder = only_folder(directory.path());
        assert!(text.contains(&format!("wrote {}", folder.display())), "{name}: {text}");
        let found = json(&folder.join("cause.json"));
        assert_eq!((&found["cause"], &found["pid"]), (&Value::from(*cause), &Value::from(target.pid())), "{found}");
        // Half a second on a machine that has nothing else to do; here others compute.
        assert!(found["seconds"].as_f64().unwrap() < 20.0, "{name}: {found}");
        assert_eq!(status_kb(target.pid(), "TracerPid"), Some(0), "{name}");
    }
}

/// A small file system of its own, which is thawed and unmounted when this is dropped.
struct OwnDisk(PathBuf);

impl OwnDisk {
    /// None, and it is said, where we may not mount or a tool is missing.
    fn mount(folder: &Path) -> Option<Self> {
        let (image, place) = (folder.join("image"), folder.join("disk"));
        fs::create_dir(&place).unwrap();
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let (image, place_text) = (image.to_str().unwrap(), place.to_str().unwrap());
        let commands: [&[&str]; 2] = [&["mkfs.ext4", "-q", image], &["mount", "-o", "loop", image, place_text]];
        for words in commands {
            let ran = Command::new(words[0]).args(&words[1..]).output();
            if !ran.as_ref().is_ok_and(|ran| ran.status.success()) {
                print_note(&format!("skipped: {words:?} does not work here: {ran:?}"));
                return None;
            }
        }
        Some(Self(place))
    }

    /// From now on whoever writes waits, or goes on again.
    fn freeze(&self, is_frozen: bool) -> bool {
        let ran = Command::new("fsfreeze").arg(if is_frozen { "-f" } else { "-u" }).arg(&self.0).output();
        ran.is_ok_and(|ran| ran.status.success())
    }
}

impl Drop for OwnDisk {
    fn drop(&mut self) {
        self.freeze(false);
        drop(Unmount(&self.0));
    }
}

#[test]
fn a_disk_that_does_not_answer_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = OwnDisk::mount(folder.path()) else { return };
    for interpreter in chosen() {
        let target = Target::start(interpreter, "orders.py", &[disk.0.to_str().unwrap()]);
        let directory = tempfile::tempdir().unwrap();
        let (pid, output) = (target.pid().to_string(), directory.path().to_str().unwrap());
        if !disk.freeze(true) {
            print_note("skipped: fsfreeze does not work here");
            return;
        }
        let ran =
            Running::start(&["watch", "-p", &pid, "-o", output, "--once", "--stuck", "1s", "--dumps", "1"]).ended();
        assert!(disk.freeze(false));
        let text = ran.success();
        for word in ["nothing moves", "save_order (orders.py:", "number: "] {
            assert!(text.contains(word), "{interpreter}: no {word:?} in {text}");
        }
    }
}

#[test]
fn what_works_is_left_alone() {
    let short = ["--stuck", "4s", "--lag", "4s", "--gil-held", "4s", "--deadlock", "--call", "report:4s"];
    let started = start_all(&["healthy"], |_| [&["--timeout", "9s"][..], &short].concat());
    for (name, _, _target, running, directory) in started {
        let ran = running.ended();
        assert_eq!(ran.success(), "", "{name}");
        assert!(ran.stderr.contains("watching 1 process, 0 events"), "{name}: {}", ran.stderr);
        let looked_for = "looking for a process that stands still for 4.0 s, \
                          an event loop that does not come back for 4.0 s, \
                          a GIL that is not let go for 4.0 s, deadlocks, long calls of report; evidence goes into";
        assert!(ran.stderr.contains(looked_for), "{name}: {}", ran.stderr);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn the_evidence_can_be_read_by_whoever_runs_it_and_by_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let target = Target::start(any(), "hangs.py", &["no_answer"]);
    let directory = tempfile::tempdir().unwrap();
    let (pid, output) = (target.pid().to_string(), directory.path().to_str().unwrap());
    pyspy(&["watch", "-p", &pid, "-o", output, "--once", "--stuck", "1s", "-l"]).success();
    let folder = only_folder(directory.path());
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let text = fs::read_to_string(folder.join("dump.txt")).unwrap();
    assert!(text.contains("3 dumps agree") && text.contains("Dump 3 of 3"), "{text}");
    assert!(!text.contains("← moved"), "{text}");
    let dump = json(&folder.join("dump.json"));
    let frames = dump["threads"][0]["frames"].as_array().unwrap();
    assert!(frames.iter().any(|frame| frame["name"].as_str().unwrap().ends_with("query")), "{dump}");
    // The time before is a recording like any other, with the samples of that time only.
    let raw = directory.path().join("before.raw");
    let args = ["convert", "-f", "raw", "-o", raw.to_str().unwrap()];
    pyspy(&[&args[..], &[folder.join("before.pyspy").to_str().unwrap()]].concat()).success();
    assert!(fs::read_to_string(&raw).unwrap().lines().any(|line| line.contains("query (hangs.py:")));
}

#[test]
fn commands_and_webhooks_are_told() {
    let mut server = Target::start(any(), "webhook.py", &[]);
    let port = server.line();
    let target = Target::start(any(), "hangs.py", &["no_answer"]);
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("events");
    let told = directory.path().join("told");
    let command = format!("sh -c 'echo $PYSPY_PID $PYSPY_CAUSE $PYSPY_DIR > {}'", told.display());
    let (pid, url) = (target.pid().to_string(), format!("http://127.0.0.1:{port}/hook"));
    let args = ["watch", "-p", &pid, "-o", output.to_str().unwrap(), "--once", "--stuck", "1s", "--dumps", "1"];
    pyspy(&[&args[..], &["--exec", &command, "--webhook", &url]].concat()).success();
    let folder = only_folder(&output);
    assert_eq!(fs::read_to_string(&told).unwrap().trim(), format!("{pid} stuck {}", folder.display()));
    assert_eq!(server.line(), "application/json");
    let posted: Value = serde_json::from_str(&server.line()).unwrap();
    assert_eq!((&posted["pid"], &posted["cause"]), (&Value::from(target.pid()), &Value::from("stuck")));
    let (text, dump) = (posted["text"].as_str().unwrap(), posted["dump"].as_str().unwrap());
    assert!(text.contains("nothing moves") && dump.contains("Dump 1 of 1"), "{posted}");
    assert!(text.contains("query (hangs.py:") && dump.contains("query (hangs.py:"), "{posted}");
    // Values leave the machine only when they are asked for.
    assert!(!text.contains("4711") && !dump.contains("4711"), "{posted}");
    let since = posted["since"].as_f64().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60.0..now).contains(&since), "{since} at {now}");
    drop(fs::remove_file(&told));
    pyspy(&[&args[..], &["-l", "--webhook", &url]].concat()).success();
    server.line();
    let posted: Value = serde_json::from_str(&server.line()).unwrap();
    assert!(posted["dump"].as_str().unwrap().contains("4711"), "{posted}");
}

#[test]
fn a_program_that_hangs_is_ended_and_the_status_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (python, program) = (any().path.to_str().unwrap(), script("hangs.py"));
    let output = directory.path().to_str().unwrap();
    let args = ["watch", "-o", output, "--stuck", "1s", "--kill", "-l", "--dumps", "1", "--", python];
    let ran = pyspy(&[&args[..], &[program.to_str().unwrap(), "no_answer"]].concat());
    assert_eq!(ran.status.code(), Some(14), "{ran:#?}");
    assert!(ran.stderr.contains("sent SIGTERM") && ran.stderr.contains("user_id: 4711"), "{ran:#?}");
    assert_eq!(ran.stdout, "ready\n");
    let pid = json(&only_folder(directory.path()).join("cause.json"))["pid"].as_i64().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_program_that_ends_gives_its_own_status() {
    let directory = tempfile::tempdir().unwrap();
    let python = any().path.to_str().unwrap();
    let args = ["watch", "-o", directory.path().to_str().unwrap(), "--", python, "-c"];
    let ran = pyspy(&[&args[..], &["import time; time.sleep(1); raise SystemExit(7)"]].concat());
    assert_eq!(ran.status.code(), Some(7), "{ran:#?}");
}

#[test]
fn a_watcher_that_is_killed_leaves_the_program_running() {
    let target = Target::start(any(), "hangs.py", &["no_answer"]);
    let directory = tempfile::tempdir().unwrap();
    let (pid, output) = (target.pid().to_string(), directory.path().to_str().unwrap());
    let mut running = Running::start(&["watch", "-p", &pid, "-o", output, "--stuck", "1s", "--dumps", "20"]);
    let stdout = running.output_path("stdout");
    running.wait_until("the event", || fs::metadata(&stdout).is_ok_and(|file| file.len() > 0));
    running.signal(Signal::SIGKILL);
    while !running.has_ended() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(status_kb(target.pid(), "TracerPid"), Some(0));
    let state = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(state.contains("State:\tS"), "{state}");
    // What has been written was written as a whole.
    for entry in fs::read_dir(directory.path()).unwrap() {
        let cause = entry.unwrap().path().join("cause.json");
        assert!(!cause.exists() || json(&cause)["cause"] == "stuck");
    }
}

#[test]
fn processes_with_a_name_are_watched_as_they_come() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("events");
    let metrics = directory.path().join("pyspy.prom");
    // No other program of this machine has such a directory in its command line.
    let copy = directory.path().join("hangs.py");
    fs::copy(script("hangs.py"), &copy).unwrap();
    let name = format!("*{}*no_answer*", directory.path().file_name().unwrap().to_str().unwrap());
    let (output_text, metrics_text) = (output.to_str().unwrap(), metrics.to_str().unwrap());
    let args = ["watch", "--name", &name, "-o", output_text, "--stuck", "1s", "--dumps", "1"];
    let mut running = Running::start(&[&args[..], &["--metrics", metrics_text]].concat());
    running.wait_until("the wait for a process", || running_says(&metrics, "pyspy_watch_processes 0"));
    for round in 1..=2 {
        let mut command = Command::new(&any().path);
        command.arg(&copy).arg("no_answer");
        let target = Target::start_command(command, "hangs.py");
        running.wait_until("the event", || fs::read_dir(&output).is_ok_and(|entries| entries.count() == round));
        drop(target);
    }
    running.signal(Signal::SIGTERM);
    let ran = running.ended();
    ran.success();
    let numbers = fs::read_to_string(&metrics).unwrap();
    assert!(numbers.contains("pyspy_watch_events_total{cause=\"stuck\"} 2"), "{numbers}");
    let Some(parsed) = prometheus_numbers(&numbers) else { return };
    let stuck = serde_json::json!({"cause": "stuck"});
    assert!(parsed.contains(&("pyspy_watch_events_total".to_owned(), stuck, 2.0)), "{parsed:?}");
    let looks = parsed.iter().find(|(name, ..)| name == "pyspy_watch_looks_total");
    assert!(looks.is_some_and(|(.., count)| *count > 2.0), "{parsed:?}");
}

fn running_says(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|numbers| numbers.contains(text))
}

#[test]
fn what_would_be_done_is_said_and_not_done() {
    let target = Target::start(any(), "hangs.py", &["no_answer"]);
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("events");
    let (pid, output_text) = (target.pid().to_string(), output.to_str().unwrap());
    let args = ["watch", "-p", &pid, "-o", output_text, "--once", "--stuck", "1s", "--dumps", "1", "--dry-run"];
    let ran = pyspy(&[&args[..], &["--kill", "KILL", "--exec", "touch x"]].concat());
    assert!(ran.success().contains("nothing moves"), "{ran:#?}");
    assert!(ran.stderr.contains("send KILL to process") && ran.stderr.contains("[\"touch\", \"x\"]"), "{ran:#?}");
    assert!(!output.exists());
    assert_eq!(status_kb(target.pid(), "TracerPid"), Some(0));
}
