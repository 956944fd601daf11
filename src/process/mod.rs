//! The other process: who it is, its memory, its maps and files, its threads and their states, and holding it still.
//!
//! Everything that the operating system knows of the target, and nothing that CPython knows. What is shared by all
//! systems (the errors, [`Mapping`], [`ThreadActivity`]) lies here and in `error`; the work is done in `linux`,
//! or in `portable`, which covers Windows and macOS.
//!
//! # What holds on Linux
//! - A [`Process`] is bound to one process by its directory in `/proc` and by a pidfd; another process that gets the
//!   same number is never mistaken for it.
//! - Nothing is written to the target. It is stopped only while a [`PausedThread`] or [`PausedProcess`] lives, and the
//!   kernel lets it run on when we die in any way.
//! - The target's files are opened only as regular files, never through our own root where its root differs.
//!
//! # Limits
//! - `portable` cannot tell a stopped or traced target, its files in another root, or an exec of the same process.

mod control_groups;
mod denial;
mod emergency_memory;
mod error;
mod mapping;
mod quoted;
#[cfg_attr(not(target_os = "linux"), expect(unreachable_pub, reason = "what hands them out is there on Linux"))]
mod registers;
mod system_call;
#[cfg_attr(not(target_os = "linux"), expect(unreachable_pub, reason = "what hands them out is there on Linux"))]
mod thread_state;
mod usage;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use linux::CpuClockEvent;
#[cfg(target_os = "linux")]
pub(crate) use linux::{
    Descriptors, ImageIdentity, LiveMemory, MappingsSign, Orphans, PausedProcess, PausedThread, ProcessCpuClock,
    SpawnedProgram, ThreadStates, all_processes, can_trace_all, drop_foreign_rights, monotonic_time, open_below,
    raise_descriptor_limit, release_pending, stdout_was_closed, thread_cpu_time, with_rights_of_owner,
};
#[cfg(target_os = "linux")]
pub use linux::{OwnCpus, Process, sharpen_sleep};
#[cfg(windows)]
pub(crate) use portable::listen_to_console;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{
    Descriptors, ImageIdentity, LiveMemory, MappingsSign, Orphans, PausedProcess, PausedThread, ProcessCpuClock,
    SpawnedProgram, ThreadStates, all_processes, can_trace_all, drop_foreign_rights, monotonic_time,
    raise_descriptor_limit, release_pending, stdout_was_closed, thread_cpu_time,
};
#[cfg(not(target_os = "linux"))]
pub use portable::{OwnCpus, Process, sharpen_sleep};

pub(crate) use control_groups::{container_of, is_container, pod_of, supervisor_of};
#[cfg(target_os = "linux")]
pub(crate) use denial::Denial;
pub use emergency_memory::ReservingAllocator;
pub(crate) use emergency_memory::{hand_back_free_memory, memory_is_short, reserve_memory};
pub(crate) use error::{PauseError, ProcessError, SpawnError};
pub(crate) use mapping::{DeviceNumber, Mapping, page_size};
pub(crate) use quoted::{escaped_path, quoted_path};
pub(crate) use registers::Registers;
pub(crate) use system_call::{CallNumbers, DescriptorNames, RestingPlace, SystemCall};
pub(crate) use thread_state::{ThreadActivity, ThreadLook, ThreadReading};
pub(crate) use usage::ProcessUsage;

/// A thread's number as the operating system outside of the target's namespaces has it.
///
/// Wider than the number of any system, so that a value that the target named can be handed over as it is: one that is
/// no thread of that process is refused.
pub(crate) type ThreadId = u64;

/// A process found below another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildProcess {
    /// The process.
    pub pid: i32,
    /// Its parent at the moment of looking.
    pub parent: i32,
}
