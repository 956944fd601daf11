//! For how long threads have been asleep.
//!
//! The scheduler notes of each thread when it was last on a CPU, by the clock of that CPU (kernel: `se.exec_start` in
//! `/proc/PID/task/TID/sched`). These clocks leave out the time that was taken by interrupts or by other virtual
//! machines, each its own, so they agree neither with each other nor with the time since boot. What such a clock shows
//! now is what it notes of us when we run on that CPU.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::cpu::OwnCpus;
use super::handle::Handle;
use super::stat::{STAT_LINE_LIMIT, Scheduling};
use crate::process::ThreadId;

/// Bytes of a `sched` file that are read: the number is in its third line.
const SCHED_LIMIT: u64 = 1024;
/// The clocks of so many CPUs are read at most; going to one may take some milliseconds where others compute.
const MOST_CPUS: usize = 32;

/// For how long each of `threads` has not been on a CPU. Those are missing that the system tells nothing of, and those
/// that were last on a CPU that we may not use.
///
/// What stops a thread, a tracer or a signal, lets it run for a moment.
pub(super) fn asleep_for(handle: &Handle, threads: &[ThreadId]) -> HashMap<ThreadId, Duration> {
    let mut by_cpu: BTreeMap<usize, Vec<(ThreadId, Duration)>> = BTreeMap::new();
    for thread in threads {
        let Some((cpu, last_run)) = last_run(handle, *thread) else { continue };
        by_cpu.entry(cpu).or_default().push((*thread, last_run));
    }
    let mut asleep = HashMap::new();
    let Ok(mut own_cpus) = OwnCpus::of_this_thread() else { return asleep };
    for (cpu, threads) in by_cpu.into_iter().take(MOST_CPUS) {
        let Some(now) = own_cpus.stay_on(cpu).then(own_last_run).flatten() else { continue };
        asleep.extend(threads.into_iter().map(|(thread, last_run)| (thread, now.saturating_sub(last_run))));
    }
    asleep
}

/// The CPU that a thread was on last, and when, by that CPU's clock.
fn last_run(handle: &Handle, thread: ThreadId) -> Option<(usize, Duration)> {
    let sched = handle.read_file(&format!("task/{thread}/sched"), SCHED_LIMIT).ok()?;
    let line = handle.read_file(&format!("task/{thread}/stat"), STAT_LINE_LIMIT as u64).ok()?;
    // A thread that was moved to another CPU while it slept has lost the number.
    Some((Scheduling::parse(&line)?.cpu, parse(&sched).filter(|at| !at.is_zero())?))
}

fn own_last_run() -> Option<Duration> {
    parse(&std::fs::read("/proc/thread-self/sched").ok()?)
}

/// The time in a `sched` file: `se.exec_start : 52034963.645226`, ms.
fn parse(sched: &[u8]) -> Option<Duration> {
    let mut lines = sched.split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"se.exec_start"))?;
    let text = std::str::from_utf8(line).ok()?.trim_start_matches([' ', '\t', ':']).trim_end();
    let (millis, nanos) = text.split_once('.')?;
    if nanos.len() != 6 {
        return None;
    }
    Some(Duration::from_millis(millis.parse().ok()?) + Duration::from_nanos(nanos.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::process::linux::testing::{Target, wait_until};

    #[test]
    fn the_time_is_read_from_what_kernels_write() {
        let sched = b"python (7, #threads: 1)\n----\nse.exec_start                 :      52034963.645226\nse.vruntime";
        assert_eq!(parse(sched), Some(Duration::from_nanos(52_034_963_645_226)));
        for other in
            [&b""[..], b"se.exec_start", b"se.exec_start : 1", b"se.exec_start : -1.000000", b"se.exec_start:x.y"]
        {
            assert_eq!(parse(other), None);
        }
    }

    #[test]
    fn a_sleeper_sleeps_ever_longer_until_it_runs() {
        let mut target = Target::python(
            "
ready()
for line in sys.stdin:
    say('woken')",
        );
        let handle = target.handle();
        let thread = ThreadId::from(target.pid().unsigned_abs());
        let slept = || asleep_for(&handle, &[thread]).get(&thread).copied();
        if slept().is_none() {
            return eprintln!("skipped: this kernel does not tell when a thread ran");
        }
        let started = Instant::now();
        let first = slept().unwrap();
        wait_until("it has slept for a quarter of a second", || slept().unwrap() > Duration::from_millis(250));
        // It began to sleep about when it had said that it was ready; the clock ticks a hundred times a second.
        let passed = started.elapsed() + first + Duration::from_millis(20);
        assert!(slept().unwrap() < passed + Duration::from_millis(100), "{:?} of {passed:?}", slept());
        let before = Instant::now();
        target.tell("wake");
        assert_eq!(target.line(), "woken");
        assert!(slept().unwrap() <= before.elapsed() + Duration::from_millis(20));
    }
}
