//! Lines of frames that are not just those of their instructions: what frames say themselves, traced and compiled code,
//! and code that has no lines at all. What is right is what the interpreter itself says of its frames.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::dump::{dump, frames, thread_in};
use crate::interpreters::Interpreter;
use crate::target::{Target, print_note, pyspy, run};

/// The last part of a qualified name.
fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// What the target says of its stack after `ready`: `name line`, newest first.
fn said(target: &mut Target) -> Vec<String> {
    std::iter::repeat_with(|| target.line()).take_while(|line| line != "end").collect()
}

/// The same as pyspy sees it, `skipped` frames left out.
fn seen(thread: &Value, skipped: usize) -> Vec<String> {
    let frames = frames(thread).into_iter().skip(skipped);
    let line = |line: u64| if line == 0 { "-".to_owned() } else { line.to_string() };
    frames.map(|(name, _, at)| format!("{} {}", last_part(name), line(at))).collect()
}

#[test]
fn a_line_is_what_the_interpreter_says_it_is() {
    let mut unusual = 0;
    for interpreter in Interpreter::all() {
        for way in ["plain", "traced", "untraced", "jumped", "said", "said_traced", "tableless"] {
            if way.starts_with("said") {
                let has = Command::new(&interpreter.path).args(["-c", "import ctypes"]).output().unwrap();
                if !has.status.success() {
                    print_note(&format!("skipped: {interpreter} has no ctypes to write {way} with"));
                    continue;
                }
            }
            let mut target = Target::start(interpreter, "lines.py", &[way]);
            let expected = said(&mut target);
            let threads = dump(target.pid(), &[]);
            assert_eq!(seen(&threads[0], 1), expected, "{interpreter}, {way}");
            unusual += expected.iter().filter(|line| line.contains(" 100") || line.ends_with('-')).count();
        }
    }
    // Each interpreter believes a traced frame.
    assert!(unusual >= Interpreter::all().len(), "no frame has said anything");
}

#[test]
fn no_line_is_not_line_0() {
    for interpreter in Interpreter::all() {
        let target = Target::start(interpreter, "lines.py", &["no_line"]);
        let pid = target.pid().to_string();
        let threads = dump(target.pid(), &[]);
        let spinning = &thread_in(&threads, "spins")["frames"][0];
        let text = pyspy(&["dump", "--pid", &pid]).success().to_owned();
        let has_lines = interpreter.feature() < (3, 10);
        assert_eq!(spinning["line"].is_null(), !has_lines, "{interpreter}: {spinning}");
        assert_eq!(text.contains("spins (lines.py)\n"), !has_lines, "{interpreter}:\n{text}");

        let folder = tempfile::tempdir().unwrap();
        let recording = folder.path().join("recording");
        let recording = recording.to_str().unwrap();
        pyspy(&["record", "-d", "1", "-f", "pyspy", "-o", recording, "--pid", &pid]).success();
        let convert = |format: &str| {
            let output = folder.path().join(format);
            pyspy(&["convert", recording, "-f", format, "-o", output.to_str().unwrap()]).success();
            fs::read_to_string(output).unwrap()
        };
        for format in ["raw", "flamegraph", "flamechart", "firefox"] {
            let written = convert(format);
            assert!(written.contains("spins (lines.py"), "{interpreter}, {format}");
            assert!(!written.contains("lines.py:0"), "{interpreter}, {format}");
        }
        for (format, list, key) in [("speedscope", "/shared/frames", "line"), ("chrometrace", "", "args")] {
            let written: Value = serde_json::from_str(&convert(format)).unwrap();
            let entries = written.pointer(list).and_then(Value::as_array).unwrap();
            let named = |entry: &&Value| entry["name"].as_str().is_some_and(|name| last_part(name) == "spins");
            let entry = entries.iter().find(named).unwrap_or_else(|| panic!("{interpreter}: {format} has no spins"));
            let line = if key == "args" { &entry["args"]["line"] } else { &entry["line"] };
            assert_eq!(line.is_null(), !has_lines, "{interpreter}, {format}: {entry}");
        }
        let top = pyspy(&["top", "--once", "--pid", &pid]).success().to_owned();
        assert!(!top.contains("lines.py:0"), "{interpreter}:\n{top}");
    }
}

/// The program that is compiled; each function waits in a line that is not its first.
const COMPILED: &str = r#"
import sys
import threading


def waits(event):
    first = 1
    if first:
        event.wait(
        )


def generates(event):
    yield 1
    event.wait()


def iterates(event):
    for item in generates(event):
        first = item


class Thing:
    def method(self, event):
        with open(__file__ + ".lock", "w"):
            list(map(lambda item: item.wait(), [event]))


def report():
    for ident, frame in sys._current_frames().items():
        while frame is not None:
            line = "%d %s %d" % (ident, frame.f_code.co_name, frame.f_lineno)
            if "threading" not in frame.f_code.co_filename and ident != threading.get_ident():
                print(line)
            frame = frame.f_back


def main():
    event = threading.Event()
    for function in [waits, iterates, Thing().method]:
        threading.Thread(target=function, args=(event,), daemon=True).start()
    while sum(frame.f_code.co_name == "wait" for frame in sys._current_frames().values()) < 3:
        pass
    print("ready")
    report()
    print("end", flush=True)
    sys.stdin.readline()


main()
"#;

/// The program as a module that Nuitka has made of it; `None` where that compiler does not work.
fn compile(interpreter: &Interpreter, folder: &Path) -> Option<PathBuf> {
    let source = folder.join("source/compiled.py");
    fs::create_dir_all(source.parent()?).unwrap();
    fs::write(&source, COMPILED).unwrap();
    let mut command = Command::new(&interpreter.path);
    command.args(["-m", "nuitka", "--module", "--lto=no", "--remove-output"]);
    command.arg(format!("--output-dir={}", folder.display())).arg(&source);
    // Where it fails it leaves a report in the working directory.
    command.current_dir(folder).env("NUITKA_CACHE_DIR", folder.join("cache"));
    if let Some(place) = std::env::var_os("PYSPY_TEST_NUITKA") {
        command.env("PYTHONPATH", place);
    }
    let ran = run(&mut command, Duration::from_secs(600)).ok()?;
    let is_module = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "so");
    let made = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).find(is_module);
    ran.status.success().then_some(made).flatten()
}

/// Nuitka's frames are of a type of its own and their code has no instructions: only they say where they are.
#[test]
fn compiled_frames_are_at_the_lines_that_they_say() {
    let (mut tested, mut skipped) = (Vec::new(), Vec::new());
    for interpreter in Interpreter::all().iter().filter(|interpreter| interpreter.version >= (3, 6, 0)) {
        let folder = tempfile::tempdir().unwrap();
        let version = interpreter.name.split(' ').next().unwrap_or_default();
        if compile(interpreter, folder.path()).is_none() {
            skipped.push(version);
            continue;
        }
        let mut command = Command::new(&interpreter.path);
        command.args(["-c", "import compiled"]).env("PYTHONPATH", folder.path());
        let mut target = Target::start_command(command, &interpreter.name);
        let mut expected = said(&mut target);
        expected.sort();
        let mut found = Vec::new();
        for thread in dump(target.pid(), &[]) {
            let ident = thread["thread_id"].as_u64().unwrap();
            for (name, file, line) in frames(&thread) {
                if !file.contains("threading") && thread["thread_name"] != "MainThread" {
                    found.push(format!("{ident} {} {line}", last_part(name)));
                }
            }
        }
        found.sort();
        assert_eq!(found, expected, "{interpreter}");
        assert!(found.len() >= 5, "{interpreter}: {found:?}");
        tested.push(version);
    }
    if !skipped.is_empty() {
        let how = "PYSPY_TEST_NUITKA names a folder that it was installed to with `pip install --target`";
        print_note(&format!("skipped: no Nuitka for {} ({how}); tested with {}", skipped.join(" "), tested.join(" ")));
    }
}
