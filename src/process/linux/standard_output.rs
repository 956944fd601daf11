//! Whether we were started without a standard output.
//!
//! Rust's runtime opens `/dev/null` for standard streams that are closed, before `main`, and what is written there is
//! lost without an error. So they are looked at before that, among the functions that the loader runs first.

use std::sync::atomic::{AtomicBool, Ordering};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs before Rust's runtime does: whatever it calls must need nothing of that.
extern "C" fn look_at_stdout() {
    WAS_CLOSED.store(is_closed(libc::STDOUT_FILENO), Ordering::Relaxed);
}

#[used]
#[expect(unsafe_code, reason = "what stands in this section is run by the loader")]
// SAFETY: the section holds pointers to functions of the C ABI without results, as this is one; what it calls is a
// system call and a store.
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STDOUT: extern "C" fn() = look_at_stdout;

#[expect(unsafe_code, reason = "nix asks for a descriptor that is known to be open")]
fn is_closed(descriptor: i32) -> bool {
    // SAFETY: F_GETFD reads no memory and changes nothing, whatever the number is.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) == -1 }
}

/// Whether standard output was closed when we were started.
pub(crate) fn stdout_was_closed() -> bool {
    WAS_CLOSED.load(Ordering::Relaxed)
}
