//! Whether a thread runs, waits for the GIL or takes it, by what its memory and the system say together.

use crate::python::gil::GilState;
use crate::python::runtime::Runtime;
use crate::python::stack::ThreadStack;

/// What a thread does with respect to CPUs and the GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuAndGil {
    /// It runs or wants a CPU, and does not wait for the GIL.
    pub(super) is_active: bool,
    /// It waits for the GIL.
    pub(super) waits_for_gil: bool,
    /// It holds the GIL, and the system saw it wait for it.
    pub(super) takes_gil: bool,
}

impl CpuAndGil {
    /// Of a thread with this stack, where `gil` is that of the interpreter that it runs in, the system says that it
    /// runs or does not, and that it waits in `futex`.
    ///
    /// Memory and system are not asked at one moment, and memory counts: who holds the GIL ran, though it may have
    /// waited for it shortly before or after, and so did who has not asked for it yet, though it waits for it now.
    pub(super) fn new(
        stack: &ThreadStack,
        gil: &GilState,
        runtime: &Runtime,
        is_running: bool,
        futex: Option<u64>,
    ) -> Self {
        let is_at_gil = futex.is_some_and(|futex| gil.is_waited_for_at(runtime, futex));
        let is_said = runtime.layout.thread.gil_requested.is_some();
        let waits_for_gil = !stack.holds_gil && if is_said { stack.requests_gil } else { is_at_gil };
        Self {
            is_active: !waits_for_gil && (is_running || is_at_gil),
            waits_for_gil,
            takes_gil: stack.holds_gil && is_at_gil,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::layout::up_to_3_12;
    use crate::python::runtime::GilStatics;
    use crate::python::version::Version;

    const GIL: u64 = 0x5000;

    /// What a thread does of which this is known: [runs, waits for the GIL, takes it].
    fn cpu_and_gil(says_itself: bool, holds: bool, requests: bool, is_running: bool, futex: Option<u64>) -> [bool; 3] {
        let mut layout = up_to_3_12::layout(Version::new(3, 12, 1)).unwrap();
        layout.thread.gil_requested = says_itself.then_some(40);
        let (interpreters_head, gil_statics) = (0x1000, GilStatics::default());
        let runtime = Runtime { layout, interpreters_head, current_thread: None, collecting: None, gil_statics };
        let gil = GilState { exists: true, address: GIL, tells_holder: true, ..GilState::default() };
        let stack = ThreadStack {
            address: 0x2000,
            interpreter: 0,
            innermost: 0x2000,
            running_in: 0,
            thread_id: 1,
            native_thread_id: None,
            holds_gil: holds,
            requests_gil: requests,
            attachment: None,
            first_frame: 0,
            end_frame: 0,
            is_truncated: false,
            is_left_out: false,
        };
        let CpuAndGil { is_active, waits_for_gil, takes_gil } =
            CpuAndGil::new(&stack, &gil, &runtime, is_running, futex);
        [is_active, waits_for_gil, takes_gil]
    }

    #[test]
    fn a_thread_in_the_futex_of_the_gil_waits_for_it_unless_it_has_it() {
        let (at_gil, elsewhere) = (Some(GIL + 40), Some(GIL + 4096));
        for (says_itself, requests) in [(false, false), (true, true)] {
            assert_eq!(cpu_and_gil(says_itself, false, requests, false, at_gil), [false, true, false]);
            // Woken, and on its way.
            assert_eq!(cpu_and_gil(says_itself, false, requests, true, at_gil), [false, true, false]);
            assert_eq!(cpu_and_gil(says_itself, true, requests, false, at_gil), [true, false, true]);
        }
        assert_eq!(cpu_and_gil(false, false, false, false, elsewhere), [false; 3]);
        assert_eq!(cpu_and_gil(false, false, false, true, None), [true, false, false]);
        // A thread that holds it and sleeps is idle.
        assert_eq!(cpu_and_gil(false, true, false, false, elsewhere), [false; 3]);
    }

    #[test]
    fn where_a_thread_says_what_it_wants_that_counts() {
        assert_eq!(cpu_and_gil(true, false, true, true, None), [false, true, false]);
        assert_eq!(cpu_and_gil(true, false, true, false, None), [false, true, false]);
        // It asked for it only after its memory was read.
        assert_eq!(cpu_and_gil(true, false, false, false, Some(GIL + 40)), [true, false, false]);
    }
}
