//! Who holds the GIL and who waits for it, in real interpreters: threads that compute beside C code that keeps it.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::attach::Finder;
use super::moment::{Moment, MomentThread, Pausing};
use super::process_sampler::ProcessSampler;
use crate::process::Process;
use crate::python::test_support::Interpreter;

/// `keeper` keeps the GIL while it sleeps in C, for 0.1 s at a time; two threads want it, and have it to themselves in
/// between: of a thread that lets it go and wants it again at once, 2.7 may let others have it for microseconds only.
const KEEPER_AND_WORKERS: &str = "
import ctypes, sys, threading, time
usleep = ctypes.PyDLL(None).usleep
def keep():
    while True:
        usleep(100000)
        time.sleep(0.05)
def work():
    while True:
        pass
for name, function in ('worker', work), ('worker', work), ('keeper', keep):
    thread = threading.Thread(target=function, name=name)
    thread.daemon = True
    thread.start()
print('ready')
sys.stdout.flush()
time.sleep(1000)
";

struct Target(Child);

impl Target {
    fn start(interpreter: &Interpreter, program: &str) -> Self {
        let mut command = Command::new(&interpreter.path);
        let mut child = command.args(["-c", program]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), "ready", "{interpreter}");
        Self(child)
    }

    fn sampler(&self) -> ProcessSampler {
        let process = Process::open(self.0.id().cast_signed()).unwrap();
        let attached = Finder::new().attach(&process, None, Duration::from_secs(10), &|| false).unwrap();
        ProcessSampler::new(process, attached)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether an interpreter's own ctypes works, which some builds are without.
fn has_ctypes(interpreter: &Interpreter) -> bool {
    let mut command = Command::new(&interpreter.path);
    let has = command.args(["-c", "import ctypes"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !has {
        eprintln!("skipped {interpreter}, which has no ctypes");
    }
    has
}

/// Samples until `is_it` says that the moment shows what is bound to come; each time it is given the moment before.
fn sample_until(sampler: &mut ProcessSampler, what: &str, mut is_it: impl FnMut(&ProcessSampler, &Moment) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut moment = Moment::default();
    loop {
        if sampler.sample(Pausing::Adaptive, &mut moment).is_ok() && is_it(sampler, &moment) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: this was not seen in 60 s, at last {:#?}", moment.threads);
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn function<'read>(sampler: &'read ProcessSampler, moment: &Moment, thread: &MomentThread) -> &'read str {
    moment.frames_of(thread).first().map_or("", |frame| sampler.codes().get(frame.code).name.as_str())
}

#[test]
fn c_code_that_keeps_the_gil_is_seen_with_who_waits_for_it() {
    for interpreter in Interpreter::all_builds() {
        if !has_ctypes(&interpreter) {
            continue;
        }
        let target = Target::start(&interpreter, KEEPER_AND_WORKERS);
        let mut sampler = target.sampler();
        if interpreter.is_free_threaded() {
            let mut samples = 0;
            sample_until(&mut sampler, "threads that need no GIL", |_, moment| {
                for thread in &moment.threads {
                    assert!(!thread.waits_for_gil && !thread.takes_gil, "{interpreter}: {thread:?}");
                    assert!(!thread.running_in.gil.exists, "{interpreter}");
                }
                samples += 1;
                samples == 20
            });
            continue;
        }
        // Of a stripped interpreter of these versions it is not known where the GIL is.
        let is_found = interpreter.version >= (3, 7) || {
            let statics = sampler.runtime().gil_statics;
            statics.lock.is_some() || statics.waits.iter().all(Option::is_some)
        };
        let (mut kept, mut last) = (0, None);
        let what = format!("{interpreter}: the keeper keeps it while both workers wait");
        sample_until(&mut sampler, &what, |sampler, moment| {
            let waiting = |thread: &&MomentThread| thread.waits_for_gil && function(sampler, moment, thread) == "work";
            let waiters = moment.threads.iter().filter(waiting).count();
            let keeper = moment
                .threads
                .iter()
                .find(|thread| thread.stack.holds_gil && !thread.active && function(sampler, moment, thread) == "keep");
            let gil = moment.threads[0].running_in.gil;
            assert!(gil.exists && gil.tells_holder, "{interpreter}");
            assert_eq!(gil.switches.is_some(), interpreter.version.0 > 2 && is_found, "{interpreter}");
            let has_kept = keeper.is_some_and(|keeper| keeper.stack.innermost == gil.holder)
                && waiters == if is_found { 2 } else { 0 };
            // While others wait, one thread has had it all the time if it was given to nobody in between.
            kept = if !has_kept {
                0
            } else if last == Some(gil.switches) {
                kept + 1
            } else {
                1
            };
            last = Some(gil.switches);
            kept == 3
        });
        let what = format!("{interpreter}: a worker has it, the other threads that want it wait or take it");
        let before = last.flatten();
        sample_until(&mut sampler, &what, |sampler, moment| {
            let gil = moment.threads[0].running_in.gil;
            let has_worked = moment
                .threads
                .iter()
                .any(|thread| thread.stack.holds_gil && thread.active && function(sampler, moment, thread) == "work");
            let running = moment.threads.iter().filter(|thread| thread.active && thread.stack.holds_gil).count();
            assert!(running <= 1, "{interpreter}: {:?}", moment.threads);
            has_worked && (before.is_none() || gil.switches > before)
        });
    }
}
