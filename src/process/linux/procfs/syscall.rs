//! What a thread that does not run waits in: `/proc/PID/task/TID/syscall` and `wchan`.

use super::handle::Handle;
use crate::process::{CallNumbers, RestingPlace, SystemCall, ThreadId};

/// The system call that a thread is in; `None` when it runs, is in none, or the system does not tell.
pub(crate) fn system_call(handle: &Handle, thread: ThreadId) -> Option<SystemCall> {
    let text = handle.read_file(&format!("task/{thread}/syscall"), 4096).ok()?;
    let call = parse(std::str::from_utf8(&text).ok()?)?;
    if call.name() == Some("restart_syscall") {
        return Some(call.resumed(&wait_channel(handle, thread).unwrap_or_default()));
    }
    Some(call)
}

/// Whether the system lets us know the calls that threads are in. The files are the owner's of the process, whatever we
/// may trace.
pub(crate) fn shows_system_calls(handle: &Handle) -> bool {
    let file = format!("task/{}/syscall", handle.pid());
    !handle.open_file(&file).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// Where a thread sleeps: the system call, its arguments, stack pointer and instruction; `None` when it runs or the
/// system does not tell.
pub(crate) fn resting_place(handle: &Handle, thread: ThreadId) -> Option<RestingPlace> {
    let text = handle.read_file(&format!("task/{thread}/syscall"), 4096).ok()?;
    parse_resting_place(std::str::from_utf8(&text).ok()?)
}

fn parse_resting_place(text: &str) -> Option<RestingPlace> {
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut numbers = words.map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = numbers.next()??;
    }
    Some(RestingPlace { number, arguments, stack_pointer: numbers.next()??, instruction: numbers.next()?? })
}

/// The name of the kernel's function that a thread sleeps in (`futex_wait_queue`), where the kernel shows it.
pub(crate) fn wait_channel(handle: &Handle, thread: ThreadId) -> Option<String> {
    let text = handle.read_file(&format!("task/{thread}/wchan"), 4096).ok()?;
    let name = String::from_utf8_lossy(&text).trim().to_owned();
    (!name.is_empty() && name != "0").then_some(name)
}

/// `number arguments… stack-pointer instruction-pointer`; the number is −1 outside of system calls, and the whole
/// `running` for a thread that runs (kernel: fs/proc/base.c, `proc_pid_syscall`).
fn parse(text: &str) -> Option<SystemCall> {
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some(SystemCall { number, arguments, numbers: CallNumbers::HOST })
}

/// The futex that the line of a `syscall` file says a thread waits in; also of a wait that goes on after a stop.
pub(super) fn futex_of(line: &[u8]) -> Option<u64> {
    parse(std::str::from_utf8(line).ok()?)?.resumed("futex").futex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_in_a_futex_is_known_by_its_address_also_after_a_stop() {
        let line =
            |number: u64, operation: &str| format!("{number} 0x7f01 {operation} 0x0 0x0 0x0 0x0 0x7ffd 0x7f02\n");
        let (futex, restart) = if cfg!(target_arch = "aarch64") { (98, 128) } else { (202, 219) };
        assert_eq!(futex_of(line(futex, "0x189").as_bytes()), Some(0x7f01));
        assert_eq!(futex_of(line(restart, "0x189").as_bytes()), Some(0x7f01));
        // It wakes others.
        assert_eq!(futex_of(line(futex, "0x81").as_bytes()), None);
        assert_eq!(futex_of(b"running\n"), None);
    }

    #[test]
    fn a_thread_that_sleeps_has_a_place() {
        let place = parse_resting_place("202 0x7f01 0x189 0x0 0x0 0x0 0xffffffff 0x7ffd 0x7f02\n").unwrap();
        assert_eq!((place.number, place.stack_pointer, place.instruction), (202, 0x7ffd, 0x7f02));
        assert_eq!(place.arguments, [0x7f01, 0x189, 0, 0, 0, 0xffff_ffff]);
        for none in ["running\n", "-1 0x7ffd 0x7f02\n", "", "202 0x7f01 0x189 0x0 0x0 0x0 0xffffffff 0x7ffd\n"] {
            assert_eq!(parse_resting_place(none), None, "{none:?}");
        }
    }

    #[test]
    fn only_a_thread_in_a_call_has_one() {
        let call = parse("202 0x7f01 0x189 0x0 0x0 0x0 0xffffffff 0x7ffd 0x7f02\n").unwrap();
        assert_eq!((call.number, call.arguments), (202, [0x7f01, 0x189, 0, 0, 0, 0xffff_ffff]));
        for none in ["running\n", "-1 0x7ffd 0x7f02\n", "", "0 0x1 0x2\n", "x"] {
            assert_eq!(parse(none), None, "{none:?}");
        }
    }
}
