//! What an inspection asks of whatever it looks at: a living process, or a core file.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::memory::Memory;
use crate::process::{DescriptorNames, SystemCall, ThreadId};
use crate::sampler::{MomentThread, NativeThread};

/// A process that is inspected, in whichever form.
pub(super) trait Subject {
    /// Its memory.
    fn memory(&self) -> &dyn Memory;

    /// What its descriptors are open on.
    fn descriptors(&self) -> &dyn DescriptorNames;

    /// Opens a regular file that the process finds at `path`, to show of it.
    ///
    /// # Errors
    /// When there is none, or it may not be read by us or by the process.
    fn open_file(&self, path: &Path) -> io::Result<File>;

    /// Whether the process finds a regular file at `path`.
    fn has_file(&self, path: &Path) -> bool;

    /// What a thread is called.
    fn thread_name(&self, thread: &MomentThread) -> Option<String>;

    /// What the kernel calls a thread that has no thread state.
    fn native_thread_name(&self, thread: &NativeThread) -> Option<String>;

    /// The system call that a thread is in.
    fn system_call(&self, thread: ThreadId) -> Option<SystemCall>;

    /// How long a thread has not been on a CPU.
    fn asleep_for(&self, thread: ThreadId) -> Option<Duration>;

    /// What the kernel calls the place where a thread sleeps.
    fn wait_channel(&self, thread: ThreadId) -> Option<String>;
}
