//! Where files are written as root, what stands there already, and what happens to it meanwhile.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::interpreters::Interpreter;
use crate::running::{Running, any};
use crate::target::{Ran, Target, print_note, pyspy, run};

/// A user and a group of nobody.
const STRANGER: u32 = 4242;

const LIMIT: Duration = Duration::from_secs(60);

/// Whether we may act as others; says so where not.
fn is_root(what: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        print_note(&format!("skipped: {what}, for which the tests must be run as root"));
    }
    is_root
}

/// A folder that everybody may enter and write to.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

/// Records a target for a moment.
fn record(pid: u32, output: &Path) -> Ran {
    let args = ["record", "-d", "0.3", "-p", &pid.to_string(), "-o", output.to_str().unwrap()];
    pyspy(&args.map(str::to_owned))
}

/// An interpreter that every user may run.
fn python_for_all() -> Option<&'static Interpreter> {
    Interpreter::all().iter().rfind(|found| found.version >= (3, 8, 0) && found.path.starts_with("/usr/bin"))
}

#[test]
fn an_existing_file_keeps_its_owner_and_its_mode() {
    if !is_root("files of other users") {
        return;
    }
    let target = Target::start(any(), "fib.py", &[]);
    let folder = open_folder();
    for (name, mode) in [("a.svg", 0o640), ("a.pyspy", 0o604)] {
        let path = folder.path().join(name);
        fs::write(&path, "old").unwrap();
        chown(&path, Some(STRANGER), Some(STRANGER + 1)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        record(target.pid(), &path).success();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(
            (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777),
            (STRANGER, STRANGER + 1, mode),
            "{name}"
        );
        assert!(metadata.len() > 100, "{name}");
    }
}

#[test]
fn another_users_link_is_followed_only_as_far_as_the_kernel_does() {
    if !is_root("links of other users") {
        return;
    }
    let protected = fs::read_to_string("/proc/sys/fs/protected_symlinks").unwrap_or_default();
    let folder = open_folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let (victim, link) = (folder.path().join("victim.svg"), folder.path().join("out.svg"));
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, &link).unwrap();
    nix::unistd::fchownat(
        nix::fcntl::AT_FDCWD,
        &link,
        Some(nix::unistd::Uid::from_raw(STRANGER)),
        None,
        nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
    )
    .unwrap();
    let target = Target::start(any(), "fib.py", &[]);
    let ran = record(target.pid(), &link);
    if protected.trim() == "1" {
        let message = ran.failure();
        assert!(message.contains("fs.protected_symlinks") && message.contains("4242"), "{ran:#?}");
        assert_eq!(ran.status.code(), Some(7), "{ran:#?}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    } else {
        print_note("skipped: links that are not followed, as fs.protected_symlinks is 0 here");
        ran.success();
        assert!(fs::read_to_string(&victim).unwrap().contains("<svg"));
    }
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn under_sudo_a_new_file_belongs_to_whoever_the_program_runs_as() {
    if !is_root("files of who called sudo") {
        return;
    }
    let Some(python) = python_for_all() else {
        print_note("skipped: files of who called sudo, as no Python can be run by everybody");
        return;
    };
    let folder = open_folder();
    let closed = tempfile::tempdir().unwrap();
    for (place, owner) in [(folder.path(), STRANGER), (closed.path(), 0)] {
        for name in ["a.svg", "a.pyspy"] {
            let path = place.join(name);
            let mut command = Command::new(env!("CARGO_BIN_EXE_pyspy"));
            command.env("SUDO_UID", STRANGER.to_string()).env("SUDO_GID", STRANGER.to_string());
            command.arg("record").arg("-o").arg(&path).arg("--").arg(&python.path);
            let ran = run(command.args(["-c", "sum(range(3_000_000))"]), LIMIT).unwrap();
            ran.success();
            assert_eq!(fs::metadata(&path).unwrap().uid(), owner, "{}: {ran:#?}", path.display());
        }
    }
}

/// Starts a recording that grows, and waits until it is there.
fn growing(target: &Target, path: &Path) -> Running {
    let pid = target.pid().to_string();
    let mut running = Running::start(&["record", "-p", &pid, "-o", path.to_str().unwrap()]);
    running.wait_until("the file", || path.exists());
    running
}

/// The recording that a message says was kept.
fn kept(message: &str) -> PathBuf {
    let start = message.find("what was recorded is in \"").unwrap_or_else(|| panic!("{message}")) + 25;
    PathBuf::from(message[start..].split('"').next().unwrap())
}

fn has_samples(recording: &Path) -> bool {
    let text = pyspy(&["convert", recording.to_str().unwrap(), "-f", "raw", "-o", "-"]);
    text.success().contains("fib")
}

#[test]
fn a_recording_that_is_removed_while_it_grows_is_not_lost() {
    let target = Target::start(any(), "fib.py", &[]);
    let folder = open_folder();
    let path = folder.path().join("a.pyspy");
    let running = growing(&target, &path);
    fs::remove_file(&path).unwrap();
    running.signal(nix::sys::signal::Signal::SIGINT);
    running.ended().success();
    assert!(has_samples(&path));

    // What is in its place is somebody else's; and in a folder that is gone nothing can be put.
    type Spoil = fn(&Path);
    let spoil: [Spoil; 2] = [
        |path| {
            fs::remove_file(path).unwrap();
            fs::write(path, "another").unwrap();
        },
        |path| fs::remove_dir_all(path.parent().unwrap()).unwrap(),
    ];
    for spoil in spoil {
        let inner = folder.path().join("inner");
        let path = inner.join("a.pyspy");
        fs::create_dir(&inner).unwrap();
        let running = growing(&target, &path);
        spoil(&path);
        running.signal(nix::sys::signal::Signal::SIGINT);
        let ran = running.ended();
        assert_eq!(ran.status.code(), Some(7), "{ran:#?}");
        let kept = kept(ran.failure());
        assert!(has_samples(&kept), "{ran:#?}");
        fs::remove_file(kept).unwrap();
        assert_ne!(fs::read_to_string(&path).ok().as_deref().unwrap_or("another"), "", "{ran:#?}");
        let _ = fs::remove_dir_all(&inner);
    }
}

#[test]
fn a_limit_on_the_size_of_files_does_not_lose_the_profile() {
    let target = Target::start(any(), "fib.py", &[]);
    let folder = open_folder();
    let path = folder.path().join("a.svg");
    // An empty picture is larger than 4 KiB already, a recording smaller.
    let script = "ulimit -f 8; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_pyspy"), "record", "-d", "0.3", "-p"]);
    let ran = run(command.arg(target.pid().to_string()).arg("-o").arg(&path), LIMIT).unwrap();
    assert_eq!(ran.status.code(), Some(7), "{ran:#?}");
    let kept = kept(ran.failure());
    assert!(has_samples(&kept));
    fs::remove_file(kept).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_fifo_that_nobody_reads_from_is_an_error_and_one_with_a_reader_is_not() {
    let target = Target::start(any(), "fib.py", &[]);
    let folder = open_folder();
    let fifo = folder.path().join("fifo.svg");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let ran = record(target.pid(), &fifo);
    assert_eq!(ran.status.code(), Some(7), "{ran:#?}");
    assert!(ran.failure().contains("nobody has opened this FIFO"), "{ran:#?}");
    let reading = fifo.clone();
    let reader = std::thread::spawn(move || fs::read_to_string(reading).unwrap());
    record(target.pid(), &fifo).success();
    assert!(reader.join().unwrap().contains("</svg>"));
}

#[test]
fn a_standard_output_that_was_closed_is_an_error_where_the_product_goes_there() {
    let target = Target::start(any(), "fib.py", &[]);
    let pid = target.pid().to_string();
    let commands = [
        vec!["dump", "--pid", &pid],
        vec!["record", "-d", "0.2", "-o", "-", "--pid", &pid],
        vec!["top", "--once", "--pid", &pid],
        vec!["completions", "bash"],
    ];
    for arguments in commands {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" >&-", "sh", env!("CARGO_BIN_EXE_pyspy")]).args(&arguments);
        let ran = run(&mut command, LIMIT).unwrap();
        assert_eq!(ran.status.code(), Some(7), "{arguments:?}: {ran:#?}");
        assert!(ran.stderr.contains("standard output: it was closed"), "{arguments:?}: {ran:#?}");
    }
}

#[test]
fn source_lines_are_those_that_the_targets_user_may_read() {
    if !is_root("source lines of other users' programs") {
        return;
    }
    let Some(python) = python_for_all() else {
        print_note("skipped: source lines of other users' programs, as no Python can be run by everybody");
        return;
    };
    let folder = open_folder();
    let (own, secret) = (folder.path().join("own.py"), folder.path().join("secret.py"));
    fs::write(&own, "\nwait()  # of its own\n").unwrap();
    fs::write(&secret, "\nwait()  # of root\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    // It says of its code that it is from these files.
    let program = "
import os, sys
os.setgroups([]); os.setgid(4242); os.setuid(4242)
def wait():
    print('ready', flush=True)
    sys.stdin.readline()
exec(compile('\\nwait()', sys.argv[1], 'exec'))";
    for (path, is_shown) in [(&own, true), (&secret, false)] {
        let mut command = Command::new(&python.path);
        command.arg("-c").arg(program).arg(path);
        let target = Target::start_command(command, "a program of another user");
        let ran = pyspy(&["dump", "--source", "--pid", &target.pid().to_string()]);
        assert!(ran.success().contains(path.file_name().unwrap().to_str().unwrap()), "{ran:#?}");
        assert_eq!(ran.stdout.contains("# of its own"), is_shown, "{ran:#?}");
        assert!(!ran.stdout.contains("# of root"), "{ran:#?}");
    }
}
