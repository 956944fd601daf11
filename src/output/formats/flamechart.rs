//! A flame chart in SVG: time runs from left to right, calls hang below their callers, one lane for each thread, as the
//! performance tools of browsers draw it.
//!
//! Hover texts have the length and the begin of a call; a click zooms to it, dragging and the wheel to a stretch of
//! time; search takes regular expressions. Calls too short to be seen are drawn together with their neighbours, so a
//! long recording is a picture of bounded size.

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};

use super::svg_picture::{Frame, Kind, Picture, ROW, legend, time, write_message};
use crate::output::Presentation;
use crate::output::color::{NEUTRAL, color};
use crate::output::heading::{no_samples, subtitle, title, with_note};
use crate::output::place::{PlaceId, Places, process_label, sampled_threads, thread_label, thread_name};
use crate::output::runs::{Call, Edge, calls};
use crate::profile::{Profile, ThreadRef};

/// The heights of a lane's name and of the room below it, in pixels.
const HEADER: u64 = 20;
const GAP: u64 = 10;
/// The narrowest call drawn, as a part of the whole width: less than a tenth of a pixel, so that there is something to
/// zoom into.
const NARROWEST: u64 = 20_000;
/// Blocks drawn, each of some 300 bytes; with more, longer calls are drawn together.
const MAX_BLOCKS: usize = 15_000;
/// By how much longer, each time that there are still too many.
const LONGER: u64 = 2;
/// Calls drawn below each other; deeper ones are left out.
const MAX_ROWS: usize = 2_000;

/// Writes `profile` as a flame chart. It should have its timeline.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write(profile: &Profile, presentation: &Presentation, writer: impl Write) -> io::Result<()> {
    // Each thread has a lane with its name, so its stacks need no marker.
    let places = Places::new(profile, &Presentation { threads: false, processes: false, ..*presentation });
    let (lanes, narrowest_us) = lanes(profile, &places)?;
    if lanes.is_empty() {
        return write_message(&title(profile), no_samples(profile), writer);
    }
    let is_joined = |lane: &Lane| lane.blocks.iter().any(|block| block.calls > 1) || lane.is_cut;
    let note = lanes.iter().any(is_joined).then(|| format!("calls below {} joined", time(narrowest_us)));
    let drawn: HashSet<PlaceId> =
        lanes.iter().flat_map(|lane| lane.blocks.iter().filter_map(|block| block.place)).collect();
    let picture = Picture {
        kind: Kind::Chart,
        title: &title(profile),
        subtitle: &with_note(subtitle(profile), note),
        legend: legend(drawn.into_iter().map(|place| places.get(place).origin)),
        end: lanes.iter().map(|lane| lane.end_us).max().unwrap_or(0).max(1),
        unit: "ms",
        height: lanes.iter().map(Lane::height).sum::<u64>(),
        is_upward: presentation.upward,
    };
    let mut writer = BufWriter::new(writer);
    picture.write_begin(&mut writer)?;
    let mut y = 0;
    for lane in &lanes {
        write_lane(&mut writer, &picture, profile, &places, lane, y)?;
        y += lane.height();
    }
    picture.write_end(&mut writer)?;
    writer.flush()
}

/// What is drawn of one thread.
struct Lane {
    thread: ThreadRef,
    blocks: Vec<Block>,
    end_us: u64,
    rows: u64,
    /// Something is not drawn at all.
    is_cut: bool,
}

/// What is drawn of all threads, and the length below which calls are drawn together, µs.
fn lanes(profile: &Profile, places: &Places<'_>) -> io::Result<(Vec<Lane>, u64)> {
    let mut narrowest_us = (profile.metadata.duration_us / NARROWEST).max(1);
    loop {
        let threads = sampled_threads(profile).into_iter();
        let mut lanes: Vec<Lane> =
            threads.map(|thread| Lane::new(profile, places, thread, narrowest_us)).collect::<io::Result<_>>()?;
        let blocks: usize = lanes.iter().map(|lane| lane.blocks.len()).sum();
        let longest_us = lanes.iter().map(|lane| lane.end_us).max().unwrap_or(0);
        if blocks <= MAX_BLOCKS || narrowest_us > longest_us {
            // What is left is deep, or of many threads.
            drop_shortest(&mut lanes);
            return Ok((lanes, narrowest_us));
        }
        narrowest_us = narrowest_us.saturating_mul(LONGER);
    }
}

/// A call, or several short ones side by side.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// `None` when calls of several functions are drawn as one.
    place: Option<PlaceId>,
    start_us: u64,
    end_us: u64,
    depth: usize,
    calls: u64,
}

impl Block {
    fn length_us(&self) -> u64 {
        self.end_us - self.start_us
    }
}

impl Lane {
    /// Calls shorter than `narrowest_us` are drawn together with their neighbours.
    fn new(profile: &Profile, places: &Places<'_>, thread: ThreadRef, narrowest_us: u64) -> io::Result<Self> {
        let mut is_cut = false;
        let mut blocks = vec![];
        // At each depth, the short calls that wait for neighbours.
        let mut short: Vec<Option<Block>> = vec![];
        let mut last_us = 0;
        calls(profile, places, thread, |edge| {
            let Edge::End(Call { place, start_us, depth }, end_us) = edge else { return Ok(()) };
            last_us = end_us;
            if depth >= MAX_ROWS {
                is_cut = true;
                return Ok(());
            }
            if depth >= short.len() {
                short.resize(depth + 1, None);
            }
            let block = Block { place: Some(place), start_us, end_us, depth, calls: 1 };
            let waiting = &mut short[depth];
            if block.length_us() >= narrowest_us {
                blocks.extend(waiting.take());
                blocks.push(block);
                return Ok(());
            }
            match waiting {
                Some(waiting) if start_us - waiting.end_us < narrowest_us => {
                    waiting.end_us = end_us;
                    waiting.calls += 1;
                    waiting.place = waiting.place.filter(|waiting| *waiting == place);
                }
                _ => blocks.extend(waiting.replace(block)),
            }
            Ok(())
        })?;
        blocks.extend(short.into_iter().flatten());
        let rows = blocks.iter().map(|block| block.depth as u64 + 1).max().unwrap_or(0);
        Ok(Self { thread, blocks, end_us: last_us, rows, is_cut })
    }

    fn height(&self) -> u64 {
        HEADER + ROW * self.rows + GAP
    }
}

/// Keeps the longest blocks when there are more than can be drawn; of blocks as long as each other, those nearest to
/// the top.
fn drop_shortest(lanes: &mut [Lane]) {
    let order = |block: &Block| (std::cmp::Reverse(block.length_us()), block.depth);
    let mut all: Vec<_> = lanes.iter().flat_map(|lane| lane.blocks.iter().map(order)).collect();
    if all.len() <= MAX_BLOCKS {
        return;
    }
    all.sort_unstable();
    let first_dropped = all[MAX_BLOCKS];
    for lane in lanes {
        let before = lane.blocks.len();
        lane.blocks.retain(|block| order(block) < first_dropped);
        lane.is_cut |= lane.blocks.len() < before;
        lane.rows = lane.blocks.iter().map(|block| block.depth as u64 + 1).max().unwrap_or(0);
    }
}

/// Writes what one thread did, `top` pixels below the head.
fn write_lane(
    writer: &mut impl Write,
    picture: &Picture<'_>,
    profile: &Profile,
    places: &Places<'_>,
    lane: &Lane,
    top: u64,
) -> io::Result<()> {
    let thread = profile.thread(lane.thread);
    let mut header = thread_label(profile, thread);
    // Of tasks that have a lane together.
    let counter = profile.counters().iter().find(|counter| {
        counter.process == thread.process && Some(counter.name) == thread.name && thread.os_id.is_none()
    });
    if let Some(counter) = counter {
        let most = counter.points.iter().map(|(_, count)| *count).max().unwrap_or(0);
        header = format!("{}, {most} at a time at most", thread_name(profile, thread));
    }
    if profile.processes().count() > 1 {
        header = format!("{} {header}", process_label(profile, profile.process(thread.process)));
    }
    writeln!(writer, "<g>")?;
    picture.write_heading(writer, top + 14, &header)?;
    for block in &lane.blocks {
        let (name, color) = match block.place {
            Some(place) => {
                let place = places.get(place);
                (place.function_label(), color(&place.name, place.origin))
            }
            None => (format!("{} short calls", block.calls), NEUTRAL),
        };
        let share = block.length_us() as f64 * 100.0 / picture.end as f64;
        let row = if picture.is_upward { lane.rows - 1 - block.depth as u64 } else { block.depth as u64 };
        let frame = Frame {
            name: &name,
            about: &format!("{}, {share:.2}%, at {}", time(block.length_us()), time(block.start_us)),
            start: block.start_us,
            length: block.length_us(),
            y: top + HEADER + ROW * row,
            color,
            own_color: None,
            is_gone: false,
        };
        picture.write_frame(writer, &frame)?;
    }
    writeln!(writer, "</g>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_profiles;
    use crate::profile::{Flags, Keep, StackId};

    #[test]
    fn many_short_calls_are_a_small_picture_that_says_so() {
        let mut profile = Profile::new(Keep { timeline: true, ..Keep::default() });
        let process = test_profiles::process(&mut profile, 1, None, "");
        let thread = test_profiles::thread(&mut profile, process, 1, None);
        let frames: Vec<_> =
            (0..60).map(|at| test_profiles::python(&mut profile, &format!("f{at}"), "/m.py", 1)).collect();
        let main = test_profiles::python(&mut profile, "main", "/m.py", 1);
        let (ticks, mut next) = (8_000u64, 1u64);
        for tick in 1..=ticks {
            let mut stack = profile.push(StackId::EMPTY, main);
            for _ in 0..40 {
                next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                stack = profile.push(stack, frames[(next >> 33) as usize % 60]);
            }
            profile.add_sample(thread, stack, tick * 1_000, 1_000, Flags::NONE);
        }
        profile.metadata.duration_us = ticks * 1_000;
        let mut svg = vec![];
        write(&profile, &Presentation::default(), &mut svg).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        let rectangles = svg.matches("<rect").count();
        assert!((42..=MAX_BLOCKS + 10).contains(&rectangles), "{rectangles} rectangles");
        assert!(svg.contains("main (m.py:1) (8.000 s, 100.00%"), "callers stay");
        assert!(svg.contains(" short calls ("), "what is joined is drawn");
        let legend = svg.lines().find(|line| line.contains("id=\"subtitle\"")).unwrap();
        assert!(legend.contains(" · calls below ") && legend.contains(" joined"), "{legend}");
    }
}
