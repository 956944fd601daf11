//! What every thread of a process is doing, as text and as JSON (py-spy's schema: a list of threads, with keys of our
//! own added).

mod alike;
mod fold;
mod line_limit;
mod source;
mod task_tree;
mod tasks;
mod text;

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::json::write_safe_json;
use super::place::is_of_program;

pub(crate) use source::{SourceLine, SourceLines};
pub(crate) use tasks::{TaskDump, TaskKind, TaskPlaces, TaskWaitDump, TasksDump};
pub(crate) use text::{TextOptions, wait_text, write_tasks, write_text};

/// A process at one moment.
#[derive(Debug, Clone)]
pub(crate) struct ProcessDump {
    /// The process.
    pub info: ProcessInfo,
    /// Its threads, interpreter by interpreter, the main one first.
    pub threads: Vec<ThreadDump>,
    /// Threads that wait for each other in a ring, by their places in `threads`.
    pub deadlocks: Vec<Vec<usize>>,
    /// Tasks of event loops, where they were asked for and there are any.
    pub tasks: Option<TasksDump>,
}

impl ProcessDump {
    /// Of each thread and each task leaves the source of one frame, the newest of the program's own: that tells most,
    /// and more would push what is asked for off the screen.
    pub(crate) fn keep_one_source_each(&mut self) {
        let threads = self.threads.iter_mut().map(|thread| &mut thread.frames);
        let tasks = self.tasks.iter_mut().flat_map(|tasks| &mut tasks.tasks).map(|task| &mut task.frames);
        for frames in threads.chain(tasks) {
            let own = frames.iter().position(|frame| frame.source.is_some() && is_of_program(&frame.filename));
            let kept = own.or_else(|| frames.iter().position(|frame| frame.source.is_some()));
            for (at, frame) in frames.iter_mut().enumerate() {
                frame.source = frame.source.take().filter(|_| Some(at) == kept);
            }
        }
    }
}

/// What a process is.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ProcessInfo {
    /// Its number.
    pub pid: i32,
    /// Its arguments joined by spaces.
    pub command_line: String,
    /// The process that it was found below, when a tree was asked for.
    pub parent: Option<Box<Parent>>,
    /// The version of its CPython; empty where there is none.
    pub python_version: String,
    /// The program that it runs.
    pub executable: String,
    /// How long it had been running, in seconds.
    pub uptime_seconds: Option<f64>,
    /// When it was looked at, in milliseconds since 1970 (UTC).
    pub snapshot_unix_ms: Option<u64>,
    /// How long it was stopped for, in microseconds.
    pub stopped_us: Option<u64>,
    /// The core file that it was read from.
    pub core: Option<String>,
    /// The signal that ended it, where it was read from a core file.
    pub ended_by: Option<String>,
    /// Why it has no threads here: it runs no Python, or may not be read.
    pub unreadable: Option<String>,
}

/// A process above another.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Parent {
    /// Its number.
    pub pid: i32,
    /// Its arguments joined by spaces.
    pub command_line: String,
    /// The one above it.
    pub parent: Option<Box<Parent>>,
}

/// A thread at one moment. The order of the first fields and their names are py-spy's.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ThreadDump {
    /// The process.
    pub pid: i32,
    /// `threading.get_ident()`.
    pub thread_id: u64,
    /// Its name in Python.
    pub thread_name: Option<String>,
    /// The system's id of it.
    pub os_thread_id: Option<u64>,
    /// It runs or wants to.
    pub active: bool,
    /// It holds the GIL.
    pub owns_gil: bool,
    /// Newest first.
    pub frames: Vec<FrameDump>,
    /// It waits for the GIL.
    pub waits_for_gil: bool,
    /// It holds the GIL, for which it waited when the process was stopped.
    pub takes_gil: bool,
    /// It waits for another thread that has stopped the world (free-threaded).
    pub waits_for_world: bool,
    /// There is no such thread any more: its thread state outlived it in the child of a bare fork(2).
    pub gone: bool,
    /// It runs the garbage collector.
    pub collecting_garbage: bool,
    /// The id of its interpreter; 0 is the main one.
    pub interpreter: i64,
    /// It has no thread state: CPython does not know it, and all that it runs is native code.
    pub native: bool,
    /// The system call or the kernel's function that it waits in, in words.
    pub waits_in: Option<String>,
    /// How long it has not been on a CPU, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asleep_for: Option<f64>,
    /// What of Python's it waits for.
    pub waits_for: Option<WaitDump>,
    /// It waits in a ring of threads.
    pub deadlocked: bool,
    /// The exception that it has raised and not yet caught, or handles now.
    pub exception: Option<ExceptionDump>,
    /// It was not asked for; others may wait for it all the same.
    #[serde(skip)]
    pub left_out: bool,
}

impl ThreadDump {
    /// Whether any of its frames is Python's.
    pub(crate) fn runs_python(&self) -> bool {
        self.frames.iter().any(|frame| frame.module.is_none())
    }
}

/// What a thread waits for.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WaitDump {
    /// What was called: `Queue.get`.
    pub operation: String,
    /// Where the lock, queue or thread is in its memory.
    pub object: u64,
    /// `threading.get_ident()` of the thread that holds the lock or that must end.
    pub holder_thread_id: Option<u64>,
    /// The system's id of that thread.
    pub holder_os_thread_id: Option<u64>,
    /// Its name.
    pub holder_name: Option<String>,
}

/// An exception that a thread is busy with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ExceptionDump {
    /// Its type.
    pub type_name: String,
    /// Its first argument, where that is text.
    pub message: Option<String>,
    /// It was caught, and its `except` or `finally` runs.
    pub handled: bool,
}

/// A frame at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct FrameDump {
    /// The function.
    pub name: String,
    /// Its file.
    pub filename: String,
    /// The library, for native code.
    pub module: Option<String>,
    /// Its file from the package on.
    pub short_filename: Option<String>,
    /// The current line; 0 when there is none, which JSON has as `null`.
    #[serde(serialize_with = "line_or_null")]
    pub line: u32,
    /// Variables, when asked for.
    pub locals: Option<Vec<VariableDump>>,
    /// The last line of the current expression (3.11+).
    pub end_line: Option<u32>,
    /// Where it begins in its first line, in bytes of UTF-8 from 0 (3.11+).
    pub column: Option<u32>,
    /// Where it ends in its last line, in the same way.
    pub end_column: Option<u32>,
    /// It is the event loop's own: by it the loop runs tasks, or waits.
    #[serde(skip)]
    pub of_event_loop: bool,
    /// The lines of source around the current one, when asked for and found.
    #[serde(skip)]
    pub source: Option<SourceLines>,
    /// Of several dumps of a process: it was another function or elsewhere in the one before.
    #[serde(skip)]
    pub moved: bool,
}

fn line_or_null<S: Serializer>(line: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    Some(*line).filter(|line| *line != 0).serialize(serializer)
}

/// A variable of a frame.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VariableDump {
    /// Its name.
    pub name: String,
    /// Where its value is in the process's memory; 0 for a number that is no object.
    pub addr: u64,
    /// It is an argument.
    pub arg: bool,
    /// Its value as Python's `repr` shows it.
    pub repr: Option<String>,
    /// `argument`, `local`, `cell` or `free`.
    pub kind: &'static str,
}

/// Writes dumps for a program: one list of the threads of all processes, as py-spy does; with tasks an object that has
/// that list and those of tasks. A process that could not be read is an entry without frames.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write_json(dumps: &[ProcessDump], with_tasks: bool, writer: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Entry<'dump> {
        #[serde(flatten)]
        thread: &'dump ThreadDump,
        process_info: &'dump ProcessInfo,
    }
    #[derive(Serialize)]
    struct WithTasks<'dump> {
        threads: Vec<Entry<'dump>>,
        asyncio_tasks: Vec<&'dump TaskDump>,
        trio_tasks: Vec<&'dump TaskDump>,
        greenlets: Vec<&'dump TaskDump>,
    }
    let none: Vec<ThreadDump> =
        dumps.iter().map(|dump| ThreadDump { pid: dump.info.pid, ..ThreadDump::default() }).collect();
    let entries = dumps.iter().zip(&none).flat_map(|(dump, none)| {
        let threads = if dump.info.unreadable.is_some() { std::slice::from_ref(none) } else { &dump.threads };
        let threads = threads.iter().filter(|thread| !thread.left_out);
        threads.map(|thread| Entry { thread, process_info: &dump.info })
    });
    let threads: Vec<Entry<'_>> = entries.collect();
    if !with_tasks {
        return write_safe_json(&threads, true, writer);
    }
    let of_kind = |kind: TaskKind| {
        let tasks = dumps.iter().filter_map(|dump| dump.tasks.as_ref()).flat_map(|tasks| &tasks.tasks);
        tasks.filter(move |task| task.kind == kind).collect()
    };
    let asyncio_tasks = of_kind(TaskKind::Asyncio);
    let (trio_tasks, greenlets) = (of_kind(TaskKind::Trio), of_kind(TaskKind::Greenlet));
    write_safe_json(&WithTasks { threads, asyncio_tasks, trio_tasks, greenlets }, true, writer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_of_a_thread_keeps_its_source() {
        let frame = |filename: &str, source: bool| FrameDump {
            filename: filename.to_owned(),
            source: source.then(SourceLines::default),
            ..FrameDump::default()
        };
        let library = "/usr/lib/python3.11/queue.py";
        for (files, kept) in [
            (&[(library, true), ("/srv/app.py", true), ("/srv/main.py", true)][..], Some(1)),
            (&[(library, true), ("/srv/app.py", false), ("/srv/main.py", true)], Some(2)),
            (&[("", false), (library, true), (library, true)], Some(1)),
            (&[("/srv/app.py", false)], None),
        ] {
            let frames = files.iter().map(|(file, source)| frame(file, *source)).collect();
            let thread = ThreadDump { frames, ..ThreadDump::default() };
            let mut dump =
                ProcessDump { info: ProcessInfo::default(), threads: vec![thread], deadlocks: vec![], tasks: None };
            dump.keep_one_source_each();
            let frames = &dump.threads[0].frames;
            let found: Vec<usize> = (0..frames.len()).filter(|at| frames[*at].source.is_some()).collect();
            assert_eq!(found, kept.into_iter().collect::<Vec<_>>(), "{files:?}");
        }
    }
}
