//! What we use of the machine ourselves.

use std::time::Duration;

use crate::process::Process;

/// The CPU time that this program has used.
pub(in crate::command) fn own_cpu() -> Duration {
    Process::observe(std::process::id().cast_signed())
        .ok()
        .and_then(|process| process.usage().ok())
        .map(|usage| usage.cpu)
        .unwrap_or_default()
}
