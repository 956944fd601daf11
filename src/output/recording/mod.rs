//! Our own recording: everything that a profile holds, compact, written while it is made.
//!
//! A recording that was cut off (power, `kill -9`) is read up to its last whole chunk; the recorder writes one a
//! second.
//!
//! # Layout, version 2
//! `PYSPYREC`, the version as two bytes, then chunks until the end. Numbers are little endian. A chunk is the mark
//! `CHNK`, the length of its body and the CRC-32 of its body (four bytes each), then the body: raw deflate of the parts
//! below, one after the other. What they say is an addition to what the chunks before said. Numbers in parts are
//! variable-length (seven bits a byte, low bits first), texts are a length and UTF-8.
//!
//! 1. One byte: 1 = this is the last chunk, 2 = there are no times, runs are totals.
//! 2. The metadata as JSON; the last one holds.
//! 3. Count of texts; the texts, numbered from 1 (0 is the empty one).
//! 4. Count of frames, numbered from 0; each: kind, name, file, short file, module, line, first line, column.
//! 5. Count of stacks, numbered from 1 (0 is the empty one); each: caller's stack, frame.
//! 6. Count of processes that are new or changed; each: its number, pid, parent pid + 1 or 0, command line, Python
//!    version, who runs it (not in version 1), start, end + 1 or 0.
//! 7. Count of threads that are new or changed; each: its number, process, system id + 1 or 0, Python id, interpreter,
//!    name + 1 or 0.
//! 8. Count of runs; each: thread, stack, flags, start minus the start of the run before it (zigzag), µs, samples.

mod read;

pub(crate) use read::{Recording, RecordingError, read};

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use crate::profile::varint::{put_signed_varint, put_varint};
use crate::profile::{FrameKind, Process, Profile, Run, TableSizes, Thread, Total};

/// How every recording begins.
pub(super) const MAGIC: &[u8; 8] = b"PYSPYREC";
const VERSION: u16 = 2;
const CHUNK: &[u8; 4] = b"CHNK";
const LAST: u8 = 1;
const WITHOUT_TIMES: u8 = 2;

/// Writes a recording while it is made.
///
/// The profile must keep a journal ([`Keep::journal`](crate::profile::Keep)); call [`append`](Self::append) about once
/// a second and [`finish`](Self::finish) at the end.
#[derive(Debug)]
pub(crate) struct RecordingWriter<W: Write> {
    writer: W,
    written: TableSizes,
    processes: Vec<Process>,
    threads: Vec<Thread>,
}

impl<W: Write> RecordingWriter<W> {
    /// Begins a recording.
    ///
    /// # Errors
    /// When `writer` fails.
    pub(crate) fn new(mut writer: W) -> io::Result<Self> {
        writer.write_all(MAGIC)?;
        writer.write_all(&VERSION.to_le_bytes())?;
        writer.flush()?;
        // The empty text and the empty stack are not written.
        let written = TableSizes { texts: 1, frames: 0, stacks: 1 };
        Ok(Self { writer, written, processes: vec![], threads: vec![] })
    }

    /// Writes what is new in `profile`, and drains its journal.
    ///
    /// # Errors
    /// When the writer fails; the recording is then readable up to the call before.
    pub(crate) fn append(&mut self, profile: &mut Profile) -> io::Result<()> {
        let runs = profile.drain_journal();
        self.put_chunk(profile, &runs, 0)
    }

    /// Writes what is new and ends the recording.
    ///
    /// # Errors
    /// As [`RecordingWriter::append`].
    pub(crate) fn finish(mut self, profile: &mut Profile) -> io::Result<W> {
        let runs = profile.drain_journal();
        self.put_chunk(profile, &runs, LAST)?;
        Ok(self.writer)
    }

    fn put_chunk(&mut self, profile: &Profile, runs: &[Run], flags: u8) -> io::Result<()> {
        let mut parts = vec![flags];
        put_text(&mut parts, &serde_json::to_string(&profile.metadata)?);
        self.put_tables(&mut parts, profile);
        put_changed(&mut parts, &mut self.processes, profile.processes().map(|(_, process)| process), put_process);
        put_changed(&mut parts, &mut self.threads, profile.threads().map(|(_, thread)| thread), put_thread);
        put_runs(&mut parts, runs);

        let mut encoder = DeflateEncoder::new(vec![], Compression::default());
        encoder.write_all(&parts)?;
        let body = encoder.finish()?;
        let length =
            u32::try_from(body.len()).map_err(|_| io::Error::other("a chunk of the recording is too large"))?;
        let mut crc = Crc::new();
        crc.update(&body);
        // One write, so that a kill leaves as little of half a chunk as can be.
        let mut chunk = Vec::with_capacity(body.len() + 12);
        chunk.extend_from_slice(CHUNK);
        chunk.extend_from_slice(&length.to_le_bytes());
        chunk.extend_from_slice(&crc.sum().to_le_bytes());
        chunk.extend_from_slice(&body);
        self.writer.write_all(&chunk)?;
        self.writer.flush()
    }

    fn put_tables(&mut self, parts: &mut Vec<u8>, profile: &Profile) {
        let sizes = profile.table_sizes();
        put_varint(parts, (sizes.texts - self.written.texts) as u64);
        for text in profile.texts_from(self.written.texts) {
            put_text(parts, text);
        }
        put_varint(parts, (sizes.frames - self.written.frames) as u64);
        for frame in profile.frames_from(self.written.frames) {
            let kind = match frame.kind {
                FrameKind::Python => 0,
                FrameKind::Native => 1,
                FrameKind::Gc => 2,
                FrameKind::Interpreter => 3,
                FrameKind::Task => 4,
                FrameKind::Wait => 5,
                FrameKind::Kernel => 6,
            };
            let texts = [frame.name, frame.file, frame.short_file, frame.module].map(|text| text.number());
            put_varint(parts, kind);
            for number in texts.into_iter().chain([frame.line, frame.first_line, frame.column]) {
                put_varint(parts, u64::from(number));
            }
        }
        put_varint(parts, (sizes.stacks - self.written.stacks) as u64);
        for (parent, frame) in profile.stacks_from(self.written.stacks) {
            put_varint(parts, u64::from(parent.number()));
            put_varint(parts, u64::from(frame.number()));
        }
        self.written = sizes;
    }
}

/// Writes a whole profile as a recording.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write(profile: &Profile, writer: impl Write) -> io::Result<()> {
    const RUNS_A_CHUNK: usize = 100_000;
    let times = if profile.has_timeline() { 0 } else { WITHOUT_TIMES };
    let mut recording = RecordingWriter::new(writer)?;
    let mut waiting = vec![];
    for run in in_time_order(profile) {
        waiting.push(run);
        if waiting.len() == RUNS_A_CHUNK {
            recording.put_chunk(profile, &waiting, times)?;
            waiting.clear();
        }
    }
    recording.put_chunk(profile, &waiting, times | LAST)
}

/// The runs of all threads by their start; without a timeline, the totals in their order.
fn in_time_order(profile: &Profile) -> impl Iterator<Item = Run> {
    let totals = if profile.has_timeline() { &[] } else { profile.totals() };
    let totals = totals.iter().map(|total| {
        let Total { thread, stack, flags, samples, weight_us } = *total;
        Run { thread, stack, flags, start_us: 0, weight_us, samples }
    });
    let mut threads: Vec<_> = profile.threads().map(|(thread, _)| profile.timeline(thread).peekable()).collect();
    let mut next: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    for (at, runs) in threads.iter_mut().enumerate() {
        next.extend(runs.peek().map(|run| Reverse((run.start_us, at))));
    }
    let timed = std::iter::from_fn(move || {
        let Reverse((_, at)) = next.pop()?;
        let run = threads[at].next();
        next.extend(threads[at].peek().map(|run| Reverse((run.start_us, at))));
        run
    });
    totals.chain(timed)
}

fn put_text(parts: &mut Vec<u8>, text: &str) {
    put_varint(parts, text.len() as u64);
    parts.extend_from_slice(text.as_bytes());
}

/// An id or time that may be missing.
fn put_optional(parts: &mut Vec<u8>, number: Option<u64>) {
    put_varint(parts, number.map_or(0, |number| number.saturating_add(1)));
}

/// Puts the items that are not as they were written last, with their positions.
fn put_changed<'profile, Item: Clone + PartialEq + 'profile>(
    parts: &mut Vec<u8>,
    written: &mut Vec<Item>,
    items: impl Iterator<Item = &'profile Item>,
    put_item: impl Fn(&mut Vec<u8>, &Item),
) {
    let changed: Vec<_> = items.enumerate().filter(|(at, item)| written.get(*at) != Some(item)).collect();
    put_varint(parts, changed.len() as u64);
    for (at, item) in changed {
        put_varint(parts, at as u64);
        put_item(parts, item);
        match written.get_mut(at) {
            Some(slot) => *slot = item.clone(),
            None => written.push(item.clone()),
        }
    }
}

fn put_process(parts: &mut Vec<u8>, process: &Process) {
    put_varint(parts, u64::from(process.pid));
    put_optional(parts, process.parent_pid.map(u64::from));
    put_varint(parts, u64::from(process.command_line.number()));
    put_varint(parts, u64::from(process.python_version.number()));
    put_varint(parts, u64::from(process.supervisor.number()));
    put_varint(parts, process.start_us);
    put_optional(parts, process.end_us);
}

fn put_thread(parts: &mut Vec<u8>, thread: &Thread) {
    put_varint(parts, u64::from(thread.process.number()));
    put_optional(parts, thread.os_id);
    put_varint(parts, thread.python_id);
    put_varint(parts, thread.interpreter);
    put_optional(parts, thread.name.map(|name| u64::from(name.number())));
}

fn put_runs(parts: &mut Vec<u8>, runs: &[Run]) {
    put_varint(parts, runs.len() as u64);
    let mut last_us = 0;
    for run in runs {
        put_varint(parts, u64::from(run.thread.number()));
        put_varint(parts, u64::from(run.stack.number()));
        parts.push(run.flags.bits());
        put_signed_varint(parts, run.start_us.wrapping_sub(last_us) as i64);
        put_varint(parts, run.weight_us);
        put_varint(parts, run.samples);
        last_us = run.start_us;
    }
}

#[cfg(test)]
mod tests;
