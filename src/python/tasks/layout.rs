//! Where a task keeps what (Modules/_asynciomodule.c): `FutureObj_HEAD` and `TaskObj`.
//!
//! From 3.14 on the section `.AsyncioDebug` tells a part of it (`Py_AsyncioModuleDebugOffsets`). The rest is a table by
//! version, which counts only if `tp_basicsize` of the task type is the one that belongs to it: a patch release that
//! changes the struct is refused, not misread.

use thiserror::Error;

use crate::memory::Memory;
use crate::python::layout::Layout;

/// How many words `Py_AsyncioModuleDebugOffsets` has (3.14, 3.15).
const SECTION_WORDS: usize = 13;
/// No offset in an interpreter or thread state is larger, in bytes.
const LARGEST_OFFSET: u64 = 1 << 20;

/// Why tasks cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TaskLayoutError {
    /// The struct is not the one of the version's table.
    #[error("the task object of this build has {found} bytes, where {expected} were expected")]
    Size {
        /// `tp_basicsize` of the type.
        found: i64,
        /// Of the table.
        expected: u32,
    },
    /// No table is there for the version.
    #[error("the task object of this version is not known")]
    Version,
    /// 3.14 and later: the section that says where the lists of tasks are was not found, or makes no sense.
    #[error("the section .AsyncioDebug of this build was not found")]
    NoSection,
}

/// Offsets in bytes from the beginning of a task written in C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskLayout {
    /// `tp_basicsize` of `_asyncio.Task`.
    pub(super) size: u32,
    /// `task_loop`.
    pub(super) event_loop: u32,
    /// `task_callback0`.
    pub(super) first_callback: u32,
    /// `task_callbacks`, a list or NULL.
    pub(super) callbacks: u32,
    /// `task_state`, of which the first byte matters.
    pub(super) state: u32,
    /// `task_fut_waiter`.
    pub(super) waiter: u32,
    /// `task_coro`.
    pub(super) coroutine: u32,
    /// `task_name` (3.8+): a `str`, or an `int` whose text is not made yet.
    pub(super) name: Option<u32>,
    /// `task_must_cancel`: the byte, and the bits of it that count.
    pub(super) must_cancel: (u32, u8),
}

/// Where threads and interpreters keep tasks (3.14+), offsets in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AsyncioSection {
    /// `TaskObj.task_node`, a `struct llist_node`.
    pub(super) node: u32,
    /// `TaskObj.task_awaited_by`.
    pub(super) awaited_by: u32,
    /// `TaskObj.task_awaited_by_is_set`, a `char`.
    pub(super) awaited_by_is_set: u32,
    /// `PyInterpreterState.asyncio_tasks_head`, of tasks whose threads are gone.
    pub(super) interpreter_tasks: u32,
    /// `_PyThreadStateImpl.asyncio_running_loop`.
    pub(super) running_loop: u32,
    /// `_PyThreadStateImpl.asyncio_running_task`.
    pub(super) running_task: u32,
    /// `_PyThreadStateImpl.asyncio_tasks_head`.
    pub(super) thread_tasks: u32,
}

impl AsyncioSection {
    /// Reads `_AsyncioDebug`, which is at `address` in the target.
    pub(crate) fn read(memory: &dyn Memory, address: u64) -> Option<Self> {
        let bytes = memory.read_bytes(address, 8 * SECTION_WORDS as u64, 8 * SECTION_WORDS).ok()?;
        let (words, _) = bytes.as_chunks::<8>();
        let words: Vec<u32> = words
            .iter()
            .map(|word| u64::from_ne_bytes(*word))
            .map(|word| u32::try_from(word).ok().filter(|_| word < LARGEST_OFFSET))
            .collect::<Option<_>>()?;
        let [size, _name, awaited_by, _is_task, awaited_by_is_set, coroutine, node, ..] = words[..] else {
            return None;
        };
        let [_, interpreter_tasks, thread_size, running_loop, running_task, thread_tasks] = words[7..] else {
            return None;
        };
        let fits = coroutine < size && node < size && awaited_by < size && thread_tasks < thread_size;
        (fits && interpreter_tasks > 0).then_some(Self {
            node,
            awaited_by,
            awaited_by_is_set,
            interpreter_tasks,
            running_loop,
            running_task,
            thread_tasks,
        })
    }
}

impl TaskLayout {
    /// The layout of a version's tasks, checked by the size of the type.
    pub(super) fn of(layout: &Layout, basic_size: i64) -> Result<Self, TaskLayoutError> {
        let table = Self::table(layout).ok_or(TaskLayoutError::Version)?;
        if basic_size != i64::from(table.size) {
            return Err(TaskLayoutError::Size { found: basic_size, expected: table.size });
        }
        Ok(table)
    }

    fn table(layout: &Layout) -> Option<Self> {
        // Size, state, waiter, and whether there is a name: what is before the state and after the waiter has stood in
        // one order from the beginning.
        let (size, state, waiter, named, must_cancel) = match layout.version.feature() {
            (3, 7) => (136, 72, 104, false, (128, 0xff)),
            (3, 8) => (144, 72, 104, true, (136, 0xff)),
            (3, 9) => (184, 80, 144, true, (176, 0xff)),
            (3, 10) => (192, 88, 152, true, (184, 0xff)),
            (3, 11 | 12) => (176, 88, 128, true, (160, 0xff)),
            // Bit fields after the state: of the future `log_tb` and `blocking`, then this one.
            (3, 13) => (144, 96, 112, true, (100, 4)),
            // Two `char`s stand between.
            (3, 14 | 15) => (168, 104, 120, true, (110, 4)),
            _ => return None,
        };
        // The table is that of builds whose object head has 16 bytes.
        let head = layout.object.head_size.checked_sub(16)?;
        // From 3.14 on, free-threaded builds keep the id of the thread that made a task (`task_tid`) at its end.
        let made_by = if head > 0 && layout.version.feature() >= (3, 14) { 8 } else { 0 };
        let size = size + head + made_by;
        Some(Self {
            size,
            event_loop: 16 + head,
            first_callback: 24 + head,
            callbacks: 40 + head,
            state: state + head,
            waiter: waiter + head,
            coroutine: waiter + 8 + head,
            name: named.then_some(waiter + 16 + head),
            must_cancel: (must_cancel.0 + head, must_cancel.1),
        })
    }
}
