//! `--native`: the frames of C and C++ between those of Python, in the order in which they called each other.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::dump::dump;
use crate::interpreters::Interpreter;
use crate::target::{Target, alone_on_this_machine, print_note, pyspy};

/// A library made from `tests/native/SOURCE`; `None`, which is said, without a compiler.
pub(crate) fn library(folder: &Path, source: &str, options: &[&str]) -> Option<PathBuf> {
    let compiler = if source.ends_with(".cc") { "c++" } else { "cc" };
    if Command::new(compiler).arg("--version").output().is_err() {
        print_note(&format!("skipped: there is no {compiler} to make a library with"));
        return None;
    }
    let output = folder.join("libnest.so");
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-w"]).args(options).arg("-o").arg(&output);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/native").join(source));
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
    Some(output)
}

/// Whether an interpreter can call C; that one cannot is said.
pub(crate) fn has_ctypes(interpreter: &Interpreter) -> bool {
    let has = Command::new(&interpreter.path).args(["-c", "import ctypes"]).output().unwrap().status.success();
    if !has {
        print_note(&format!("skipped: {interpreter} has no ctypes"));
    }
    has
}

fn start_native(interpreter: &Interpreter, library: &Path, what: &str) -> Target {
    let target = Target::start(interpreter, "native.py", &[library.to_str().unwrap(), what]);
    // It says that it is ready from a function that it has yet to leave.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !dump(target.pid(), &[]).iter().any(|thread| thread["frames"][0]["name"] == "leaf") {
        assert!(Instant::now() < deadline, "{interpreter} is not where it is to be");
    }
    target
}

/// The frames of a thread that are Python or of the library, oldest first, as `name` and `[name]`.
fn frames(thread: &Value) -> Vec<String> {
    let frames = thread["frames"].as_array().unwrap().iter().rev();
    let shown = frames.filter_map(|frame| {
        let name = frame["name"].as_str().unwrap();
        match frame["module"].as_str() {
            None => Some(name.to_owned()),
            Some(module) => module.ends_with("libnest.so").then(|| format!("[{name}]")),
        }
    });
    shown.collect()
}

const NEST: [&str; 8] = ["<module>", "main", "key", "middle", "[nest_outer]", "[nest_inner]", "[nest_hidden]", "leaf"];

#[test]
fn every_version_shows_c_between_python() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path(), "nest.c", &["-O2"]) else { return };
    for interpreter in Interpreter::all().iter().filter(|interpreter| has_ctypes(interpreter)) {
        let target = start_native(interpreter, &library, "wait");
        let threads = dump(target.pid(), &["--native"]);
        assert_eq!(frames(&threads[0]), NEST, "{interpreter}: {:#?}", threads[0]);
        // What runs Python code is shown as that code, and what started the program not at all.
        for frame in threads[0]["frames"].as_array().unwrap() {
            let name = frame["name"].as_str().unwrap();
            let is_hidden = name.contains("EvalFrame") || name.contains("libc_start") || name == "Py_RunMain";
            assert!(!is_hidden, "{interpreter}: {name}");
        }
        // The Python frames are those that are there without.
        let python = |threads: &[Value]| {
            let frames = threads[0]["frames"].as_array().unwrap().iter();
            let python = frames.filter(|frame| frame["module"].is_null());
            python.map(|frame| (frame["name"].clone(), frame["line"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(python(&threads), python(&dump(target.pid(), &[])), "{interpreter}");
    }
}

#[test]
fn a_library_is_followed_however_it_was_made() {
    let interpreter = Interpreter::all().iter().rfind(|interpreter| has_ctypes(interpreter)).unwrap();
    let no_tables = ["-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fno-omit-frame-pointer"];
    let variants: [(&str, Vec<&str>); 5] = [
        ("without optimization", vec!["-O0"]),
        ("without frame pointers", vec!["-O2", "-fomit-frame-pointer"]),
        ("with frame pointers only", ["-O1"].into_iter().chain(no_tables).collect()),
        ("without an index of its frames", vec!["-O2", "-Wl,--no-eh-frame-hdr"]),
        ("stripped", vec!["-O2", "-s"]),
    ];
    for (name, options) in variants {
        let folder = tempfile::tempdir().unwrap();
        let Some(library) = library(folder.path(), "nest.c", &options) else { return };
        let target = start_native(interpreter, &library, "wait");
        let found = frames(&dump(target.pid(), &["--native"])[0]);
        let is_stripped = name == "stripped";
        assert_eq!(found.len(), NEST.len(), "{name}: {found:?}");
        for (found, expected) in found.iter().zip(NEST) {
            // A static function of a stripped library is named by where it begins.
            let is_address = found.starts_with("[0x") && is_stripped && expected == "[nest_hidden]";
            assert!(found == expected || is_address, "{name}: {found}, not {expected}");
        }
    }
}

#[test]
fn cpp_is_shown_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path(), "nest.cc", &["-O2"]) else { return };
    let interpreter = Interpreter::all().iter().rfind(|interpreter| has_ctypes(interpreter)).unwrap();
    let target = start_native(interpreter, &library, "wait");
    let found = frames(&dump(target.pid(), &["--native"])[0]);
    assert_eq!(found[3..], ["middle", "[nest_outer]", "[shapes::Circle<double>::grow]", "leaf"]);
}

#[test]
fn deep_recursion_through_c_is_whole() {
    const DEPTH: usize = 3000;
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path(), "nest.c", &["-O2"]) else { return };
    // Some versions in between count calls through C and stop at some hundred.
    for version in [(3, 8), (3, 11), (3, 13)] {
        let Some(interpreter) = Interpreter::all().iter().find(|interpreter| interpreter.feature() == version) else {
            continue;
        };
        let target = start_native(interpreter, &library, &DEPTH.to_string());
        let threads = dump(target.pid(), &["--native"]);
        let thread = threads.iter().map(frames).find(|frames| frames.iter().any(|name| name == "again")).unwrap();
        let at = thread.iter().position(|name| name == "again").unwrap();
        let rest = &thread[at..];
        let level = ["again", "[nest_outer]", "[nest_inner]", "[nest_hidden]", "<lambda>"];
        assert_eq!(rest.len(), DEPTH * level.len() + 2, "{interpreter}");
        for (found, expected) in rest.iter().zip(level.iter().cycle()).take(DEPTH * level.len()) {
            assert!(found.ends_with(expected), "{interpreter}: {found}, not {expected}");
        }
        assert_eq!(rest[DEPTH * level.len()..], ["again", "leaf"], "{interpreter}");
    }
}

#[test]
fn every_format_shows_native_frames() {
    let _alone = alone_on_this_machine();
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path(), "nest.c", &["-O2"]) else { return };
    let interpreter = Interpreter::all().iter().rfind(|interpreter| has_ctypes(interpreter)).unwrap();
    let target = start_native(interpreter, &library, "work");
    let recording = folder.path().join("run.pyspy");
    let recording = recording.to_str().unwrap();
    let pid = target.pid().to_string();
    pyspy(&["record", "-n", "-d", "2", "-f", "pyspy", "-o", recording, "--pid", &pid]).success();
    let formats =
        ["flamegraph", "flamechart", "raw", "speedscope", "chrometrace", "firefox", "pprof", "callgrind", "pstats"];
    for format in formats {
        let output = folder.path().join(format);
        pyspy(&["convert", recording, "-f", format, "-o", output.to_str().unwrap()]).success();
        let mut bytes = std::fs::read(&output).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let packed = std::mem::take(&mut bytes);
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
        }
        let found = memchr::memmem::find(&bytes, b"nest_work").is_some();
        assert!(found, "{format} does not name nest_work");
    }
    let raw = std::fs::read_to_string(folder.path().join("raw")).unwrap();
    let mut samples = 0;
    for line in raw.lines() {
        let (stack, count) = line.rsplit_once(' ').unwrap();
        let shown = stack.split(';').filter(|frame| frame.contains("native.py") || frame.contains("libnest.so"));
        let names: Vec<&str> = shown.map(|frame| frame.split(' ').next().unwrap()).collect();
        let nest = NEST.map(|name| name.trim_matches(['[', ']']));
        // It may have been on its way in or out.
        let Some((within, deeper)) = names.split_at_checked(nest.len()) else {
            assert_eq!(names, nest[..names.len()], "{line}");
            continue;
        };
        assert_eq!(within, nest, "{line}");
        assert!(matches!(deeper, [] | ["nest_work"]), "{line}");
        samples += count.parse::<u64>().unwrap();
    }
    assert!(samples > 0);
    let once = pyspy(&["top", "--once", "-n", "--pid", &pid]);
    assert!(once.success().contains("nest_work (libnest.so)"), "{once:#?}");
}

#[test]
fn an_idle_thread_is_not_stopped_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path(), "nest.c", &["-O2"]) else { return };
    let interpreter = Interpreter::all().iter().rfind(|interpreter| has_ctypes(interpreter)).unwrap();
    let target = start_native(interpreter, &library, "wait");
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", target.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    let before = switches();
    let output = folder.path().join("raw");
    let pid = target.pid().to_string();
    let output = output.to_str().unwrap();
    pyspy(&["record", "-n", "--idle", "-r", "100", "-d", "2", "-f", "raw", "-o", output, "--pid", &pid]).success();
    // A stop is one or two.
    assert!(switches() - before <= 2, "{} switches", switches() - before);
    let raw = std::fs::read_to_string(output).unwrap();
    let (stack, _) = raw.trim().rsplit_once(' ').unwrap();
    assert!(stack.contains("nest_hidden (libnest.so)") && stack.contains(";leaf (native.py:"), "{raw}");
}

#[test]
fn native_frames_need_a_stop_and_a_process() {
    for args in [
        &["record", "--sampler=reader", "--native", "--nonblocking", "--pid", "1"][..],
        &["top", "-n", "--nonblocking", "--pid", "1"],
        &["dump", "-n", "--nonblocking", "--pid", "1"],
        &["dump", "-n", "--core", "core"],
    ] {
        let ran = pyspy(args);
        assert_eq!(ran.status.code(), Some(2), "{args:?}: {ran:#?}");
        assert!(ran.stderr.contains("--native"), "{ran:#?}");
    }
}
