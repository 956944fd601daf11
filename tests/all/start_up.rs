//! Programs that become Python late or in some roundabout way, and what can be wrong with what pyspy is asked to do.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::interpreters::Interpreter;
use crate::recording::{Recording, Summary, stacks};
use crate::target::{Ran, Target, copy_program, print_note, pyspy, run};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets").join(name)
}

/// Runs a program under `pyspy record` and gives the stacks that it recorded.
#[track_caller]
fn record_program(args: &[&str], program: &[OsString]) -> Recording {
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut all: Vec<OsString> = ["record", "-f", "raw", "-o"].map(OsString::from).to_vec();
    all.push(output.path().into());
    all.extend(args.iter().map(OsString::from));
    all.push("--".into());
    all.extend_from_slice(program);
    let ran = pyspy(&all);
    ran.success();
    let stacks = stacks(&fs::read_to_string(output.path()).unwrap());
    let summary = Summary::parse(&ran.stderr).unwrap_or_else(|| panic!("no summary in {ran:#?}"));
    Recording { stacks, summary, stderr: ran.stderr }
}

#[track_caller]
fn assert_is_found(interpreter: &Interpreter, program: &[OsString]) {
    // Where others compute it may take longer until it does.
    let is_found = ["0.5", "2", "8"].into_iter().any(|seconds| {
        let recording = record_program(&["-d", seconds], program);
        recording.count(|names| names.contains(&"compute") && names.len() == 20) > 10
    });
    assert!(is_found, "{interpreter} {program:?}");
}

fn busy(python: impl Into<OsString>) -> Vec<OsString> {
    vec![python.into(), script("busy.py").into(), "20".into()]
}

#[test]
fn python_is_found_as_it_starts() {
    for interpreter in Interpreter::all() {
        assert_is_found(interpreter, &busy(&interpreter.path));
    }
}

#[test]
fn python_behind_a_shell_env_or_shebang_is_found() {
    for interpreter in Interpreter::all() {
        let python = interpreter.path.to_str().unwrap();
        let line = format!("'{python}' '{}' 20; true", script("busy.py").display());
        let late = format!("sleep 1; exec {line}");
        assert_is_found(interpreter, &["sh".into(), "-c".into(), late.into()]);
        let mut through_env: Vec<OsString> = vec!["env".into(), "NO_SUCH_VARIABLE=1".into()];
        through_env.extend(busy(&interpreter.path));
        assert_is_found(interpreter, &through_env);

        let folder = tempfile::tempdir().unwrap();
        let console_script = folder.path().join("tool");
        let text = format!("#!{python}\nimport runpy, sys\nsys.exit(runpy.run_path({:?}))\n", script("busy.py"));
        fs::write(&console_script, text).unwrap();
        fs::set_permissions(&console_script, fs::Permissions::from_mode(0o755)).unwrap();
        // On a busy machine it may take most of that time to start.
        let mut recordings = ["0.5", "0.5", "1", "2", "4", "8"]
            .into_iter()
            .map(|seconds| record_program(&["-d", seconds], &[(&console_script).into(), "20".into()]));
        let is_found = recordings.any(|recording| recording.count(|names| names.contains(&"compute")) > 10);
        assert!(is_found, "{interpreter}");
    }
}

#[test]
fn python_of_a_virtual_environment_is_found() {
    for interpreter in Interpreter::all() {
        let folder = tempfile::tempdir().unwrap();
        let mut venv = Command::new(&interpreter.path);
        venv.args(["-m", "venv", "--without-pip"]).arg(folder.path());
        match run(&mut venv, Duration::from_secs(60)) {
            Ok(ran) if ran.status.success() => {}
            _ => {
                print_note(&format!("skipped: {interpreter} makes no virtual environments"));
                continue;
            }
        }
        assert_is_found(interpreter, &busy(folder.path().join("bin/python")));
    }
}

#[test]
fn a_target_that_executes_another_python_is_found_again() {
    let all = Interpreter::all();
    for (first, second) in all.iter().zip(all.iter().rev()) {
        let program = [
            first.path.clone().into(),
            script("executes.py").into(),
            "0.5".into(),
            second.path.clone().into(),
            script("busy.py").into(),
            "20".into(),
        ];
        // Two interpreters have to start, which takes some seconds where others have most of the CPUs.
        let is_seen = ["2", "8", "30"].into_iter().any(|seconds| {
            let recording = record_program(&["-d", seconds, "-r", "200"], &program);
            let before = recording.count(|names| names.contains(&"before"));
            let after = recording.count(|names| names.contains(&"compute") && names.len() == 20);
            print_note(&format!("{first} then {second}: {before} samples of the first, {after} of the second"));
            before > 10 && after > 10
        });
        assert!(is_seen, "{first} then {second}");
    }
}

/// What pyspy complains about, which must be one paragraph, with the exit status that `pyspy --help` gives it.
#[track_caller]
fn assert_fails(ran: &Ran, status: i32) {
    let text = ran.failure();
    assert_eq!(ran.status.code(), Some(status), "{ran:#?}");
    assert!(text.starts_with("pyspy: ") && !text.trim_end().contains("\n\n"), "{text}");
    assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{text}");
    assert!(text.len() < 1000, "{text}");
}

#[test]
fn nonsense_is_a_usage_error() {
    for line in [
        "record --pid 1 -r 0",
        "record --pid 1 -r abc",
        "record --pid 1 -d abc",
        "record --pid 1 -d -5",
        "record --pid abc",
        "record --pid 0",
        "record --pid 1 -- python3 app.py",
        "record --pid 1 --blocking --nonblocking",
        "record --pid 1 -f nonsense",
        "record --pid 1 --nope",
        "record --nope --pid 1",
        "top --nope --pid 1",
        "record",
        "dump --pid abc",
        "dump --pid 99999999999999999999",
        "dump",
        "",
    ] {
        let args: Vec<&str> = line.split_whitespace().collect();
        let ran = pyspy(&args);
        assert_eq!(ran.status.code(), Some(2), "{line}: {ran:#?}");
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty() && !ran.stderr.contains("panicked"), "{ran:#?}");
    }
}

/// `dump` and `record` of a process.
fn both(pid: u32) -> [Ran; 2] {
    let pid = pid.to_string();
    [pyspy(&["dump", "--pid", &pid]), pyspy(&["record", "-d", "1", "-f", "raw", "-o", "-", "--pid", &pid])]
}

#[test]
fn a_process_that_is_not_there_has_its_own_status() {
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    for ran in both(gone.id()) {
        assert_fails(&ran, 3);
    }
}

#[test]
fn a_process_without_python_has_its_own_status() {
    let mut sleep = Command::new("sleep").arg("1000").spawn().unwrap();
    let ran = both(sleep.id());
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    for ran in ran {
        assert_fails(&ran, 5);
        assert!(ran.stderr.contains("sleep"), "{ran:#?}");
    }
}

#[test]
fn a_thirty_two_bit_process_has_its_own_message() {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("pause.c"), folder.path().join("pause"));
    // System call 29 is pause; there is no 32-bit C library to be relied on.
    fs::write(&source, "void _start(void) { for (;;) __asm__ volatile(\"int $0x80\" : : \"a\"(29)); }\n").unwrap();
    let mut compile = Command::new("cc");
    compile.args(["-m32", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-o"]).arg(&program).arg(&source);
    let compiled = run(&mut compile, Duration::from_secs(60));
    let started = compiled.is_ok_and(|ran| ran.status.success()).then(|| Command::new(&program).spawn().ok()).flatten();
    let Some(mut child) = started else {
        print_note("skipped: no 32-bit program can be made and run here");
        return;
    };
    let ran = both(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    for ran in ran {
        assert_fails(&ran, 5);
        assert!(ran.stderr.contains("32-bit"), "{ran:#?}");
    }
}

#[test]
fn a_process_of_another_user_has_its_own_status() {
    let interpreter = Interpreter::all().last().unwrap();
    let target = Target::start(interpreter, "waiting.py", &[]);
    if !nix::unistd::geteuid().is_root() {
        // The first process is root's.
        for ran in both(1) {
            assert_fails(&ran, 4);
        }
        return;
    }
    // To where anyone may run it.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = folder.path().join("pyspy");
    copy_program(env!("CARGO_BIN_EXE_pyspy"), &binary);
    let pid = target.pid().to_string();
    let commands: [&[&str]; 2] = [&["dump"], &["record", "-d", "1", "-f", "raw", "-o", "-"]];
    for command in commands {
        let mut as_nobody = Command::new("setpriv");
        as_nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&binary);
        as_nobody.args(command).args(["--pid", &pid]).current_dir("/");
        let ran = run(&mut as_nobody, Duration::from_secs(60)).unwrap();
        assert_fails(&ran, 4);
        assert!(ran.stderr.contains("root") || ran.stderr.contains("sudo"), "no advice: {ran:#?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_found_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("started");
    for output in ["no/such/folder/profile.svg", "."] {
        let output = folder.path().join(output);
        let args: [&OsStr; 6] =
            ["record".as_ref(), "-o".as_ref(), output.as_ref(), "--".as_ref(), "touch".as_ref(), marker.as_ref()];
        assert_fails(&pyspy(&args), 7);
        assert!(!marker.exists(), "the program was started");
    }
}

#[test]
fn a_program_that_cannot_be_started_has_its_own_status() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "no program").unwrap();
    for program in [plain.to_str().unwrap(), "/no/such/program", "no-such-program-anywhere"] {
        assert_fails(&pyspy(&["record", "-f", "raw", "-o", "-", "--", program]), 9);
    }
}

#[test]
fn a_target_that_exits_during_attach_has_its_own_status() {
    assert_fails(&pyspy(&["record", "-f", "raw", "-o", "-", "--", "sh", "-c", "exit 3"]), 8);
    let mut shell = Command::new("sh").args(["-c", "sleep 0.3"]).stdin(Stdio::null()).spawn().unwrap();
    // Reaped as it ends, as its parent would do.
    let pid = shell.id();
    let reaper = std::thread::spawn(move || shell.wait());
    assert_fails(&pyspy(&["dump", "--pid", &pid.to_string()]), 8);
    reaper.join().unwrap().unwrap();
    for interpreter in Interpreter::all() {
        // Too short to be sampled, perhaps, but never a panic or another complaint.
        for milliseconds in ["0", "10", "30", "60"] {
            let program = format!("import time; time.sleep({milliseconds} / 1000.0)");
            let python = interpreter.path.to_str().unwrap();
            let ran = pyspy(&["record", "-f", "raw", "-o", "-", "--", python, "-c", &program]);
            match ran.status.code() {
                Some(0) => {}
                _ => assert_fails(&ran, 8),
            }
        }
    }
}

/// Where the tests run as root they can tell pyspy that sudo made it so.
#[test]
fn under_sudo_a_program_runs_as_who_called_it() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    let may_trace = u64::from_str_radix(capabilities.trim(), 16).unwrap() >> 19 & 1 == 1;
    if !nix::unistd::geteuid().is_root() || !may_trace || !Path::new("/usr/bin/python3").exists() {
        return print_note("skipped: sudo, for which the tests must be root with a Python that all users may run");
    }
    let program = "import os, time\nprint(os.getresuid(), os.getresgid(), os.getgroups(), flush=True)\ntime.sleep(0.5)";
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyspy"));
    command.env("SUDO_UID", "65534").env("SUDO_GID", "65534");
    command.args(["record", "-i", "-f", "raw", "-o", "/dev/null", "--", "/usr/bin/python3", "-c", program]);
    let ran = run(&mut command, Duration::from_secs(60)).unwrap();
    assert_eq!(ran.success(), "(65534, 65534, 65534) (65534, 65534, 65534) [65534]\n");
    assert!(ran.stderr.contains("the program runs as "), "{ran:#?}");
}
