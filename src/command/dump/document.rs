//! From what an inspection found to what is written of it.

use std::collections::HashSet;

use crate::inspect::{
    InspectedFrame, InspectedProcess, InspectedTask, InspectedTasks, InspectedThread, NativeFrame, ObjectWait,
    PythonFrame, SourceLine, TaskLibrary, Variable, VariableKind, Wait,
};
use crate::output::dump::{
    self, ExceptionDump, FrameDump, ProcessDump, ProcessInfo, SourceLines, TaskDump, TaskKind, TaskPlaces,
    TaskWaitDump, TasksDump, ThreadDump, VariableDump, WaitDump,
};
use crate::sampler::interpreter_name;

/// A process as it is written, with what else is told of it.
pub(super) fn process_dump(inspected: InspectedProcess, info: ProcessInfo) -> ProcessDump {
    let deadlocks = inspected.deadlocks;
    let deadlocked: HashSet<usize> = deadlocks.iter().flatten().copied().collect();
    let threads = inspected
        .threads
        .into_iter()
        .enumerate()
        .map(|(index, thread)| ThreadDump { deadlocked: deadlocked.contains(&index), ..thread_dump(thread, info.pid) });
    let tasks = inspected.tasks.map(|tasks| tasks_dump(tasks, info.pid));
    ProcessDump { threads: threads.collect(), info, deadlocks, tasks }
}

fn tasks_dump(inspected: InspectedTasks, pid: i32) -> TasksDump {
    let ids: Vec<u64> = inspected.tasks.iter().map(|task| task.id).collect();
    let tasks = inspected.tasks.into_iter().map(|task| task_dump(task, pid, &ids));
    TasksDump {
        tasks: tasks.collect(),
        rings: inspected.rings,
        loops: inspected.loops,
        is_cut: inspected.is_cut,
        unreadable: inspected.unreadable,
        refused: inspected.refused,
    }
}

/// `ids` are those of all tasks.
fn task_dump(task: InspectedTask, pid: i32, ids: &[u64]) -> TaskDump {
    let ids_of = |places: &[usize]| places.iter().filter_map(|place| ids.get(*place).copied()).collect();
    TaskDump {
        kind: match task.library {
            TaskLibrary::Asyncio => TaskKind::Asyncio,
            TaskLibrary::Trio => TaskKind::Trio,
            TaskLibrary::Greenlet => TaskKind::Greenlet,
        },
        pid,
        id: task.id,
        state: task.state,
        coroutine: task.coroutine,
        event_loop: task.event_loop,
        thread_id: task.python_id,
        os_thread_id: task.os_id,
        interpreter: task.interpreter,
        frames: task.frames.into_iter().map(frame_dump).collect(),
        truncated: task.is_truncated,
        waits: task.wait.map(|wait| TaskWaitDump {
            kind: wait.kind,
            text: wait.text,
            object: wait.object,
            seconds: wait.seconds,
            thread_id: wait.thread,
            is_shared: wait.is_shared,
        }),
        awaits: ids_of(&task.awaits),
        awaited_by: ids_of(&task.awaited_by),
        group_of: task.group_of.and_then(|place| ids.get(place).copied()),
        held_by: ids_of(&task.held_by),
        age: None,
        name: task.name,
        places: TaskPlaces {
            awaits: task.awaits,
            awaited_by: task.awaited_by,
            group_of: task.group_of,
            held_by: task.held_by,
        },
    }
}

fn thread_dump(thread: InspectedThread, pid: i32) -> ThreadDump {
    ThreadDump {
        pid,
        thread_id: thread.python_id,
        thread_name: thread.name,
        os_thread_id: thread.os_id,
        active: thread.active,
        owns_gil: thread.holds_gil,
        takes_gil: thread.takes_gil,
        frames: thread.frames.into_iter().map(frame_dump).collect(),
        waits_for_gil: thread.waits_for == Some(Wait::Gil),
        waits_for_world: thread.waits_for == Some(Wait::StoppedWorld),
        gone: !thread.exists,
        collecting_garbage: thread.collects_garbage,
        interpreter: thread.interpreter,
        native: !thread.has_thread_state,
        waits_in: thread.waits_in,
        asleep_for: thread.asleep_for.map(|duration| duration.as_millis() as f64 / 1000.0),
        waits_for: match thread.waits_for {
            Some(Wait::Object(wait)) => Some(wait_dump(wait)),
            _ => None,
        },
        deadlocked: false,
        left_out: false,
        exception: thread.exception.map(|raised| ExceptionDump {
            type_name: raised.type_name,
            message: raised.message,
            handled: raised.handled,
        }),
    }
}

fn wait_dump(wait: ObjectWait) -> WaitDump {
    WaitDump {
        operation: wait.operation,
        object: wait.object,
        holder_thread_id: wait.holder.python_id,
        holder_os_thread_id: wait.holder.os_id,
        holder_name: wait.holder.name,
    }
}

fn frame_dump(frame: InspectedFrame) -> FrameDump {
    match frame {
        InspectedFrame::Python(frame) => python_frame_dump(frame),
        InspectedFrame::Native(frame) => native_frame_dump(frame),
        InspectedFrame::Compiled(name) => FrameDump { name, ..FrameDump::default() },
        InspectedFrame::InterpreterBorder(id) => FrameDump { name: interpreter_name(id), ..FrameDump::default() },
    }
}

fn python_frame_dump(frame: PythonFrame) -> FrameDump {
    FrameDump {
        name: frame.name,
        filename: frame.file,
        module: None,
        short_filename: Some(frame.short_file),
        line: frame.line,
        locals: frame.variables.map(|variables| variables.into_iter().map(variable_dump).collect()),
        end_line: frame.end_line,
        column: frame.column,
        of_event_loop: frame.of_event_loop,
        end_column: frame.end_column,
        moved: false,
        source: frame.source.map(|lines| SourceLines { lines: lines.into_iter().map(source_line).collect() }),
    }
}

fn native_frame_dump(frame: NativeFrame) -> FrameDump {
    FrameDump {
        name: frame.name,
        filename: frame.file,
        module: Some(frame.module),
        short_filename: Some(frame.short_file),
        line: frame.line,
        ..FrameDump::default()
    }
}

fn variable_dump(variable: Variable) -> VariableDump {
    let kind = match variable.kind {
        VariableKind::Argument => "argument",
        VariableKind::Local => "local",
        VariableKind::Cell => "cell",
        VariableKind::Free => "free",
    };
    let arg = variable.kind == VariableKind::Argument;
    VariableDump { name: variable.name, addr: variable.address, arg, repr: Some(variable.repr), kind }
}

fn source_line(line: SourceLine) -> dump::SourceLine {
    dump::SourceLine { number: line.number, text: line.text, current: line.is_current, marked: line.expression }
}
