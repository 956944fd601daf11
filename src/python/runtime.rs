//! Where the runtime of one target is: what [`super::locate`] finds and all readers start from.

use super::layout::Layout;

/// The runtime of one process. Addresses are of the target.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// The structs of its version.
    pub layout: Layout,
    /// Where the pointer to the first interpreter state is: `_PyRuntime.interpreters.head` (3.7+) or `interp_head`.
    pub interpreters_head: u64,
    /// Where the pointer to the thread state that holds the GIL is (up to 3.11): `_PyRuntime.gilstate.tstate_current`
    /// or `_PyThreadState_Current`. `None` where it was not found or the version keeps it elsewhere.
    pub current_thread: Option<u64>,
    /// Where the `int` is that is not 0 while the garbage collector runs (up to 3.8): `_PyRuntime.gc.collecting` or the
    /// local symbol `collecting`.
    pub collecting: Option<u64>,
    /// The GIL of 2.7 and 3.6, as far as local symbols tell where it is.
    pub gil_statics: GilStatics,
}

/// The GIL of 2.7 and 3.6, as far as local symbols tell: addresses in the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GilStatics {
    /// `interpreter_lock` (2.7), a pointer to a semaphore.
    pub lock: Option<u64>,
    /// `gil_switch_number` (3.6), an `unsigned long`.
    pub switch_number: Option<u64>,
    /// `gil_cond`, `gil_mutex`, `switch_cond`, `switch_mutex` (3.6).
    pub waits: [Option<u64>; 4],
}
