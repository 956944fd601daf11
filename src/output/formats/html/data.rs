//! What a page knows, packed: JSON, deflated, in Base64. So no name can end the script that it stands in, and a page
//! is a third of what it would be.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::Serialize;

use super::sources::Piece;
use super::time::Timeline;
use super::tree::PageTree;

/// All that a page's script is given. Lists that belong together have an entry each for the same thing; `page.js` and
/// its neighbours say what they make of it.
#[derive(Debug, Serialize)]
pub(super) struct PageData<'page> {
    /// `s`, or `samples` where no time is known.
    pub(super) unit: &'static str,
    /// How many of the weights are one of these.
    pub(super) per_unit: f64,
    pub(super) doubts: Vec<String>,
    /// How many samples there are, and were before; the second where two profiles are compared.
    pub(super) samples: Vec<u64>,
    /// Of functions: name, position of the file or -1, first line or 0, kind, and 1 for a task.
    functions: Vec<(&'page str, i64, u32, usize, u8)>,
    /// Of files: name as shown, full name.
    files: Vec<(&'page str, &'page str)>,
    /// Of frames: function; line.
    frame_functions: Vec<u32>,
    frame_lines: Vec<u32>,
    /// Of nodes, each before those that it calls: how many steps up from the one before its caller is; frame.
    node_ups: Vec<u32>,
    node_frames: Vec<u32>,
    threads: Vec<ThreadData<'page>>,
    /// How long a slot of the timeline is, µs; `null` without a timeline.
    slot_us: Option<u64>,
}

/// What the first picture does not need, which is unpacked after it.
#[derive(Debug, Serialize)]
pub(super) struct PageRest<'page> {
    /// Of files: the pieces of source that there are.
    pieces: &'page [Vec<Piece>],
    /// Of threads: gap, length, node of each run, one after the other.
    times: Vec<Vec<u64>>,
}

impl<'page> PageRest<'page> {
    pub(super) fn new(pieces: &'page [Vec<Piece>], timeline: Option<&Timeline>) -> Self {
        let threads = timeline.map_or(&[][..], |timeline| &timeline.threads);
        Self { pieces, times: threads.iter().map(|runs| runs.concat()).collect() }
    }
}

#[derive(Debug, Serialize)]
struct ThreadData<'page> {
    label: &'page str,
    process: &'page str,
    /// 1 where it is of the profile that is compared with.
    before: u8,
    /// Nodes that were seen, each as the difference to the one before; their weights.
    nodes: Vec<u32>,
    weights: Vec<u64>,
}

/// The words of a page.
pub(super) struct Words<'page> {
    pub(super) title: &'page str,
    pub(super) about: &'page str,
    pub(super) is_time_known: bool,
    pub(super) doubts: Vec<String>,
    pub(super) samples: Vec<u64>,
}

impl Words<'_> {
    /// `s`, or `samples` where no time is known.
    pub(super) fn unit(&self) -> &'static str {
        if self.is_time_known { "s" } else { "samples" }
    }
}

impl<'page> PageData<'page> {
    pub(super) fn new(words: &Words<'_>, tree: &'page PageTree, timeline: Option<&Timeline>) -> Self {
        let functions = tree.functions.iter().map(|function| {
            let file = function.file.map_or(-1, |file| file as i64);
            (function.name.as_str(), file, function.line, function.kind(), u8::from(function.is_task))
        });
        let (mut node_ups, mut depths) = (vec![], vec![0u32]);
        for (at, node) in tree.nodes.iter().enumerate().skip(1) {
            let depth = depths[node.parent as usize] + 1;
            node_ups.push(depths[at - 1] + 1 - depth);
            depths.push(depth);
        }
        let threads = tree.threads.iter().map(|thread| {
            let mut last = 0;
            ThreadData {
                label: &thread.label,
                process: &thread.process,
                before: u8::from(thread.is_before),
                nodes: thread.own_us.iter().map(|(node, _)| node - std::mem::replace(&mut last, *node)).collect(),
                weights: thread.own_us.iter().map(|(_, us)| *us).collect(),
            }
        });
        Self {
            unit: words.unit(),
            per_unit: if words.is_time_known { 1e6 } else { 1e3 },
            doubts: words.doubts.clone(),
            samples: words.samples.clone(),
            functions: functions.collect(),
            files: tree.files.iter().map(|file| (file.shown.as_str(), file.name.as_str())).collect(),
            frame_functions: tree.frames.iter().map(|(function, _)| *function).collect(),
            frame_lines: tree.frames.iter().map(|(_, line)| *line).collect(),
            node_ups,
            node_frames: tree.nodes.iter().skip(1).map(|node| node.frame).collect(),
            threads: threads.collect(),
            slot_us: timeline.map(|timeline| timeline.slot_us),
        }
    }
}

/// Data of a page as it stands there where the browser is not to wait for it to be unpacked: JSON in Base64.
pub(super) fn encoded(data: &impl Serialize) -> io::Result<String> {
    Ok(base64(&serde_json::to_vec(data)?))
}

/// The same packed.
pub(super) fn packed(data: &impl Serialize) -> io::Result<String> {
    let mut encoder = DeflateEncoder::new(vec![], Compression::default());
    serde_json::to_writer(io::BufWriter::new(&mut encoder), data)?;
    encoder.flush()?;
    Ok(base64(&encoder.finish()?))
}

/// Base64 (RFC 4648) with its usual letters.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for letter in 0..4 {
            let six = (bits >> (18 - 6 * letter)) as usize & 63;
            text.push(if letter <= group.len() { char::from(LETTERS[six]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_standard() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
