//! Entry points for fuzzing: what reads bytes that others have made. `fuzz/` has a target for each, and the tests below
//! replay its corpus, so that what was found once stays mended where no fuzzing toolchain is.

use std::io::Write;

use crate::binary::{Architecture, Binary};
use crate::core_file::{BinarySources, CoreFile};
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Runs all of a target's corpus, each file as it is, cut short, and with single bytes changed.
    fn replay(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut seen = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let whole = std::fs::read(entry.unwrap().path()).unwrap();
            seen += 1;
            run(&whole);
            let step = (whole.len() / 40).max(1);
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
    fn the_corpus_of_inputs() {
        replay("input", input);
    }

    #[test]
    fn the_corpus_of_line_tables() {
        replay("line_table", line_table);
    }

    #[test]
    fn the_corpus_of_binaries() {
        replay("binary", binary);
    }

    #[test]
    fn the_corpus_of_debug_offsets() {
        replay("debug_offsets", debug_offsets);
    }

    #[test]
    fn the_corpus_of_core_files() {
        replay("core_file", core_file);
    }
}
