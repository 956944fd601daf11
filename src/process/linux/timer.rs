//! How exactly a sleep of ours ends, and what time it is for others.

use std::time::Duration;

use nix::sys::prctl;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// From now on sleeps of the calling thread end as soon as the system can, not up to 50 µs later together with others'
/// (`PR_SET_TIMERSLACK`). Programs that it starts afterwards would inherit that, so it is for when they have been
/// started.
pub fn sharpen_sleep() {
    if let Err(error) = prctl::set_timerslack(1) {
        log::debug!("sleeps stay coarse: {error}");
    }
}

/// The CPU time that the calling thread has used.
pub(crate) fn thread_cpu_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(Duration::from)
}

/// The clock of a process: the CPU time that all of its threads have used, in nanoseconds exactly. As long as it stands
/// still, none has run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessCpuClock(ClockId);

impl ProcessCpuClock {
    /// That of the process with this number; `None` when there is none. It goes by the number: that it is still the
    /// same process something else must tell.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok().map(Self)
    }

    /// The time used by now: one system call. `None` when the process is gone.
    pub(crate) fn time(self) -> Option<Duration> {
        clock_gettime(self.0).ok().map(Duration::from)
    }
}

/// How long ago the machine was started, the time in which it was asleep too: the clock of [`Process::start_ticks`].
///
/// [`Process::start_ticks`]: super::process::Process::start_ticks
pub(super) fn boot_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(Duration::from)
}

/// The time of `CLOCK_MONOTONIC`, which all processes share but for those in a time namespace of their own.
pub(crate) fn monotonic_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_MONOTONIC).ok().map(Duration::from)
}
