//! A [`Layout`] as the program in the kernel needs it.

use super::support::Unavailable;
use crate::python::layout::{FrameEntry, InstructionPosition, Layout, OwnLine, TextFormat};

/// The program takes it for "there is no such field".
const NONE: u32 = u32::MAX;
/// How many numbers there are; their order is that of the enum in `program.bpf.c`.
pub(super) const LENGTH: usize = 34;
/// As much of a thread state, and of a frame or a code object, the program can read at once (`STATE_HEAD`, `HEAD`).
const LONGEST_STATE: u32 = 512;
const LONGEST_HEAD: u32 = 256;

/// The numbers for one version.
///
/// # Errors
/// When the fields lie too far apart for the program.
pub(super) fn numbers(layout: &Layout) -> Result<[u32; LENGTH], Unavailable> {
    let (thread, frame, code) = (&layout.thread, &layout.frame, &layout.code);
    let [state_frame, cframe, cframe_frame] = entry_numbers(thread.frame);
    let position = match frame.position {
        InstructionPosition::Lasti { offset, .. } | InstructionPosition::Pointer { offset } => offset,
    };
    let [trace, object, object_frame, object_line] = own_line_numbers(frame.own_line);
    let local_copy = frame.tlbc_index.filter(|_| layout.free_threaded).unwrap_or(NONE);
    let owner = frame.owner.map_or(NONE, |owner| owner.offset);
    let shim = |index: usize| frame.owner.and_then(|owner| owner.shims[index]).map_or(NONE, u32::from);
    let attachment = thread.attachment.unwrap_or(NONE);
    let requests_gil = thread.gil_requested.unwrap_or(NONE);
    let name = code.qualname.unwrap_or(code.name);
    let [text_length, text_data] = file_name_places(layout);
    let state_length =
        end_of(&[thread.next, thread.interp, thread.thread_id, state_frame, cframe, attachment, requests_gil]);
    let is_entry = frame_is_entry(layout);
    let frame_head = end_of(&[frame.previous, frame.code, position, owner, trace, object, local_copy, is_entry]);
    let code_head =
        end_of(&[name, code.filename, code.line_table, code.first_line, code.unique_version.unwrap_or(NONE)]);
    if state_length > LONGEST_STATE || frame_head > LONGEST_HEAD || code_head > LONGEST_HEAD {
        return Err(Unavailable::Version);
    }
    Ok([
        layout.interpreter.threads_head,
        state_length,
        thread.next,
        thread.interp,
        thread.thread_id,
        state_frame,
        cframe,
        cframe_frame,
        attachment,
        requests_gil,
        frame_head,
        frame.previous,
        frame.code,
        position,
        owner,
        shim(0),
        shim(1),
        trace,
        object,
        object_frame,
        object_line,
        local_copy,
        u32::try_from(frame.tag_mask).map_err(|_| Unavailable::Version)?,
        u32::from(thread.datastack_chunk.is_some()),
        code_head,
        name,
        code.filename,
        code.line_table,
        code.first_line,
        code.unique_version.unwrap_or(NONE),
        text_hash(layout),
        text_length,
        text_data,
        layout.object.bytes_data,
    ])
}

/// Where a frame says that it was entered from C, as the program wants to know it beside [`numbers`].
pub(super) fn frame_is_entry(layout: &Layout) -> u32 {
    layout.frame.is_entry.unwrap_or(NONE)
}

/// Where a thread state has its newest frame: directly, or the C frame in between and where that has it.
fn entry_numbers(entry: FrameEntry) -> [u32; 3] {
    match entry {
        FrameEntry::Direct(offset) => [offset, NONE, NONE],
        FrameEntry::ThroughCFrame { cframe, current_frame } => [0, cframe, current_frame],
    }
}

/// Where a frame says its line itself: `f_trace`; the frame object, its frame and its line.
fn own_line_numbers(own_line: OwnLine) -> [u32; 4] {
    match own_line {
        OwnLine::InFrame { trace } => [trace.unwrap_or(NONE), NONE, NONE, NONE],
        OwnLine::InObject { object, frame, line } => [NONE, object, frame, line],
    }
}

/// Where a text has its hash.
fn text_hash(layout: &Layout) -> u32 {
    match layout.object.text {
        TextFormat::Compact { hash, .. } => hash,
        TextFormat::Python2 { .. } => layout.object.bytes_hash,
    }
}

/// Where the text that names a file has its length, and its characters if they are ASCII.
pub(super) fn file_name_places(layout: &Layout) -> [u32; 2] {
    match layout.object.text {
        TextFormat::Compact { length, ascii_size, .. } => [length, ascii_size],
        TextFormat::Python2 { .. } => [layout.object.ob_size, layout.object.bytes_data],
    }
}

/// One past the last byte of fields of eight bytes at most.
fn end_of(fields: &[u32]) -> u32 {
    fields.iter().filter(|offset| **offset != NONE).max().map_or(0, |offset| offset.saturating_add(8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::layout::up_to_3_12;
    use crate::python::version::Version;

    #[test]
    fn every_known_version_fits_into_what_the_program_reads() {
        for minor in 6..=12 {
            let layout = up_to_3_12::layout(Version::new(3, minor, 0)).unwrap();
            let numbers = numbers(&layout).unwrap();
            assert_eq!(numbers[0], layout.interpreter.threads_head);
            assert_eq!(numbers[LENGTH - 1], layout.object.bytes_data);
            // From 3.11 on frames lie in a data stack; up to 3.12 a thread state points to them through a C frame.
            assert_eq!(numbers[23], u32::from(minor >= 11), "3.{minor}");
            assert_eq!(numbers[6] == NONE, minor < 11, "3.{minor}");
        }
        assert!(numbers(&up_to_3_12::layout(Version::new(2, 7, 18)).unwrap()).is_ok());
    }

    #[test]
    fn a_field_out_of_reach_is_refused() {
        let mut layout = up_to_3_12::layout(Version::new(3, 12, 1)).unwrap();
        layout.thread.thread_id = LONGEST_STATE;
        assert!(matches!(numbers(&layout), Err(Unavailable::Version)));
    }

    #[test]
    fn the_order_is_that_of_the_program() {
        let source = include_str!("program.bpf.c");
        let names = source.split("enum {").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
        let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        assert_eq!(names.len(), LENGTH + 1);
        let place = |name: &str| names.iter().position(|other| *other == name).unwrap();
        let layout = up_to_3_12::layout(Version::new(3, 12, 1)).unwrap();
        let numbers = numbers(&layout).unwrap();
        assert_eq!(numbers[place("STATE_THREAD_ID")], layout.thread.thread_id);
        assert_eq!(numbers[place("FRAME_PREVIOUS")], layout.frame.previous);
        assert_eq!(numbers[place("FRAME_OWNER")], layout.frame.owner.unwrap().offset);
        assert_eq!(numbers[place("CODE_FIRST_LINE")], layout.code.first_line);
        assert_eq!(numbers[place("BYTES_DATA")], layout.object.bytes_data);
        assert_eq!(place("LAYOUT_LENGTH"), LENGTH);
    }
}
