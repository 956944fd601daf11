//! Tests that read what was written: each format with the program that it is made for where that is installed, and all
//! of them with small readers of our own, which must agree.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Format, Presentation, test_profiles};
use crate::profile::{Keep, Profile};

mod browser;

const TIMED: Keep = Keep { timeline: true, journal: false };

fn write(format: Format, profile: &Profile, presentation: Presentation) -> Vec<u8> {
    let mut bytes = vec![];
    format.write(profile, &presentation, &crate::output::no_source, "", &mut bytes).unwrap();
    bytes
}

fn with_markers() -> Presentation {
    Presentation { threads: true, processes: true, ..Presentation::default() }
}

/// The whole time and the time of each function in seconds, recursion counted once.
type Seconds = BTreeMap<String, f64>;

/// What [`test_profiles::usual`] says of itself.
fn truth() -> Seconds {
    let seconds = [
        ("", 25.0),
        ("<module>", 6.0),
        ("A.meth", 6.0),
        ("spin", 14.0),
        ("Thread.run", 9.0),
        ("dumps", 1.0),
        ("fib", 10.0),
    ];
    seconds.map(|(name, seconds)| (name.to_owned(), seconds)).into()
}

/// Adds a stack to the times.
fn count<'names>(times: &mut Seconds, names: impl Iterator<Item = &'names str>, seconds: f64) {
    let mut names: Vec<_> = names.map(|label| label.split(" (").next().unwrap_or(label)).collect();
    if names.is_empty() {
        return;
    }
    names.push("");
    names.sort_unstable();
    names.dedup();
    for name in names {
        *times.entry(name.to_owned()).or_default() += seconds;
    }
}

fn assert_same(format: &str, times: &Seconds) {
    let truth = truth();
    assert_eq!(times.keys().collect::<Vec<_>>(), truth.keys().collect::<Vec<_>>(), "{format}");
    for (name, seconds) in times {
        assert!((seconds - truth[name]).abs() < 0.001, "{format}: {name:?} has {seconds} s, not {} s", truth[name]);
    }
}

fn raw_times(bytes: &[u8]) -> Seconds {
    let mut times = Seconds::new();
    for line in std::str::from_utf8(bytes).unwrap().lines() {
        let (path, samples) = line.rsplit_once(' ').unwrap();
        count(&mut times, path.split(';'), samples.parse::<f64>().unwrap() / 100.0);
    }
    times
}

fn speedscope_times(bytes: &[u8]) -> Seconds {
    let file: Value = serde_json::from_slice(bytes).unwrap();
    let mut times = Seconds::new();
    for profile in file["profiles"].as_array().unwrap() {
        for (stack, weight) in profile["samples"].as_array().unwrap().iter().zip(profile["weights"].as_array().unwrap())
        {
            let frames = stack.as_array().unwrap().iter();
            let names =
                frames.map(|at| file["shared"]["frames"][at.as_u64().unwrap() as usize]["name"].as_str().unwrap());
            count(&mut times, names, weight.as_f64().unwrap());
        }
    }
    times
}

/// Follows Chrome's rules: times of a thread never go back, each end closes the last begin.
fn chrometrace_times(bytes: &[u8]) -> (Seconds, HashMap<(u64, String), String>) {
    let events: Vec<Value> = serde_json::from_slice(bytes).unwrap();
    let mut times = Seconds::new();
    let mut threads: HashMap<(u64, u64), (Vec<String>, u64)> = HashMap::new();
    let mut named = HashMap::new();
    for event in events {
        let id = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        assert!(u32::try_from(id.1).is_ok(), "a number of a thread that Perfetto does not take: {}", id.1);
        let time = event["ts"].as_u64().unwrap();
        let name = event["name"].as_str().unwrap().to_owned();
        if event["ph"] == "M" {
            named.insert((id.1, name), event["args"]["name"].as_str().unwrap().to_owned());
            continue;
        }
        let (open, last) = threads.entry(id).or_default();
        assert!(time >= *last);
        count(&mut times, open.iter().map(String::as_str), (time - *last) as f64 / 1e6);
        *last = time;
        match event["ph"].as_str().unwrap() {
            "B" => open.push(name),
            "E" => assert_eq!(open.pop(), Some(name)),
            other => panic!("event {other}"),
        }
    }
    assert!(threads.values().all(|(open, _)| open.is_empty()), "every call ends");
    (times, named)
}

/// Follows the processed format of version 55: tables of columns that are as long as they say, and refer to each other.
fn firefox_times(bytes: &[u8]) -> Seconds {
    let file: Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(file["meta"]["preprocessedProfileVersion"], 55);
    assert_eq!(file["meta"]["interval"], 10.0);
    let index = |value: &Value, at: u64| value[at as usize].as_u64();
    let mut times = Seconds::new();
    let threads = file["threads"].as_array().unwrap();
    for thread in threads {
        for table in ["frameTable", "funcTable", "stackTable", "samples"] {
            let length = thread[table]["length"].as_u64().unwrap() as usize;
            for (name, column) in thread[table].as_object().unwrap() {
                assert!(!column.is_array() || column.as_array().unwrap().len() == length, "{table}.{name}");
            }
        }
        let mut time = 0.0;
        for sample in 0..thread["samples"]["length"].as_u64().unwrap() {
            let samples = &thread["samples"];
            time += samples["timeDeltas"][sample as usize].as_f64().unwrap();
            let mut names = vec![];
            let mut at = index(&samples["stack"], sample);
            while let Some(stack) = at {
                let frame = index(&thread["stackTable"]["frame"], stack).unwrap();
                let function = index(&thread["frameTable"]["func"], frame).unwrap();
                let name = index(&thread["funcTable"]["name"], function).unwrap();
                names.push(thread["stringArray"][name as usize].as_str().unwrap());
                at = index(&thread["stackTable"]["prefix"], stack);
            }
            count(&mut times, names.into_iter(), samples["weight"][sample as usize].as_f64().unwrap() / 1e3);
        }
        let end = thread["unregisterTime"].as_f64().unwrap();
        assert!((time - end).abs() < 0.001, "samples end at {time} ms, the thread at {end} ms");
    }
    times
}

fn flamegraph_times(bytes: &[u8]) -> Seconds {
    let document = roxmltree::Document::parse(std::str::from_utf8(bytes).unwrap()).unwrap();
    let mut times = Seconds::new();
    for frame in document.descendants().filter(|node| node.attribute("class") == Some("frame")) {
        let title = frame.children().find(|node| node.tag_name().name() == "title").unwrap();
        let (name, about) = title.text().unwrap().split_once(" (").unwrap();
        // `NAME (FILE:LINE) (6,000 ms, 24.00%; own …)`
        let milliseconds = about.rsplit('(').next().unwrap().split_once(" ms, ").unwrap().0.replace(',', "");
        let seconds = milliseconds.parse::<f64>().unwrap() / 1e3;
        assert_eq!(seconds, frame.attribute("data-w").unwrap().parse::<f64>().unwrap() / 1e6);
        match name {
            "all" => drop(times.insert(String::new(), seconds)),
            // Of the recursion only the outermost: the others are below it.
            "fib" => drop(times.insert(name.to_owned(), seconds.max(times.get("fib").copied().unwrap_or(0.0)))),
            _ => *times.entry(name.to_owned()).or_default() += seconds,
        }
    }
    times
}

fn flamechart_times(bytes: &[u8]) -> Seconds {
    let document = roxmltree::Document::parse(std::str::from_utf8(bytes).unwrap()).unwrap();
    let mut calls: Vec<(u64, String, f64)> = vec![];
    for call in document.descendants().filter(|node| node.attribute("class") == Some("frame")) {
        let part = |name| call.children().find(|node| node.tag_name().name() == name).unwrap();
        let name = part("title").text().unwrap().split(" (").next().unwrap().to_owned();
        let seconds = call.attribute("data-w").unwrap().parse::<f64>().unwrap() / 1e6;
        calls.push((part("rect").attribute("y").unwrap().parse().unwrap(), name, seconds));
    }
    let mut times = Seconds::new();
    // The calls of a recursion hang below each other: its first row counts.
    let recursion = calls.iter().filter(|(_, name, _)| name == "fib").map(|(row, ..)| *row).min().unwrap();
    for (_, name, seconds) in calls.iter().filter(|(row, name, _)| name != "fib" || *row == recursion) {
        *times.entry(name.clone()).or_default() += seconds;
    }
    let outermost = ["<module>", "Thread.run", "fib"].map(|name| times[name]);
    times.insert(String::new(), outermost.iter().sum());
    times
}

#[test]
fn all_formats_agree_on_the_time_of_every_function() {
    let profile = test_profiles::usual(TIMED);
    let written = |format| write(format, &profile, Presentation::default());
    assert_same("raw", &raw_times(&written(Format::Raw)));
    assert_same("speedscope", &speedscope_times(&written(Format::Speedscope)));
    let (times, names) = chrometrace_times(&written(Format::Chrometrace));
    assert_same("chrometrace", &times);
    assert_eq!(names[&(102, "thread_name".to_owned())], "worker");
    assert_eq!(names[&(100, "process_name".to_owned())], "process 100:\"python3 prog.py --all\"");
    assert_eq!(names[&(101, "process_name".to_owned())], "process 101:\"python3 child.py\"");
    assert_same("firefox", &firefox_times(&written(Format::Firefox)));
    assert_same("flamegraph", &flamegraph_times(&written(Format::Flamegraph)));
    assert_same("flamechart", &flamechart_times(&written(Format::Flamechart)));
}

#[test]
fn hostile_names_are_whole_in_every_timed_format() {
    let profile = test_profiles::hostile(TIMED);
    let chrome = chrometrace_times(&write(Format::Chrometrace, &profile, with_markers())).0;
    let firefox = firefox_times(&write(Format::Firefox, &profile, with_markers()));
    for name in test_profiles::HOSTILE.iter().filter(|name| !name.trim().is_empty()) {
        let shown = super::printable(name);
        assert_eq!(chrome[&*shown], 2.0, "{shown}");
        assert_eq!(firefox[&*shown], 2.0, "{shown}");
    }
    let longest = chrome.keys().chain(firefox.keys()).map(String::len).max().unwrap();
    assert!(longest <= crate::profile::MAX_TEXT, "{longest}");
}

/// A file for another program, gone with the folder.
struct Written {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn file(format: Format, profile: &Profile, presentation: Presentation) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("profile.{}", format.default_extension()));
    std::fs::write(&path, write(format, profile, presentation)).unwrap();
    Written { _folder: folder, path }
}

/// What the program prints, or `None` with a word about it when it is not installed.
fn output_of(program: &str, arguments: &[&str], path: &Path) -> Option<String> {
    let output = match Command::new(program).args(arguments).arg(path).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: {program}: {error}");
            return None;
        }
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    assert!(!errors.contains("uninitialized"), "{program} {arguments:?}: {errors}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn go_tool_pprof_reads_pprof() {
    let profile = test_profiles::usual(Keep::default());
    let written = file(Format::Pprof, &profile, Presentation::default());
    let Some(top) = output_of("go", &["tool", "pprof", "-top", "-unit=s"], &written.path) else { return };
    let mut times = Seconds::from([(String::new(), 25.0)]);
    assert!(top.contains("100% of 25s total"), "{top}");
    for line in top.lines().skip_while(|line| !line.contains("flat%")).skip(1) {
        let columns: Vec<_> = line.split_whitespace().collect();
        times.insert(columns[5..].join(" "), columns[3].trim_end_matches('s').parse().unwrap());
    }
    assert_same("pprof", &times);
    let worker =
        output_of("go", &["tool", "pprof", "-top", "-unit=s", "-tagfocus=thread=worker"], &written.path).unwrap();
    assert!(worker.contains("Thread.run") && !worker.contains("A.meth"), "{worker}");

    let hostile = file(Format::Pprof, &test_profiles::hostile(Keep::default()), with_markers());
    let top = output_of("go", &["tool", "pprof", "-top", "-unit=s"], &hostile.path).unwrap();
    assert!(top.contains("100% of 51s total"), "{top}");
}

#[test]
fn callgrind_annotate_reads_callgrind() {
    let profile = test_profiles::usual(Keep::default());
    let written = file(Format::Callgrind, &profile, Presentation::default());
    let arguments = ["--inclusive=yes", "--threshold=100", "--auto=no", "--show-percs=no"];
    let Some(report) = output_of("callgrind_annotate", &arguments, &written.path) else { return };
    let mut times = Seconds::new();
    for line in report.lines() {
        let Some((number, name)) = line.trim().split_once("  ") else { continue };
        let Ok(us) = number.replace(',', "").parse::<f64>() else { continue };
        let name = name.trim().rsplit(':').next().unwrap();
        times.insert(if name == "PROGRAM TOTALS" { "" } else { name }.to_owned(), us / 1e6);
    }
    assert_same("callgrind", &times);

    let hostile = file(Format::Callgrind, &test_profiles::hostile(Keep::default()), with_markers());
    let report =
        output_of("callgrind_annotate", &["--threshold=100", "--auto=no", "--show-percs=no"], &hostile.path).unwrap();
    assert!(report.contains("51,000,000  PROGRAM TOTALS"), "{report}");
    assert!(report.contains("fn=(1) evil\\ncalls=3:fn=(1) evil\\ncalls=3"), "{report}");
}

#[test]
fn pstats_reads_pstats() {
    const SCRIPT: &str = "import pstats, sys, json; stats = pstats.Stats(sys.argv[1]); \
        print(json.dumps([stats.total_tt, [[list(key), value[3]] for key, value in stats.stats.items()]]))";
    let read = |profile: &Profile, presentation| {
        let written = file(Format::Pstats, profile, presentation);
        let text = output_of("python3", &["-c", SCRIPT], &written.path)?;
        Some(serde_json::from_str::<Value>(&text).unwrap())
    };
    let Some(stats) = read(&test_profiles::usual(Keep::default()), Presentation::default()) else { return };
    let mut times = Seconds::from([(String::new(), stats[0].as_f64().unwrap())]);
    for entry in stats[1].as_array().unwrap() {
        times.insert(entry[0][2].as_str().unwrap().to_owned(), entry[1].as_f64().unwrap());
        assert!(entry[0][0].as_str().unwrap().ends_with(".py") && entry[0][1].as_u64() == Some(2), "{entry}");
    }
    assert_same("pstats", &times);

    let stats = read(&test_profiles::hostile(Keep::default()), with_markers()).unwrap();
    assert_eq!(stats[0], 51.0);
    for name in test_profiles::HOSTILE.iter().filter(|name| !name.trim().is_empty()) {
        let shown = super::printable(name);
        let found = stats[1].as_array().unwrap().iter().any(|entry| entry[0][2] == *shown);
        assert!(found, "{shown}");
    }
}

#[test]
fn compressed_output_is_read_as_the_plain_one() {
    let profile = test_profiles::usual(TIMED);
    let mut bytes = vec![];
    Format::Firefox
        .write(&profile, &Presentation::default(), &crate::output::no_source, "profile.json.gz", &mut bytes)
        .unwrap();
    let mut plain = vec![];
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
    assert_same("firefox", &firefox_times(&plain));
}
