//! A process of a tree that may not be read is named.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::running::{Running, script};
use crate::target::{copy_program, print_note};

/// Where anybody finds pyspy and the program; `None`, which is said, where the tests cannot become somebody else.
fn folder() -> Option<TempDir> {
    if !nix::unistd::geteuid().is_root() || !Path::new("/usr/bin/python3").exists() {
        print_note(
            "skipped: a child that may not be read, for which the tests must be root with a Python that all may run",
        );
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    copy_program(env!("CARGO_BIN_EXE_pyspy"), &folder.path().join("pyspy"));
    fs::copy(script("undumpable.py"), folder.path().join("undumpable.py")).unwrap();
    Some(folder)
}

fn as_nobody(folder: &TempDir, args: &[&str]) -> Running {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(folder.path().join("pyspy"));
    command.args(args).args(["--", "/usr/bin/python3", "undumpable.py"]).current_dir(folder.path());
    Running::start_command(&mut command)
}

/// The pid of the child, once it may not be read any more.
fn child(written: &str) -> Option<&str> {
    written.lines().find_map(|line| line.strip_prefix("child "))
}

#[test]
fn the_summary_names_a_child_that_may_not_be_read() {
    let Some(folder) = folder() else { return };
    let output = folder.path().join("a.txt");
    let mut running = as_nobody(&folder, &["record", "-s", "-f", "raw", "--every", "200ms", "-o", "a.txt"]);
    let stdout = running.output_path("stdout");
    running.wait_until("the child", || child(&fs::read_to_string(&stdout).unwrap()).is_some());
    running.wait_until("samples of the parent", || {
        fs::read_to_string(&output).is_ok_and(|text| text.contains("work (undumpable.py"))
    });
    // A look that found it unreadable comes before the next file.
    fs::remove_file(&output).unwrap();
    running.wait_until("another file", || output.exists());
    running.signal(Signal::SIGINT);
    let ran = running.ended();
    ran.success();
    let pid = child(&ran.stdout).unwrap();
    let told = format!("pyspy: process {pid} (/usr/bin/python3 undumpable.py) was not read, permission denied: ");
    let line = ran.stderr.lines().find(|line| line.starts_with(&told));
    assert!(line.is_some_and(|line| line.contains("PR_SET_DUMPABLE") && line.contains("sudo")), "{ran:#?}");
}

#[test]
fn the_live_view_names_a_child_that_may_not_be_read() {
    let Some(folder) = folder() else { return };
    let mut running = as_nobody(&folder, &["top", "-s", "--json", "--delay", "200ms"]);
    let stdout = running.output_path("stdout");
    running
        .wait_until("its name", || fs::read_to_string(&stdout).unwrap().contains(" was not read, permission denied"));
    running.signal(Signal::SIGINT);
    let ran = running.ended();
    let pid = child(&ran.stderr).unwrap();
    assert!(ran.stdout.contains(&format!("process {pid} (/usr/bin/python3 undumpable.py) was not read")), "{ran:#?}");
}
