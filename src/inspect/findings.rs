//! What a moment shows besides stacks while the process stands still: what threads wait for, their exceptions, their
//! variables.

use super::deadlock::deadlocks;
use super::process::Variable;
use crate::memory::{Memory, PageCache};
use crate::process::SystemCall;
use crate::python::blocked::{Blocked, FrameView, ThreadView, blocked};
use crate::python::code::CodeTable;
use crate::python::locals::{Value, variables};
use crate::python::object::ObjectReader;
use crate::python::raised::{Raised, raised};
use crate::python::repr::{Limits, Printer};
use crate::python::runtime::Runtime;
use crate::sampler::{Moment, MomentFrame, MomentThread};

/// What was found, by the threads and frames of the moment that it was found in.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What each thread waits for.
    pub(super) blocked: Vec<Option<Blocked>>,
    /// Threads that wait for each other, by their places among the threads.
    pub(super) deadlocks: Vec<Vec<usize>>,
    /// The exception that each thread is busy with.
    pub(super) raised: Vec<Option<Raised>>,
    /// The variables of each frame; empty where none were asked for.
    pub(super) variables: Vec<Vec<Variable>>,
}

/// Finds it in a moment. `call_of` tells the system call that a thread is in, `level` how much of variables is wanted,
/// 0 for nothing.
pub(super) fn find(
    memory: &impl Memory,
    runtime: &Runtime,
    codes: &CodeTable,
    moment: &Moment,
    call_of: &dyn Fn(&MomentThread) -> Option<SystemCall>,
    level: u8,
) -> Findings {
    let memory = PageCache::new(memory);
    let objects = ObjectReader::new(&memory, &runtime.layout);
    let of_thread = |thread| thread_view(objects, codes, moment, thread, call_of(thread));
    let views: Vec<ThreadView<'_>> = moment.threads.iter().map(of_thread).collect();
    let blocked = blocked(&memory, runtime, &views);
    let idents: Vec<u64> = views.iter().map(|view| view.ident).collect();
    let deadlocks = deadlocks(&idents, &blocked);
    let raised = moment.threads.iter().map(|thread| raised(objects, thread.stack.innermost)).collect();
    let variables = if level == 0 { vec![] } else { all_variables(objects, codes, moment, &Limits::of_level(level)) };
    Findings { blocked, deadlocks, raised, variables }
}

/// A thread as those who look for locks need it; `call` is the system call that it is in.
fn thread_view<'read>(
    objects: ObjectReader<'_>,
    codes: &'read CodeTable,
    moment: &'read Moment,
    thread: &MomentThread,
    call: Option<SystemCall>,
) -> ThreadView<'read> {
    let frames = moment.frames_of(thread).iter().map(|frame| {
        let code = codes.get(frame.code);
        FrameView { address: frame.address, code: frame.code_address, name: &code.name, filename: &code.filename }
    });
    let requested = objects.layout().thread.gil_requested.filter(|_| thread.running_in.has_gil);
    let requests_gil = requested.is_some_and(|offset| objects.int(thread.stack.innermost, offset) == Ok(1));
    // Who holds the GIL does not wait for it any more, whatever it was in a moment ago.
    let waits = !thread.active && !thread.stack.holds_gil;
    ThreadView {
        ident: thread.stack.thread_id,
        state: thread.stack.innermost,
        interpreter: thread.running_in,
        frames: frames.collect(),
        futex: call.filter(|_| waits).and_then(|call| call.futex()),
        requests_gil: requests_gil && !thread.stack.holds_gil,
    }
}

fn all_variables(objects: ObjectReader<'_>, codes: &CodeTable, moment: &Moment, limits: &Limits) -> Vec<Vec<Variable>> {
    let printer = Printer::new(objects);
    let of_frame = |frame: u64, code: u64| {
        let found = variables(objects, frame, code).unwrap_or_default();
        let printed = found.into_iter().map(|variable| {
            let (address, repr) = match variable.value {
                Value::Object(address) => (address, printer.repr(address, limits)),
                Value::Int(number) => (0, number.to_string()),
            };
            Variable { name: variable.name, kind: variable.kind, address, repr }
        });
        printed.collect()
    };
    // Compiled code keeps its variables elsewhere: what lies where those of Python are was never set, or is stale.
    let is_compiled = |frame: &MomentFrame| codes.get(frame.code).is_empty;
    let frames = moment.frames.iter();
    frames.map(|frame| if is_compiled(frame) { vec![] } else { of_frame(frame.address, frame.code_address) }).collect()
}
