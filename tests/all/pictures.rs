//! Pictures of real programs: their numbers are those of the raw format, and two of the same program are alike.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::recording::stacks;
use crate::running::{any, chosen};
use crate::target::{Target, alone_on_this_machine, pyspy};

/// A frame of a picture.
struct Frame {
    name: String,
    about: String,
    start: u64,
    length: u64,
    y: u64,
}

/// The frames of a flame graph, callers before what they call.
fn frames(svg: &str) -> Vec<Frame> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let groups = document.descendants().filter(|node| node.attribute("data-x").is_some());
    let mut frames: Vec<Frame> = groups
        .map(|group| {
            let part = |name| group.children().find(|node| node.tag_name().name() == name).unwrap();
            let number = |name| group.attribute(name).unwrap().parse().unwrap();
            let (name, about) = part("title").text().unwrap().rsplit_once(" (").unwrap();
            Frame {
                name: name.to_owned(),
                about: about.strip_suffix(')').unwrap().to_owned(),
                start: number("data-x"),
                length: number("data-w"),
                y: part("rect").attribute("y").unwrap().parse().unwrap(),
            }
        })
        .collect();
    frames.sort_by_key(|frame| (frame.y, frame.start));
    frames
}

/// The names of the frames above one and its own, without the one that stands for all.
fn path(frames: &[Frame], frame: &Frame) -> Vec<String> {
    let end = frame.start + frame.length;
    let is_caller = |one: &&Frame| one.y <= frame.y && one.start <= frame.start && end <= one.start + one.length;
    frames.iter().filter(is_caller).map(|one| one.name.clone()).skip(1).collect()
}

fn milliseconds(text: &str) -> f64 {
    text.split_once(" ms, ").unwrap_or_else(|| panic!("{text:?}")).0.replace(',', "").parse().unwrap()
}

/// Records to a file from which all formats are made.
#[track_caller]
fn record(folder: &Path, name: &str, args: &[&str]) -> String {
    let recording = folder.join(name).to_str().unwrap().to_owned();
    let mut all = vec!["record", "-f", "pyspy", "-o", &recording];
    all.extend(args);
    pyspy(&all).success();
    recording
}

#[track_caller]
fn written(command: &str, inputs: &[&str], output: &Path, args: &[&str]) -> String {
    let mut all = vec![command, "-o", output.to_str().unwrap()];
    all.extend(inputs);
    all.extend(args);
    pyspy(&all).success();
    fs::read_to_string(output).unwrap()
}

#[test]
fn hover_texts_and_widths_agree_with_raw() {
    let folder = tempfile::tempdir().unwrap();
    for interpreter in chosen() {
        let target = Target::start(interpreter, "shares.py", &[]);
        // Whole samples: moments of some microseconds, of which the kernel tells, are too narrow to be drawn.
        let sampler = "--sampler=reader";
        let args = ["-d", "2", "-r", "100", "-i", "-t", sampler, "--pid", &target.pid().to_string()];
        let recording = record(folder.path(), "shares.pyspy", &args);
        let raw = stacks(&written("convert", &[&recording], &folder.path().join("raw.txt"), &["-t"]));
        for args in [&["-t"][..], &["-t", "--upward"]] {
            let svg = written("convert", &[&recording], &folder.path().join("graph.svg"), args);
            let mut frames = frames(&svg);
            if args.len() > 1 {
                let lowest = frames.iter().map(|frame| frame.y).max().unwrap();
                frames.iter_mut().for_each(|frame| frame.y = lowest - frame.y);
                frames.sort_by_key(|frame| (frame.y, frame.start));
            }
            let whole = frames[0].length as f64 / 1e3;
            assert_eq!(frames[0].about, format!("{} ms, 100.00%", grouped(whole.round() as u64)), "{interpreter}");
            let mut own = BTreeMap::new();
            for frame in &frames[1..] {
                let (shown, drawn) = (milliseconds(&frame.about), frame.length as f64 / 1e3);
                assert!((shown - drawn).abs() <= 0.5, "{interpreter}: {} {}", frame.name, frame.about);
                let share = frame.about.split([' ', ';']).find_map(|word| word.strip_suffix('%')).unwrap();
                let share: f64 = share.parse().unwrap();
                assert!(
                    (share - drawn * 100.0 / whole).abs() < 0.0051,
                    "{interpreter}: {} {}",
                    frame.name,
                    frame.about
                );
                // What is too narrow is drawn together, and has no name of its own elsewhere.
                if frame.name == "…" {
                    continue;
                }
                let path = path(&frames, frame);
                let below: f64 = raw
                    .iter()
                    .filter(|(stack, _)| stack.starts_with(&path))
                    .map(|(_, count)| *count as f64 * 10.0)
                    .sum();
                let lines = raw.iter().filter(|(stack, _)| stack.starts_with(&path)).count() as f64;
                assert!((below - drawn).abs() <= 10.0 * lines, "{interpreter}: {path:?} {drawn} ms, raw {below} ms");
                let is_leaf = !frames.iter().any(|other| {
                    other.y > frame.y
                        && frame.start <= other.start
                        && other.start + other.length <= frame.start + frame.length
                });
                let own_time = match frame.about.split_once("; own ") {
                    Some((_, own)) => milliseconds(own),
                    None if is_leaf => shown,
                    None => continue,
                };
                own.insert(path, own_time);
            }
            for (stack, count) in &raw {
                let shown = own.get(stack).unwrap_or_else(|| panic!("{interpreter}: {stack:?} is not drawn: {own:?}"));
                let counted = *count as f64 * 10.0;
                assert!((shown - counted).abs() <= 10.0, "{interpreter}: {stack:?} {shown} ms, raw {counted} ms");
            }
            assert_eq!(own.len(), raw.len(), "{interpreter}: {own:?} {raw:?}");
        }
    }
}

/// A number with commas.
fn grouped(number: u64) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", grouped(number / 1_000), number % 1_000) }
}

#[test]
fn two_processes_are_named_in_the_heading() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["heavy", "light"].map(|word| Target::start(any(), "shares.py", &[word]));
    let [first, second] = [one.pid(), other.pid()].map(|pid| pid.to_string());
    let path = folder.path().join("two.svg");
    pyspy(&["record", "-d", "0.5", "-p", &first, "-p", &second, "-o", path.to_str().unwrap()]).success();
    let svg = fs::read_to_string(&path).unwrap();
    let pids = [one.pid().min(other.pid()), one.pid().max(other.pid())];
    let is_named = |[one, other]: [u32; 2]| svg.contains(&format!(">pids {one} and {other} · "));
    assert!(is_named(pids) || is_named([pids[1], pids[0]]), "{}", &svg[..400]);
    let document = roxmltree::Document::parse(&svg).unwrap();
    let title = document.descendants().find(|node| node.attribute("id") == Some("title")).unwrap();
    let title = title.text().unwrap();
    assert!(title.contains(" and "), "{title}");
}

/// Three functions that take a third of the CPU each, by turns so short that a recording has many of each.
const THIRDS: &str = r#"
import time


def third(until, number):
    while time.process_time() < until:
        number = number * 3 % 1000003
    return number


def first(until):
    return third(until, 1)


def second(until):
    return third(until, 2)


def last(until):
    return third(until, 3)


def main():
    end = time.process_time() + 2
    while time.process_time() < end:
        for function in (first, second, last):
            function(time.process_time() + 0.002)


main()
"#;

#[test]
fn an_edit_above_changes_no_function() {
    let _alone = alone_on_this_machine();
    let folder = tempfile::tempdir().unwrap();
    for interpreter in chosen() {
        let program = folder.path().join("thirds.py");
        let recordings = ["", "# One comment\n\n\nUNUSED = 1\n"].map(|above| {
            fs::write(&program, format!("{above}{THIRDS}")).unwrap();
            let python = interpreter.path.to_str().unwrap();
            let name = if above.is_empty() { "before.pyspy" } else { "after.pyspy" };
            record(folder.path(), name, &["-r", "500", "--", python, program.to_str().unwrap()])
        });
        let inputs = [recordings[0].as_str(), &recordings[1]];
        let diff = |args: &[&str]| frames(&written("diff", &inputs, &folder.path().join("diff.svg"), args));

        let functions = diff(&[]);
        for name in ["main (thirds.py)", "first (thirds.py)", "second (thirds.py)", "last (thirds.py)"] {
            let of_it: Vec<&Frame> = functions.iter().filter(|frame| frame.name == name).collect();
            let [frame] = of_it[..] else { panic!("{interpreter}: {} of {name}", of_it.len()) };
            // "33.00% → 34.00%, +1.00 points, within noise; own …"
            let (points, _) = frame.about.split_once(" points").unwrap();
            let points: f64 = points.rsplit(' ').next().unwrap().parse().unwrap();
            // With a thousand samples each, four standard errors of a third.
            assert!(points.abs() < 8.4, "{interpreter}: {name}: {}", frame.about);
            assert!(!frame.about.starts_with("new") && !frame.about.starts_with("gone"), "{name}: {}", frame.about);
        }

        let moved = |frames: &[Frame], what: &str| {
            frames.iter().any(|frame| frame.name.starts_with("main (thirds.py:") && frame.about.starts_with(what))
        };
        for args in [&["--lines"][..], &["-F"]] {
            let numbered = diff(args);
            assert!(
                moved(&numbered, "new, ") && moved(&numbered, "gone, "),
                "{interpreter} {args:?}: lines have moved"
            );
        }
        let again = diff(&["--lines", "--nolineno"]);
        assert!(again.iter().any(|frame| frame.name == "main (thirds.py)"), "the last of them counts");
    }
}

#[test]
fn top_tells_for_how_long_a_thread_was_stopped() {
    let target = Target::start(any(), "shares.py", &[]);
    let pid = target.pid().to_string();
    let stopped = |args: &[&str]| {
        let mut all = vec!["top", "--once", "--json", "--pid", &pid];
        all.extend(args);
        let line: Value = serde_json::from_str(pyspy(&all).success()).unwrap();
        line["stopped_percent"].as_f64().unwrap()
    };
    assert_eq!(stopped(&["--nonblocking"]), 0.0);
    let blocking = stopped(&["--blocking"]);
    assert!(blocking > 0.0 && blocking <= 100.0, "{blocking}");
    let text = pyspy(&["top", "--once", "--pid", &pid, "--nonblocking"]).success().to_owned();
    assert!(text.contains("  stopped 0.00%  "), "{text}");
}
