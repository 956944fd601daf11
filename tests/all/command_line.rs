//! What the command line refuses, and what it suggests; what it tells a shell.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::running::any;
use crate::target::{Target, print_note, pyspy, run};

#[test]
fn a_number_alone_suggests_the_option() {
    for name in ["dump", "record", "top"] {
        let ran = pyspy(&[name, "37661234"]);
        assert_eq!(ran.status.code(), Some(2), "{ran:#?}");
        assert!(ran.failure().contains(&format!("pyspy {name} --pid 37661234")), "{ran:#?}");
    }
    let ran = pyspy(&["dump", "app.py"]);
    assert_eq!(ran.status.code(), Some(2), "{ran:#?}");
    assert!(ran.failure().contains("--pid"), "{ran:#?}");
    assert_eq!(pyspy(&["record", "no-such-program"]).status.code(), Some(9));
}

/// `record` and other tools have formats and files.
#[test]
fn of_formats_and_files_dump_tells_what_it_has_instead() {
    for option in ["-f", "--format", "-o", "--output"] {
        let ran = pyspy(&["dump", option, "json", "--pid", "1"]);
        assert_eq!(ran.status.code(), Some(2), "{ran:#?}");
        assert!(ran.failure().contains("'--json'") && !ran.failure().contains("as a value"), "{ran:#?}");
    }
    assert!(pyspy(&["dump", "--jsno"]).failure().contains("similar argument exists: '--json'"));
}

#[test]
fn of_a_name_that_nobody_has_no_counts_are_told() {
    let ran = pyspy(&["dump", "--name", "*no such name*"]);
    let said = "pyspy: no Python process has this name or a command line like \"*no such name*\"";
    // Its own command line has the name, and is not looked at; that of a test runner may.
    assert!(ran.failure().starts_with(said) && !ran.failure().contains("0 "), "{ran:#?}");
}

#[test]
fn a_file_of_python_alone_suggests_the_interpreter() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.py"), "pass\n").unwrap();
    for (name, program) in [("record", "app.py"), ("record", "./app.py"), ("top", "nowhere.py")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyspy"));
        command.args([name, if name == "top" { "--once" } else { "--idle" }, "--", program]);
        let ran = run(command.current_dir(folder.path()), Duration::from_secs(60)).unwrap();
        assert_eq!(ran.status.code(), Some(9), "{ran:#?}");
        assert!(ran.failure().contains(&format!("run by an interpreter: `python3 \"{program}\"`")), "{ran:#?}");
    }
}

/// What such a program has to say of it stands above.
#[test]
fn of_a_program_that_fails_at_once_nothing_is_said_of_idle_threads() {
    let folder = tempfile::tempdir().unwrap();
    let (svg, python) = (folder.path().join("x.svg"), any().path.to_str().unwrap());
    let record = |last: &[&str]| {
        let args = ["record", "--exclude", "*", "-o", svg.to_str().unwrap(), "--", python];
        let ran = pyspy(&[&args[..], last].concat());
        ran.success();
        ran.stderr
    };
    let failed = record(&["missing.py"]);
    assert!(failed.contains("; the program ended, status 2; it ended before a thread was seen to run"), "{failed}");
    assert!(!failed.contains("--idle"), "{failed}");
    let idle = record(&["-c", "import time; time.sleep(1.5)"]);
    assert!(idle.contains("--idle shows idle threads too"), "{idle}");
}

/// As of an idle server: few samples, although the rate was held.
#[test]
fn of_a_program_that_mostly_sleeps_it_is_said_why_there_are_few_samples() {
    let record = |program: &str| {
        let python = any().path.to_str().unwrap();
        let ran = pyspy(&["record", "-f", "raw", "-o", "/dev/null", "--", python, "-S", "-c", program]);
        ran.success();
        ran.stderr
    };
    let busy = "import time\nend = time.time() + 0.1\nwhile time.time() < end: pass\n";
    let said = record(&format!("{busy}time.sleep(5)"));
    assert!(said.contains("; most of the time every thread was idle: --idle shows idle threads too"), "{said}");
    let said = record(&busy.replace("0.1", "1.2"));
    assert!(!said.contains("--idle"), "{said}");
}

#[test]
fn names_of_other_kinds_of_files_are_refused_unless_a_format_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let stacks = folder.path().join("in.txt");
    fs::write(&stacks, "main (a.py:1);f (a.py:2) 3\n").unwrap();
    let convert = |name: &str, options: &[&str]| {
        let out = folder.path().join(name);
        let args = ["convert", stacks.to_str().unwrap(), "-o", out.to_str().unwrap()];
        pyspy(&[&args, options].concat())
    };
    let refused = convert("out.png", &[]);
    assert_eq!(refused.status.code(), Some(2), "{refused:#?}");
    assert!(refused.failure().contains(".svg (flamegraph), "), "{refused:#?}");
    assert!(!folder.path().join("out.png").exists());
    convert("out.png", &["-f", "flamegraph"]).success();
    for name in ["tmp.aBcDe1", "out", "out.1"] {
        convert(name, &[]).success();
        assert!(fs::read_to_string(folder.path().join(name)).unwrap().contains("<svg"), "{name}");
    }
    convert("../../dev/null", &[]);
    // Before the program starts.
    let started = folder.path().join("started");
    let program = format!("open({:?}, 'w')", started.to_str().unwrap());
    let out = folder.path().join("out.pdf");
    let ran = pyspy(&["record", "-o", out.to_str().unwrap(), "--", any().path.to_str().unwrap(), "-c", &program]);
    assert_eq!(ran.status.code(), Some(2), "{ran:#?}");
    assert!(!started.exists());
    let ran = pyspy(&["convert", stacks.to_str().unwrap(), "-o", "/proc/out.svg"]);
    assert!(ran.failure().starts_with("pyspy: cannot write \"/proc/out.svg\": "), "{ran:#?}");
    assert!(!ran.stderr.contains(".part"), "{ran:#?}");
}

#[test]
fn a_bare_word_is_the_name_of_a_program() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join(format!("named{}", std::process::id()));
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/fib.py"), &script).unwrap();
    let mut command = Command::new(&any().path);
    command.arg(&script);
    let target = Target::start_command(command, "a copy of fib.py");
    // Of this one it is an argument.
    let other = Target::start(any(), "fib.py", &[script.to_str().unwrap()]);
    let name = script.file_name().unwrap().to_str().unwrap();
    let ran = pyspy(&["record", "--name", name, "-d", "0.3", "-f", "raw", "-o", "-"]);
    let of = |pid: u32| ran.stdout.contains(&format!("process {pid}:"));
    assert!(of(target.pid()) && !of(other.pid()), "{ran:#?}");
}

#[test]
fn shells_complete_the_numbers_of_pythons() {
    let target = Target::start(any(), "fib.py", &[]);
    let folder = Path::new(env!("CARGO_BIN_EXE_pyspy")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let bash = "source <(pyspy completions bash); COMP_WORDS=(pyspy dump --pid ''); COMP_CWORD=3; COMP_TYPE=9; \
                $(complete -p pyspy | sed 's/.*-F \\([^ ]*\\).*/\\1/') pyspy '' --pid; \
                printf '%s\\n' \"${COMPREPLY[@]}\"";
    let fish = "pyspy completions fish | source; complete -C 'pyspy dump --pid '";
    for (shell, program) in [("bash", bash), ("fish", fish)] {
        let mut command = Command::new(shell);
        command.args(["-c", program]).env("PATH", &path);
        let Ok(ran) = run(&mut command, Duration::from_secs(60)) else {
            print_note(&format!("skipped: no {shell}, whose completions are not tried"));
            continue;
        };
        let pid = target.pid().to_string();
        let found = ran.stdout.lines().filter_map(|line| line.split_whitespace().next()).any(|word| word == pid);
        assert!(found, "{shell}: no {pid} in {ran:#?}");
    }
    assert!(pyspy(&["completions", "zsh"]).success().starts_with("#compdef pyspy"));
}

#[test]
fn the_manual_has_all_options() {
    let page = pyspy(&["man", "record"]).success().to_owned();
    assert!(page.contains(".TH"), "{page}");
    for option in ["pid", "below", "nonblocking"] {
        assert!(page.contains(&format!("\\-\\-{option}")), "{option} in {page}");
    }
    assert!(pyspy(&["man"]).success().contains("pyspy"));
    assert!(pyspy(&["man", "no-such"]).failure().contains("no-such"));
}
