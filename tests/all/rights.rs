//! What can be read with which rights, and what is said where it cannot.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::interpreters::Interpreter;
use crate::running::{Running, script, wait_for_handlers};
use crate::target::{Ran, Target, copy_program, print_note, run};

/// Users of nobody: that of the target, and ours.
const THEIRS: &str = "4343";
const OURS: &str = "4242";

const LIMIT: Duration = Duration::from_secs(60);

/// A copy of pyspy where every user may run it.
struct Copied {
    folder: tempfile::TempDir,
}

impl Copied {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        copy_program(env!("CARGO_BIN_EXE_pyspy"), &folder.path().join("pyspy"));
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("pyspy")
    }

    /// Runs it by a command that takes its path and its arguments.
    fn run(&self, wrapper: &[&str], arguments: &[&str]) -> Ran {
        let mut command = Command::new(wrapper[0]);
        run(command.args(&wrapper[1..]).arg(self.path()).args(arguments), LIMIT).unwrap()
    }
}

/// What gives rights and takes them, as root: the options of `setpriv` (util-linux).
fn setpriv<'words>(capabilities: &'words str, user: Option<&'words str>) -> Vec<&'words str> {
    let mut words = vec!["setpriv", "--bounding-set", capabilities, "--inh-caps", capabilities];
    match user {
        Some(user) => {
            words.extend(["--reuid", user, "--regid", user, "--clear-groups", "--ambient-caps", capabilities]);
        }
        None => words.extend(["--ambient-caps", "-all"]),
    }
    words
}

/// The interpreters that every user may run; none where these tests cannot be made, which is said.
fn pythons(what: &str) -> Vec<&'static Interpreter> {
    let may = nix::unistd::geteuid().is_root() && Command::new("setpriv").arg("--version").output().is_ok();
    let found = Interpreter::all().iter().filter(|found| found.path.starts_with("/usr/bin"));
    let found: Vec<_> = found.filter(|found| may && found.version >= (3, 8, 0)).collect();
    if found.is_empty() {
        print_note(&format!("skipped: {what}, which needs root, setpriv, and a Python that every user may run"));
    }
    found
}

fn waiter(python: &Interpreter, user: &str) -> Target {
    Target::start(python, "lock_holder.py", &[user])
}

#[test]
fn the_capability_to_trace_is_enough() {
    for python in pythons("reading with CAP_SYS_PTRACE alone") {
        let copied = Copied::new();
        let target = waiter(python, THEIRS);
        let pid = target.pid().to_string();
        let only = "-all,+sys_ptrace";
        for wrapper in [setpriv(only, Some(OURS)), setpriv(only, None)] {
            let ran = copied.run(&wrapper, &["dump", "--pid", &pid]);
            let text = ran.success();
            assert!(text.contains("wait_for_it (") && text.contains("lock_holder.py:16"), "{wrapper:?}: {ran:#?}");
            // What the files of the owner would tell, registers do.
            assert!(text.contains("Lock.acquire") && text.contains("held by"), "{wrapper:?}: {ran:#?}");
            let ran = copied.run(&wrapper, &["record", "-i", "-d", "0.3", "-f", "raw", "-o", "-", "--pid", &pid]);
            assert!(ran.success().contains("wait_for_it"), "{wrapper:?}: {ran:#?}");
            let ran = copied.run(&wrapper, &["top", "--once", "-i", "--pid", &pid]);
            assert!(ran.success().contains("wait_for_it"), "{wrapper:?}: {ran:#?}");
        }
    }
}

#[test]
fn a_capability_of_the_file_is_enough() {
    for python in pythons("reading by a capability of the file") {
        let copied = Copied::new();
        let given = Command::new("setcap").arg("cap_sys_ptrace+ep").arg(copied.path()).output();
        if !given.is_ok_and(|output| output.status.success()) {
            return print_note("skipped: a capability of the file, which setcap could not give");
        }
        let target = waiter(python, THEIRS);
        let wrapper = ["setpriv", "--reuid", OURS, "--regid", OURS, "--clear-groups"];
        let ran = copied.run(&wrapper, &["dump", "--pid", &target.pid().to_string()]);
        assert!(ran.success().contains("wait_for_it"), "{ran:#?}");
    }
}

/// It is refused with status 4, and these words are said.
#[track_caller]
fn assert_refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.status.code(), Some(4), "{ran:#?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word}: {ran:#?}");
    }
}

#[test]
fn a_refusal_names_what_was_refused_who_we_are_and_what_helps() {
    let pythons = pythons("refusals");
    let Some(python) = pythons.last() else { return };
    let copied = Copied::new();
    let target = waiter(python, THEIRS);
    let pid = target.pid().to_string();
    let ran = copied.run(&setpriv("-all", Some(OURS)), &["dump", "--pid", &pid]);
    assert_refused(&ran, &["/proc/PID/maps", "belongs to user 4343 and we are user 4242", "without CAP_SYS_PTRACE"]);
    let ran = copied.run(&setpriv("-all,+chown", None), &["dump", "--pid", &pid]);
    assert_refused(&ran, &["CAP_SYS_PTRACE", "we are user 0 without"]);
    // Root of a namespace of its own has all capabilities, for nothing outside of it.
    let wrapper = ["unshare", "--user", "--map-root-user"];
    if Command::new("unshare").args(&wrapper[1..]).arg("true").output().is_ok_and(|output| output.status.success()) {
        let ran = copied.run(&wrapper, &["dump", "--pid", &pid]);
        assert_refused(&ran, &["user namespace", "with CAP_SYS_PTRACE"]);
    } else {
        print_note("skipped: a user namespace, which cannot be made here");
    }
}

#[test]
fn processes_that_proc_hides_are_said_to_be_hidden() {
    let pythons = pythons("hidepid");
    let Some(python) = pythons.last() else { return };
    let copied = Copied::new();
    let target = waiter(python, THEIRS);
    let pid = target.pid().to_string();
    let script =
        "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 4242 --regid 4242 --clear-groups \"$@\"";
    let wrapper = ["unshare", "--mount", "sh", "-c", script, "sh"];
    let ran = copied.run(&wrapper, &["dump", "--pid", &pid]);
    if ran.stderr.starts_with("mount:") {
        return print_note("skipped: hidepid, as /proc cannot be mounted here");
    }
    assert_refused(&ran, &["hidepid"]);
    // With the capability it is hidden no longer.
    let script = script.replace("--clear-groups", "--clear-groups --inh-caps +sys_ptrace --ambient-caps +sys_ptrace");
    let wrapper = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    let ran = copied.run(&wrapper, &["dump", "--pid", &pid]);
    assert!(ran.success().contains("wait_for_it"), "{ran:#?}");
}

#[test]
fn without_proc_this_is_what_is_said() {
    // In a mount namespace of its own, with an empty folder in the place of /proc.
    let in_namespace = |line: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c"]);
        command.arg(format!("mount -t tmpfs none /proc && exec {line}"));
        run(&mut command, LIMIT)
    };
    if !in_namespace("true").is_ok_and(|ran| ran.status.success()) {
        return print_note("skipped: pyspy without /proc, as no mount namespace can be made here");
    }
    let program = env!("CARGO_BIN_EXE_pyspy");
    let lines = ["dump --pid 1", "record -d 1 --pid 1 -o /dev/null -f raw", "record --name x -o /dev/null -f raw"];
    for line in lines {
        let ran = in_namespace(&format!("'{program}' {line}")).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{line}: {ran:#?}");
        for words in ["/proc is not mounted here", "mount -t proc proc /proc"] {
            assert!(ran.stderr.contains(words), "{line}: {ran:#?}");
        }
        assert!(!ran.stderr.contains("there is no process"), "{line}: {ran:#?}");
    }
}

#[test]
fn a_file_that_may_not_be_opened_is_named_instead_of_denying_that_it_is_python() {
    let pythons = pythons("programs that may not be opened");
    let Some(python) = pythons.last() else { return };
    let copied = Copied::new();
    let closed = tempfile::tempdir().unwrap();
    let program = closed.path().join("closed-python");
    copy_program(&python.path, &program);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o711)).unwrap();
    let mut command = Command::new(&program);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/lock_holder.py");
    command.arg(script).env("PYTHONHOME", "/usr");
    let target = Target::start_command(command, "closed-python");
    let pid = target.pid().to_string();
    let ran = copied.run(&setpriv("-all,+sys_ptrace", Some(OURS)), &["dump", "--pid", &pid]);
    if ran.status.success() {
        // It has its interpreter in a library, which everybody may read.
        return assert!(ran.stdout.contains("wait_for_it"), "{ran:#?}");
    }
    assert_refused(&ran, &["closed-python", "CAP_DAC_READ_SEARCH"]);
}

#[test]
fn a_set_uid_pyspy_has_the_rights_of_its_caller_but_for_reading() {
    let pythons = pythons("set-uid root");
    let Some(python) = pythons.last() else { return };
    let copied = Copied::new();
    fs::set_permissions(copied.path(), fs::Permissions::from_mode(0o4755)).unwrap();
    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let wrapper = &["setpriv", "--reuid", OURS, "--regid", OURS, "--clear-groups"];
    // It may read anybody's process.
    let target = waiter(python, THEIRS);
    let ran = copied.run(wrapper, &["dump", "--pid", &target.pid().to_string()]);
    if !ran.status.success() && ran.stderr.contains("without CAP_SYS_PTRACE") {
        return print_note("skipped: set-uid, which the file system of temporary files does not allow");
    }
    assert!(ran.success().contains("wait_for_it"), "{ran:#?}");
    // But it starts programs, and writes files, as its caller would.
    let path = open.path().join("a.txt");
    let (path, program) = (path.to_str().unwrap(), python.path.to_str().unwrap());
    let code = "import os, time; print(os.getresuid(), open('/proc/self/status').read()); time.sleep(0.3)";
    let ran = copied.run(wrapper, &["record", "-i", "-f", "raw", "-o", path, "--", program, "-c", code]);
    assert!(ran.success().contains("(4242, 4242, 4242)"), "{ran:#?}");
    assert!(ran.stdout.contains("CapEff:\t0000000000000000"), "{ran:#?}");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).unwrap()), 4242);
    let closed = tempfile::tempdir().unwrap();
    let path = closed.path().join("a.txt");
    let pid = target.pid().to_string();
    let ran = copied.run(wrapper, &["record", "-i", "-d", "0.2", "-o", path.to_str().unwrap(), "-p", &pid]);
    assert_eq!(ran.status.code(), Some(7), "{ran:#?}");
}

#[test]
fn a_set_uid_program_that_is_executed_gets_its_rights_though_its_process_is_sampled() {
    let pythons = pythons("set-uid programs below what is sampled");
    let Some(python) = pythons.last() else { return };
    let copied = Copied::new();
    let id = copied.folder.path().join("id");
    copy_program("/usr/bin/id", &id);
    fs::set_permissions(&id, fs::Permissions::from_mode(0o4755)).unwrap();
    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let as_theirs = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", THEIRS, "--regid", THEIRS, "--clear-groups"]);
        command
    };
    if run(as_theirs().arg(&id).arg("-u"), LIMIT).unwrap().success().trim() != "0" {
        return print_note("skipped: set-uid, which the file system of temporary files does not allow");
    }
    // Whoever traces a process without the capability to trace all takes from it what rights the program would get.
    let mut command = as_theirs();
    command.arg(&python.path).arg(script("set_uid_children.py")).arg(&id).arg("100");
    let mut target = Target::start_command(command, "set_uid_children.py");
    let mut command = as_theirs();
    command.arg(copied.path()).args(["record", "-r", "1000", "-s", "--blocking", "-i", "-f", "raw", "-o"]);
    command.arg(open.path().join("a.txt")).args(["-p", &target.pid().to_string()]);
    let mut running = Running::start_command(&mut command);
    wait_for_handlers(&mut running);
    target.send("go");
    for child in 0..100 {
        assert_eq!(target.line(), "0", "child {child}");
    }
    assert_eq!(target.line(), "end");
    running.signal(nix::sys::signal::Signal::SIGINT);
    running.ended().success();
}
