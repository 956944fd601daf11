//! The lines of source that a page shows: those of functions that have samples.

use std::collections::BTreeMap;

use super::tree::PageTree;
use crate::output::place::Origin;
use crate::output::printable;
use crate::output::sort::sort_by_key;
use crate::output::source_text::SourceText;

/// Files whose source a page has, and their text all together, in bytes before it is packed; a page packs them to a
/// quarter.
const MOST_FILES: usize = 400;
const MOST_BYTES: usize = 1 << 20;
/// The longest line, in characters.
const LONGEST_LINE: usize = 300;
/// Lines shown before and after one that has samples.
const AROUND: u32 = 3;
/// A function that begins so many lines before its first sample is not shown from its beginning.
const FAR: u32 = 120;

/// Neighbouring lines of a file: the number of the first, and their texts joined by ends of line.
pub(super) type Piece = (u32, String);

/// For each file of `tree` the lines that are needed of it, as far as its text is found. Files with the most time come
/// first, should there be too many.
pub(super) fn pieces(tree: &PageTree, sources: &SourceText<'_>) -> Vec<Vec<Piece>> {
    let mut times = vec![0u64; tree.files.len()];
    let mut own_of_frame = vec![0u64; tree.frames.len()];
    for (node, us) in tree.threads.iter().flat_map(|thread| &thread.own_us) {
        let own = &mut own_of_frame[tree.nodes[*node as usize].frame as usize];
        *own = own.saturating_add(*us);
    }
    // For each file, its functions' first lines with the lines that are needed of them.
    let mut needed: Vec<BTreeMap<u32, u32>> = vec![BTreeMap::new(); tree.files.len()];
    for ((function, line), own) in tree.frames.iter().zip(own_of_frame) {
        let function = &tree.functions[*function as usize];
        let has_source = !matches!(function.origin, Origin::Native | Origin::Kernel | Origin::Gc | Origin::Marker);
        let Some(file) = function.file.filter(|_| has_source && *line > 0) else { continue };
        times[file] = times[file].saturating_add(own);
        let from_begin = function.line > 0 && function.line <= *line && line - function.line <= FAR;
        let first = if from_begin { function.line } else { line.saturating_sub(AROUND).max(1) };
        let last = needed[file].entry(first).or_default();
        *last = (*last).max(line.saturating_add(AROUND));
    }
    let mut order: Vec<usize> = (0..tree.files.len()).filter(|file| !needed[*file].is_empty()).collect();
    sort_by_key(&mut order, |file| (std::cmp::Reverse(times[*file]), *file));
    let mut pieces = vec![vec![]; tree.files.len()];
    let mut left = MOST_BYTES;
    for file in order.into_iter().take(MOST_FILES) {
        let Some(text) = sources(&tree.files[file].name) else { continue };
        let lines: Vec<&str> = text.lines().collect();
        for (first, last) in joined(&needed[file]) {
            let last = last.min(u32::try_from(lines.len()).unwrap_or(u32::MAX));
            if first > last {
                continue;
            }
            let shown: Vec<String> = lines[first as usize - 1..last as usize].iter().map(|line| shown(line)).collect();
            let shown = shown.join("\n");
            if shown.len() > left {
                return pieces;
            }
            left -= shown.len();
            pieces[file].push((first, shown));
        }
    }
    pieces
}

/// Ranges of lines that do not overlap or touch.
fn joined(needed: &BTreeMap<u32, u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = vec![];
    for (first, last) in needed {
        match ranges.last_mut() {
            Some(range) if *first <= range.1.saturating_add(2) => range.1 = range.1.max(*last),
            _ => ranges.push((*first, *last)),
        }
    }
    ranges
}

/// A line as it can be shown; a tab is as wide as four spaces.
fn shown(line: &str) -> String {
    let line: String = line.chars().take(LONGEST_LINE).collect();
    printable(line.replace('\t', "    ").trim_end()).into_owned()
}
