//! A differential flame graph of two profiles, through inferno: widths are the times after, red has grown, blue has
//! shrunk.

use std::io::{self, Write};

use inferno::differential;
use inferno::flamegraph::color::BackgroundColor;
use inferno::flamegraph::{Options, TextTruncateDirection};

use super::flamegraph::{inferno_color, lines, write_message};
use crate::output::Presentation;
use crate::output::heading::{round, title, with_legend};
use crate::output::narrow::{Node, narrowed, nodes};
use crate::output::tree::LabelTree;
use crate::profile::Profile;

/// What is counted, in µs: a millisecond, which is also what one count stands for in a profile without times. Inferno's
/// own scaling would not apply to differences.
const UNIT_US: u64 = 1_000;

/// Writes how `after` differs from `before`. With `normalize`, the times before are scaled so that both have the same
/// sum: then shares are compared, not lengths of recordings.
///
/// A stack that is gone has no width; draw the other way round to see it.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write(
    before: &Profile,
    after: &Profile,
    normalize: bool,
    presentation: &Presentation,
    writer: impl Write,
) -> io::Result<()> {
    let heading = format!("{} — difference", title(&after.metadata));
    let [lines_before, lines_after] =
        [before, after].map(|profile| lines(&nodes(&LabelTree::new(profile, presentation)), UNIT_US));
    if lines_after.is_empty() {
        return write_message(&heading, "no samples after", writer);
    }
    let options = differential::Options { normalize: normalize && !lines_before.is_empty(), strip_hex: false };
    let mut joined = vec![];
    let [text_before, text_after] = [lines_before, lines_after].map(|lines| lines.join("\n"));
    differential::from_readers(options, text_before.as_bytes(), text_after.as_bytes(), &mut joined)?;
    let joined = String::from_utf8(joined).map_err(io::Error::other)?;
    let mut stacks: Vec<Stack<'_>> = joined.lines().filter_map(Stack::parse).collect();
    // Calls of one frame side by side, whatever their names hold.
    stacks.sort_by(|one, other| one.path.split(';').cmp(other.path.split(';')));
    let narrowed = narrowed(tree_of(&stacks));
    let mut lines = lines_of(&narrowed.nodes);
    // Last first, as inferno wants them in this order.
    lines.reverse();

    let mut options = Options::default();
    options.flame_chart = true;
    // Frames that did not change are white.
    options.bgcolors = Some(BackgroundColor::Flat(inferno_color([226, 229, 228])));
    options.title = heading;
    options.subtitle = Some(with_legend(subtitle(before, after, normalize), narrowed.legend()));
    options.count_name = if after.metadata.is_time_known() { "ms" } else { "samples" }.to_owned();
    options.text_truncate_direction = TextTruncateDirection::Right;
    inferno::flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), writer)
}

/// A stack of both profiles with what it took in each, in units of [`UNIT_US`].
struct Stack<'text> {
    path: &'text str,
    before: u64,
    after: u64,
}

impl<'text> Stack<'text> {
    /// From `frame;frame before after`.
    fn parse(line: &'text str) -> Option<Self> {
        let (rest, after) = line.rsplit_once(' ')?;
        let (path, before) = rest.rsplit_once(' ')?;
        Some(Self { path, before: before.parse().ok()?, after: after.parse().ok()? })
    }
}

/// The frames of stacks in the order of their paths.
fn tree_of<'text>(stacks: &[Stack<'text>]) -> Vec<Node<'text>> {
    let mut nodes = vec![];
    let mut above: Vec<&str> = vec![];
    for stack in stacks {
        let shared = above.iter().zip(stack.path.split(';')).take_while(|(known, label)| **known == *label).count();
        above.truncate(shared);
        for label in stack.path.split(';').skip(shared) {
            nodes.push(Node { label, depth: above.len(), own: 0, own_before: 0 });
            above.push(label);
        }
        // A path that goes on in the next one comes before it, so that it is always new.
        if let Some(last) = nodes.last_mut() {
            (last.own, last.own_before) = (stack.after, stack.before);
        }
    }
    nodes
}

/// One line for each stack that has time of its own in one of the profiles.
fn lines_of(nodes: &[Node<'_>]) -> Vec<String> {
    let mut lines = vec![];
    let mut path = String::new();
    let mut ends: Vec<usize> = vec![];
    for node in nodes {
        ends.truncate(node.depth);
        path.truncate(ends.last().copied().unwrap_or(0));
        if !path.is_empty() {
            path.push(';');
        }
        path.push_str(node.label);
        ends.push(path.len());
        if (node.own, node.own_before) != (0, 0) {
            lines.push(format!("{path} {} {}", node.own_before, node.own));
        }
    }
    lines
}

fn subtitle(before: &Profile, after: &Profile, normalize: bool) -> String {
    let amount = |profile: &Profile| {
        let sum_us = profile.sum().weight_us;
        if profile.metadata.is_time_known() {
            format!("{} s", round(sum_us as f64 / 1e6))
        } else {
            format!("{} samples", round(sum_us as f64 / UNIT_US as f64))
        }
    };
    let scaled = if normalize { ", before scaled to after" } else { "" };
    format!("before {} · after {}{scaled} · red has grown, blue has shrunk", amount(before), amount(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::collapsed;

    fn diff(before: &str, after: &str, normalize: bool) -> Vec<(String, String)> {
        let [before, after] = [before, after].map(|text| collapsed::read(text.as_bytes()).unwrap());
        let mut svg = vec![];
        write(&before, &after, normalize, &Presentation::default(), &mut svg).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        let document = roxmltree::Document::parse_with_options(&svg, options).unwrap();
        let groups = document.descendants().filter(|node| node.tag_name().name() == "g");
        groups
            .filter_map(|group| {
                let part = |name| group.children().find(|node| node.tag_name().name() == name);
                let title = part("title")?.text()?.to_owned();
                Some((title, part("rect")?.attribute("fill")?.to_owned()))
            })
            .collect()
    }

    fn color(frames: &[(String, String)], name: &str) -> (String, [u8; 3]) {
        let (title, fill) = frames.iter().find(|(title, _)| title.starts_with(name)).unwrap();
        let mut parts = fill[4..fill.len() - 1].split(',').map(|part| part.parse().unwrap());
        (title.clone(), [parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap()])
    }

    #[test]
    fn what_grew_is_red_and_what_shrank_is_blue() {
        let frames = diff(
            "main (a.py:1);grows 10\nmain (a.py:1);shrinks 30\n",
            "main (a.py:1);grows 30\nmain (a.py:1);shrinks 10\n",
            false,
        );
        let (title, [red, _, blue]) = color(&frames, "grows");
        assert_eq!(title, "grows (30 samples, 75.00%; +50.00%)");
        assert!(red > blue);
        let (title, [red, _, blue]) = color(&frames, "shrinks");
        assert_eq!(title, "shrinks (10 samples, 25.00%; -50.00%)");
        assert!(blue > red);
    }

    #[test]
    fn recordings_of_other_lengths_compare_by_share() {
        let frames = diff("a 100\nb 100\n", "a 10\nb 10\n", true);
        assert_eq!(color(&frames, "a (").0, "a (10 samples, 50.00%; 0.00%)");
        let frames = diff("a 100\nb 100\n", "a 10\nb 10\n", false);
        assert_eq!(color(&frames, "a (").0, "a (10 samples, 50.00%; -450.00%)");
    }

    #[test]
    fn stacks_of_one_side_only_are_drawn() {
        let frames = diff("gone 5\nstays 5\n", "new;deep 5\nstays 5\n", false);
        assert_eq!(color(&frames, "deep").0, "deep (5 samples, 50.00%; +50.00%)");
    }

    #[test]
    fn many_stacks_are_a_small_picture_whose_sums_are_right() {
        let stacks = |seed: u64| -> String {
            let mut next = seed;
            let mut line = |at: u64| {
                let mut frames = vec!["main".to_owned(), format!("part{}", at % 3)];
                for _ in 0..30 {
                    next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    frames.push(format!("f{}", (next >> 33) % 60));
                }
                format!("{} 1\n", frames.join(";"))
            };
            (0..12_000).map(&mut line).collect()
        };
        let frames = diff(&stacks(1), &stacks(2), false);
        assert!((1_000..20_000).contains(&frames.len()), "{} rectangles", frames.len());
        for part in ["main (12,000 samples, 100.00%", "part0 (4,000 samples, 33.33%", "part2 (4,000 samples, 33.33%"] {
            assert!(frames.iter().any(|(title, _)| title.starts_with(part)), "{part}");
        }
        assert!(frames.iter().any(|(title, _)| title.starts_with("… (")));
    }
}
