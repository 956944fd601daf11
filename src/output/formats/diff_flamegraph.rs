//! A differential flame graph of two profiles: what has grown is red, what has shrunk is blue, what is gone is hatched.
//!
//! Shares are compared, not times, as recordings differ in length. Widths are the times after; what is no more is as
//! wide as its share was. A difference that sampling alone can make has no colour.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};

use super::flamegraph::{ALL, Corner, height, layout, name};
use super::svg_picture::{Frame, Kind, Picture, ROW, Swatch, write_message};
use crate::output::Presentation;
use crate::output::color::mixed;
use crate::output::comparison::{Change, Comparison, amounts, heading};
use crate::output::heading::with_note;
use crate::output::narrow::{Amounts, Node, narrowed, widths};
use crate::output::place::Origin;
use crate::output::tree::{LabelTree, Step};
use crate::profile::Profile;

/// The colours of what is as it was, of what has grown and of what has shrunk.
const UNCHANGED: [u8; 3] = [226, 229, 228];
const GROWN: [u8; 3] = [226, 74, 60];
const SHRUNK: [u8; 3] = [84, 132, 224];
/// The share by which something must differ for the strongest colour; less does when nothing differs by more.
const STRONG: f64 = 0.05;

/// Writes how the shares of `after` differ from those of `before`.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write(
    before: &Profile,
    after: &Profile,
    presentation: &Presentation,
    writer: impl Write,
) -> io::Result<()> {
    let heading = heading(before, after);
    let trees = [before, after].map(|profile| LabelTree::new(profile, presentation));
    let comparison = Comparison::new(before, after);
    if comparison.sums.now == 0 {
        return write_message(&heading, "no samples after", writer);
    }
    let narrowed = narrowed(union(&trees, &comparison));
    let totals = widths(&narrowed.nodes);
    let (end, corners) = layout(&narrowed.nodes, presentation.upward);
    let changes: Vec<[Change; 2]> = narrowed
        .nodes
        .iter()
        .zip(&totals)
        .map(|(node, total)| [*total, node.own].map(|amounts| comparison.change(amounts)))
        .collect();
    let mut writer = BufWriter::new(writer);
    let picture = Picture {
        kind: Kind::Difference,
        title: &heading,
        subtitle: &with_note(amounts(before, after) + " · widths are shares after", narrowed.note()),
        legend: swatches(),
        end,
        unit: comparison.unit,
        height: height(&narrowed.nodes),
        is_upward: presentation.upward,
    };
    picture.write_begin(&mut writer)?;
    let y = if presentation.upward { picture.height - ROW } else { 0 };
    let all = comparison.change(comparison.sums);
    let frame = Frame {
        name: ALL,
        about: &comparison.about(comparison.sums, [all, all]),
        start: 0,
        length: end,
        y,
        color: UNCHANGED,
        own_color: Some(UNCHANGED),
        is_gone: false,
    };
    picture.write_frame(&mut writer, &frame)?;
    let largest = [0, 1].map(|which| largest(changes.iter().map(|both| both[which])));
    for (at, Corner { start, y }) in corners.into_iter().enumerate() {
        let (node, total) = (&narrowed.nodes[at], totals[at]);
        if total.drawn == 0 {
            continue;
        }
        let [color, own_color] = [0, 1].map(|which| color_of(changes[at][which], largest[which]));
        let frame = Frame {
            name: name(node.label),
            about: &comparison.about(total, changes[at]),
            start,
            length: total.drawn,
            y,
            color,
            own_color: Some(own_color),
            is_gone: total.now == 0,
        };
        picture.write_frame(&mut writer, &frame)?;
    }
    picture.write_end(&mut writer)?;
    writer.flush()
}

/// The colour of a change, the stronger the nearer to the largest difference.
fn color_of(change: Change, largest: f64) -> [u8; 3] {
    if !change.is_significant {
        return UNCHANGED;
    }
    let strength = (0.2 + 0.8 * change.difference().abs() / largest).min(1.0);
    mixed(UNCHANGED, if change.difference() > 0.0 { GROWN } else { SHRUNK }, strength as f32)
}

fn largest(changes: impl Iterator<Item = Change>) -> f64 {
    changes.map(|change| change.difference().abs()).fold(STRONG, f64::max)
}

fn swatches() -> Vec<Swatch> {
    let swatch = |color, meaning| Swatch { color, meaning, is_gone: false };
    vec![
        swatch(GROWN, "has grown"),
        swatch(SHRUNK, "has shrunk"),
        swatch(UNCHANGED, "as before, but for the noise of sampling"),
        Swatch { color: SHRUNK, meaning: "gone", is_gone: true },
    ]
}

/// A frame of either tree.
struct Joint<'label> {
    label: &'label str,
    origin: Origin,
    depth: usize,
    own: Amounts,
    children: Vec<usize>,
}

/// The frames of both trees, in the order of their labels.
fn union<'label>([before, after]: &'label [LabelTree; 2], comparison: &Comparison) -> Vec<Node<'label>> {
    let mut joints: Vec<Joint<'label>> = vec![];
    let mut roots = vec![];
    let mut ids: HashMap<(Option<usize>, &str), usize> = HashMap::new();
    let mut add = |tree: &'label LabelTree, amounts: fn(u64) -> Amounts| {
        let mut path: Vec<usize> = vec![];
        for Step { label, depth, weight_us, .. } in tree.walk() {
            path.truncate(depth);
            let caller = path.last().copied();
            let id = *ids.entry((caller, &label.text)).or_insert_with(|| {
                let id = joints.len();
                caller.map_or(&mut roots, |caller| &mut joints[caller].children).push(id);
                let own = Amounts::default();
                joints.push(Joint { label: &label.text, origin: label.origin, depth, own, children: vec![] });
                id
            });
            joints[id].own.add(amounts(weight_us));
            path.push(id);
        }
    };
    add(before, |before| Amounts { before, ..Amounts::default() });
    add(after, Amounts::of_time);

    let mut nodes = vec![];
    let mut to_do = vec![];
    // The last one is taken first.
    let in_order = |mut some: Vec<usize>| {
        some.sort_by(|one, other| joints[*other].label.cmp(joints[*one].label));
        some
    };
    to_do.extend(in_order(roots));
    while let Some(id) = to_do.pop() {
        let Joint { label, origin, depth, own, ref children } = joints[id];
        nodes.push(Node { label, origin, depth, own });
        to_do.extend(in_order(children.clone()));
    }
    // What is gone has no time to make its width.
    let totals = widths(&nodes);
    for (node, total) in nodes.iter_mut().zip(totals) {
        if total.now == 0 {
            node.own.drawn = comparison.scaled(node.own.before);
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::collapsed;

    fn svg(before: &str, after: &str) -> String {
        let [before, after] = [before, after].map(|text| collapsed::read(text.as_bytes()).unwrap());
        let mut svg = vec![];
        write(&before, &after, &Presentation::default(), &mut svg).unwrap();
        String::from_utf8(svg).unwrap()
    }

    /// A frame's hover text, colours for all of it and for its own, width, and whether it is gone.
    struct Drawn {
        title: String,
        color: [u8; 3],
        own_color: [u8; 3],
        width: u64,
        is_gone: bool,
    }

    fn drawn(svg: &str) -> Vec<Drawn> {
        let document = roxmltree::Document::parse(svg).unwrap();
        let frames = document.descendants().filter(|node| node.attribute("data-x").is_some());
        let rgb = |hex: &str| [1, 3, 5].map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        frames
            .map(|frame| {
                let part = |name| frame.children().find(|node| node.tag_name().name() == name).unwrap();
                Drawn {
                    title: part("title").text().unwrap().to_owned(),
                    color: rgb(part("rect").attribute("fill").unwrap()),
                    own_color: rgb(frame.attribute("data-own").unwrap()),
                    width: frame.attribute("data-w").unwrap().parse().unwrap(),
                    is_gone: frame.attribute("class") == Some("frame gone"),
                }
            })
            .collect()
    }

    #[track_caller]
    fn find<'drawn>(frames: &'drawn [Drawn], name: &str) -> &'drawn Drawn {
        let found = frames.iter().find(|frame| frame.title.starts_with(&format!("{name} (")));
        found
            .unwrap_or_else(|| panic!("no {name} in {:?}", frames.iter().map(|frame| &frame.title).collect::<Vec<_>>()))
    }

    fn is_red([red, _, blue]: [u8; 3]) -> bool {
        red > blue + 20
    }

    fn is_blue([red, _, blue]: [u8; 3]) -> bool {
        blue > red + 20
    }

    #[test]
    fn what_grew_is_red_and_what_shrank_is_blue() {
        let frames = drawn(&svg("main;grows 100\nmain;shrinks 300\n", "main;grows 300\nmain;shrinks 100\n"));
        let grows = find(&frames, "grows");
        let points = "25.00% → 75.00%, +50.00 points";
        assert_eq!(grows.title, format!("grows ({points}; own {points}; 100 → 300 samples)"));
        assert!(is_red(grows.color) && is_red(grows.own_color));
        let shrinks = find(&frames, "shrinks");
        let points = "75.00% → 25.00%, -50.00 points";
        assert_eq!(shrinks.title, format!("shrinks ({points}; own {points}; 300 → 100 samples)"));
        assert!(is_blue(shrinks.color) && is_blue(shrinks.own_color));
        let main = find(&frames, "main");
        let all = "100.00% → 100.00%, 0.00 points; own 0.00% → 0.00%, 0.00 points";
        assert_eq!(main.title, format!("main ({all}; 400 → 400 samples)"));
        assert_eq!(main.color, UNCHANGED);
    }

    #[test]
    fn own_and_total_have_colours_of_their_own() {
        let frames = drawn(&svg("main;f 500\nmain;f;g 500\n", "main;f 900\nmain;f;g 100\n"));
        let f = find(&frames, "f");
        assert_eq!((f.color, is_red(f.own_color)), (UNCHANGED, true), "{}", f.title);
    }

    #[test]
    fn recordings_of_other_lengths_compare_by_share() {
        let frames = drawn(&svg("a 1000\nb 1000\n", "a 100\nb 100\n"));
        let points = "50.00% → 50.00%, 0.00 points";
        assert_eq!(find(&frames, "a").title, format!("a ({points}; own {points}; 1,000 → 100 samples)"));
    }

    #[test]
    fn a_difference_that_sampling_makes_has_no_colour() {
        let of_hundred = drawn(&svg("a 50\nb 50\n", "a 56\nb 44\n"));
        let a = find(&of_hundred, "a");
        assert_eq!((a.color, a.title.contains("+6.00 points, within noise")), (UNCHANGED, true), "{}", a.title);
        let of_many = drawn(&svg("a 5000\nb 5000\n", "a 5600\nb 4400\n"));
        let a = find(&of_many, "a");
        assert!(is_red(a.color) && !a.title.contains("noise"), "{}", a.title);
    }

    #[test]
    fn what_is_gone_is_drawn_as_wide_as_its_share_was() {
        let frames = drawn(&svg("main;gone;deep 50\nmain;stays 50\n", "main;new;deeper 200\nmain;stays 200\n"));
        let (gone, stays, new) = (find(&frames, "gone"), find(&frames, "stays"), find(&frames, "new"));
        assert!(gone.is_gone && find(&frames, "deep").is_gone && !stays.is_gone && !new.is_gone);
        assert_eq!((gone.width, stays.width, new.width), (200_000, 200_000, 200_000));
        assert_eq!(find(&frames, "all").width, 600_000);
        assert!(gone.title.starts_with("gone (gone, 50.00% → 0.00%, -50.00 points; own 0.00%"), "{}", gone.title);
        assert!(new.title.starts_with("new (new, 0.00% → 50.00%, +50.00 points;"), "{}", new.title);
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
        let frames = drawn(&svg(&stacks(1), &stacks(2)));
        assert!((1_000..20_000).contains(&frames.len()), "{} rectangles", frames.len());
        for (name, share) in [("main", "100.00%"), ("part0", "33.33%"), ("part2", "33.33%")] {
            assert!(find(&frames, name).title.contains(&format!("({share} → {share}, 0.00 points;")), "{name}");
        }
        assert!(frames.iter().any(|frame| frame.title.starts_with("… (")));
    }
}
