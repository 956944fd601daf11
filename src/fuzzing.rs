//! Entry points for fuzzing: what reads bytes that others have made. `fuzz/` has a target for each, and the tests below
//! replay its corpus, so that what was found once stays mended where no fuzzing toolchain is.

mod saved;

use std::io::Write;

pub use saved::save_image;

use self::saved::SavedImage;
use crate::binary::{Architecture, Binary};
use crate::core_file::{BinarySources, CoreFile};
use crate::inspect::{Details, TasksWanted};
use crate::output::{Format, Presentation};
use crate::python::layout::{LineTableFormat, debug_offsets};
use crate::python::line_table::LineTable;
use crate::python::locate::PythonFile;

/// A recording, or collapsed stacks; what is understood of it is rendered.
pub fn input(bytes: &[u8]) {
    let Ok(recording) = crate::output::read(bytes) else { return };
    for format in [Format::Raw, Format::Flamegraph, Format::Pprof] {
        let _ = format.write(&recording.profile, &Presentation::default(), &|_| None, "", &mut std::io::sink());
    }
}

/// A table of lines: the first byte says of which format, the next four are the first line.
pub fn line_table(bytes: &[u8]) {
    let Some((head, table)) = bytes.split_first_chunk::<5>() else { return };
    let [format, line @ ..] = *head;
    let format = match format % 4 {
        0 => LineTableFormat::LnotabUnsigned,
        1 => LineTableFormat::Lnotab,
        2 => LineTableFormat::Pairs,
        _ => LineTableFormat::Locations,
    };
    let table = LineTable::decode(format, table, i32::from_ne_bytes(line), None);
    for offset in [-1, 0, 2, 1 << 8, 1 << 16, i32::MAX] {
        let (line, location) = (table.line_of(offset), table.location_of(offset));
        assert!(location.is_none_or(|location| Some(location.line) == line));
    }
}

/// A program or library: ELF, Mach-O or PE.
pub fn binary(bytes: &[u8]) {
    if let Ok(binary) = Binary::parse(bytes, Architecture::HOST) {
        let _ = (PythonFile::examine(&binary), PythonFile::suspect(&binary), binary.build_id());
    }
}

/// A `_Py_DebugOffsets`.
pub fn debug_offsets(bytes: &[u8]) {
    let _ = (debug_offsets::size(bytes), debug_offsets::parse(bytes));
}

/// A core file. It has to be a file, so this one is slow.
pub fn core_file(bytes: &[u8]) {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(bytes).is_ok()
        && let Ok(core) = CoreFile::open(file.path())
    {
        let sources = BinarySources::new(&core, None, None);
        let _ = crate::sampler::PostMortem::read(&core, &sources);
    }
}

/// A stack and the unwind information that it is followed by: the lengths of the index and of the stack, how far before
/// `.eh_frame` the index lies, the first instruction; then index, stack, `.eh_frame`.
pub fn unwind(bytes: &[u8]) {
    let Some((head, rest)) = bytes.split_first_chunk::<12>() else { return };
    let [index, index_1, stack, stack_1, ..] = *head;
    let word = |at: usize| head[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let Some((index, rest)) = rest.split_at_checked(u16::from_le_bytes([index, index_1]).into()) else { return };
    let Some((stack, eh_frame)) = rest.split_at_checked(u16::from_le_bytes([stack, stack_1]).into()) else { return };
    let _ = crate::native::follow_by_frame_info(eh_frame, (index, word(4)), stack, word(8).into());
}

thread_local! {
    static IMAGES: Vec<SavedImage> = SavedImage::all();
}

/// A saved image of a real interpreter with changes: threads, waits, exceptions, variables, tasks and greenlets of it.
/// The first byte says which image, the second how much of variables, each twelve after that a change.
pub fn saved_process(bytes: &[u8]) {
    let Some(([which, level], changes)) = bytes.split_first_chunk::<2>() else { return };
    let tasks = if level & 8 == 0 { TasksWanted::All } else { TasksWanted::Pending };
    let details = Details { variables: level % 4, tasks, ..Details::default() };
    IMAGES.with(|images| {
        images[usize::from(*which) % images.len()].with_changes(changes, |image| image.dump(details));
    });
}

/// The same images, walked as sampling does, while they change.
pub fn walk(bytes: &[u8]) {
    let Some((which, changes)) = bytes.split_first() else { return };
    IMAGES.with(|images| images[usize::from(*which) % images.len()].walk(changes));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Runs all of a target's corpus, each file as it is, and, at so many places of it, cut short and with a byte
    /// changed.
    fn replay(target: &str, run: fn(&[u8]), places: usize) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut seen = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let whole = std::fs::read(entry.unwrap().path()).unwrap();
            seen += 1;
            run(&whole);
            let step = whole.len().div_ceil(places).max(1);
            for at in (0..whole.len()).step_by(step) {
                run(&whole[..at]);
                for value in [0, 0x7f, 0xff] {
                    let mut changed = whole.clone();
                    changed[at] = value;
                    run(&changed);
                }
            }
        }
        assert!(seen > 0, "there is no corpus in {folder:?}");
    }

    #[test]
    fn the_images_show_what_the_program_does() {
        let images = SavedImage::all();
        assert!(!images.is_empty(), "there are no images");
        for image in images {
            let details = Details { variables: 2, tasks: TasksWanted::All, ..Details::default() };
            let text = image.dump(details).unwrap_or_else(|| panic!("{} has no stacks", image.name));
            let shown = [
                "Deadlock: 2 threads wait for each other",
                "Deadlock: 2 tasks wait for each other",
                "waits in Queue.get",
                "itself:   [[...]]",
                "sleeps (image_program.py",
                "'text \\x1b[31m'",
            ];
            for expected in shown {
                assert!(text.contains(expected), "{}: no {expected:?} in\n{text}", image.name);
            }
            assert!(image.walk(&[]) > 10, "{}", image.name);
            image.with_changes(&[7; 240], |image| image.walk(&[]));
            assert_eq!(image.dump(details), Some(text), "{}: it was not put back", image.name);
        }
    }

    #[test]
    fn the_corpus_of_inputs() {
        replay("input", input, 40);
    }

    #[test]
    fn the_corpus_of_line_tables() {
        replay("line_table", line_table, 40);
    }

    #[test]
    fn the_corpus_of_binaries() {
        replay("binary", binary, 40);
    }

    #[test]
    fn the_corpus_of_debug_offsets() {
        replay("debug_offsets", debug_offsets, 40);
    }

    #[test]
    fn the_corpus_of_core_files() {
        replay("core_file", core_file, 40);
    }

    #[test]
    fn the_corpus_of_unwind_information() {
        replay("unwind", unwind, 20);
    }

    #[test]
    fn the_corpus_of_saved_processes() {
        replay("saved_process", saved_process, 1);
    }

    #[test]
    fn the_corpus_of_walks() {
        replay("walk", walk, 4);
    }
}
