//! What a process is doing, thread by thread: stacks, what threads wait for and who holds it, deadlocks, exceptions,
//! variables.
//!
//! [`inspect_process`] asks a living process, [`inspect_core`] a core file; both give an [`InspectedProcess`], which a
//! writer turns into text or JSON. What CPython's structs say is read by `python`; here it is brought together with
//! what the operating system, the core file and the source files say.
//!
//! Limits: knows nothing of formats, and prints nothing.

mod core;
mod deadlock;
mod describe;
mod findings;
mod greenlets;
mod live;
mod process;
mod source;
pub(crate) mod source_file;
mod subject;
mod system_calls;
mod tasks;

pub(crate) use core::inspect_core;
#[cfg(any(fuzzing, test))]
pub(crate) use core::{CoreRead, inspect_core_memory};
pub(crate) use live::inspect_process;
pub(crate) use process::{
    InspectedFrame, InspectedProcess, InspectedTask, InspectedTasks, InspectedThread, NativeFrame, ObjectWait,
    PythonFrame, TaskLibrary, Variable, VariableKind, Wait,
};
pub(crate) use source::SourceLine;
pub(crate) use source_file::read as read_source;

/// How much is wanted besides stacks and waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Details {
    /// How much of variables: 0 for none, more shows larger parts of their values ([`Limits::of_level`]).
    ///
    /// [`Limits::of_level`]: crate::python::repr::Limits::of_level
    pub variables: u8,
    /// The values too of variables, keys and attributes whose names say that they are secrets.
    pub secrets: bool,
    /// The lines of source around the current one of each Python frame.
    pub source: bool,
    /// Tasks of event loops.
    pub tasks: TasksWanted,
    /// For how long threads have been asleep. To learn it we go to the CPUs that they were last on.
    pub sleep: bool,
}

/// Which tasks are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TasksWanted {
    /// None.
    #[default]
    None,
    /// Those that have not ended.
    Pending,
    /// All that are still in memory.
    All,
}
