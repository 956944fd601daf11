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

/// The CPU time that all threads of a process have used, in nanoseconds exactly: as long as it stands still, none has
/// run. `None` when the process is gone.
pub(crate) fn process_cpu_time(pid: i32) -> Option<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok()?;
    clock_gettime(clock).ok().map(Duration::from)
}

/// The time of `CLOCK_MONOTONIC`, which all processes share but for those in a time namespace of their own.
pub(crate) fn monotonic_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_MONOTONIC).ok().map(Duration::from)
}
