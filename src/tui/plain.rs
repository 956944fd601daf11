//! The live view for programs: plain text of one window, and JSON with a line for each window.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::names;
use super::state::{Key, Row, State, View};
use super::view::{loop_lag, place, thread_state};
use super::window::{EventLoop, TaskGroup};
use crate::output::{printable, write_safe_json};
use crate::profile::Flags;

/// Writes the last window for a reader: a header and all functions.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write_text(state: &mut State, writer: &mut dyn Write) -> io::Result<()> {
    state.selection.view = View::Functions;
    state.refresh();
    let state = &*state;
    let facts = &state.data.facts;
    for (_, process) in state.data.profile.processes() {
        let version = names::text(state, process.python_version);
        let supervisor = names::in_brackets(&names::text(state, process.supervisor));
        writeln!(writer, "Process {}: {}{supervisor}", process.pid, names::text(state, process.command_line))?;
        writeln!(writer, "Python {version}")?;
    }
    let counts = state.data.counts();
    let metadata = &state.data.profile.metadata;
    writeln!(
        writer,
        "{} Hz asked, {:.1} held{}; {} samples, {} lost, {} late{}",
        facts.rate_asked,
        facts.rate_held,
        if facts.is_from_kernel { " in the kernel" } else { "" },
        counts.taken,
        counts.lost,
        facts.missed,
        metadata.unobserved_s().map(|seconds| format!(", {seconds:.1} s unobserved")).unwrap_or_default(),
    )?;
    writeln!(
        writer,
        "GIL {:.0}%, {:.1} threads wait for it  active {:.0}%  GC {:.0}%  stopped {:.2}%  threads {} running of {}",
        facts.gil, facts.gil_waiters, facts.active, facts.gc, facts.stopped, facts.running, facts.threads
    )?;
    if let Some(lag) = loop_lag(facts) {
        writeln!(writer, "{lag}")?;
    }
    if let Some(trouble) = &facts.trouble {
        writeln!(writer, "{}", printable(trouble))?;
    }
    writeln!(writer)?;
    writeln!(writer, "{:>8}{:>8}{:>10}{:>10}  Function (file:first line)", "%Own", "%Total", "OwnTime", "TotalTime")?;
    let window_us = state.data.shown().window_us;
    for row in &state.rows {
        let [own, total, own_time, total_time] = row.columns(state.selection.scope);
        writeln!(
            writer,
            "{:>8}{:>8}{:>10}{:>10}  {}",
            format!("{:.2}%", share(own, window_us)),
            format!("{:.2}%", share(total, window_us)),
            format!("{:.2}s", own_time as f64 / 1e6),
            format!("{:.2}s", total_time as f64 / 1e6),
            names::row_name(state, row.key)
        )?;
    }
    Ok(())
}

/// Writes the last window as one line of JSON.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write_json(state: &mut State, time_unix: f64, writer: &mut dyn Write) -> io::Result<()> {
    state.selection.view = View::Functions;
    state.refresh();
    let state = &*state;
    let facts = &state.data.facts;
    let shown = state.data.shown();
    let processes: Vec<Value> = state
        .data
        .profile
        .processes()
        .map(|(_, process)| {
            json!({
                "pid": process.pid,
                "command_line": state.data.profile.text(process.command_line),
                "supervisor": state.data.profile.text(process.supervisor),
                "python_version": state.data.profile.text(process.python_version),
            })
        })
        .collect();
    let threads: Vec<Value> = shown
        .threads
        .iter()
        .map(|now| {
            let thread = state.data.profile.thread(now.thread);
            json!({
                "pid": state.data.profile.process(thread.process).pid,
                "thread_id": thread.python_id,
                "os_thread_id": thread.os_id,
                "name": thread.name.map(|name| state.data.profile.text(name)),
                "state": thread_state(now.flags),
                "active": now.flags.contains(Flags::ACTIVE),
                "owns_gil": now.flags.contains(Flags::GIL),
                "waits_for_gil": now.flags.contains(Flags::GIL_WAIT),
                "at": place(state, now.stack, usize::MAX),
            })
        })
        .collect();
    let functions: Vec<Value> = state.rows.iter().map(|row| function(state, row)).collect();
    let tasks: Vec<Value> = facts.tasks.iter().map(task_group).collect();
    let loops: Vec<Value> = facts.loops.iter().map(event_loop).collect();
    let counts = state.data.counts();
    let line = json!({
        "time": time_unix,
        "processes": processes,
        "window_seconds": shown.window_us as f64 / 1e6,
        "since_reset_seconds": shown.all_us as f64 / 1e6,
        "rate_asked": facts.rate_asked,
        "rate_held": facts.rate_held,
        "sampler": if facts.is_from_kernel { "kernel" } else { "reader" },
        "samples": counts.taken,
        "lost": counts.lost,
        "late": facts.missed,
        "unobserved_seconds": state.data.profile.metadata.unobserved_us as f64 / 1e6,
        "unproven": counts.unproven,
        "below": if state.settings.below.is_empty() { Value::Null } else { json!(state.settings.below) },
        "not_below": counts.outside,
        "gil_percent": facts.gil,
        "gil_waiters": facts.gil_waiters,
        "active_percent": facts.active,
        "gc_percent": facts.gc,
        "stopped_percent": facts.stopped,
        "cpu_percent": facts.cpu,
        "own_cpu_percent": facts.own_cpu,
        "rss_bytes": facts.resident_bytes,
        "trouble": facts.trouble,
        "uptime_seconds": facts.uptime.map(|uptime| uptime.as_secs_f64()),
        "loop_lag_seconds": facts.loops.first().map(|event_loop| event_loop.lag.as_secs_f64()),
        "loops": loops,
        "tasks": tasks,
        "threads": threads,
        "functions": functions,
    });
    write_safe_json(&line, false, writer)
}

fn task_group(group: &TaskGroup) -> Value {
    json!({
        "pid": group.pid,
        "kind": group.kind.name(),
        "coroutine": group.coroutine,
        "count": group.count,
        "running_percent": group.running,
        "waiting": group.waiting,
        "oldest_seconds": group.oldest.as_secs_f64(),
        "waits": group.waits,
    })
}

fn event_loop(event_loop: &EventLoop) -> Value {
    json!({
        "pid": event_loop.pid,
        "thread_id": event_loop.python_id,
        "os_thread_id": event_loop.os_id,
        "library": event_loop.library,
        "lag_seconds": event_loop.lag.as_secs_f64(),
        "busy_seconds": event_loop.busy_for.map(|busy| busy.as_secs_f64()),
        "blocked_by": event_loop.blocker.as_ref().map(|blocker| json!({
            "task": blocker.task,
            "function": blocker.function,
            "running": blocker.running,
        })),
    })
}

fn function(state: &State, row: &Row) -> Value {
    let (thread, id) = match row.key {
        Key::Function(thread, id) => (thread, Some(id)),
        _ => (None, None),
    };
    let function = id.and_then(|id| state.data.index.function(id));
    let text = |id| state.data.profile.text(id);
    let window_us = state.data.shown().window_us;
    json!({
        "name": function.map(|function| text(function.name)),
        "file": function.map(|function| text(function.file)),
        "line": function.map(|function| function.first_line),
        "thread": thread.map(|thread| printable(&names::thread(state, thread)).into_owned()),
        "own_percent": share(row.window.own_us, window_us),
        "total_percent": share(row.window.total_us, window_us),
        "own_seconds": row.all.own_us as f64 / 1e6,
        "total_seconds": row.all.total_us as f64 / 1e6,
    })
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
