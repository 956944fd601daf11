//! Reading a recording. The file may be cut off or damaged anywhere; everything in it is checked.

use std::io::{self, Read};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use thiserror::Error;

use super::{CHUNK, LAST, MAGIC, VERSION, WITHOUT_TIMES};
use crate::profile::varint::{take_signed_varint, take_varint};
use crate::profile::{
    Flags, Frame, FrameId, FrameKind, Keep, Process, ProcessRef, Profile, Run, StackId, TextId, Thread, ThreadRef,
};

/// What a recording may take in memory, in bytes, about: so much in any case, and so many times its own size. What
/// comes behind counts as damaged. Real ones take some ten times their size.
const BUDGET: u64 = 64 << 20;
const BUDGET_PER_BYTE: u64 = 100;

/// A recording that was read.
#[derive(Debug)]
pub(crate) struct Recording {
    /// What it holds.
    pub profile: Profile,
    /// Whether its end was reached. If not, it was cut off or is damaged, and what comes after the last good chunk is
    /// missing.
    pub is_complete: bool,
}

/// Why a file is no recording that we can read.
#[derive(Debug, Error)]
pub(crate) enum RecordingError {
    /// It begins with something else.
    #[error("not a pyspy recording")]
    NotARecording,
    /// It was written by a newer version.
    #[error("recording of version {0}, but only those up to {VERSION} are known")]
    Version(u16),
    /// It cannot be read.
    #[error("cannot read the recording: {0}")]
    Io(#[from] io::Error),
}

/// Reads a recording, as far as it is whole.
///
/// # Errors
/// When `reader` fails, or does not begin as a recording does.
pub(crate) fn read(mut reader: impl Read) -> Result<Recording, RecordingError> {
    let mut head = vec![];
    reader.by_ref().take(MAGIC.len() as u64 + 2).read_to_end(&mut head)?;
    let version = head.strip_prefix(MAGIC).and_then(|rest| <[u8; 2]>::try_from(rest).ok()).map(u16::from_le_bytes);
    match version {
        None => return Err(RecordingError::NotARecording),
        Some(1..=VERSION) => {}
        Some(other) => return Err(RecordingError::Version(other)),
    }
    let mut tables = Tables { names_supervisors: version != Some(1), ..Tables::default() };
    let mut is_complete = false;
    while !is_complete {
        let Some(parts) = next_chunk(&mut reader, &mut tables.budget)? else { break };
        match tables.add(&parts) {
            Some(last) => is_complete = last,
            None => break,
        }
    }
    let mut profile = tables.profile.unwrap_or_default();
    if !is_complete {
        let end_us = tables.end_us.max(profile.metadata.duration_us);
        profile.metadata.duration_us = end_us;
    }
    Ok(Recording { profile, is_complete })
}

/// What may be taken yet, in bytes.
#[derive(Debug)]
struct Budget(u64);

impl Default for Budget {
    fn default() -> Self {
        Self(BUDGET)
    }
}

impl Budget {
    /// Takes from it; `None` when there is not so much.
    fn spend(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.checked_sub(bytes as u64)?;
        Some(())
    }
}

/// The parts of the next chunk; `None` at the end and where the file is damaged.
fn next_chunk(reader: &mut impl Read, budget: &mut Budget) -> io::Result<Option<Vec<u8>>> {
    let mut head = vec![];
    reader.by_ref().take(12).read_to_end(&mut head)?;
    let Some(numbers) = head.strip_prefix(CHUNK).and_then(|rest| rest.as_chunks::<4>().0.first_chunk::<2>()) else {
        return Ok(None);
    };
    let [length, expected] = numbers.map(u32::from_le_bytes);
    let mut body = vec![];
    reader.by_ref().take(u64::from(length)).read_to_end(&mut body)?;
    let mut crc = Crc::new();
    crc.update(&body);
    if body.len() != length as usize || crc.sum() != expected {
        return Ok(None);
    }
    budget.0 = budget.0.saturating_add(BUDGET_PER_BYTE.saturating_mul(u64::from(length)));
    let mut parts = vec![];
    // Read as long as it is used only, so that it does not count as what is kept.
    let unpacked = DeflateDecoder::new(body.as_slice()).take(budget.0 + 1).read_to_end(&mut parts);
    Ok(unpacked.ok().filter(|length| (*length as u64) <= budget.0).map(|_| parts))
}

/// The profile so far, and what the file's numbers mean in it.
#[derive(Default)]
struct Tables {
    profile: Option<Profile>,
    texts: Vec<TextId>,
    frames: Vec<FrameId>,
    stacks: Vec<StackId>,
    processes: Vec<ProcessRef>,
    threads: Vec<ThreadRef>,
    end_us: u64,
    /// Of processes it says who runs them.
    names_supervisors: bool,
    budget: Budget,
}

impl Tables {
    /// Takes in a chunk; gives whether it was the last, `None` if it makes no sense.
    fn add(&mut self, mut parts: &[u8]) -> Option<bool> {
        let parts = &mut parts;
        let flags = *parts.split_off_first()?;
        let keep = Keep { timeline: flags & WITHOUT_TIMES == 0, journal: false };
        let mut profile = self.profile.take().unwrap_or_else(|| Profile::new(keep));
        let understood = self.add_parts(&mut profile, parts);
        // What was understood before a damaged place is kept.
        self.profile = Some(profile);
        understood.map(|()| flags & LAST != 0)
    }

    fn add_parts(&mut self, profile: &mut Profile, parts: &mut &[u8]) -> Option<()> {
        profile.metadata = serde_json::from_str(take_text(parts)?).ok()?;
        if self.texts.is_empty() {
            self.texts.push(TextId::EMPTY);
            self.stacks.push(StackId::EMPTY);
        }
        for _ in 0..take_varint(parts)? {
            let text = take_text(parts)?;
            self.budget.spend(16 + text.len())?;
            self.texts.push(profile.intern(text));
        }
        for _ in 0..take_varint(parts)? {
            let frame = self.frame(parts)?;
            self.budget.spend(100)?;
            self.frames.push(profile.frame(frame));
        }
        for _ in 0..take_varint(parts)? {
            let parent = take_from(&self.stacks, parts)?;
            let frame = take_from(&self.frames, parts)?;
            self.budget.spend(36)?;
            self.stacks.push(profile.push(parent, frame));
        }
        for _ in 0..take_varint(parts)? {
            let at = take_index(parts)?;
            self.budget.spend(128)?;
            let process = self.process(parts)?;
            match self.processes.get(at) {
                // A pid never changes, whatever the file says.
                Some(id) => {
                    let known = profile.process_mut(*id);
                    *known = Process { pid: known.pid, ..process };
                }
                None if at == self.processes.len() => self.processes.push(profile.add_process(process)),
                None => return None,
            }
        }
        for _ in 0..take_varint(parts)? {
            let at = take_index(parts)?;
            self.budget.spend(128)?;
            let thread = self.thread(parts)?;
            match self.threads.get(at) {
                Some(id) => *profile.thread_mut(*id) = thread,
                None if at == self.threads.len() => self.threads.push(profile.add_thread(thread)),
                None => return None,
            }
        }
        let mut last_us: u64 = 0;
        for _ in 0..take_varint(parts)? {
            let run = self.run(parts, &mut last_us)?;
            self.end_us = self.end_us.max(run.end_us());
            let totals = profile.totals().len();
            profile.add_run(run);
            self.budget.spend(if profile.totals().len() > totals { 80 } else { 8 })?;
        }
        Some(())
    }

    fn frame(&self, parts: &mut &[u8]) -> Option<Frame> {
        Some(Frame {
            kind: match take_varint(parts)? {
                0 => FrameKind::Python,
                1 => FrameKind::Native,
                2 => FrameKind::Gc,
                3 => FrameKind::Interpreter,
                4 => FrameKind::Task,
                5 => FrameKind::Wait,
                6 => FrameKind::Kernel,
                _ => return None,
            },
            name: take_from(&self.texts, parts)?,
            file: take_from(&self.texts, parts)?,
            short_file: take_from(&self.texts, parts)?,
            module: take_from(&self.texts, parts)?,
            line: take_u32(parts)?,
            first_line: take_u32(parts)?,
            column: take_u32(parts)?,
        })
    }

    fn process(&self, parts: &mut &[u8]) -> Option<Process> {
        Some(Process {
            pid: take_u32(parts)?,
            parent_pid: take_optional(parts)?.map(u32::try_from).transpose().ok()?,
            command_line: take_from(&self.texts, parts)?,
            python_version: take_from(&self.texts, parts)?,
            supervisor: if self.names_supervisors { take_from(&self.texts, parts)? } else { TextId::default() },
            start_us: take_varint(parts)?,
            end_us: take_optional(parts)?,
        })
    }

    fn thread(&self, parts: &mut &[u8]) -> Option<Thread> {
        let process = take_from(&self.processes, parts)?;
        let os_id = take_optional(parts)?;
        let python_id = take_varint(parts)?;
        let interpreter = take_varint(parts)?;
        let name = match take_optional(parts)? {
            Some(number) => Some(*self.texts.get(usize::try_from(number).ok()?)?),
            None => None,
        };
        Some(Thread { process, os_id, python_id, interpreter, name })
    }

    fn run(&self, parts: &mut &[u8], last_us: &mut u64) -> Option<Run> {
        let thread = take_from(&self.threads, parts)?;
        let stack = take_from(&self.stacks, parts)?;
        let flags = Flags::from_bits(*parts.split_off_first()?);
        let start_us = last_us.wrapping_add(take_signed_varint(parts)? as u64);
        *last_us = start_us;
        Some(Run { thread, stack, flags, start_us, weight_us: take_varint(parts)?, samples: take_varint(parts)? })
    }
}

fn take_index(parts: &mut &[u8]) -> Option<usize> {
    usize::try_from(take_varint(parts)?).ok()
}

fn take_u32(parts: &mut &[u8]) -> Option<u32> {
    u32::try_from(take_varint(parts)?).ok()
}

fn take_optional(parts: &mut &[u8]) -> Option<Option<u64>> {
    Some(take_varint(parts)?.checked_sub(1))
}

/// The item whose number comes next.
fn take_from<Item: Copy>(items: &[Item], parts: &mut &[u8]) -> Option<Item> {
    items.get(take_index(parts)?).copied()
}

fn take_text<'parts>(parts: &mut &'parts [u8]) -> Option<&'parts str> {
    let length = take_index(parts)?;
    std::str::from_utf8(parts.split_off(..length)?).ok()
}
