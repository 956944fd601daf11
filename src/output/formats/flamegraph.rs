//! An interactive flame graph in SVG, drawn by inferno: hover text, zoom by a click, search with regular expressions.
//!
//! Widths are times, exact to the microsecond; hover texts count them in sampling intervals, called samples.

use std::io::{self, Write};

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{Options, TextTruncateDirection};

use crate::output::Presentation;
use crate::output::color::{NEUTRAL, color};
use crate::output::heading::{subtitle, title, with_legend};
use crate::output::narrow::{JOINED, Node, narrowed, nodes};
use crate::output::text::xml;
use crate::output::tree::LabelTree;
use crate::profile::Profile;

/// All lines that are handed to inferno, in bytes; it needs them at once. Past it, inner frames of deep stacks become
/// one `…`.
const MAX_LINES: usize = 128 << 20;

/// Writes `profile` as a flame graph.
///
/// # Errors
/// When `writer` fails.
pub fn write(profile: &Profile, presentation: &Presentation, writer: impl Write) -> io::Result<()> {
    let tree = LabelTree::new(profile, presentation);
    let narrowed = narrowed(nodes(&tree));
    let mut lines = lines(&narrowed.nodes, 1);
    if lines.is_empty() {
        return write_message(&title(&profile.metadata), "no samples", writer);
    }
    // In the order of a flame chart inferno takes the lines as they are, last first: siblings stay together whatever
    // their names hold, which its own sorting of whole lines does not promise.
    lines.reverse();
    let mut palette = PaletteMap::default();
    for label in tree.labels() {
        palette.insert(inferno_label(&label.text), inferno_color(color(&label.text, label.origin)));
    }
    // The root has no name for inferno.
    for no_code in ["", JOINED] {
        palette.insert(no_code, inferno_color(NEUTRAL));
    }
    let mut options = Options::default();
    options.bgcolors = Some(BackgroundColor::Flat(inferno_color([252, 252, 250])));
    options.flame_chart = true;
    options.palette_map = Some(&mut palette);
    options.title = title(&profile.metadata);
    options.subtitle = Some(with_legend(subtitle(profile), narrowed.legend()));
    options.count_name = "samples".to_owned();
    options.factor = 1.0 / profile.metadata.interval_us();
    options.text_truncate_direction = TextTruncateDirection::Right;
    inferno::flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), writer)
}

/// One line for each stack that has time of its own, counted in units of `unit_us` µs. Of stacks too deep, what lies
/// below the last frame that fits is one line.
pub(super) fn lines(nodes: &[Node<'_>], unit_us: u64) -> Vec<String> {
    let mut deepest = usize::MAX;
    while lines_size(nodes, deepest) > MAX_LINES {
        deepest = if deepest == usize::MAX { 1 << 14 } else { deepest / 2 };
    }
    let mut lines = vec![];
    let mut put = |path: &str, is_cut: bool, weight_us: u64| {
        if weight_us > 0 {
            let count = (weight_us.saturating_add(unit_us / 2) / unit_us).max(1);
            lines.push(if is_cut { format!("{path};{JOINED} {count}") } else { format!("{path} {count}") });
        }
    };
    let mut path = String::new();
    let mut ends: Vec<usize> = vec![];
    let mut cut_us: u64 = 0;
    for node in nodes {
        if node.depth >= deepest {
            cut_us = cut_us.saturating_add(node.own);
            continue;
        }
        put(&path, true, std::mem::take(&mut cut_us));
        ends.truncate(node.depth);
        path.truncate(ends.last().copied().unwrap_or(0));
        if !path.is_empty() {
            path.push(';');
        }
        path.push_str(&inferno_label(node.label));
        ends.push(path.len());
        put(&path, false, node.own);
    }
    put(&path, true, cut_us);
    lines
}

/// About what [`lines`] takes with stacks cut at `deepest` frames.
fn lines_size(nodes: &[Node<'_>], deepest: usize) -> usize {
    let mut size = 0usize;
    let mut ends: Vec<usize> = vec![];
    for node in nodes {
        // Below, there is one line for many.
        if node.depth > deepest {
            continue;
        }
        ends.truncate(node.depth);
        let end = ends.last().copied().unwrap_or(0) + node.label.len() + 1;
        ends.push(end);
        if node.own > 0 || node.depth == deepest {
            size = size.saturating_add(end + 40);
        }
    }
    size
}

/// A label that inferno reads as one frame: it takes a number after a space at the end of a line for a count, and a
/// line that begins with `# ` for a comment. The space becomes one that does not break lines, which looks the same.
fn inferno_label(label: &str) -> String {
    let mut safe = label.trim().to_owned();
    if safe.starts_with("# ") {
        safe.replace_range(1..2, "\u{a0}");
    }
    if let Some(space) = safe.rfind(' ')
        && safe[space + 1..].chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        safe.replace_range(space..=space, "\u{a0}");
    }
    if safe.is_empty() { "<unknown>".to_owned() } else { safe }
}

pub(super) fn inferno_color([r, g, b]: [u8; 3]) -> Color {
    Color { r, g, b }
}

/// A picture that only says something.
pub(super) fn write_message(title: &str, message: &str, mut writer: impl Write) -> io::Result<()> {
    let title = xml(title);
    writeln!(
        writer,
        "<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"no\"?>\n\
         <svg version=\"1.1\" width=\"1200\" height=\"90\" viewBox=\"0 0 1200 90\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fcfcfa\"/>\n\
         <g font-family=\"monospace\" text-anchor=\"middle\">\n\
         <text x=\"600\" y=\"34\" font-size=\"17\">{title}</text>\n\
         <text x=\"600\" y=\"64\" font-size=\"12\">{message}</text>\n\
         </g>\n</svg>"
    )?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::output::samples;
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

    #[test]
    fn hover_texts_have_count_and_share() {
        let svg = svg(&samples::usual(Keep::default()), Presentation::default());
        let titles = texts(&svg, "title");
        for expected in [
            "all (2,500 samples, 100%)",
            "<module> (prog.py:16) (600 samples, 24.00%)",
            "spin (prog.py:5) (800 samples, 32.00%)",
            "dumps (__init__.py:12) (100 samples, 4.00%)",
        ] {
            assert!(titles.iter().any(|title| title == expected), "{expected} not in {titles:#?}");
        }
        let shown = texts(&svg, "text");
        assert!(shown.contains(&"python3 prog.py --all".to_owned()), "{shown:?}");
        assert!(shown.contains(&"pid 100 · 100 samples/s · 2500 samples · 10 s".to_owned()), "{shown:?}");
    }

    #[test]
    fn a_frame_is_one_rectangle_whatever_its_neighbours_are_called() {
        let mut profile = Profile::default();
        let process = samples::process(&mut profile, 1, None, "");
        let thread = samples::thread(&mut profile, process, 1, None);
        let [a, a_more, b] = ["a", "a! x", "b"].map(|name| samples::python(&mut profile, name, "", 0));
        for frames in [vec![a], vec![a, b], vec![a_more], vec![a_more, a], vec![a, a]] {
            let stack = samples::stack(&mut profile, &frames);
            profile.add_sample(thread, stack, 0, 5_000, Flags::NONE);
        }
        let titles = texts(&svg(&profile, Presentation::default()), "title");
        let expected =
            ["a (15 samples, 60.00%)", "a (5 samples, 20.00%)", "b (5 samples, 20.00%)", "a! x (10 samples, 40.00%)"];
        for title in expected {
            assert!(titles.iter().any(|found| found == title), "{title} not in {titles:?}");
        }
        assert_eq!(titles.len(), 6);
    }

    #[test]
    fn hostile_names_give_well_formed_xml_that_shows_them() {
        let svg = svg(
            &samples::hostile(Keep::default()),
            Presentation { threads: true, processes: true, ..Presentation::default() },
        );
        let titles = texts(&svg, "title");
        for name in samples::HOSTILE {
            let shown = printable(name).trim().replace(';', ":");
            assert!(titles.iter().any(|title| title.contains(&shown)), "{shown} not in {titles:#?}");
        }
        // 34 frames, processes and threads of 17 names, the root, and nothing that a name could have added.
        let scripts = texts(&svg, "script").len();
        assert_eq!(scripts, 1);
        let total: Vec<_> = titles.iter().filter(|title| title.starts_with("all (5,100 samples")).collect();
        assert_eq!(total.len(), 1, "no line may be misread: {titles:#?}");
    }

    #[test]
    fn own_code_and_libraries_have_colours_of_their_own() {
        let svg = svg(&samples::usual(Keep::default()), Presentation::default());
        let document = parse(&svg);
        let mut colors = HashMap::new();
        for group in document.descendants().filter(|node| node.tag_name().name() == "g") {
            let part = |name| group.children().find(|node| node.tag_name().name() == name);
            if let (Some(title), Some(rect)) = (part("title"), part("rect")) {
                let name = title.text().unwrap_or_default().split(' ').next().unwrap_or_default().to_owned();
                let fill = rect.attribute("fill").unwrap();
                let parts =
                    fill[4..fill.len() - 1].split(',').map(|part| part.parse::<u8>().unwrap()).collect::<Vec<_>>();
                colors.insert(name, parts);
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
    }

    #[test]
    fn deep_recursion_is_drawn_within_bounds() {
        let mut profile = Profile::default();
        let process = samples::process(&mut profile, 1, None, "");
        let thread = samples::thread(&mut profile, process, 1, None);
        let deep = samples::python(&mut profile, "recursive", "/a.py", 3);
        let mut stack = crate::profile::StackId::EMPTY;
        for _ in 0..20_000 {
            stack = profile.push(stack, deep);
            profile.add_sample(thread, stack, 0, 1_000, Flags::NONE);
        }
        let tree = LabelTree::new(&profile, &Presentation::default());
        let lines = lines(&nodes(&tree), 1);
        let bytes: usize = lines.iter().map(String::len).sum();
        assert!(bytes < MAX_LINES, "{bytes}");
        let deepest = lines.len() - 1;
        assert!(deepest >= 2_000, "only {deepest} frames");
        let cut = lines.last().unwrap();
        assert_eq!(cut.rsplit(';').next().unwrap(), format!("… {}", (20_000 - deepest) * 1_000));
        let svg = svg(&profile, Presentation::default());
        assert!(texts(&svg, "title")[0].len() < 100 && svg.len() < 4 << 20, "{} bytes", svg.len());
    }

    #[test]
    fn many_stacks_are_a_small_picture_whose_sums_are_right() {
        let mut profile = Profile::default();
        let process = samples::process(&mut profile, 1, None, "");
        let thread = samples::thread(&mut profile, process, 1, None);
        let frames: Vec<_> = (0..60).map(|at| samples::python(&mut profile, &format!("f{at}"), "/m.py", 1)).collect();
        let main = samples::python(&mut profile, "main", "/m.py", 1);
        let wide = samples::python(&mut profile, "wide", "/m.py", 1);
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
        let stack = samples::stack(&mut profile, &[main, wide]);
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
        for title in ["all (8,000 samples, 100%)", "main (m.py:1) (8,000 samples, 100.00%)"] {
            assert!(titles.iter().any(|found| found == title), "{title}");
        }
        assert!(titles.iter().any(|found| found == "wide (m.py:1) (2,000 samples, 25.00%)"));
        assert!(titles.iter().any(|title| title.starts_with("… (")), "what is left out has its width");
        let legend = texts(&svg, "text").into_iter().find(|text| text.contains("samples/s")).unwrap();
        assert!(legend.contains("… joins frames below 0.01"), "{legend}");
    }
}
