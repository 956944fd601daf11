//! Every command of README.md is run; what it prints or writes has the shape that README says.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::interpreters::Interpreter;
use crate::running::any;
use crate::target::{Target, run};

/// What README's commands name that is not there, and what is put in its place.
struct Names {
    pid: String,
    python: String,
}

/// The commands in the blocks of README, without what is said of them.
fn commands() -> Vec<String> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks = readme.split("```").skip(1).step_by(2);
    let lines =
        blocks.flat_map(str::lines).filter(|line| line.starts_with("pyspy ") || line.starts_with("sudo pyspy "));
    let commands = lines.map(|line| line.split(" #").next().unwrap_or_default().trim());
    commands.map(|line| line.trim_start_matches("sudo ").to_owned()).collect()
}

/// As it can be run here: for a second, on programs that there are, and `top` without a terminal.
fn runnable(command: &str, names: &Names) -> Vec<String> {
    let replaced = command.replace("PID", &names.pid).replace("python app.py", &format!("{} app.py", names.python));
    let replaced = replaced.replace("pytest tests", &format!("{} nap.py", names.python));
    let replaced = replaced.replace("/var/lib/pyspy", "events");
    let mut words: Vec<String> = replaced.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect();
    words.remove(0);
    let place = words.iter().position(|word| word == "--").unwrap_or(words.len());
    if words.iter().any(|word| word == "--all") {
        // Processes of other tests are among them.
        words.insert(place, "--nonblocking".to_owned());
    }
    if words[0] == "record" {
        // The last of them counts, which is ours.
        if let Some(at) = words.iter().position(|word| word == "-d") {
            words[at + 1] = "1".to_owned();
        } else {
            words.splice(place..place, ["-d".to_owned(), "1".to_owned()]);
        }
    } else if words[0] == "watch" {
        words.splice(1..1, ["--timeout".to_owned(), "1".to_owned()]);
    } else if words[0] == "top" && !words.contains(&"--once".to_owned()) {
        words.insert(place, "--once".to_owned());
    }
    words
}

/// What a file of this name begins with.
fn beginning(name: &str) -> &'static [u8] {
    match name.rsplit('.').next() {
        Some("svg") => b"<?xml",
        Some("json") => b"{",
        _ => b"",
    }
}

#[test]
fn every_command_of_the_readme_works() {
    let target = Target::start(any(), "shares.py", &["serve"]);
    let names = Names { pid: target.pid().to_string(), python: any().path.to_str().unwrap().to_owned() };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.py"), "import time\nend = time.time() + 30\nwhile time.time() < end: pass\n")
        .unwrap();
    fs::write(folder.path().join("nap.py"), "import time\ntime.sleep(1)\n").unwrap();
    for (name, count) in [("before.pyspy", 3), ("after.pyspy", 5)] {
        fs::write(folder.path().join(name), format!("main (a.py:1);f (a.py:2) {count}\n")).unwrap();
    }
    let commands = commands();
    assert!(commands.len() > 20, "{commands:#?}");
    let mut skipped = 0;
    for command in &commands {
        // There is no core file, and the other one is compared with what is written above it.
        if command.contains("--core") || command.contains("worker-*") {
            skipped += 1;
            continue;
        }
        let words = runnable(command, &names);
        let mut running = Command::new(env!("CARGO_BIN_EXE_pyspy"));
        let ran = run(running.args(&words).current_dir(folder.path()), Duration::from_secs(60)).unwrap();
        let stdout = ran.success();
        match words[0].as_str() {
            "record" => {
                assert!(ran.stderr.contains("pyspy: wrote "), "{ran:#?}");
                assert!(ran.stderr.contains(" Hz held of ") && ran.stderr.contains(" asked for"), "{ran:#?}");
            }
            "watch" => {
                assert!(ran.stderr.contains("pyspy: watching ") || ran.stderr.contains("; watching "), "{ran:#?}");
            }
            "top" if words.contains(&"--json".to_owned()) => assert!(stdout.starts_with('{'), "{command}: {stdout}"),
            "top" => assert!(stdout.contains("%Own  %Total   OwnTime TotalTime  Function"), "{command}: {stdout}"),
            "dump" if words.contains(&"--json".to_owned()) => assert!(stdout.starts_with('['), "{command}: {stdout}"),
            "dump" => assert!(stdout.contains("\nThread ") && stdout.contains("(shares.py:"), "{command}: {stdout}"),
            _ => {}
        }
        let output = words.iter().position(|word| word == "-o").and_then(|at| words.get(at + 1));
        // That of `watch` is a folder.
        if let Some(name) = output.filter(|_| words[0] != "watch") {
            let written = fs::read(folder.path().join(name)).unwrap();
            assert!(!written.is_empty() && written.starts_with(beginning(name)), "{command}: {name}");
        }
    }
    assert!(skipped <= 2, "{skipped} of {commands:#?}");
    assert!(!Interpreter::all().is_empty());
}
