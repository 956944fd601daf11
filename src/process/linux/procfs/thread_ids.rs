//! Thread numbers inside and outside of the target's pid namespace.

use super::handle::Handle;
use super::stat::status_field;
use crate::process::ThreadId;

/// The number by which a thread goes in the innermost namespace that it is in.
pub(crate) fn inner_number(status: &[u8]) -> Option<ThreadId> {
    // The numbers run from our namespace to the innermost (kernel: `fs/proc/array.c`, `task_state`).
    status_field(status, "NSpid:")?.split_ascii_whitespace().next_back()?.parse().ok()
}

/// Each thread's number inside its namespace, with the one outside.
pub(crate) fn id_pairs(handle: &Handle) -> Vec<(ThreadId, ThreadId)> {
    let threads = handle.threads().unwrap_or_default();
    let pair = |thread: i32| {
        let status = handle.read_file(&format!("task/{thread}/status"), 64 << 10).ok()?;
        Some((inner_number(&status)?, ThreadId::from(thread.unsigned_abs())))
    };
    threads.into_iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_number_is_the_last() {
        assert_eq!(inner_number(b"NSpid:\t4711\t12\t3\n"), Some(3));
        assert_eq!(inner_number(b"NSpid:\t4711\n"), Some(4711));
        assert_eq!(inner_number(b"Name:\tx\n"), None);
    }
}
