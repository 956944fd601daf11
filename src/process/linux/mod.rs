//! The other process on Linux: `/proc`, `process_vm_readv`, pidfd and ptrace.

mod caller;
mod cpu;
mod file_rights;
mod files;
mod live_memory;
mod orphans;
#[cfg(target_arch = "x86_64")]
mod perf_event;
mod privileges;
mod process;
mod procfs;
mod ptrace;
mod sleep_times;
mod spawn;
mod standard_output;
mod timer;
mod waitpid;

// For `cpu`, which names them as its neighbours.
use procfs::{handle, stat};

pub use cpu::OwnCpus;
pub(crate) use file_rights::with_rights_of_owner;
pub(crate) use files::open_below;
pub(crate) use live_memory::LiveMemory;
pub(crate) use orphans::Orphans;
#[cfg(target_arch = "x86_64")]
pub(crate) use perf_event::CpuClockEvent;
pub(crate) use privileges::drop_foreign_rights;
pub use process::Process;
pub(crate) use procfs::address_space::{ImageIdentity, MappingsSign};
pub(crate) use procfs::children::all_processes;
pub(crate) use procfs::descriptors::Descriptors;
pub(crate) use procfs::permission::can_trace_all;
pub(crate) use procfs::thread_states::{ThreadStates, raise_descriptor_limit};
pub(crate) use ptrace::pause_guards::{PausedProcess, PausedThread};
pub(crate) use ptrace::thread_stop::release_pending;
pub(crate) use spawn::SpawnedProgram;
pub(crate) use standard_output::stdout_was_closed;
pub use timer::sharpen_sleep;
pub(crate) use timer::{ProcessCpuClock, monotonic_time, thread_cpu_time};

#[cfg(test)]
mod testing;
