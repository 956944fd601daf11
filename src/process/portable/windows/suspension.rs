//! Threads that are suspended.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::System::Diagnostics::Debug::{CONTEXT, GetThreadContext};
use windows_sys::Win32::System::Threading::{ResumeThread, SuspendThread, THREAD_GET_CONTEXT, THREAD_SUSPEND_RESUME};

use super::open_thread;
use crate::process::ThreadId;

/// A thread that is suspended until this is dropped.
pub(super) struct Suspended {
    thread: ThreadId,
    handle: OwnedHandle,
}

/// As the system wants it.
#[repr(C, align(16))]
struct AlignedContext(CONTEXT);

impl Suspended {
    /// Suspends a thread and waits until it stands still.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn new(thread: ThreadId) -> io::Result<Self> {
        let handle = open_thread(thread, THREAD_SUSPEND_RESUME | THREAD_GET_CONTEXT)?;
        suspend(&handle)?;
        let suspended = Self { thread, handle };
        // A suspension is only asked for; whoever asks for registers is answered when the thread has stopped.
        wait_until_still(&suspended.handle)?;
        Ok(suspended)
    }

    /// Which thread it is.
    pub(super) fn thread(&self) -> ThreadId {
        self.thread
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        resume(&self.handle);
    }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn suspend(thread: &OwnedHandle) -> io::Result<()> {
    // SAFETY: takes no pointers; the handle is that of a thread.
    let count = unsafe { SuspendThread(thread.as_raw_handle()) };
    if count == u32::MAX { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn resume(thread: &OwnedHandle) {
    // SAFETY: takes no pointers; the handle is that of a thread.
    unsafe { ResumeThread(thread.as_raw_handle()) };
}

#[expect(unsafe_code, reason = "a call of the system")]
fn wait_until_still(thread: &OwnedHandle) -> io::Result<()> {
    let mut context = AlignedContext(CONTEXT { ContextFlags: CONTROL, ..CONTEXT::default() });
    // SAFETY: the handle is that of a thread that is suspended, and the context is ours and aligned as it must be.
    let result = unsafe { GetThreadContext(thread.as_raw_handle(), &raw mut context.0) };
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `CONTEXT_CONTROL`, the least that can be asked for.
#[cfg(target_arch = "x86_64")]
const CONTROL: u32 = 0x0010_0001;
#[cfg(target_arch = "aarch64")]
const CONTROL: u32 = 0x0040_0001;
