//! On which CPU a thread runs, and running on the same one.
//!
//! Two threads on one CPU do not run at the same time: while the one reads, the other stands still, without having been
//! stopped by anybody but the scheduler. A sampler wakes at its deadline, takes the CPU from the thread that computes
//! there, reads and sleeps again.
//!
//! # Limits
//! Nothing keeps the other thread there: the scheduler may move it at any time, even during a read. What is read is not
//! proven by this alone, only likely to be provable; it is where the thread tells its CPU itself and we have kept ours
//! ([`OwnCpus::has_kept_running`]).

use std::io;
use std::marker::PhantomData;

use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;

use super::handle::Handle;
use super::stat::{STAT_LINE_LIMIT, Scheduling};
use crate::process::ThreadId;

/// Us: the calling thread.
const SELF: Pid = Pid::from_raw(0);

/// The CPUs of the calling thread, which runs where it ran before once this is dropped.
#[derive(Debug)]
pub struct OwnCpus {
    allowed: CpuSet,
    chosen: Option<usize>,
    /// How often the calling thread has given up its CPU so far: of its own accord, and not.
    switches: Option<(i64, i64)>,
    /// Affinity is a thread's own.
    not_send: PhantomData<*const ()>,
}

impl OwnCpus {
    /// The CPUs that the calling thread may use now.
    ///
    /// # Errors
    /// Where the system does not tell, as with more than 1024 CPUs.
    pub fn of_this_thread() -> io::Result<Self> {
        Ok(Self { allowed: sched_getaffinity(SELF)?, chosen: None, switches: None, not_send: PhantomData })
    }

    /// The CPU on which the calling thread is at this moment, where the system tells.
    pub fn current() -> Option<usize> {
        sched_getcpu().ok()
    }

    /// Runs only on `cpu` from now on. Whether that may be.
    pub fn stay_on(&mut self, cpu: usize) -> bool {
        if self.chosen == Some(cpu) {
            return true;
        }
        let mut set = CpuSet::new();
        let is_allowed = self.allowed.is_set(cpu).unwrap_or(false) && set.set(cpu).is_ok();
        let is_there = is_allowed && sched_setaffinity(SELF, &set).is_ok();
        if is_there {
            self.chosen = Some(cpu);
        }
        is_there
    }

    /// The CPU that [`OwnCpus::stay_on`] has chosen, if it still holds.
    pub fn chosen(&self) -> Option<usize> {
        self.chosen
    }

    /// From now on it is watched whether the calling thread gives up its CPU.
    pub fn watch(&mut self) {
        self.switches = switches();
    }

    /// Whether the calling thread has kept its CPU since [`OwnCpus::watch`], so that nobody else has run there, and is
    /// still on the chosen one.
    pub fn has_kept_running(&self) -> bool {
        self.switches.is_some() && self.switches == switches() && Self::current() == self.chosen
    }

    /// Runs wherever it may.
    pub fn go_free(&mut self) {
        if self.chosen.take().is_some()
            && let Err(error) = sched_setaffinity(SELF, &self.allowed)
        {
            log::debug!("this thread stays on one CPU: {error}");
        }
    }
}

impl Drop for OwnCpus {
    fn drop(&mut self) {
        self.go_free();
    }
}

/// How often the calling thread has given up its CPU: of its own accord, and not. `None` where that is not counted: it
/// has slept before.
fn switches() -> Option<(i64, i64)> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
    let switches = (usage.voluntary_context_switches(), usage.involuntary_context_switches());
    (switches != (0, 0)).then_some(switches)
}

/// The CPU of a thread, if the calling thread would get it from that thread whenever it wakes there. Not so of one that
/// has a better place with the scheduler: we would wait for it, for ever perhaps.
pub(super) fn shareable_cpu(handle: &Handle, thread: ThreadId) -> Option<usize> {
    let line = handle.read_file(&format!("task/{thread}/stat"), STAT_LINE_LIMIT as u64).ok()?;
    let its = Scheduling::parse(&line)?;
    let is_usual = matches!(its.policy, libc::SCHED_OTHER | libc::SCHED_BATCH | libc::SCHED_IDLE);
    (is_usual && its.nice >= own_nice()).then_some(its.cpu)
}

#[expect(unsafe_code, reason = "getpriority has no safe wrapper in nix")]
fn own_nice() -> i32 {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::process::linux::testing::Target;

    #[test]
    fn we_go_where_a_thread_is_and_come_back() {
        let target = Target::python("ready()\nwhile True: pass");
        let process = target.process();
        let thread = ThreadId::from(target.pid().unsigned_abs());
        let before = sched_getaffinity(SELF).unwrap();
        let mut own = OwnCpus::of_this_thread().unwrap();
        let cpu = process.shareable_cpu(thread).unwrap();
        assert!(own.stay_on(cpu));
        assert_eq!(OwnCpus::current(), Some(cpu));
        assert!(!own.stay_on(5000), "no such CPU");
        drop(own);
        assert_eq!(sched_getaffinity(SELF).unwrap(), before);
    }

    #[test]
    fn it_is_known_whether_somebody_else_ran_on_our_cpu() {
        let nap = || std::thread::sleep(std::time::Duration::from_millis(1));
        nap();
        let mut own = OwnCpus::of_this_thread().unwrap();
        assert!(!own.has_kept_running(), "nothing was watched");
        let cpu = OwnCpus::current().unwrap();
        assert!(own.stay_on(cpu));
        let kept = |own: &mut OwnCpus, naps: usize| {
            own.watch();
            (0..naps).for_each(|_| nap());
            own.has_kept_running()
        };
        // Now and then somebody comes in between, on a busy machine often.
        assert!((0..1000).any(|_| kept(&mut own, 0)));
        assert!((0..10).all(|_| !kept(&mut own, 1)));
        own.go_free();
        assert!(!kept(&mut own, 0), "no CPU is chosen");
    }

    #[test]
    fn a_thread_with_a_better_place_is_left_alone() {
        let target = Target::python("ready()\nwhile True: pass");
        let process = target.process();
        let thread = ThreadId::from(target.pid().unsigned_abs());
        assert!(process.shareable_cpu(thread).is_some());
        if own_nice() == NICEST {
            // Nobody can be nicer than we are already, so the other must become less so, which not everybody may do.
            if set_nice(target.pid().unsigned_abs(), 0) {
                assert_eq!(process.shareable_cpu(thread), None);
            } else {
                let _ = io::Write::write_all(&mut io::stderr(), b"skipped: at nice 19 without the right to leave it\n");
            }
            return;
        }
        // Everybody has a better place than one that is as nice as can be; the niceness is that of one thread, and goes
        // with it.
        std::thread::scope(|scope| {
            let refused = scope.spawn(|| {
                assert!(set_nice(0, NICEST));
                process.shareable_cpu(thread)
            });
            assert_eq!(refused.join().unwrap(), None);
        });
    }

    /// The niceness of those who let everybody else go first.
    const NICEST: i32 = 19;

    /// Gives a thread, 0 for the calling one, another niceness; whether that was permitted.
    #[expect(unsafe_code, reason = "setpriority has no safe wrapper in nix")]
    fn set_nice(thread: u32, nice: i32) -> bool {
        // SAFETY: the call takes three numbers and touches no memory of ours.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, nice) == 0 }
    }
}
