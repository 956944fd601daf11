//! What one file tells of the code in it: how its frames lie, what its functions are called. Copied out of the file,
//! which need not stay open or as it is.

use std::fs::File;

use gimli::UnwindContext;

use super::demangle::without_marks;
use super::dwarf::has_lines;
use super::frame_info::{Bases, FrameInfo, Row};
use super::symbols::SymbolTable;
use crate::binary::{Architecture, Binary, BinaryError, MappedFile, MappedPart, SectionName};
use crate::process::page_size;

/// The most bytes of unwind information that are copied.
const MOST_BYTES: usize = 512 << 20;

/// What runs Python code, newest name first: each is only a step on the way to the other where both are there.
const EVALUATORS: [&str; 2] = ["_PyEval_EvalFrameDefault", "PyEval_EvalFrameEx"];

/// Finds the file with what was stripped from another, and its bytes.
pub(super) type FindStripped<'system> = dyn Fn(&Binary<'_>) -> Option<(File, MappedFile)> + 'system;

/// Where the lines of a file's code are told.
#[derive(Debug)]
pub(super) enum LinesIn {
    /// Nowhere.
    Nothing,
    /// In the file.
    Itself,
    /// In what was stripped from it.
    Other(File),
}

/// A file with code.
#[derive(Debug)]
pub(super) struct Module {
    /// The name of the file without its folders.
    pub(super) short_name: String,
    /// The file as the target names it.
    pub(super) path: String,
    /// The number that its debug information goes by, if it has some that tells lines.
    pub(super) lines: Option<u32>,
    /// That information is in this file.
    pub(super) lines_in: LinesIn,
    frames: Option<FrameInfo>,
    symbols: SymbolTable,
    evaluator: Option<&'static str>,
    /// For each part that is mapped to be run, by its place in the file: how far it would be moved if it were mapped at
    /// 0.
    biases: Vec<(u64, u64)>,
}

impl Module {
    /// The file with these bytes, of which the parts from `offsets` on are mapped to be run. `find_stripped` is asked
    /// for what was stripped from it.
    ///
    /// # Errors
    /// When it is no executable or library.
    pub(super) fn new(
        path: String,
        bytes: &[u8],
        offsets: &[u64],
        find_stripped: &FindStripped<'_>,
    ) -> Result<Self, BinaryError> {
        let binary = Binary::parse(bytes, Architecture::HOST)?;
        let mut symbols = SymbolTable::of(&binary);
        let mut lines_in = if has_lines(&binary) { LinesIn::Itself } else { LinesIn::Nothing };
        if (!binary.names_static_functions() || matches!(lines_in, LinesIn::Nothing))
            && let Some((file, bytes)) = find_stripped(&binary)
            && let Ok(other) = Binary::parse(&bytes, Architecture::HOST)
        {
            if !binary.names_static_functions() {
                symbols.complete(&other);
            }
            if matches!(lines_in, LinesIn::Nothing) && has_lines(&other) {
                lines_in = LinesIn::Other(file);
            }
        }
        let evaluator = EVALUATORS.into_iter().find(|name| symbols.has(name));
        let short_name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let frames = frame_info(&binary, bytes);
        let page_size = page_size();
        let bias = |file_offset| binary.bias(MappedPart { start: 0, file_offset, executable: true, page_size });
        let biases = offsets.iter().filter_map(|offset| Some((*offset, bias(*offset)?))).collect();
        Ok(Self { short_name, path, lines: None, lines_in, frames, symbols, evaluator, biases })
    }

    /// What was added to the file's addresses where its part from `offset` on is mapped at `start`.
    pub(super) fn bias(&self, start: u64, offset: u64) -> Option<u64> {
        let (_, bias) = self.biases.iter().find(|(known, _)| *known == offset)?;
        Some(bias.wrapping_add(start))
    }

    /// How to leave the function at an address of the file.
    pub(super) fn row(&self, address: u64, context: &mut UnwindContext<usize>) -> Option<Row> {
        self.frames.as_ref()?.row(address, context)
    }

    /// The unwind information, if there is any.
    pub(super) fn frames(&self) -> Option<&FrameInfo> {
        self.frames.as_ref()
    }

    /// The symbol at an address of the file.
    pub(super) fn symbol(&self, address: u64) -> Option<&[u8]> {
        self.symbols.find(address)
    }

    /// What follows `beginning` in the name of the first function that begins with it and goes on with no digit.
    pub(super) fn rest_of_symbol(&self, beginning: &str) -> Option<String> {
        self.symbols.rest_of(beginning)
    }

    /// Whether it holds the interpreter.
    pub(super) fn is_interpreter(&self) -> bool {
        self.evaluator.is_some()
    }

    /// Whether it is the C library or the part of it that once held its threads: what starts programs and threads,
    /// under names that a stripped one does not tell.
    pub(super) fn is_c_library(&self) -> bool {
        ["libc.so", "libc-", "libpthread", "ld-musl-"].iter().any(|name| self.short_name.starts_with(name))
    }

    /// Whether a symbol of it is the function that runs Python code.
    pub(super) fn is_evaluator(&self, symbol: &[u8]) -> bool {
        self.evaluator.is_some_and(|name| std::str::from_utf8(symbol).is_ok_and(|symbol| without_marks(symbol) == name))
    }
}

fn frame_info(binary: &Binary<'_>, bytes: &[u8]) -> Option<FrameInfo> {
    let section = |elf| binary.section(SectionName { elf, mach_o: elf, pe: elf });
    let content = |elf| {
        let section = section(elf)?;
        let bytes = bytes.get(section.file_range.clone()?)?;
        (bytes.len() <= MOST_BYTES).then_some((bytes, section.address))
    };
    let (eh_frame, address) = content(".eh_frame")?;
    let (header, header_address) = content(".eh_frame_hdr").unwrap_or((&[], 0));
    let start = |elf| section(elf).map_or(0, |section| section.address);
    let bases = Bases { eh_frame: address, header: header_address, text: start(".text"), got: start(".got") };
    Some(FrameInfo::new(eh_frame.to_vec(), header, bases))
}
