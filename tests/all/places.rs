//! Interpreters in unusual places: other namespaces, other names, files that are gone, stripped, embedded.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::dump::{assert_is_as_python_says, dump, frames, wait_until_waiting};
use crate::interpreters::Interpreter;
use crate::target::{Target, copy_program, print_note, run};

/// Builds a root directory of its own in the mount namespace that it runs in: all of ours, and the interpreter's prefix
/// and the scripts at places that we do not have. Then runs `PYTHON known.py` in it. Arguments: root, prefix, scripts,
/// name of the executable in the prefix.
const OTHER_ROOT: &str = r#"
set -e
mount -t tmpfs tmpfs "$1"
for entry in /*; do
    if [ -L "$entry" ]; then
        cp -P "$entry" "$1/"
    elif [ -d "$entry" ]; then
        mkdir "$1$entry"
        mount --rbind "$entry" "$1$entry"
    fi
done
mkdir "$1/prefix-elsewhere" "$1/scripts-elsewhere"
mount --bind "$2" "$1/prefix-elsewhere"
mount --bind "$3" "$1/scripts-elsewhere"
export LD_LIBRARY_PATH=/prefix-elsewhere/lib PYTHONHOME=/prefix-elsewhere
exec chroot "$1" "/prefix-elsewhere/$4" /scripts-elsewhere/known.py
"#;

fn targets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets")
}

/// `/usr` of `/usr/bin/python3`.
fn prefix(interpreter: &Interpreter) -> &Path {
    interpreter.path.ancestors().nth(2).expect("an interpreter is in PREFIX/bin")
}

/// Whether `unshare` with these arguments works here; says so if it does not.
fn can_unshare(args: &[&str]) -> bool {
    let works = run(Command::new("unshare").args(args).arg("true"), Duration::from_secs(10));
    let works = works.is_ok_and(|ran| ran.status.success());
    if !works {
        print_note(&format!("skipped: unshare {} does not work here (it takes root)", args.join(" ")));
    }
    works
}

fn in_other_root(interpreter: &Interpreter, root: &Path, namespaces: &[&str]) -> Target {
    let mut command = Command::new("unshare");
    let executable = interpreter.path.strip_prefix(prefix(interpreter)).unwrap();
    command.args(namespaces).args(["sh", "-c", OTHER_ROOT, "sh"]).arg(root).arg(prefix(interpreter));
    command.arg(targets()).arg(executable);
    Target::start_command(command, &interpreter.name)
}

fn said(target: &mut Target) -> Vec<Value> {
    serde_json::from_str(&target.line()).unwrap()
}

#[test]
fn a_process_in_another_mount_namespace_is_read_from_outside() {
    if !can_unshare(&["-m"]) {
        return;
    }
    for interpreter in Interpreter::all() {
        let root = tempfile::tempdir().unwrap();
        let mut target = in_other_root(interpreter, root.path(), &["-m"]);
        let said = said(&mut target);
        assert!(!Path::new("/prefix-elsewhere").exists() && !Path::new("/scripts-elsewhere").exists());
        wait_until_waiting(target.pid());
        let threads = dump(target.pid(), &[]);
        assert_is_as_python_says(interpreter, target.pid(), &threads, &said);
        // Where a package begins is seen in its file system only.
        let in_json = threads.iter().find(|thread| frames(thread).iter().any(|(name, ..)| *name == "in_json")).unwrap();
        let shown = in_json["frames"].as_array().unwrap().iter().map(|frame| frame["short_filename"].as_str().unwrap());
        assert!(shown.clone().any(|name| name == "json/encoder.py"), "{interpreter}: {in_json:#}");
        assert!(shown.clone().any(|name| name == "known.py"), "{interpreter}: {in_json:#}");
    }
}

#[test]
fn a_process_in_another_pid_namespace_has_the_thread_ids_outside() {
    if !can_unshare(&["-m", "-p", "-f", "--mount-proc"]) {
        return;
    }
    for interpreter in Interpreter::all() {
        let root = tempfile::tempdir().unwrap();
        // The target is the only child of unshare, the first process of its namespace.
        let mut unshare = in_other_root(interpreter, root.path(), &["-m", "-p", "-f", "--mount-proc"]);
        let mut said = said(&mut unshare);
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", unshare.pid())).unwrap();
        let pid: u32 = children.trim().parse().unwrap();
        wait_until_waiting(pid);
        let outside = ids_outside(pid);
        for thread in &mut said {
            let inside = thread["native_id"].as_u64().unwrap();
            thread["native_id"] = outside[&inside].into();
        }
        assert_eq!(said[0]["native_id"], pid, "{interpreter}: the main thread is the process");
        assert_is_as_python_says(interpreter, pid, &dump(pid, &[]), &said);
    }
}

/// The thread ids of a process in its own namespace, with ours.
fn ids_outside(pid: u32) -> HashMap<u64, u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks
        .map(|task| {
            let status = fs::read_to_string(task.path().join("status")).unwrap();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
            let numbers: Vec<u64> = numbers.split_whitespace().map(|number| number.parse().unwrap()).collect();
            (*numbers.last().unwrap(), task.file_name().to_str().unwrap().parse().unwrap())
        })
        .collect()
}

/// The interpreter's executable under another name in `folder`, with its libpython if it has one, and what runs
/// `known.py` with it. None, and a note, if such a copy does not start: one that finds its libraries by where it is, or
/// that has been through patchelf and then strip.
fn copy_of(interpreter: &Interpreter, folder: &Path, strip: bool) -> Option<(Command, Vec<PathBuf>)> {
    let executable = folder.join("server");
    copy_program(&interpreter.path, &executable);
    let mut copies = vec![executable.clone()];
    let (major, minor) = interpreter.feature();
    let library = format!("libpython{major}.{minor}");
    for entry in fs::read_dir(prefix(interpreter).join("lib")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with(&library) && name.contains(".so.") {
            let copy = folder.join(name);
            fs::copy(entry.path(), &copy).unwrap();
            copies.push(copy);
        }
    }
    if strip {
        let stripped = run(Command::new("strip").arg("--strip-all").args(&copies), Duration::from_secs(60));
        if !stripped.is_ok_and(|ran| ran.status.success()) {
            print_note("skipped: there is no strip here");
            return None;
        }
    }
    let python = || {
        let mut command = Command::new(&executable);
        command.env("LD_LIBRARY_PATH", folder).env("PYTHONHOME", prefix(interpreter));
        command
    };
    if !run(python().args(["-c", "import json, threading"]), Duration::from_secs(60))
        .is_ok_and(|ran| ran.status.success())
    {
        print_note(&format!(
            "skipped: a copy of {interpreter} does not start{}",
            if strip { " when stripped" } else { "" }
        ));
        return None;
    }
    let mut command = python();
    command.arg(targets().join("known.py"));
    Some((command, copies))
}

fn assert_is_read(interpreter: &Interpreter, target: &mut Target) {
    let said = said(target);
    wait_until_waiting(target.pid());
    assert_is_as_python_says(interpreter, target.pid(), &dump(target.pid(), &[]), &said);
}

#[test]
fn a_copy_under_another_name_is_found() {
    for interpreter in Interpreter::all() {
        let folder = tempfile::tempdir().unwrap();
        let Some((command, _)) = copy_of(interpreter, folder.path(), false) else { continue };
        assert_is_read(interpreter, &mut Target::start_command(command, &interpreter.name));
    }
}

#[test]
fn deleted_and_replaced_files_are_no_obstacle() {
    for interpreter in Interpreter::all() {
        for replaced in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let Some((command, copies)) = copy_of(interpreter, folder.path(), false) else { continue };
            let mut target = Target::start_command(command, &interpreter.name);
            for copy in copies {
                fs::remove_file(&copy).unwrap();
                if replaced {
                    // As an update does: another file in its place.
                    copy_program("/bin/sh", &copy);
                }
            }
            assert_is_read(interpreter, &mut target);
        }
    }
}

#[test]
fn stripped_files_are_no_obstacle() {
    for interpreter in Interpreter::all() {
        let folder = tempfile::tempdir().unwrap();
        let Some((command, _)) = copy_of(interpreter, folder.path(), true) else { continue };
        assert_is_read(interpreter, &mut Target::start_command(command, &interpreter.name));
    }
}

/// A program of the name of a server that runs Python on the side.
const EMBEDDER: &str = r#"
#include <Python.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    FILE *file = fopen(argv[1], "r");
    (void)argc;
    Py_Initialize();
    return PyRun_SimpleFileExFlags(file, argv[1], 1, NULL);
}
"#;

#[test]
fn an_embedded_interpreter_is_found() {
    let mut tested = 0;
    for interpreter in Interpreter::all() {
        let folder = tempfile::tempdir().unwrap();
        let (source, program) = (folder.path().join("server.c"), folder.path().join("database server"));
        fs::write(&source, EMBEDDER).unwrap();
        let library = prefix(interpreter).join("lib");
        let (major, minor) = interpreter.feature();
        let name = ["", "m"].map(|abi| format!("python{major}.{minor}{abi}"));
        let there = name.iter().find(|name| library.join(format!("lib{name}.so")).exists());
        let (Some(name), false) = (there, interpreter.include_dirs.is_empty()) else {
            print_note(&format!("skipped: {interpreter} comes without what it takes to embed it"));
            continue;
        };
        let mut compile = Command::new("cc");
        compile.args(interpreter.include_dirs.iter().flat_map(|folder| [OsStr::new("-I"), folder.as_os_str()]));
        compile.arg("-o").arg(&program).arg(&source).arg("-L").arg(&library).arg(format!("-l{name}"));
        compile.arg(format!("-Wl,-rpath,{}", library.display()));
        run(&mut compile, Duration::from_secs(120)).unwrap().success();
        let mut command = Command::new(&program);
        command.arg(targets().join("known.py")).env("PYTHONHOME", prefix(interpreter)).env("PYTHONPATH", targets());
        assert_is_read(interpreter, &mut Target::start_command(command, &interpreter.name));
        tested += 1;
    }
    print_note(&format!("embedded {tested} interpreters"));
}
