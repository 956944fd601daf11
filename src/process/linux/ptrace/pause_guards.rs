//! Holding one thread, or all of a process, for the time of a read.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

use super::thread_stop::Tracee;
use crate::process::linux::procfs::handle::Handle;
use crate::process::{PauseError, Registers, ThreadActivity, ThreadId};

/// How often the threads are listed anew while the whole process is being stopped. A process that starts threads all
/// the while is still stopped by the second or third time, as each round stops the threads that could start others.
const ROUNDS: usize = 64;

/// How long threads in an uninterruptible wait are given to come out of it when the whole process is being stopped.
/// Most such waits are for the lock of the address space, which is free once the other threads are held.
const SHORT_WAIT: Duration = Duration::from_millis(5);

/// How long is slept between two rounds that only such threads are left for.
const BETWEEN_ROUNDS: Duration = Duration::from_micros(200);

/// A thread that does not move until this is dropped. It must be dropped by the thread of ours that made it, which the
/// type sees to.
#[derive(Debug)]
#[must_use = "the thread runs on when this is dropped"]
pub struct PausedThread {
    tracee: Tracee,
}

impl PausedThread {
    pub(crate) fn new(handle: &Handle, thread: ThreadId, limit: Duration) -> Result<Self, PauseError> {
        let deadline = Instant::now() + limit;
        let mut tracee = Tracee::seize(handle, thread, None)?;
        tracee.wait(handle, deadline)?;
        Ok(Self { tracee })
    }

    /// Of a thread that was just seen running; `None` where `waits`, asked at the last moment, says that it waits.
    pub(crate) fn new_unless(
        handle: &Handle,
        thread: ThreadId,
        waits: &mut dyn FnMut() -> bool,
        limit: Duration,
    ) -> Result<Option<Self>, PauseError> {
        let deadline = Instant::now() + limit;
        let seized = Tracee::seize_unless(handle, thread, Some(ThreadActivity::Running), waits)?;
        let Some(mut tracee) = seized else { return Ok(None) };
        tracee.wait(handle, deadline)?;
        Ok(Some(Self { tracee }))
    }

    /// The thread that is held.
    pub fn thread(&self) -> ThreadId {
        self.tracee.thread()
    }

    /// Its registers.
    ///
    /// # Errors
    /// When it was killed while held, or the system shows none.
    pub fn registers(&self) -> io::Result<Registers> {
        self.tracee.registers()
    }
}

/// All threads of a process, or some, which do not move until this is dropped.
#[derive(Debug)]
#[must_use = "the process runs on when this is dropped"]
pub struct PausedProcess {
    tracees: HashMap<ThreadId, Tracee>,
    /// In an uninterruptible wait when last looked at, and not asked.
    waiting: Vec<ThreadId>,
    /// Asked, but not stopped in time.
    late: Vec<ThreadId>,
}

impl PausedProcess {
    /// Holds all threads but `spared`.
    pub(crate) fn new(handle: &Handle, spared: &[ThreadId], limit: Duration) -> Result<Self, PauseError> {
        let process = ThreadId::from(handle.pid().unsigned_abs());
        let start = Instant::now();
        // Those about which nothing is left to do: held, gone, late or spared.
        let mut settled: HashSet<ThreadId> = spared.iter().copied().collect();
        let mut paused = Self { tracees: HashMap::new(), waiting: Vec::new(), late: Vec::new() };
        for _ in 0..ROUNDS {
            let threads = handle.threads().map_err(|_| PauseError::Gone(process))?;
            let threads = threads.into_iter().map(|thread| ThreadId::from(thread.unsigned_abs()));
            let mut fresh: Vec<ThreadId> = threads.filter(|thread| !settled.contains(thread)).collect();
            paused.stop(handle, &fresh, start + limit)?;
            fresh.retain(|thread| !paused.waiting.contains(thread));
            let is_settled = fresh.is_empty();
            settled.extend(fresh);
            if is_settled && (paused.waiting.is_empty() || start.elapsed() > SHORT_WAIT) {
                break;
            }
            if is_settled {
                std::thread::sleep(BETWEEN_ROUNDS);
            }
        }
        paused.late.append(&mut paused.waiting);
        if paused.tracees.is_empty() && paused.late.is_empty() && spared.is_empty() {
            return Err(PauseError::Gone(process));
        }
        Ok(paused)
    }

    /// Stops threads together: all are asked before the first is waited for.
    fn stop(&mut self, handle: &Handle, threads: &[ThreadId], deadline: Instant) -> Result<(), PauseError> {
        self.waiting.clear();
        // Looked at before the first is asked, so that the time for that is not one in which some are held.
        let look = |thread: &ThreadId| Some((*thread, handle.thread_stat(*thread).ok()?.activity));
        let seen: Vec<(ThreadId, ThreadActivity)> = threads.iter().filter_map(look).collect();
        let mut asked = Vec::with_capacity(seen.len());
        let mut refused = None;
        for (thread, activity) in seen {
            match Tracee::seize(handle, thread, Some(activity)) {
                Ok(tracee) => asked.push(tracee),
                Err(PauseError::Gone(_)) => {}
                Err(PauseError::Uninterruptible(thread)) => self.waiting.push(thread),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        // Also after a refusal: what was asked to stop can only be let go once it has.
        for mut tracee in asked {
            match tracee.wait(handle, deadline) {
                Ok(()) => drop(self.tracees.insert(tracee.thread(), tracee)),
                Err(PauseError::Gone(_)) => {}
                Err(PauseError::Uninterruptible(thread) | PauseError::TimedOut(thread)) => self.late.push(thread),
                Err(error) => refused = Some(error),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// How many threads are held.
    pub fn len(&self) -> usize {
        self.tracees.len()
    }

    /// Whether no thread is held, as when all of them sit in an uninterruptible wait.
    pub fn is_empty(&self) -> bool {
        self.tracees.is_empty()
    }

    /// The registers of one of the threads.
    ///
    /// # Errors
    /// When it is not held, was killed while held, or the system shows none.
    pub fn registers(&self, thread: ThreadId) -> io::Result<Registers> {
        self.tracees.get(&thread).ok_or(io::ErrorKind::NotFound)?.registers()
    }

    /// The threads that could not be held: those in a longer uninterruptible wait, which do not move in the program
    /// either, and those that were too slow.
    pub fn not_held(&self) -> &[ThreadId] {
        &self.late
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::process::linux::testing::{Target, wait_until};
    use crate::process::{Process, SpawnedProgram, release_pending};

    /// A target with threads that count without end; tells the counts when asked.
    const COUNTERS: &str = "
counts = [0] * 3
def work(number):
    while True:
        counts[number] += 1
for number in range(3):
    threading.Thread(target=work, args=(number,), daemon=True).start()
ready()
for line in sys.stdin:
    say(' '.join(map(str, counts)))";

    fn counts(target: &mut Target) -> Vec<u64> {
        target.tell("count");
        target.line().split(' ').map(|count| count.parse().unwrap()).collect()
    }

    /// Every thread of it still works.
    fn assert_all_threads_run(target: &mut Target) {
        let before = counts(target);
        wait_until("all threads count on", || counts(target).iter().zip(&before).all(|(after, before)| after > before));
    }

    fn first_thread(process: &Process) -> ThreadId {
        ThreadId::from(process.pid().unsigned_abs())
    }

    /// With `PYSPY_TEST_PAUSE` set to a process, this is the program that the next test kills.
    #[test]
    fn threads_can_be_held_again_and_again() {
        if let Ok(pid) = std::env::var("PYSPY_TEST_PAUSE") {
            let process = Process::open(pid.parse().unwrap()).unwrap();
            let threads = process.threads().unwrap();
            println!("\npausing");
            loop {
                for thread in &threads {
                    drop(process.pause_thread(*thread).unwrap());
                }
                drop(process.pause_all().unwrap());
            }
        }
        let mut target = Target::python(COUNTERS);
        let process = target.process();
        for _ in 0..200 {
            for thread in process.threads().unwrap() {
                let paused = process.pause_thread(thread).unwrap();
                assert_eq!(paused.thread(), thread);
                assert_eq!(process.thread_state(thread).unwrap().activity, ThreadActivity::Traced);
            }
        }
        assert_all_threads_run(&mut target);
        assert_eq!((process.tracer(), release_pending()), (None, 0));
    }

    #[test]
    fn a_killed_profiler_leaves_the_target_running() {
        let mut target = Target::python(COUNTERS);
        let test = "process::linux::ptrace::pause_guards::tests::threads_can_be_held_again_and_again";
        for kill in 0..60 {
            let mut profiler = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", test, "--nocapture"])
                .env("PYSPY_TEST_PAUSE", target.pid().to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(profiler.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap() == "pausing"), "the profiler did not start");
            // To hit another moment each time.
            let deadline = Instant::now() + Duration::from_micros(kill * 37);
            while Instant::now() < deadline {
                std::hint::spin_loop();
            }
            profiler.kill().unwrap();
            assert_eq!(profiler.wait().unwrap().signal(), Some(libc::SIGKILL));
            assert_all_threads_run(&mut target);
        }
        let process = target.process();
        assert!(!process.is_stopped());
        assert_eq!(process.tracer(), None);
    }

    #[test]
    fn a_held_process_does_not_move_at_all() {
        let mut target = Target::python(COUNTERS);
        let process = target.process();
        let ticks = |process: &Process| -> Vec<_> {
            let threads = process.threads().unwrap();
            threads.iter().map(|thread| process.thread_state(*thread).unwrap()).collect()
        };
        let paused = process.pause_all().unwrap();
        assert_eq!((paused.len(), paused.not_held()), (4, &[][..]));
        let before = ticks(&process);
        assert!(before.iter().all(|reading| reading.activity == ThreadActivity::Traced), "{before:?}");
        // Time in which a running thread would have used ticks (of 10 ms); others' load can only hide a fault, not make
        // one.
        assert!(!process.wait_for_exit(Duration::from_millis(50)));
        assert_eq!(ticks(&process), before);
        drop(paused);
        assert_all_threads_run(&mut target);
    }

    #[test]
    fn a_process_that_starts_threads_all_the_while_is_held() {
        let mut target = Target::python(
            "
def live():
    time.sleep(0.001)
def start():
    while True:
        threads = [threading.Thread(target=live) for _ in range(5)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
for _ in range(2):
    threading.Thread(target=start, daemon=True).start()
ready()
for line in sys.stdin:
    say('here')",
        );
        let process = target.process();
        let mut whole = 0;
        for _ in 0..50 {
            let paused = process.pause_all().unwrap();
            // On a machine short of memory a thread may wait for its disk; no other is left out.
            whole += u32::from(paused.not_held().is_empty());
            for thread in process.threads().unwrap() {
                // A thread that was exiting may still be listed.
                let Ok(reading) = process.thread_state(thread) else { continue };
                let is_still = [ThreadActivity::Traced, ThreadActivity::Zombie].contains(&reading.activity);
                assert!(is_still || paused.not_held().contains(&thread), "{reading:?}");
            }
        }
        assert!(whole > 0);
        target.tell("still there?");
        assert_eq!(target.line(), "here");
        wait_until("threads killed while held are collected", || release_pending() == 0);
    }

    #[test]
    fn a_stopped_process_stays_stopped() {
        let mut target = Target::python(COUNTERS);
        let process = target.process();
        target.handle().send_signal(libc::SIGSTOP).unwrap();
        wait_until("the target stops", || process.is_stopped());
        drop(process.pause_thread(first_thread(&process)).unwrap());
        drop(process.pause_all().unwrap());
        wait_until("the target is stopped again", || process.is_stopped());
        target.handle().send_signal(libc::SIGCONT).unwrap();
        assert_all_threads_run(&mut target);
    }

    #[test]
    fn a_thread_that_another_traces_is_refused_with_the_tracer() {
        let mut target = Target::python(COUNTERS);
        let process = target.process();
        let _held = process.pause_thread(first_thread(&process)).unwrap();
        assert!(process.tracer().is_some());
        // ptrace goes by threads, so another of ours is another tracer.
        std::thread::scope(|scope| {
            let refused = scope.spawn(|| process.pause_thread(first_thread(&process)).map(|_| ())).join().unwrap();
            assert!(matches!(refused, Err(PauseError::AlreadyTraced { tracer: Some(_), .. })), "{refused:?}");
            let refused = scope.spawn(|| process.pause_all().map(|_| ())).join().unwrap();
            assert!(matches!(refused, Err(PauseError::AlreadyTraced { .. })), "{refused:?}");
        });
        drop(_held);
        assert_all_threads_run(&mut target);
    }

    #[test]
    fn a_thread_of_another_process_is_refused() {
        let target = Target::shell("echo ready; read line");
        let other = Target::shell("echo ready; read line");
        let process = target.process();
        for thread in [ThreadId::from(other.pid().unsigned_abs()), 0, 1, u64::MAX, 1 << 33] {
            let refused = process.pause_thread(thread).map(|_| ());
            assert!(matches!(refused, Err(PauseError::Gone(number)) if number == thread), "{refused:?}");
            let refused = process.pause_running_thread(thread, &mut || false).map(|_| ());
            assert!(matches!(refused, Err(PauseError::Gone(number)) if number == thread), "{refused:?}");
        }
    }

    #[test]
    fn the_exit_status_of_our_child_is_not_lost_by_pausing() {
        for _ in 0..40 {
            let mut program = SpawnedProgram::start("sh".into(), &["-c".into(), "exit 7".into()]).unwrap();
            if let Ok(process) = program.process() {
                while process.pause_thread(first_thread(&process)).is_ok() {}
            }
            assert_eq!(program.wait().unwrap().code(), Some(7));
        }
        let mut program = SpawnedProgram::start("sleep".into(), &["600".into()]).unwrap();
        let process = program.process().unwrap();
        let paused = process.pause_thread(first_thread(&process)).unwrap();
        // A stop is not an exit.
        assert_eq!(program.try_wait().unwrap(), None);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(program.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
        assert_eq!(program.wait().unwrap().signal(), Some(libc::SIGKILL));
        drop(paused);
        assert_eq!(release_pending(), 0);
    }

    #[test]
    fn the_parent_of_a_process_killed_while_held_learns_of_it() {
        let mut target = Target::shell("sleep 600 & echo ready; echo $!; wait $!; echo status $?");
        let sleeper = Process::open(target.line().parse().unwrap()).unwrap();
        let paused = sleeper.pause_all().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(sleeper.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
        drop(paused);
        wait_until("the exit is collected", || release_pending() == 0);
        assert_eq!(target.line(), "status 137");
    }
}
