//! The other process on Linux: `/proc`, `process_vm_readv`, pidfd and ptrace.

mod caller;
mod cpu;
mod files;
mod live_memory;
mod orphans;
mod process;
mod procfs;
mod ptrace;
mod spawn;
mod timer;
mod wait;

// For `cpu`, which names them as its neighbours.
use procfs::{handle, stat};

pub use cpu::OwnCpus;
pub use files::open_below;
pub use live_memory::{LiveMemory, ReadStatistics};
pub use orphans::Orphans;
pub use process::Process;
pub use procfs::address_space::{ImageIdentity, MappingsSign};
pub use procfs::children::all_processes;
pub use procfs::descriptors::Descriptors;
pub use procfs::thread_states::{ThreadStates, raise_descriptor_limit};
pub use ptrace::pause::{PausedProcess, PausedThread};
pub use ptrace::tracee::release_pending;
pub use spawn::SpawnedProgram;
pub use timer::sharpen_sleep;

#[cfg(test)]
mod testing;
