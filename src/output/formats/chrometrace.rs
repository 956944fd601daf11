//! Chrome's trace events, for `chrome://tracing` and <https://ui.perfetto.dev>.
//!
//! A list of begin and end events, as py-spy writes it, and metadata events with the names of processes and threads.
//! Times are real: all threads are on one clock, and a call ends where its thread was idle.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::io::{self, BufWriter, Write};

use serde_json::{Value, json};

use crate::output::collections::{self, collections};
use crate::output::place::{Places, process_label, sampled_threads, thread_name};
use crate::output::runs::{Call, Edge, calls};
use crate::output::{Presentation, printable};
use crate::profile::{Process, Profile, Thread};

/// The number of the track of garbage collections, where no thread has it: the greatest that Perfetto takes.
const GC_TRACK: u64 = (1 << 31) - 1;

/// Writes `profile` as a JSON list of trace events. It should have its timeline.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write(profile: &Profile, presentation: &Presentation, writer: impl Write) -> io::Result<()> {
    let places = Places::new(profile, presentation);
    let mut events = Events { writer: BufWriter::new(writer), any: false };
    let threads = sampled_threads(profile);
    let mut named = None;
    let mut numbers = HashSet::new();
    for id in threads {
        let thread = profile.thread(id);
        let process = profile.process(thread.process);
        let number = thread_number(thread, process, &mut numbers);
        if named.replace(thread.process) != Some(thread.process) {
            events.put(&name("process_name", process, number, &process_label(profile, process)))?;
        }
        events.put(&name("thread_name", process, number, &thread_name(profile, thread)))?;
        calls(profile, &places, id, |edge| {
            let (phase, Call { place, .. }, time_us) = match edge {
                Edge::Begin(call) => ("B", call, call.start_us),
                Edge::End(call, end_us) => ("E", call, end_us),
            };
            let place = places.get(place);
            events.put(&json!({
                "name": place.name,
                "cat": "python",
                "ph": phase,
                "pid": process.pid,
                "tid": number,
                "ts": time_us,
                "args": { "filename": place.file, "line": place.line.filter(|line| *line != 0) },
            }))
        })?;
    }
    let mut tracks = HashMap::new();
    for collection in collections(profile) {
        let process = profile.process(collection.process);
        let track = match tracks.entry(collection.process) {
            Entry::Occupied(track) => *track.get(),
            Entry::Vacant(track) => {
                let number = *track.insert(free_number(GC_TRACK, process, &mut numbers));
                events.put(&name("thread_name", process, number, "garbage collections"))?;
                number
            }
        };
        events.put(&json!({
            "name": collections::name(&collection),
            "cat": "gc",
            "ph": "X",
            "pid": process.pid,
            "tid": track,
            "ts": collection.start_us,
            "dur": collection.end_us.saturating_sub(collection.start_us),
            "args": { "collected": collection.collected },
        }))?;
    }
    for counter in profile.counters() {
        let process = profile.process(counter.process);
        let name = printable(profile.text(counter.name));
        for (time_us, value) in &counter.points {
            events.put(&json!({
                "name": name,
                "ph": "C",
                "pid": process.pid,
                "tid": 0,
                "ts": time_us,
                "args": { "tasks": value },
            }))?;
        }
    }
    events.finish()
}

fn name(kind: &str, process: &Process, number: u64, name: &str) -> Value {
    json!({
        "name": kind,
        "ph": "M",
        "pid": process.pid,
        "tid": number,
        "ts": 0,
        "args": { "name": name },
    })
}

/// The number that tells threads apart: the system's, or another where that was used before: by a thread that is gone,
/// or by the same thread in another interpreter. Perfetto takes numbers of 32 bits and puts others on the track of the
/// main thread.
fn thread_number(thread: &Thread, process: &Process, used: &mut HashSet<(u32, u64)>) -> u64 {
    free_number(thread.os_id.unwrap_or(thread.python_id), process, used)
}

/// `wanted` if it is free in a process, else another.
fn free_number(wanted: u64, process: &Process, used: &mut HashSet<(u32, u64)>) -> u64 {
    const BITS: u64 = (1 << 31) - 1;
    // Odd, so every number comes in turn; beyond the numbers that systems give to threads.
    const STEP: u64 = (1 << 24) + 1;
    let mut number = wanted & BITS;
    while !used.insert((process.pid, number)) {
        number = number.wrapping_add(STEP) & BITS;
    }
    number
}

/// A JSON list that is written while it grows.
struct Events<W: Write> {
    writer: BufWriter<W>,
    any: bool,
}

impl<W: Write> Events<W> {
    fn put(&mut self, event: &Value) -> io::Result<()> {
        self.writer.write_all(if self.any { b",\n" } else { b"[\n" })?;
        self.any = true;
        Ok(serde_json::to_writer(&mut self.writer, event)?)
    }

    fn finish(mut self) -> io::Result<()> {
        self.writer.write_all(if self.any { b"\n]\n" } else { b"[]\n" })?;
        self.writer.flush()
    }
}
