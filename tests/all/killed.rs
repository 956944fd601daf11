//! SIGKILL to pyspy at any moment leaves no thread of the target stopped.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::interpreters::Interpreter;
use crate::target::{Target, alone_on_this_machine};

/// Moments at which it is killed, spread over all of its life.
const KILLS: u32 = 200;

/// States of the threads of a process, as the kernel names them.
fn states(pid: u32) -> Vec<char> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the target runs");
    let state = |stat: String| stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("stat")).ok().and_then(state)).collect()
}

#[test]
fn a_killed_pyspy_leaves_nothing_stopped() {
    let _alone = alone_on_this_machine();
    let interpreter = Interpreter::all().iter().rfind(|interpreter| !interpreter.free_threaded).unwrap();
    let mut counter = tempfile::NamedTempFile::new().unwrap();
    counter.write_all(&[0; 8]).unwrap();
    let path = counter.path().to_str().unwrap().to_owned();
    let target = Target::start(interpreter, "counter.py", &[&path]);
    let count = || u64::from_ne_bytes(fs::read(&path).unwrap().try_into().unwrap());
    let pid = target.pid().to_string();
    let commands: [&[&str]; 5] = [
        &["record", "--blocking", "-r", "1000", "-o", "/dev/null", "-f", "raw", "--pid", &pid],
        &["record", "-r", "1000", "-o", "/dev/null", "-f", "raw", "--pid", &pid],
        &["record", "--native", "-r", "1000", "-o", "/dev/null", "-f", "raw", "--pid", &pid],
        &["dump", "--pid", &pid],
        &["dump", "--native", "--pid", &pid],
    ];
    // A fixed sequence of moments, so that a failure can be had again: 0 to 60 ms for a dump, to 120 ms for a
    // recording.
    let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
    for number in 0..KILLS {
        let command = commands[number as usize % commands.len()];
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_micros((random >> 33) % if command[0] == "dump" { 60_000 } else { 120_000 });
        let mut pyspy = Command::new(env!("CARGO_BIN_EXE_pyspy"));
        pyspy.args(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut pyspy = pyspy.spawn().unwrap();
        // The moment is what is tested, not something that is waited for.
        std::thread::sleep(moment);
        pyspy.kill().unwrap();
        pyspy.wait().unwrap();
        let states = states(target.pid());
        assert!(
            !states.contains(&'T') && !states.contains(&'t'),
            "kill {number} of {command:?} after {moment:?}: {states:?}"
        );
        let (before, deadline) = (count(), Instant::now() + Duration::from_secs(10));
        while count() == before {
            assert!(Instant::now() < deadline, "kill {number} of {command:?} after {moment:?}: it counts no more");
            std::thread::yield_now();
        }
    }
}
