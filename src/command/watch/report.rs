//! An event in words: a line that says what has happened to which process, the top of the stack that it is about with
//! the arguments, and what became of it.

use std::io::{self, Write};
use std::time::Duration;

use super::clock_time;
use super::evidence::{Evidence, Written, all_frames};
use crate::cli::WatchArgs;
use crate::output::dump::{
    FrameDump, ProcessDump, TaskDump, TextOptions, ThreadDump, VariableDump, wait_text, write_text,
};
use crate::output::{duration_text, printable};
use crate::watch::Conditions;

/// Frames of the stack that are shown, and of one that it waits for.
const FRAMES_SHOWN: usize = 6;
const FRAMES_OF_HOLDER: usize = 3;
/// So many threads are shown of which each waits for the next.
const HOLDERS_SHOWN: usize = 3;
/// Arguments of a function that are shown, and characters of a value.
const ARGUMENTS_SHOWN: usize = 4;
const VALUE_WIDTH: usize = 60;
/// Columns in which the function and its place fit mostly.
const PLACE_WIDTH: usize = 34;

/// Says what is looked for, and where evidence goes.
pub(super) fn print_beginning(conditions: &Conditions, arguments: &WatchArgs) {
    let looked_for = conditions_text(conditions).join(", ");
    let place = match arguments.dry_run {
        true => "nothing is written".to_owned(),
        false => format!("evidence goes into {:?}", arguments.output),
    };
    crate::command::shared::standard_streams::print_note(&format!("looking for {looked_for}; {place}"));
}

fn conditions_text(conditions: &Conditions) -> Vec<String> {
    let timed = |text: &str, limit: Option<Duration>| limit.map(|limit| format!("{text} for {}", duration_text(limit)));
    let calls = conditions.calls.iter().map(|call| Some(format!("long calls of {}", printable(call.function.text()))));
    let mut texts = vec![
        timed("a process that stands still", conditions.stuck),
        timed("a process that does nothing", conditions.idle),
        timed("an event loop that does not come back", conditions.lag),
        timed("a GIL that is not let go", conditions.gil_held),
        conditions.deadlock.then(|| "deadlocks".to_owned()),
        conditions.cpu.map(|_| "too much CPU time".to_owned()),
        conditions.rss.map(|_| "too much memory".to_owned()),
        conditions.threads.map(|_| "too many threads".to_owned()),
    ];
    texts.extend(calls);
    texts.into_iter().flatten().collect()
}

/// Prints an event when it has happened. What a program that we started writes is not mixed with that.
pub(super) fn print_event(evidence: &Evidence, to_stderr: bool) {
    // Its arguments are evidence for whoever may see this terminal, who may see the process too.
    print_lines(&event_lines(evidence, true), to_stderr);
}

/// Prints what became of it.
pub(super) fn print_end(evidence: &Evidence, written: &Written, to_stderr: bool) {
    let mut text = format!("process {}: {}", evidence.process.pid(), agreement(evidence));
    match written {
        Written::Folder(folder) => text.push_str(&format!("; wrote {}", printable(&folder.display().to_string()))),
        Written::LeftOut | Written::Failed => text.push_str("; no evidence was written"),
    }
    print_lines(&[format!("  {text}")], to_stderr);
}

/// Prints what a run that only tries would have done.
pub(super) fn print_what_would_be(arguments: &WatchArgs, evidence: &Evidence) {
    let mut done = vec![format!("write a folder into {:?}", arguments.output)];
    done.extend(arguments.exec.as_ref().map(|command| format!("run {:?}", command.0)));
    done.extend(arguments.webhook.as_ref().map(|url| format!("post to {url}")));
    if let Some(signal) = &arguments.kill {
        let signal = if signal.is_empty() { "SIGTERM" } else { signal };
        done.push(format!("send {signal} to process {}", evidence.process.pid()));
    }
    crate::command::shared::standard_streams::print_note(&format!(
        "without --dry-run pyspy would now {}",
        done.join(", ")
    ));
}

fn print_lines(lines: &[String], to_stderr: bool) {
    let mut text = lines.join("\n");
    text.push('\n');
    // Nobody may be there to read it; the evidence is worth more than that.
    let _ = if to_stderr {
        io::stderr().write_all(text.as_bytes())
    } else {
        io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush())
    };
}

/// The event and the top of the stack that it is about; with the functions' arguments if that is wanted.
pub(super) fn event_lines(evidence: &Evidence, with_arguments: bool) -> Vec<String> {
    let event = &evidence.event;
    let mut line = format!("{} process {} {}: ", clock_time(evidence.time), evidence.process.pid(), evidence.name);
    line.push_str(&printable(&event.what));
    if !evidence.lasted.is_zero() {
        line.push_str(&format!(", for {}", duration_text(evidence.lasted)));
    }
    let mut lines = vec![line];
    let Some(dump) = evidence.dumps.first() else { return lines };
    let thread = guilty_thread(evidence);
    let task = guilty_task(evidence);
    let (frames, wait) = match (task, thread) {
        (Some(task), _) => (&task.frames, task_wait(task)),
        (None, Some(thread)) => (&thread.frames, wait_text(thread)),
        (None, None) => return lines,
    };
    if let Some(whose) = task.map(task_heading).or_else(|| thread.map(thread_heading)) {
        lines.push(format!("  {whose}"));
    }
    lines.extend(stack_lines(frames, wait.as_deref(), with_arguments, FRAMES_SHOWN));
    if task.is_none() {
        lines.extend(holder_lines(dump, thread, with_arguments));
    }
    lines.extend(others(dump, task));
    lines
}

/// The newest frames of a stack, and beside the newest what it waits in.
fn stack_lines(frames: &[FrameDump], wait: Option<&str>, with_arguments: bool, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let shown: Vec<&FrameDump> = frames.iter().filter(|frame| !frame.of_event_loop).collect();
    for (at, frame) in shown.iter().take(most).enumerate() {
        let arguments = if with_arguments { arguments_text(frame) } else { String::new() };
        // Beside the newest function stands what it waits in, and below that its arguments.
        let wait = wait.filter(|_| at == 0).unwrap_or_default().to_owned();
        let mut place = place_text(frame);
        for beside in [wait, arguments].iter().filter(|beside| !beside.is_empty()) {
            lines.push(format!("    {:PLACE_WIDTH$} {beside}", std::mem::take(&mut place)));
        }
        if !place.is_empty() {
            lines.push(format!("    {place}"));
        }
    }
    let more = shown.len().saturating_sub(most);
    if more > 0 {
        lines.push(format!("    … {more} more"));
    }
    lines
}

/// Whom a thread waits for, and whom that one waits for: who holds a lock is rather the cause than who wants it.
fn holder_lines(dump: &ProcessDump, thread: Option<&ThreadDump>, with_arguments: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut met: Vec<u64> = thread.iter().map(|thread| thread.thread_id).collect();
    let mut waiter = thread;
    for _ in 0..HOLDERS_SHOWN {
        let holder = waiter.and_then(|thread| thread.waits_for.as_ref()).and_then(|wait| wait.holder_thread_id);
        let Some(holder) = dump.threads.iter().find(|thread| Some(thread.thread_id) == holder) else { break };
        if met.contains(&holder.thread_id) {
            break;
        }
        met.push(holder.thread_id);
        lines.push(format!("  it waits for {}", thread_heading(holder)));
        let wait = wait_text(holder);
        lines.extend(stack_lines(&holder.frames, wait.as_deref(), with_arguments, FRAMES_OF_HOLDER));
        waiter = Some(holder);
    }
    lines
}

/// The text of all dumps; without values of variables where it goes to where they do not belong.
pub(super) fn dump_text(evidence: &Evidence, with_variables: bool) -> String {
    let mut text = event_lines(evidence, with_variables).join("\n");
    text.push_str(&format!("\n{}\n", agreement(evidence)));
    for (index, dump) in evidence.dumps.iter().enumerate() {
        text.push_str(&format!("\nDump {} of {}:\n\n", index + 1, evidence.dumps.len()));
        let mut dump = dump.clone();
        if !with_variables {
            all_frames(&mut dump).for_each(|frame| frame.locals = None);
        }
        let mut bytes = Vec::new();
        if write_text(&[dump], TextOptions::default(), &mut bytes).is_ok() {
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    text
}

/// Whether the thread or the task that the event is about has moved between the dumps.
pub(super) fn has_moved(evidence: &Evidence) -> bool {
    let guilty = evidence.event.thread;
    let threads = evidence.dumps.iter().flat_map(|dump| &dump.threads);
    let mut about = threads.filter(|thread| guilty.is_none_or(|ident| thread.thread_id == ident));
    about.any(|thread| thread.frames.iter().any(|frame| frame.moved))
}

/// Whether the dumps agree, in words.
pub(super) fn agreement(evidence: &Evidence) -> String {
    match (evidence.dumps.len(), has_moved(evidence)) {
        (0, _) => "no dump could be taken".to_owned(),
        (1, _) => "1 dump".to_owned(),
        (count, false) => format!("{count} dumps agree"),
        (count, true) => format!("{count} dumps, it has moved between them"),
    }
}

/// The thread that the event is about, as the first dump has it.
pub(super) fn guilty_thread(evidence: &Evidence) -> Option<&ThreadDump> {
    let ident = evidence.event.thread?;
    evidence.dumps.first()?.threads.iter().find(|thread| thread.thread_id == ident)
}

fn guilty_task(evidence: &Evidence) -> Option<&TaskDump> {
    let id = evidence.event.task?;
    let tasks = evidence.dumps.first()?.tasks.as_ref()?;
    // One that runs has its newest frames on its thread.
    tasks.tasks.iter().find(|task| task.id == id && task.state != "running")
}

fn thread_heading(thread: &ThreadDump) -> String {
    let id = thread.os_thread_id.map_or_else(|| format!("{:#x}", thread.thread_id), |id| id.to_string());
    let name = thread.thread_name.as_ref().map(|name| format!(" \"{}\"", printable(name))).unwrap_or_default();
    format!("thread {id}{name}")
}

fn task_heading(task: &TaskDump) -> String {
    let name = task.name.as_ref().map(|name| format!(" \"{}\"", printable(name))).unwrap_or_default();
    format!("task{name} ({})", printable(&task.coroutine))
}

fn task_wait(task: &TaskDump) -> Option<String> {
    task.waits.as_ref().map(|wait| printable(&wait.text).into_owned())
}

fn place_text(frame: &FrameDump) -> String {
    let file = frame.short_filename.as_ref().unwrap_or(&frame.filename);
    let name = printable(&frame.name);
    match (file.is_empty(), frame.line) {
        (true, _) => name.into_owned(),
        (false, 0) => format!("{name} ({})", printable(file)),
        (false, line) => format!("{name} ({}:{line})", printable(file)),
    }
}

fn arguments_text(frame: &FrameDump) -> String {
    let is_told = |variable: &&VariableDump| variable.arg && !["self", "cls"].contains(&variable.name.as_str());
    let arguments = frame.locals.iter().flatten().filter(is_told).take(ARGUMENTS_SHOWN).map(|variable| {
        let value = printable(variable.repr.as_deref().unwrap_or("?")).into_owned();
        let cut = value.char_indices().nth(VALUE_WIDTH).map(|(at, _)| at);
        let value = cut.map_or(value.clone(), |at| format!("{}…", &value[..at]));
        format!("{}: {value}", printable(&variable.name))
    });
    arguments.collect::<Vec<_>>().join(", ")
}

/// How many others wait.
fn others(dump: &ProcessDump, task: Option<&TaskDump>) -> Option<String> {
    let tasks = dump.tasks.as_ref()?;
    let id = task.map(|task| task.id);
    let waiting = tasks.tasks.iter().filter(|other| other.state == "waiting" && Some(other.id) != id).count();
    match waiting {
        0 => None,
        1 => Some("  1 other task waits".to_owned()),
        count => Some(format!("  {count} other tasks wait")),
    }
}
