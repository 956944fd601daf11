//! What native frames are called: compiled Python, generated code, lines and inlined functions of debug information.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::dump::dump;
use crate::interpreters::Interpreter;
use crate::native::{has_ctypes, library};
use crate::target::{Target, print_note, pyspy};

/// Starts `native_names.py`.
fn start_names(interpreter: &Interpreter, args: &[&str]) -> Target {
    Target::start(interpreter, "native_names.py", args)
}

fn newest_with_ctypes() -> &'static Interpreter {
    Interpreter::all().iter().rfind(|interpreter| has_ctypes(interpreter)).unwrap()
}

/// The frames of the main thread from one function down to another, newest first, as `name file:line`. It says that it
/// is ready before it is there.
fn frames(target: &Target, from: &str, until: &str) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let threads = dump(target.pid(), &["--native"]);
        let shown = threads[0]["frames"].as_array().unwrap().iter().map(|frame| {
            let file = Path::new(frame["filename"].as_str().unwrap()).file_name().unwrap_or_default();
            let line = frame["line"].as_u64().unwrap_or(0);
            format!("{} {}:{line}", frame["name"].as_str().unwrap(), file.to_string_lossy())
        });
        let all: Vec<String> = shown.collect();
        let is = |frame: &String, name: &str| frame.split(' ').next() == Some(name);
        let found = all.iter().skip_while(|frame| !is(frame, from)).take_while(|frame| !is(frame, until));
        let found: Vec<String> = found.cloned().collect();
        if !found.is_empty() && !all.iter().any(|frame| is(frame, "ready")) {
            return found;
        }
        assert!(Instant::now() < deadline, "{all:#?}");
    }
}

/// Whether a program is there; that it is not is said.
fn has(program: &str) -> bool {
    let has = Command::new(program).arg("--version").output().is_ok_and(|ran| ran.status.success());
    if !has {
        print_note(&format!("skipped: there is no {program}"));
    }
    has
}

#[track_caller]
fn run_tool(program: &str, args: &[&str]) {
    let ran = Command::new(program).args(args).output().unwrap();
    assert!(ran.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn compiled_python_is_called_as_in_the_program() {
    let folder = tempfile::tempdir().unwrap();
    for (options, lines) in [(&["-O1", "-g"][..], [6, 22, 42]), (&["-O1"], [0; 3])] {
        let Some(library) = library(folder.path(), "compiled.c", options) else { return };
        let path = library.to_str().unwrap();
        let target = start_names(newest_with_ctypes(), &["call", path, "CPyPy_Shape___area"]);
        let [c, pyx] = if lines[0] == 0 { ["libnest.so"; 2] } else { ["mmod.c", "cmod.pyx"] };
        // What Python calls is one with the function that it calls, whether that is a part of it or not.
        let expected = [
            format!("pkg.cmod.Shape.heavy {pyx}:{}", lines[0]),
            format!("pkg.cmod.work {pyx}:{}", lines[1]),
            format!("Shape.area {c}:{}", lines[2]),
        ];
        let found = frames(&target, "pkg.cmod.Shape.heavy", "call");
        assert_eq!(found[..3], expected, "{found:#?}");
        assert!(!found[3..].iter().any(|frame| frame.starts_with("Shape.area")), "{found:#?}");
    }
}

/// The frames of `inlined.c`, as they are shown when all is known.
const INLINED: [&str; 4] =
    ["innermost inlined.h:5", "inner inlined.h:11", "holder inlined.c:9", "inlined_entry inlined.c:16"];

fn inlined_frames(library: &Path) -> Vec<String> {
    let target = start_names(newest_with_ctypes(), &["call", library.to_str().unwrap(), "inlined_entry"]);
    frames(&target, "innermost", "call")[..4].to_vec()
}

#[test]
fn lines_and_inlined_functions_are_told_however_they_are_kept() {
    for options in [
        &["-g"][..],
        &["-gdwarf-4"],
        &["-gdwarf-5", "-gz=zlib"],
        &["-gdwarf-4", "-fdebug-types-section"],
        &["-gdwarf-5", "-gno-column-info"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<&str> = ["-O2"].iter().chain(options).copied().collect();
        let Some(library) = library(folder.path(), "inlined.c", &all) else { return };
        assert_eq!(inlined_frames(&library), INLINED, "{options:?}");
    }
}

#[test]
fn lines_are_found_in_what_was_stripped() {
    if !has("objcopy") {
        return;
    }
    for (build_id, place) in
        [("-Wl,--build-id=none", ""), ("-Wl,--build-id=none", ".debug"), ("-Wl,--build-id=sha1", "")]
    {
        let folder = tempfile::tempdir().unwrap();
        let Some(library) = library(folder.path(), "inlined.c", &["-O2", "-g", build_id]) else { return };
        let path = library.to_str().unwrap();
        let other = library.with_extension("debug");
        run_tool("objcopy", &["--only-keep-debug", path, other.to_str().unwrap()]);
        run_tool("objcopy", &["--strip-all", &format!("--add-gnu-debuglink={}", other.display()), path]);
        let moved: PathBuf = folder.path().join(place).join(other.file_name().unwrap());
        std::fs::create_dir_all(moved.parent().unwrap()).unwrap();
        std::fs::rename(&other, &moved).unwrap();
        assert_eq!(inlined_frames(&library), INLINED, "{build_id} {place}");
        // One that is not what was stripped is not believed.
        let mut bytes = std::fs::read(&moved).unwrap();
        let at = memchr::memmem::find(&bytes, b"inlined_entry").unwrap();
        bytes[at] = b'X';
        if build_id.ends_with("sha1") {
            let id = memchr::memmem::find(&bytes, b"GNU\0").unwrap() + 4;
            bytes[id] ^= 1;
        }
        std::fs::write(&moved, &bytes).unwrap();
        let target = start_names(newest_with_ctypes(), &["call", path, "inlined_entry"]);
        frames(&target, "inlined_entry", "call");
        let threads = dump(target.pid(), &["--native"]);
        let frames = threads[0]["frames"].as_array().unwrap();
        let of_library =
            frames.iter().filter(|frame| frame["module"].as_str().is_some_and(|path| path.ends_with("libnest.so")));
        let lines: Vec<&Value> = of_library.map(|frame| &frame["line"]).collect();
        assert!(!lines.is_empty() && lines.iter().all(|line| line.is_null()), "{build_id} {frames:#?}");
    }
}

#[test]
fn a_profile_has_lines_and_inlined_functions_too() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path(), "inlined.c", &["-O2", "-g"]) else { return };
    let target = start_names(newest_with_ctypes(), &["call", library.to_str().unwrap(), "inlined_entry"]);
    frames(&target, "innermost", "call");
    let output = folder.path().join("raw");
    let (pid, output) = (target.pid().to_string(), output.to_str().unwrap());
    // Idle, so that every sample is of the same place.
    pyspy(&["record", "-n", "--idle", "-d", "1", "-f", "raw", "-o", output, "--pid", &pid]).success();
    let raw = std::fs::read_to_string(output).unwrap();
    let expected = INLINED.map(|frame| frame.replace(' ', " (") + ")");
    let [innermost, inner, holder, entry] = &expected;
    let (stack, samples) = raw.trim().rsplit_once(' ').unwrap();
    assert!(stack.contains(&format!("{entry};{holder};{inner};{innermost}")), "{raw}");
    assert!(samples.parse::<u64>().unwrap() > 0, "{raw}");
}

#[test]
fn trampolines_are_left_out() {
    let mut tried = 0;
    for interpreter in Interpreter::all().iter().filter(|interpreter| interpreter.feature() >= (3, 12)) {
        let names = |backend: &str| {
            let target = start_names(interpreter, &["trampolines", backend]);
            let names: Vec<String> = frames(&target, "leaf", "trampolines");
            names.iter().map(|frame| frame.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let expected = names("none");
        assert!(expected.iter().any(|name| name.contains("middle")), "{expected:?}");
        let supports = "import sys; sys.activate_stack_trampoline(sys.argv[1])";
        for backend in ["perf", "perf_jit"] {
            let ran = Command::new(&interpreter.path).args(["-c", supports, backend]).output().unwrap();
            if !ran.status.success() {
                print_note(&format!("skipped: {interpreter} has no trampolines of the kind {backend}"));
                continue;
            }
            assert_eq!(names(backend), expected, "{interpreter} {backend}");
            tried += 1;
        }
    }
    if tried == 0 {
        print_note("skipped: no interpreter has trampolines");
    }
}

#[test]
fn generated_code_is_called_as_the_program_says() {
    if cfg!(not(target_arch = "x86_64")) {
        print_note("skipped: the code is for x86-64");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for kind in ["map", "dump"] {
        let target = start_names(newest_with_ctypes(), &["generated", kind, folder.path().to_str().unwrap()]);
        let found = frames(&target, "leaf", "generated");
        assert!(found.iter().any(|frame| frame.starts_with("made_by_compiler ")), "{kind}: {found:#?}");
        // Below it the stack goes on.
        assert!(found.iter().any(|frame| frame.contains("_ctypes")), "{kind}: {found:#?}");
        let map = format!("/tmp/perf-{}.map", target.pid());
        drop(target);
        let _ = std::fs::remove_file(map);
    }
}
