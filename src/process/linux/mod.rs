//! The other process on Linux: `/proc`, `process_vm_readv`, pidfd and ptrace.

mod address_space;
mod caller;
mod children;
mod cpu;
mod descriptors;
mod exit_status;
mod files;
mod handle;
mod live_memory;
mod maps;
mod orphans;
mod pause;
mod permission;
mod process;
mod registers;
mod spawn;
mod stat;
mod thread_ids;
mod thread_states;
mod timer;
mod tracee;
mod waiting;

pub use address_space::{ImageIdentity, MappingsSign};
pub use children::all_processes;
pub use cpu::OwnCpus;
pub use descriptors::Descriptors;
pub use files::open_below;
pub use live_memory::{LiveMemory, ReadStatistics};
pub use orphans::Orphans;
pub use pause::{PausedProcess, PausedThread};
pub use process::Process;
pub use spawn::SpawnedProgram;
pub use thread_states::{ThreadStates, raise_descriptor_limit};
pub use timer::sharpen_sleep;
pub use tracee::release_pending;

#[cfg(test)]
mod testing;
