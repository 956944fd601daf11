//! An interactive flame graph in SVG: roots at the top, hover text, zoom by a click, search with regular expressions.
//!
//! Widths are times, exact to the microsecond; hover texts have milliseconds and shares, and what of it is a function's
//! own. Where only samples were counted, they have those.

use std::io::{self, BufWriter, Write};

use super::svg_picture::{Frame, Kind, Picture, ROW, legend, write_message};
use crate::output::Presentation;
use crate::output::color::{NEUTRAL, color};
use crate::output::heading::{no_samples, subtitle, title, with_note};
use crate::output::narrow::{JOINED, Node, narrowed, nodes, widths};
use crate::output::text::thousands;
use crate::output::tree::LabelTree;
use crate::profile::Profile;

/// The name of everything together.
pub(super) const ALL: &str = "all";

/// Writes `profile` as a flame graph.
///
/// # Errors
/// When `writer` fails.
pub fn write(profile: &Profile, presentation: &Presentation, writer: impl Write) -> io::Result<()> {
    let tree = LabelTree::new(profile, presentation);
    let narrowed = narrowed(nodes(&tree));
    let widths = widths(&narrowed.nodes);
    let (end, corners) = layout(&narrowed.nodes, presentation.upward);
    if end == 0 {
        return write_message(&title(profile), no_samples(profile), writer);
    }
    let mut writer = BufWriter::new(writer);
    let unit = if profile.metadata.is_time_known() { "ms" } else { "samples" };
    let picture = Picture {
        kind: Kind::Graph,
        title: &title(profile),
        subtitle: &with_note(subtitle(profile), narrowed.note()),
        legend: legend(narrowed.nodes.iter().filter(|node| node.label != JOINED).map(|node| node.origin)),
        end,
        unit,
        height: height(&narrowed.nodes),
        is_upward: presentation.upward,
    };
    picture.write_begin(&mut writer)?;
    let amount = |us: u64| format!("{} {unit}, {:.2}%", thousands(us), us as f64 * 100.0 / end as f64);
    let y = if presentation.upward { picture.height - ROW } else { 0 };
    let frame = Frame {
        name: ALL,
        about: &amount(end),
        start: 0,
        length: end,
        y,
        color: NEUTRAL,
        own_color: None,
        is_gone: false,
    };
    picture.write_frame(&mut writer, &frame)?;
    for ((node, width), corner) in narrowed.nodes.iter().zip(&widths).zip(&corners) {
        if width.drawn == 0 {
            continue;
        }
        let mut about = amount(width.now);
        if node.own.now > 0 && node.own.now < width.now {
            about += &format!("; own {}", amount(node.own.now));
        }
        picture.write_frame(
            &mut writer,
            &Frame {
                name: name(node.label),
                about: &about,
                start: corner.start,
                length: width.drawn,
                y: corner.y,
                color: if node.label == JOINED { NEUTRAL } else { color(node.label, node.origin) },
                own_color: None,
                is_gone: false,
            },
        )?;
    }
    picture.write_end(&mut writer)?;
    writer.flush()
}

/// What a frame is called; never nothing.
pub(super) fn name(label: &str) -> &str {
    if label.trim().is_empty() { "<unknown>" } else { label.trim() }
}

/// Where a frame is: from the left, in the unit of its width, and from the top, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Corner {
    pub(super) start: u64,
    pub(super) y: u64,
}

/// The height of all frames and of the one that stands for all, in pixels.
pub(super) fn height(nodes: &[Node<'_>]) -> u64 {
    ROW * (nodes.iter().map(|node| node.depth as u64 + 1).max().unwrap_or(0) + 1)
}

/// The width of all, and where each frame is: below its caller, or above it, after what that has called before; the
/// room that is left at the end is the caller's own.
pub(super) fn layout(nodes: &[Node<'_>], is_upward: bool) -> (u64, Vec<Corner>) {
    let widths = widths(nodes);
    let lowest = height(nodes).saturating_sub(ROW);
    // Where the next call of each frame begins that may have more; the first stands for all.
    let mut next = vec![0u64];
    let corners = nodes
        .iter()
        .zip(&widths)
        .map(|(node, width)| {
            next.truncate(node.depth + 1);
            let start = next.last().copied().unwrap_or(0);
            if let Some(next) = next.last_mut() {
                *next = next.saturating_add(width.drawn);
            }
            next.push(start);
            let y = ROW * (node.depth as u64 + 1);
            Corner { start, y: if is_upward { lowest - y } else { y } }
        })
        .collect();
    let roots = nodes.iter().zip(&widths).filter(|(node, _)| node.depth == 0);
    (roots.fold(0u64, |sum, (_, width)| sum.saturating_add(width.drawn)), corners)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::output::test_profiles;
    use crate::output::text::printable;
    use crate::profile::{Flags, Keep};

    fn svg(profile: &Profile, presentation: Presentation) -> String {
        let mut bytes = vec![];
        write(profile, &presentation, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn parse(svg: &str) -> roxmltree::Document<'_> {
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        roxmltree::Document::parse_with_options(svg, options).unwrap()
    }

    fn texts(svg: &str, tag: &str) -> Vec<String> {
        let document = parse(svg);
        let nodes = document.descendants().filter(|node| node.has_tag_name(tag) || node.tag_name().name() == tag);
        nodes.map(|node| node.text().unwrap_or_default().to_owned()).collect()
    }

    /// The rows of the frames with their hover texts, from the top.
    fn rows(svg: &str) -> Vec<(u64, String)> {
        let document = parse(svg);
        let frames = document.descendants().filter(|node| node.attribute("class") == Some("frame"));
        let row = |frame: roxmltree::Node<'_, '_>| {
            let part = |name| frame.children().find(|node| node.tag_name().name() == name).unwrap();
            let y = part("rect").attribute("y").unwrap().parse::<u64>().unwrap();
            (y, part("title").text().unwrap().to_owned())
        };
        let mut rows: Vec<_> = frames.map(row).collect();
        rows.sort();
        rows
    }

    #[test]
    fn hover_texts_have_milliseconds_and_share_and_what_of_it_is_own() {
        let svg = svg(&test_profiles::usual(Keep::default()), Presentation::default());
        let titles = texts(&svg, "title");
        for expected in [
            "all (25,000 ms, 100.00%)",
            "<module> (prog.py:16) (6,000 ms, 24.00%)",
            "spin (prog.py:5) (8,000 ms, 32.00%)",
            "dumps (__init__.py:12) (1,000 ms, 4.00%)",
            "fib (child.py:3) (10,000 ms, 40.00%; own 5,000 ms, 20.00%)",
        ] {
            assert!(titles.iter().any(|title| title == expected), "{expected} not in {titles:#?}");
        }
        let shown = texts(&svg, "text");
        assert!(shown.contains(&"python3 prog.py --all and python3 child.py".to_owned()), "{shown:?}");
        let subtitle = "pids 100 and 101 · 100 samples/s · 2500 samples · 10 s";
        assert!(shown.contains(&subtitle.to_owned()), "{shown:?}");
    }

    #[test]
    fn samples_are_named_where_samples_were_counted() {
        let counted = crate::output::collapsed::read(&b"a;b 450\na 50\n"[..]).unwrap();
        let titles = texts(&svg(&counted, Presentation::default()), "title");
        assert_eq!(
            titles[1..],
            [
                "all (500 samples, 100.00%)",
                "a (500 samples, 100.00%; own 50 samples, 10.00%)",
                "b (450 samples, 90.00%)"
            ]
        );
    }

    #[test]
    fn roots_are_at_the_top_or_at_the_bottom_on_wish() {
        let profile = test_profiles::usual(Keep::default());
        let down = rows(&svg(&profile, Presentation::default()));
        let up = rows(&svg(&profile, Presentation { upward: true, ..Presentation::default() }));
        assert!(down[0].1.starts_with("all (") && up[up.len() - 1].1.starts_with("all ("), "{down:?} {up:?}");
        let sum = down[0].0 + up[up.len() - 1].0;
        let mut turned: Vec<_> = up.into_iter().map(|(y, title)| (sum - y, title)).collect();
        turned.sort();
        assert_eq!(down, turned, "else they are the same");
    }

    #[test]
    fn the_legend_has_the_colours_that_there_are() {
        let legend = |svg: &str| -> Vec<String> {
            let document = parse(svg);
            let notes = document.descendants().filter(|node| node.attribute("class") == Some("note"));
            notes.map(|node| node.text().unwrap().to_owned()).collect()
        };
        let profile = test_profiles::usual(Keep::default());
        let plain = svg(&profile, Presentation::default());
        assert_eq!(legend(&plain), ["own code", "packages", "standard library"]);
        let threads = svg(&profile, Presentation { threads: true, ..Presentation::default() });
        assert_eq!(legend(&threads).last().unwrap(), "no code: threads, processes, …");
    }

    #[test]
    fn a_frame_is_one_rectangle_whatever_its_neighbours_are_called() {
        let mut profile = Profile::default();
        let process = test_profiles::process(&mut profile, 1, None, "");
        let thread = test_profiles::thread(&mut profile, process, 1, None);
        let [a, a_more, b] = ["a", "a! x", "b"].map(|name| test_profiles::python(&mut profile, name, "", 0));
        for frames in [vec![a], vec![a, b], vec![a_more], vec![a_more, a], vec![a, a]] {
            let stack = test_profiles::stack(&mut profile, &frames);
            profile.add_sample(thread, stack, 0, 5_000, Flags::NONE);
        }
        let rows = rows(&svg(&profile, Presentation::default()));
        let expected = [
            (94, "all (25 samples, 100.00%)"),
            (110, "a (15 samples, 60.00%; own 5 samples, 20.00%)"),
            (110, "a! x (10 samples, 40.00%; own 5 samples, 20.00%)"),
            (126, "a (5 samples, 20.00%)"),
            (126, "a (5 samples, 20.00%)"),
            (126, "b (5 samples, 20.00%)"),
        ];
        assert_eq!(rows, expected.map(|(y, title)| (y, title.to_owned())));
    }

    #[test]
    fn hostile_names_give_well_formed_xml_that_shows_them() {
        let svg = svg(
            &test_profiles::hostile(Keep::default()),
            Presentation { threads: true, processes: true, ..Presentation::default() },
        );
        let titles = texts(&svg, "title");
        for name in test_profiles::HOSTILE {
            let shown = printable(name).trim().replace(';', ":");
            assert!(titles.iter().any(|title| title.contains(&shown)), "{shown} not in {titles:#?}");
        }
        // 34 frames, processes and threads of 17 names, the root, and nothing that a name could have added.
        let scripts = texts(&svg, "script").len();
        assert_eq!(scripts, 1);
        let total: Vec<_> = titles.iter().filter(|title| title.starts_with("all (51,000 ms")).collect();
        assert_eq!(total.len(), 1, "{titles:#?}");
    }

    #[test]
    fn own_code_and_libraries_have_colours_of_their_own() {
        let svg = svg(&test_profiles::usual(Keep::default()), Presentation::default());
        let document = parse(&svg);
        let mut colors = HashMap::new();
        for group in document.descendants().filter(|node| node.tag_name().name() == "g") {
            let part = |name| group.children().find(|node| node.tag_name().name() == name);
            if let (Some(title), Some(rect)) = (part("title"), part("rect")) {
                let name = title.text().unwrap_or_default().split(' ').next().unwrap_or_default().to_owned();
                let fill = rect.attribute("fill").unwrap();
                let part = |at: usize| u8::from_str_radix(&fill[at..at + 2], 16).unwrap();
                colors.insert(name, [part(1), part(3), part(5)]);
            }
        }
        assert!(colors["spin"][0] > colors["spin"][2] + 50, "own code is warm: {colors:?}");
        assert!(colors["dumps"][2] > colors["dumps"][0], "packages are blue: {colors:?}");
        assert!(colors["Thread.run"][1] > colors["Thread.run"][2] + 50, "the library is green: {colors:?}");
    }

    #[test]
    fn a_profile_without_samples_is_a_picture_that_says_so() {
        let mut profile = Profile::default();
        profile.metadata.command = "a <b> & c".to_owned();
        let svg = svg(&profile, Presentation::default());
        assert_eq!(texts(&svg, "text"), ["a <b> & c", "no samples"]);
        profile.metadata.duration_us = 1_000_000;
        let why = "no samples: no thread was seen to run (--idle shows idle threads too)";
        assert_eq!(texts(&self::svg(&profile, Presentation::default()), "text")[1], why);
        assert!(svg.contains("prefers-color-scheme"), "a dark page stays dark");
    }

    #[test]
    fn deep_recursion_is_drawn_within_bounds() {
        let mut profile = Profile::default();
        let process = test_profiles::process(&mut profile, 1, None, "");
        let thread = test_profiles::thread(&mut profile, process, 1, None);
        let deep = test_profiles::python(&mut profile, "recursive", "/a.py", 3);
        let mut stack = crate::profile::StackId::EMPTY;
        for _ in 0..20_000 {
            stack = profile.push(stack, deep);
            profile.add_sample(thread, stack, 0, 1_000, Flags::NONE);
        }
        let svg = svg(&profile, Presentation::default());
        assert!(svg.len() < 6 << 20, "{} bytes", svg.len());
        let rows = rows(&svg);
        assert!(rows.len() > 10_000, "{} rows", rows.len());
        let below: Vec<u64> = rows.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(below.iter().all(|distance| *distance == ROW), "each is below the one before");
        let deepest = rows.len() as u64 - 2;
        let left_out = format!("… ({} samples, ", thousands((20_000 - deepest) * 1_000));
        assert!(rows[rows.len() - 1].1.starts_with(&left_out), "{left_out} {:?}", rows.last());
    }

    #[test]
    fn many_stacks_are_a_small_picture_whose_sums_are_right() {
        let mut profile = Profile::default();
        let process = test_profiles::process(&mut profile, 1, None, "");
        let thread = test_profiles::thread(&mut profile, process, 1, None);
        let frames: Vec<_> =
            (0..60).map(|at| test_profiles::python(&mut profile, &format!("f{at}"), "/m.py", 1)).collect();
        let main = test_profiles::python(&mut profile, "main", "/m.py", 1);
        let wide = test_profiles::python(&mut profile, "wide", "/m.py", 1);
        profile.metadata.rate_asked = 100.0;
        let mut next = 1u64;
        for _ in 0..6_000 {
            let mut stack = profile.push(crate::profile::StackId::EMPTY, main);
            for _ in 0..40 {
                next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                stack = profile.push(stack, frames[(next >> 33) as usize % 60]);
            }
            profile.add_sample(thread, stack, 0, 10_000, Flags::NONE);
        }
        let stack = test_profiles::stack(&mut profile, &[main, wide]);
        profile.add_run(crate::profile::Run {
            thread,
            stack,
            flags: Flags::NONE,
            start_us: 0,
            weight_us: 20_000_000,
            samples: 2_000,
        });
        let svg = svg(&profile, Presentation::default());
        assert!(svg.len() < 6 << 20, "{} bytes", svg.len());
        let titles = texts(&svg, "title");
        assert!(titles.len() > 3_000, "{} rectangles", titles.len());
        for title in ["all (80,000 ms, 100.00%)", "main (m.py:1) (80,000 ms, 100.00%)"] {
            assert!(titles.iter().any(|found| found == title), "{title}");
        }
        assert!(titles.iter().any(|found| found == "wide (m.py:1) (20,000 ms, 25.00%)"));
        assert!(titles.iter().any(|title| title.starts_with("… (")), "what is left out has its width");
        let legend = texts(&svg, "text").into_iter().find(|text| text.contains("samples/s")).unwrap();
        assert!(legend.contains("… joins frames below 0.01"), "{legend}");
    }
}
