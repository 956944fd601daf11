//! What else a moment shows while the process stands still: what threads wait for, their exceptions, their variables.

use crate::memory::{Memory, PageCache};
use crate::output::dump::VariableDump;
use crate::process::SystemCall;
use crate::python::blocked::{Blocked, FrameView, ThreadView, blocked, rings};
use crate::python::code::CodeTable;
use crate::python::locals::{Value, VariableKind, variables};
use crate::python::object::ObjectReader;
use crate::python::raised::{Raised, raised};
use crate::python::repr::{Limits, Printer};
use crate::python::runtime::Runtime;
use crate::sampler::{Moment, MomentFrame, MomentThread};

/// What was found, by the threads and frames of the moment that it was found in.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    pub(super) blocked: Vec<Option<Blocked>>,
    pub(super) rings: Vec<Vec<usize>>,
    pub(super) raised: Vec<Option<Raised>>,
    /// By frame; empty where none were asked for.
    pub(super) variables: Vec<Vec<VariableDump>>,
}

/// Looks at a moment. `call_of` tells the system call that a thread is in, `level` how much of variables is wanted, 0 for nothing.
pub(super) fn inspect(
    memory: &impl Memory,
    runtime: &Runtime,
    codes: &CodeTable,
    moment: &Moment,
    call_of: &dyn Fn(&MomentThread) -> Option<SystemCall>,
    level: u8,
) -> Inspection {
    let memory = PageCache::new(memory);
    let objects = ObjectReader::new(&memory, &runtime.layout);
    let views: Vec<ThreadView<'_>> = moment
        .threads
        .iter()
        .map(|thread| {
            let frames = moment.frames_of(thread).iter().map(|frame| {
                let code = codes.get(frame.code);
                let (address, code_address) = (frame.address, frame.code_address);
                FrameView { address, code: code_address, name: &code.name, filename: &code.filename }
            });
            let requested = runtime.layout.thread.gil_requested.filter(|_| thread.running_in.has_gil);
            let requests_gil = requested.is_some_and(|offset| objects.int(thread.stack.innermost, offset) == Ok(1));
            // Who holds the GIL does not wait for it any more, whatever it was in a moment ago.
            let waits = !thread.active && !thread.stack.holds_gil;
            let requests_gil = requests_gil && !thread.stack.holds_gil;
            let futex = call_of(thread).filter(|_| waits).and_then(|call| call.futex());
            let (ident, state, interpreter) = (thread.stack.thread_id, thread.stack.innermost, thread.running_in);
            ThreadView { ident, state, interpreter, frames: frames.collect(), futex, requests_gil }
        })
        .collect();
    let blocked = blocked(&memory, runtime, &views);
    let rings = rings(&views, &blocked);
    let exceptions = moment.threads.iter().map(|thread| raised(objects, thread.stack.innermost)).collect();
    let variables = if level == 0 { vec![] } else { all_variables(objects, codes, moment, &Limits::of_level(level)) };
    Inspection { blocked, rings, raised: exceptions, variables }
}

fn all_variables(
    objects: ObjectReader<'_>,
    codes: &CodeTable,
    moment: &Moment,
    limits: &Limits,
) -> Vec<Vec<VariableDump>> {
    let printer = Printer::new(objects);
    let of_frame = |frame: u64, code: u64| {
        let found = variables(objects, frame, code).unwrap_or_default();
        let dumps = found.into_iter().map(|variable| {
            let (addr, repr) = match variable.value {
                Value::Object(address) => (address, printer.repr(address, limits)),
                Value::Int(number) => (0, number.to_string()),
            };
            let kind = match variable.kind {
                VariableKind::Argument => "argument",
                VariableKind::Local => "local",
                VariableKind::Cell => "cell",
                VariableKind::Free => "free",
            };
            let arg = variable.kind == VariableKind::Argument;
            VariableDump { name: variable.name, addr, arg, repr: Some(repr), kind }
        });
        dumps.collect()
    };
    // Compiled code keeps its variables elsewhere: what lies where those of Python are was never set, or is stale.
    let is_compiled = |frame: &MomentFrame| codes.get(frame.code).is_empty;
    let frames = moment.frames.iter();
    frames.map(|frame| if is_compiled(frame) { vec![] } else { of_frame(frame.address, frame.code_address) }).collect()
}
