use std::process::Command;

use super::*;
use crate::process::linux::testing::{Target, become_nobody, python_program, wait_until};

#[test]
fn a_number_without_a_process_is_refused() {
    let mut target = Target::shell("echo ready; read line");
    let pid = target.pid();
    target.end();
    for pid in [0, -1, i32::MAX, pid] {
        let error = Process::open(pid).unwrap_err();
        assert!(matches!(error, ProcessError::NoSuchProcess(number) if number == pid), "{error:?}");
    }
}

#[test]
fn a_thread_is_refused_with_its_process() {
    let target = Target::python("threading.Thread(target=sys.stdin.readline).start(); ready(); time.sleep(600)");
    let threads = target.process().threads().unwrap();
    let thread = i32::try_from(threads[1]).unwrap();
    let error = Process::open(thread).unwrap_err();
    assert!(matches!(error, ProcessError::IsThread { process, .. } if process == target.pid()), "{error:?}");
}

#[test]
fn a_process_that_executes_one_program_after_another_is_taken_hold_of() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("again");
    fs::write(&script, "exec sh \"$0\"\n").unwrap();
    let target = Target::shell(&format!("echo ready; exec sh {}", script.display()));
    for _ in 0..300 {
        Process::open(target.pid()).unwrap();
    }
}

#[test]
fn a_process_whose_first_mappings_nobody_may_read_is_taken_hold_of() {
    // Below everything else, with gaps so that they are not joined.
    let target = Target::python(
        "
import ctypes, mmap
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
for page in range(200):
    address = 0x10000000 + 2 * mmap.PAGESIZE * page
    assert libc.mmap(address, mmap.PAGESIZE, 0, 0x32, -1, 0) == address
ready()
time.sleep(600)",
    );
    let first = address_space::first_mappings(&Handle::open(target.pid()).unwrap()).unwrap();
    assert!(!first.is_empty() && first.iter().all(|mapping| !mapping.readable), "{first:?}");
    Process::open(target.pid()).unwrap();
}

#[test]
fn a_process_that_was_not_collected_has_exited() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id().cast_signed();
    wait_until("the process exits", || Process::observe(pid).unwrap().has_exited());
    let error = Process::open(pid).unwrap_err();
    assert!(matches!(error, ProcessError::Exited(number) if number == pid), "{error:?}");
    child.wait().unwrap();
}

#[test]
fn an_exit_is_noticed_and_everything_then_says_so() {
    let mut target = Target::shell("echo ready; read line");
    let process = target.process();
    assert!(!process.has_exited());
    assert!(!process.wait_for_exit(Duration::ZERO));
    target.end();
    assert!(process.has_exited());
    assert!(process.wait_for_exit(Duration::from_secs(30)));
    for error in [
        process.maps().unwrap_err(),
        process.threads().unwrap_err(),
        process.executable().unwrap_err(),
        process.command_line().unwrap_err(),
        process.working_directory().unwrap_err(),
        process.parent().unwrap_err(),
        process.image_identity().unwrap_err(),
    ] {
        assert!(matches!(error, ProcessError::Exited(_)), "{error:?}");
    }
    assert_eq!(process.children(), []);
}

#[test]
fn who_the_process_is_is_known() {
    let before = SystemTime::now();
    let target =
        Target::start(Command::new("sh").args(["-c", "echo ready; read line", "", "a b", "é"]).current_dir("/usr"));
    let process = target.process();
    assert_eq!(process.command_line().unwrap(), ["sh", "-c", "echo ready; read line", "", "a b", "é"]);
    assert_eq!(process.working_directory().unwrap(), Path::new("/usr"));
    assert_eq!(process.executable().unwrap(), fs::canonicalize("/bin/sh").unwrap());
    assert_eq!(process.parent().unwrap(), std::process::id().cast_signed());
    assert_eq!(process.user(), Some(nix::unistd::geteuid().as_raw()));
    assert_eq!(process.namespace_pid(), Some(target.pid().unsigned_abs().into()));
    assert!(process.is_in_our_mount_namespace() && process.is_in_our_pid_namespace());
    assert_eq!(process.thread_name(target.pid().unsigned_abs().into()).unwrap(), "sh");
    // The time of the machine's start is known to the second.
    let start = process.start_time().unwrap();
    let distance = start.duration_since(before).unwrap_or_else(|error| error.duration());
    assert!(distance < Duration::from_secs(3), "{distance:?}");
}

#[test]
fn an_exec_changes_the_image_and_a_fork_does_not() {
    let mut target = Target::python(
        "
ready()
sys.stdin.readline()
if os.fork() == 0:
    say(str(os.getpid())); time.sleep(600)
sys.stdin.readline()
os.execv(sys.executable, [sys.executable, '-c', 'print(\"again\", flush=True); import time; time.sleep(600)'])",
    );
    let process = target.process();
    let memory = process.memory();
    let identity = process.image_identity().unwrap();
    assert!(identity.is_still_in(&memory));
    assert_eq!(process.image_identity().unwrap(), identity);
    target.tell("fork");
    let child = Process::open(target.line().parse().unwrap()).unwrap();
    assert_eq!(child.image_identity().unwrap(), identity);
    assert!(identity.is_proven_by(child.memory().read_array(identity.proof_address()).unwrap()));
    assert_eq!(process.children(), [ChildProcess { pid: child.pid(), parent: target.pid() }]);
    target.tell("exec the same program");
    assert_eq!(target.line(), "again");
    assert!(!identity.is_still_in(&memory));
    assert_ne!(process.image_identity().unwrap(), identity);
}

#[test]
fn threads_in_another_pid_namespace_are_found_by_their_inner_numbers() {
    if !nix::unistd::geteuid().is_root() {
        // Only root may make such a namespace.
        return;
    }
    let program = python_program(
        "
ids = []
threading.Thread(target=lambda: (ids.append(threading.get_native_id()), time.sleep(600)), daemon=True).start()
while not ids: time.sleep(0.001)
ready()
say('%d %d' % (os.getpid(), ids[0]))
time.sleep(600)",
    );
    let mut target = Target::start(Command::new("unshare").args(["-p", "-f", "python3", "-c", &program]));
    let line = target.line();
    let (inner_pid, inner_thread) = line.split_once(' ').unwrap();
    let child = target.process().descendants().pop().unwrap();
    let process = Process::open(child.pid).unwrap();
    assert!(!process.is_in_our_pid_namespace());
    assert_eq!((inner_pid, process.namespace_pid()), ("1", Some(1)));
    let threads = process.threads().unwrap();
    let thread = process.outer_thread_id(inner_thread.parse().unwrap()).unwrap();
    assert_eq!(threads, [child.pid.unsigned_abs().into(), thread]);
    assert_eq!(process.outer_thread_id(1), Some(threads[0]));
    assert_eq!(process.outer_thread_id(999_999), None);
    assert_eq!(process.pause_thread(thread).unwrap().thread(), thread);
}

#[test]
fn inner_numbers_are_outer_numbers_in_our_own_namespace() {
    let target = Target::shell("echo ready; read line");
    let process = target.process();
    let thread = ThreadId::from(target.pid().unsigned_abs());
    assert_eq!(process.outer_thread_id(thread), Some(thread));
    assert_eq!(process.outer_thread_id(u64::from(std::process::id())), None);
}

#[test]
fn a_kernel_thread_has_no_memory() {
    // The second process of a machine is the parent of the kernel's threads, where it can be seen.
    let Ok(process) = Process::observe(2) else { return };
    if process.command_line().unwrap().is_empty() && process.parent().unwrap() == 0 {
        let error = Process::open(2).unwrap_err();
        assert!(matches!(error, ProcessError::NoMemory(2) | ProcessError::Denied(_)), "{error:?}");
    }
}

#[test]
fn a_refusal_says_whose_process_it_is() {
    if !nix::unistd::geteuid().is_root() {
        // Only root may act as two users.
        return;
    }
    let target = Target::shell("echo ready; read line");
    let pid = target.pid();
    let other_user = std::thread::spawn(move || {
        become_nobody();
        let ProcessError::Denied(denial) = Process::open(pid).unwrap_err() else { panic!("not a refusal") };
        assert_eq!((denial.own_user, denial.target_user, denial.can_trace_all), (65534, Some(0), false));
        let advice = denial.advice();
        assert!(advice[0].starts_with("it belongs to user 0 and we are user 65534"), "{advice:?}");
        // What everyone may see is seen.
        let process = Process::observe(pid).unwrap();
        assert!(!process.command_line().unwrap().is_empty());
        assert!(matches!(process.memory().read_u8(1 << 20).unwrap_err().failure, ReadFailure::Denied));
        let refused = process.pause_thread(pid.unsigned_abs().into()).map(|_| ());
        assert!(matches!(refused, Err(PauseError::Denied(_))), "{refused:?}");
    });
    other_user.join().unwrap();
}

#[test]
fn the_sign_of_the_mappings_moves_with_them_and_with_the_program() {
    let mut target = Target::python(
        "import mmap; ready(); sys.stdin.readline(); kept = mmap.mmap(-1, 1 << 20); say('mapped'); \
         sys.stdin.readline(); os.execv('/bin/sh', ['sh', '-c', 'echo shell; read line'])",
    );
    let process = target.process();
    let sign = || process.mappings_sign().unwrap();
    let first = sign();
    assert_eq!(sign(), first);
    target.tell("");
    assert_eq!(target.line(), "mapped");
    let second = sign();
    assert!(second != first && second.is_of_same_program(&first), "{first:?}, {second:?}");
    target.tell("");
    assert_eq!(target.line(), "shell");
    assert!(!sign().is_of_same_program(&second));
}
