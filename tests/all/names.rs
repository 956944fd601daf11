//! What processes and files are called: titles without their padding, modules with what tells them apart.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::recording::Recording;
use crate::running::{any, script};
use crate::target::{Target, print_note, pyspy, run};

/// A program that spends its time in two functions of one name, in modules of one name; `%` stands for how they are
/// loaded.
const TWO_MODULES: &str = "
import sys
%
sys.stdout.write('ready\\n')
sys.stdout.flush()
while True:
    one.work()
    other.work()
";
const MODULE: &str = "
def work():
    turns = 20000
    while turns > 0:
        turns -= 1
";

fn renamed(padding: &str, title: &str) -> Target {
    let mut command = Command::new(&any().path);
    command.arg(script("title.py")).args([padding, title]).arg("x".repeat(500));
    Target::start_command(command, "a renamed process")
}

#[test]
fn padding_behind_a_title_is_shown_nowhere() {
    for padding in ["nul", "space"] {
        let target = renamed(padding, "app: worker [idle]");
        let pid = target.pid().to_string();
        let first_line = |args: &[&str]| pyspy(args).success().lines().next().unwrap_or_default().to_owned();
        let expected = format!("Process {pid}: app: worker [idle]");
        assert_eq!(first_line(&["dump", "-p", &pid]), expected);
        assert_eq!(first_line(&["top", "--once", "--delay", "0.2", "-p", &pid]), expected);
        let json: Value = serde_json::from_str(pyspy(&["dump", "-j", "-p", &pid]).success()).unwrap();
        assert_eq!(json[0]["process_info"]["command_line"], "app: worker [idle]");
        let directory = tempfile::tempdir().unwrap();
        let picture = directory.path().join("out.svg");
        let recording = picture.to_str().unwrap();
        pyspy(&["record", "-d", "0.3", "-s", "-p", &pid, "-o", recording]).success();
        let svg = fs::read_to_string(&picture).unwrap();
        assert!(svg.contains(">app: worker [idle]<"), "the picture's title");
        assert!(svg.contains(&format!("process {pid}:&#34;app: worker [idle]&#34; (")), "the process");
    }
}

/// `program` in a directory of its own, under `name`.
fn written(directory: &Path, name: &str, program: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, program).unwrap();
    path
}

fn modules(raw: &Recording) -> Vec<&str> {
    let mut found: Vec<&str> = raw
        .stacks
        .iter()
        .flat_map(|(stack, _)| stack)
        .filter(|frame| frame.starts_with("work ("))
        .map(String::as_str)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// One interpreter of each of the versions that import from archives in ways that differ.
fn versions() -> impl Iterator<Item = &'static Interpreter> {
    let features = [(2, 7), (3, 8), (3, 11), (3, 14)];
    let of = |feature| Interpreter::all().iter().find(|found| found.feature() == feature && !found.free_threaded);
    features.into_iter().filter_map(of)
}

#[test]
fn modules_of_a_zip_archive_keep_their_packages_and_show_their_source() {
    for interpreter in versions() {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("app.pyz");
        let main = TWO_MODULES.replace('%', "import pa.util as one, pb.util as other");
        let make = format!(
            "import zipfile\nz = zipfile.ZipFile({archive:?}, 'w', zipfile.ZIP_DEFLATED)\n\
             for p in 'pa', 'pb':\n    z.writestr(p + '/__init__.py', ''); z.writestr(p + '/util.py', {MODULE:?})\n\
             z.writestr('__main__.py', {main:?})\nz.close()"
        );
        run(Command::new(&interpreter.path).args(["-c", &make]), Duration::from_secs(60)).unwrap().success();
        let mut command = Command::new(&interpreter.path);
        command.arg(&archive);
        let target = Target::start_command(command, &format!("a zipapp under {interpreter}"));
        let pid = target.pid();
        let record = |args: &[&str]| Recording::of(pid, &[&["-d", "0.7", "--nolineno"], args].concat());
        assert_eq!(modules(&record(&[])), ["work (pa/util.py)", "work (pb/util.py)"], "{interpreter}");
        assert_eq!(modules(&record(&["--include", "pa.util"])), ["work (pa/util.py)"], "{interpreter}");
        assert!(!modules(&record(&["--include", "__main__"])).is_empty(), "{interpreter}");
        let full = record(&["--full-filenames"]);
        let path = archive.join("pa/util.py");
        assert!(modules(&full).contains(&format!("work ({})", path.display()).as_str()), "{interpreter}: {full:?}");
        let dump = pyspy(&["dump", "--source", "-p", &pid.to_string()]);
        assert!(dump.success().contains("(app.pyz/__main__.py:"), "{interpreter}: {}", dump.stdout);
        assert!(dump.success().contains("other.work()"), "{interpreter}: {}", dump.stdout);
    }
}

#[test]
fn modules_that_are_no_files_keep_their_packages() {
    let directory = tempfile::tempdir().unwrap();
    // As PyInstaller and other freezers have them: compiled elsewhere, with a relative name or with one that is not
    // there.
    for (one, other, names) in [
        ("pa/util.py", "pb/util.py", ["work (pa/util.py)", "work (pb/util.py)"]),
        ("/not-there/pa/util.py", "/not-there/pb/util.py", ["work (pa/util.py)", "work (pb/util.py)"]),
    ] {
        let load = format!(
            "class Module: pass\ndef load(name):\n    space = {{}}\n    \
             exec(compile({MODULE:?}, name, 'exec'), space)\n    module = Module()\n    \
             module.work = space['work']\n    return module\none, other = load({one:?}), load({other:?})"
        );
        let program = written(directory.path(), "frozen.py", &TWO_MODULES.replace('%', &load));
        let mut command = Command::new(&any().path);
        command.arg(&program);
        let target = Target::start_command(command, "a frozen program");
        let recording = Recording::of(target.pid(), &["-d", "0.7", "--nolineno"]);
        assert_eq!(modules(&recording), names);
        assert!(recording.stacks.iter().all(|(stack, _)| stack[0] == "<module> (frozen.py)"), "{recording:?}");
    }
}

#[test]
fn cells_of_a_notebook_are_called_by_their_numbers() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/notebook/bin/python");
    if !python.exists() {
        print_note("skipped: there is no Jupyter kernel; tests/notebook/fetch brings one");
        return;
    }
    let mut command = Command::new(python);
    command.arg(script("notebook.py"));
    let target = Target::start_command(command, "a Jupyter kernel");
    let recording = Recording::of(target.pid(), &["-d", "0.7", "--nolineno", "--below", "spin"]);
    assert!(recording.stacks.iter().all(|(stack, _)| stack[0] == "spin (In [2])"), "{recording:?}");
    let pid = target.pid().to_string();
    let dump = pyspy(&["dump", "--source", "-p", &pid]);
    let text = dump.success();
    for expected in ["spin (In [2]:3)", "> 3 |         sum(range(100000))", "<module> (In [3]:3)", "> 3 | spin()"] {
        assert!(text.contains(expected), "{expected} not in {text}");
    }
    let full = pyspy(&["dump", "--full-filenames", "-p", &pid]);
    assert!(full.success().contains(&format!("/ipykernel_{pid}/")), "{}", full.stdout);
}
