//! The system calls that the threads of a living process are in.
//!
//! A thread that is held shows none, so they are read before the process is stopped, and completed after it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::process::{Process, SystemCall, ThreadId};
use crate::sampler::Moment;

/// How long is waited for threads that were woken to go back to sleep, all together.
const RESUMED: Duration = Duration::from_millis(50);

/// The system call of each thread that is in one.
pub(super) type SystemCalls = HashMap<ThreadId, SystemCall>;

/// Those of all threads, as they are now.
pub(super) fn read_system_calls(process: &Process) -> SystemCalls {
    let threads = process.threads().unwrap_or_default();
    threads.into_iter().filter_map(|thread| Some((thread, process.system_call(thread)?))).collect()
}

/// Corrects and completes the calls: with those that threads were in at the moment itself, and with those of threads
/// that were about to go back to theirs, as the kernel shows them when they sleep again.
pub(super) fn complete_calls(process: &Process, moment: &Moment, calls: &mut SystemCalls) {
    let deadline = Instant::now() + RESUMED;
    for os_id in moment.threads.iter().filter(|thread| !thread.active).filter_map(|thread| thread.os_id) {
        let at_moment = moment.system_call(os_id);
        // Registers do not tell which call goes on after an interruption.
        let mut call = at_moment.filter(|call| call.name() != Some("restart_syscall"));
        if call.is_none() && calls.contains_key(&os_id) {
            continue;
        }
        while call.is_none() {
            call = process.system_call(os_id);
            if call.is_none() {
                if Instant::now() >= deadline {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        calls.extend(call.or(at_moment).map(|call| (os_id, call)));
    }
}
