//! One thread of the target under ptrace: seized, interrupted, waited for, let go.
//!
//! # How a thread is held
//! `PTRACE_SEIZE` makes us its tracer without any effect on it; `PTRACE_INTERRUPT` asks it to stop on its way back to
//! user space; once it has, `PTRACE_DETACH` lets it run on. No signal is sent.
//!
//! - A thread that sleeps in the kernel is woken to stop. Nearly all system calls then go on as if nothing had been; a
//!   few return `EINTR`, as after Ctrl-Z and `fg` (signal(7): `epoll_wait`, `sigtimedwait`, socket calls with a timeout
//!   set on the socket). CPython from 3.5 on repeats them, 2.7 and C code may not: stop a sleeping thread only when
//!   there is need.
//! - A signal for the thread may stop it first (signal-delivery-stop). That is as good a stop; the signal is handed
//!   back by the detach and delivered then, with all that it carried.
//! - A thread that was stopped by SIGSTOP stays stopped: the kernel keeps the group-stop over a detach.
//! - When our thread ends or we die, even by SIGKILL, the kernel lets all our tracees go, signals included.
//!
//! # A thread that does not stop in time
//! It cannot be detached: the kernel does that to stopped tracees only. It is put on a list of its tracer and would
//! stop, and stay so, as soon as it leaves its wait in the kernel; so the list is gone through by each later pause of
//! this thread and by [`release_pending`], which whoever pauses calls until it returns 0. The same list holds tracees
//! that were killed while held, whose exit we must collect before the real parent is told of it.
//!
//! # Limits
//! ptrace knows threads, not processes: everything here must be done by the thread that seized, so [`Tracee`] cannot be
//! sent to another. An exit status of *our own child* is never taken here; it stays for the one who started it.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

use super::registers;
use crate::process::linux::procfs::handle::Handle;
use crate::process::linux::procfs::stat::status_field;
use crate::process::linux::waitpid;
use crate::process::{PauseError, Registers, ThreadActivity, ThreadId};

/// How often the wait for a stop polls without giving up the CPU: a running thread stops within some ten microseconds.
const EAGER_POLLS: u32 = 20;

/// How long it sleeps between polls after that, at first. The thread may be waiting for our CPU: to yield that could
/// give it to a third for some milliseconds, after which the thread stands still until we get it back.
const FIRST_SLEEP: Duration = Duration::from_micros(20);

/// How long it sleeps between polls at most.
const LONGEST_SLEEP: Duration = Duration::from_micros(200);

/// How long a thread in an uninterruptible wait is waited for: most waits for a disk are over by then. Any other thread
/// stops as soon as it gets a CPU.
const UNINTERRUPTIBLE_LIMIT: Duration = Duration::from_millis(20);

/// More threads than this that would not stop are a sign of something being wrong; no further one is seized then.
const PENDING_LIMIT: usize = 1024;

/// A thread that we trace, let go when this is dropped.
#[derive(Debug)]
pub(crate) struct Tracee {
    seizure: Seizure,
    /// Set once it has stopped: the signal to hand back, or 0.
    stop: Option<i32>,
    /// ptrace works from one thread of ours only.
    not_send: PhantomData<*const ()>,
}

/// What is needed to wait for a tracee and to let it go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seizure {
    thread: i32,
    /// Whether its exit status belongs to our own `wait` for a child.
    is_own_child: bool,
}

/// What has become of a tracee.
enum TraceeState {
    /// It has stopped; the signal that it was about to get, or 0.
    Stopped(i32),
    /// It has exited, and the exit was collected unless it is our child's.
    Exited,
    /// Neither as yet.
    Moving,
}

thread_local! {
    /// The tracees of this thread that could not be let go yet.
    static PENDING: RefCell<Vec<Seizure>> = const { RefCell::new(Vec::new()) };
}

/// Lets go the threads that were asked to stop by the calling thread but did not in time, as far as they have stopped
/// by now. Returns how many are left. Costs nothing when there are none.
pub(crate) fn release_pending() -> usize {
    PENDING
        .try_with(|pending| {
            let mut pending = pending.borrow_mut();
            pending.retain(|seizure| !seizure.try_release());
            pending.len()
        })
        .unwrap_or(0)
}

impl Tracee {
    /// Takes hold of a thread and asks it to stop, without waiting for that.
    ///
    /// `thread` may be any number; it is refused unless it is a thread of that process which can stop now. `seen` is
    /// what it has just been seen doing, if it has been; it is looked at otherwise.
    pub(crate) fn seize(handle: &Handle, thread: ThreadId, seen: Option<ThreadActivity>) -> Result<Self, PauseError> {
        Self::seize_unless(handle, thread, seen, &mut || false)?.ok_or(PauseError::Gone(thread))
    }

    /// The same; `None` where `waits`, which is asked at the last moment, says that the thread waits. It cannot be
    /// asked later: what is seized and not interrupted cannot be let go.
    pub(crate) fn seize_unless(
        handle: &Handle,
        thread: ThreadId,
        seen: Option<ThreadActivity>,
        waits: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Self>, PauseError> {
        let number = i32::try_from(thread).map_err(|_| PauseError::Gone(thread))?;
        // Either way proves that the thread is one of this process: a hostile target must not make us stop another.
        let activity = match seen {
            Some(activity) if handle.is_thread(number) => activity,
            _ => handle.thread_stat(thread).map_err(|_| PauseError::Gone(thread))?.activity,
        };
        match activity {
            ThreadActivity::Zombie => return Err(PauseError::Gone(thread)),
            ThreadActivity::DiskWait => return Err(PauseError::Uninterruptible(thread)),
            _ => {}
        }
        let seizure = Seizure { thread: number, is_own_child: number == handle.pid() && handle.is_our_child() };
        let pending = release_pending();
        if pending >= PENDING_LIMIT || (pending > 0 && seizure.is_pending()) {
            return Err(PauseError::Uninterruptible(thread));
        }
        if waits() {
            return Ok(None);
        }
        ptrace::seize(Pid::from_raw(number), ptrace::Options::empty())
            .map_err(|error| seize_error(handle, thread, error))?;
        let tracee = Self { seizure, stop: None, not_send: PhantomData };
        match ptrace::interrupt(Pid::from_raw(number)) {
            Ok(()) => Ok(Some(tracee)),
            Err(Errno::ESRCH) => Err(PauseError::Gone(thread)),
            Err(error) => Err(PauseError::System { thread, source: error.into() }),
        }
    }

    /// Waits until the thread has stopped, at most to `deadline`, and less long where it cannot stop.
    pub(crate) fn wait(&mut self, handle: &Handle, deadline: Instant) -> Result<(), PauseError> {
        let thread = self.thread();
        let start = Instant::now();
        let mut polls = 0;
        let mut sleep = FIRST_SLEEP;
        loop {
            match self.seizure.current_state() {
                Ok(TraceeState::Stopped(signal)) => {
                    self.stop = Some(signal);
                    return Ok(());
                }
                Ok(TraceeState::Exited) => return Err(PauseError::Gone(thread)),
                Ok(TraceeState::Moving) => {}
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Err(PauseError::Gone(thread)),
                Err(source) => return Err(PauseError::System { thread, source }),
            }
            polls += 1;
            if polls < EAGER_POLLS {
                std::hint::spin_loop();
                continue;
            }
            std::thread::sleep(sleep);
            if sleep < LONGEST_SLEEP {
                sleep = (sleep * 2).min(LONGEST_SLEEP);
                continue;
            }
            match handle.thread_stat(thread).map(|line| line.activity) {
                Ok(ThreadActivity::DiskWait) if start.elapsed() > UNINTERRUPTIBLE_LIMIT => {
                    return Err(PauseError::Uninterruptible(thread));
                }
                Ok(ThreadActivity::Zombie) | Err(_) => return Err(PauseError::Gone(thread)),
                Ok(_) => {}
            }
            if Instant::now() >= deadline {
                return Err(PauseError::TimedOut(thread));
            }
        }
    }

    /// The thread.
    pub(crate) fn thread(&self) -> ThreadId {
        ThreadId::from(self.seizure.thread.unsigned_abs())
    }

    /// Its registers, once it has stopped.
    pub(crate) fn registers(&self) -> io::Result<Registers> {
        registers::read(self.seizure.thread)
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        let released = match self.stop {
            Some(signal) => self.seizure.detach(signal),
            None => self.seizure.try_release(),
        };
        if !released {
            self.seizure.add_to_pending();
        }
    }
}

impl Seizure {
    /// Looks whether the tracee has stopped or exited, without waiting.
    fn current_state(self) -> io::Result<TraceeState> {
        // A stop is only looked at: if it were taken and we died, the kernel would let the thread go without the signal
        // that it was about to get.
        let options = libc::WSTOPPED | libc::WEXITED | libc::WNOHANG | libc::__WALL | libc::WNOWAIT;
        let Some(change) = waitpid::change_of(self.thread, options)? else { return Ok(TraceeState::Moving) };
        Ok(match change.code {
            // To collect that of our child here would lose the status for the one who started it.
            _ if change.is_exit() && self.is_own_child => TraceeState::Exited,
            _ if change.is_exit() => {
                waitpid::change_of(self.thread, libc::WEXITED | libc::WNOHANG | libc::__WALL)?;
                TraceeState::Exited
            }
            // The event is in the bits above the signal; without one the stop is for a signal that is about to be
            // delivered.
            libc::CLD_TRAPPED if change.status >> 8 == 0 => TraceeState::Stopped(change.status),
            libc::CLD_TRAPPED => TraceeState::Stopped(0),
            _ => TraceeState::Moving,
        })
    }

    /// Lets the tracee go if it can be; whether there is nothing left to do.
    fn try_release(self) -> bool {
        match self.current_state() {
            Ok(TraceeState::Stopped(signal)) => self.detach(signal),
            Ok(TraceeState::Exited) => true,
            Ok(TraceeState::Moving) => false,
            // It is not our tracee any more.
            Err(_) => true,
        }
    }

    /// Lets a stopped tracee go, with the signal that it was about to get. Whether that worked: not when it was killed
    /// meanwhile.
    fn detach(self, signal: i32) -> bool {
        match ptrace_detach(self.thread, signal) {
            Ok(()) => true,
            // Killed while it was held: its exit has to be collected.
            Err(_) => !matches!(self.current_state(), Ok(TraceeState::Moving | TraceeState::Stopped(_))),
        }
    }

    fn is_pending(self) -> bool {
        PENDING.try_with(|pending| pending.borrow().iter().any(|other| other.thread == self.thread)).unwrap_or(false)
    }

    fn add_to_pending(self) {
        let _ = PENDING.try_with(|pending| {
            let mut pending = pending.borrow_mut();
            if !pending.iter().any(|other| other.thread == self.thread) {
                pending.push(self);
            }
        });
    }
}

/// The error for a thread that the system did not let us seize.
fn seize_error(handle: &Handle, thread: ThreadId, error: Errno) -> PauseError {
    if error != Errno::EPERM {
        return match error {
            Errno::ESRCH => PauseError::Gone(thread),
            error => PauseError::System { thread, source: error.into() },
        };
    }
    // EPERM also stands for a thread that is exiting, and for one that has a tracer.
    let Ok(status) = handle.read_file(&format!("task/{thread}/status"), 64 << 10) else {
        return PauseError::Gone(thread);
    };
    if status_field(&status, "State:").is_some_and(|state| state.starts_with(['Z', 'X', 'x'])) {
        return PauseError::Gone(thread);
    }
    match status_field(&status, "TracerPid:").and_then(|field| field.parse().ok()) {
        Some(tracer) if tracer != 0 => {
            let name = std::fs::read_to_string(format!("/proc/{tracer}/comm")).ok();
            PauseError::AlreadyTraced { thread, tracer: Some(tracer), name: name.map(|name| name.trim().to_owned()) }
        }
        _ => PauseError::Denied(thread),
    }
}

/// `PTRACE_DETACH`, with any signal of the system or none (0).
#[expect(unsafe_code, reason = "nix's detach cannot hand back real-time signals")]
fn ptrace_detach(thread: i32, signal: i32) -> io::Result<()> {
    let no_address = std::ptr::null_mut::<libc::c_void>();
    let signal = std::ptr::without_provenance_mut::<libc::c_void>(usize::try_from(signal).unwrap_or(0));
    // SAFETY: PTRACE_DETACH ignores the address and takes the signal's number in place of a pointer; no memory of ours
    // is touched.
    let result = unsafe { libc::ptrace(libc::PTRACE_DETACH, thread, no_address, signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::linux::testing::{Target, wait_until};

    /// A target that answers each of the signals with a line.
    const SIGNALS: &str = "
count = [0]
def handler(number, frame):
    count[0] += 1
    say('%d %d' % (number, count[0]))
for number in (signal.SIGUSR1, signal.SIGRTMIN + 3):
    signal.signal(number, handler)
ready()
while True:
    pass";

    fn seize_without_interrupt(target: &Target) -> Seizure {
        ptrace::seize(Pid::from_raw(target.pid()), ptrace::Options::empty()).unwrap();
        Seizure { thread: target.pid(), is_own_child: true }
    }

    #[test]
    fn a_signal_that_stops_the_thread_first_is_handed_back() {
        let mut target = Target::python(SIGNALS);
        for (count, signal) in [libc::SIGUSR1, libc::SIGRTMIN() + 3].into_iter().enumerate() {
            let seizure = seize_without_interrupt(&target);
            target.handle().send_signal(signal).unwrap();
            let mut tracee = Tracee { seizure, stop: None, not_send: PhantomData };
            tracee.wait(&target.handle(), Instant::now() + Duration::from_secs(30)).unwrap();
            assert_eq!(tracee.stop, Some(signal));
            drop(tracee);
            assert_eq!(target.line(), format!("{signal} {}", count + 1));
        }
    }

    #[test]
    fn a_tracer_that_ends_lets_go_and_delivers_the_signal() {
        let mut target = Target::python(SIGNALS);
        // The kernel does the same for a thread that ends and for a process that is killed.
        // Of a process that is not our child, too.
        let signals = [(libc::SIGUSR1, true), (libc::SIGRTMIN() + 3, false)];
        for (count, (signal, is_own_child)) in signals.into_iter().enumerate() {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let seizure = Seizure { is_own_child, ..seize_without_interrupt(&target) };
                    target.handle().send_signal(signal).unwrap();
                    let mut tracee = Tracee { seizure, stop: None, not_send: PhantomData };
                    tracee.wait(&target.handle(), Instant::now() + Duration::from_secs(30)).unwrap();
                    assert_eq!(tracee.stop, Some(signal));
                    std::mem::forget(tracee);
                });
            });
            assert_eq!(target.line(), format!("{signal} {}", count + 1));
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let handle = target.handle();
                let mut tracee = Tracee::seize(&handle, ThreadId::from(target.pid().unsigned_abs()), None).unwrap();
                tracee.wait(&handle, Instant::now() + Duration::from_secs(30)).unwrap();
                std::mem::forget(tracee);
            });
        });
        target.handle().send_signal(libc::SIGUSR1).unwrap();
        assert_eq!(target.line(), format!("{} 3", libc::SIGUSR1));
    }

    #[test]
    fn signals_sent_while_pausing_all_arrive() {
        let mut target = Target::python(SIGNALS);
        let process = target.process();
        let thread = ThreadId::from(target.pid().unsigned_abs());
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let pausing = scope.spawn(|| {
                let mut pauses = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    pauses += u32::from(process.pause_thread(thread).is_ok());
                }
                pauses
            });
            for count in 1..=400 {
                let signal = if count % 2 == 0 { libc::SIGUSR1 } else { libc::SIGRTMIN() + 3 };
                target.handle().send_signal(signal).unwrap();
                assert_eq!(target.line(), format!("{signal} {count}"));
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(pausing.join().unwrap() > 0);
        });
    }

    #[test]
    fn a_thread_that_stops_too_late_is_let_go_later() {
        // The child of a posix_spawn opens a FIFO that nobody writes to; meanwhile the parent waits for it, deaf to
        // signals.
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut target = Target::python(&format!(
            "
ready()
sys.stdin.readline()
os.posix_spawn('/bin/true', ['true'], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 0, {fifo:?}, os.O_RDONLY, 0)])
say('spawned')
sys.stdin.readline()"
        ));
        let process = target.process();
        let thread = ThreadId::from(target.pid().unsigned_abs());
        let seizure = seize_without_interrupt(&target);
        target.tell("go");
        wait_until("the target waits for its child", || {
            process.thread_state(thread).unwrap().activity == ThreadActivity::DiskWait
        });
        ptrace::interrupt(Pid::from_raw(seizure.thread)).unwrap();
        let mut tracee = Tracee { seizure, stop: None, not_send: PhantomData };
        let late = tracee.wait(&target.handle(), Instant::now() + Duration::from_secs(30));
        assert!(matches!(late, Err(PauseError::Uninterruptible(number)) if number == thread), "{late:?}");
        drop(tracee);
        assert_eq!(release_pending(), 1);
        // It is refused without a wait as long as that lasts, and the rest of the process can be held.
        assert!(matches!(process.pause_thread(thread), Err(PauseError::Uninterruptible(_))));
        let paused = process.pause_all().unwrap();
        assert_eq!((paused.len(), paused.not_held()), (0, &[thread][..]));

        drop(std::fs::OpenOptions::new().write(true).open(&fifo).unwrap());
        wait_until("the late thread is let go", || release_pending() == 0);
        assert_eq!(target.line(), "spawned");
        assert!(process.tracer().is_none());
    }
}
