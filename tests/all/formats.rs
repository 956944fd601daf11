//! What the real program writes of real programs, in every format, read by what is made for each.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::recording::{Recording, until_fed};
use crate::running::{chosen, read_otlp, read_profile};
use crate::target::{Target, alone_on_this_machine, print_note, pyspy, run};

const PHASES: [&str; 3] = ["short", "middle", "long"];

#[track_caller]
fn seconds(times: &serde_json::Map<String, Value>, name: &str) -> f64 {
    times.get(name).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {name:?} in {times:?}"))
}

#[track_caller]
fn convert(recording: &Path, format: &str, options: &[&str]) -> std::path::PathBuf {
    let path = recording.with_extension(format);
    let mut args = vec!["convert", recording.to_str().unwrap(), "-f", format, "-o", path.to_str().unwrap()];
    args.extend(options);
    pyspy(&args).success();
    path
}

#[test]
fn shares_are_what_the_program_measured_and_all_formats_agree() {
    let _alone = alone_on_this_machine();
    let folder = tempfile::tempdir().unwrap();
    for interpreter in chosen() {
        let recording = folder.path().join("recording.pyspy");
        let path = recording.to_str().unwrap();
        let python = interpreter.path.to_str().unwrap();
        let script = crate::running::script("phases.py");
        let args = ["record", "-f", "pyspy", "-r", "200", "-o", path, "--", python, script.to_str().unwrap(), "6"];
        let ran = pyspy(&args);
        let measured: Value = serde_json::from_str(ran.success().lines().last().unwrap()).unwrap();
        let all: f64 = PHASES.iter().map(|name| measured[name].as_f64().unwrap()).sum();

        let times = read_profile("raw", &convert(&recording, "raw", &["-F"]), 200);
        let sampled: f64 = PHASES.iter().map(|name| seconds(&times, name)).sum();
        let summary = Recording::summary_of(&ran.stderr);
        let (unobserved, doubt) = (summary.unobserved, summary.doubt(200.0));
        assert!(
            (0.98 * all - unobserved..1.02 * all).contains(&sampled),
            "{interpreter}: {sampled} s sampled of {all} s, {unobserved} s unobserved"
        );
        for name in PHASES {
            let (truth, share) = (measured[name].as_f64().unwrap() / all, seconds(&times, name) / sampled);
            let wrong = format!("{interpreter}: {name} has {share}, measured {truth}, {summary:?}");
            assert!((truth - share).abs() < 0.01 + doubt, "{wrong}");
        }

        let total = seconds(&times, "");
        for format in ["speedscope", "chrometrace", "firefox", "pprof", "pstats", "flamechart", "flamegraph"] {
            let other = read_profile(format, &convert(&recording, format, &["-F"]), 200);
            // A chart has no whole.
            if format != "flamechart" {
                let whole = seconds(&other, "");
                assert!((whole - total).abs() < 0.01 * total, "{interpreter} {format}: {whole} s, raw {total} s");
            }
            for name in PHASES {
                let (one, another) = (seconds(&times, name), seconds(&other, name));
                assert!(
                    (one - another).abs() < 0.01 * total,
                    "{interpreter} {format}: {name} {another} s, raw {one} s"
                );
            }
        }
        let protobuf = convert(&recording, "otlp", &["-F"]);
        let json = folder.path().join("recording.otlp.json");
        pyspy(&["convert", path, "-F", "-o", json.to_str().unwrap()]).success();
        for read in [protobuf, json].iter().filter_map(|written| read_otlp(written, 200)) {
            for name in PHASES.iter().chain(&[""]) {
                let (one, another) = (seconds(&times, name), seconds(&read, name));
                assert!((one - another).abs() < 0.01 * total, "{interpreter}: {name:?} {another} s, raw {one} s");
            }
        }
        callgrind_agrees(&convert(&recording, "callgrind", &["-F"]), total, &times);
    }
}

fn callgrind_agrees(path: &Path, total: f64, times: &serde_json::Map<String, Value>) {
    let args = ["--inclusive=yes", "--threshold=100", "--auto=no", "--show-percs=no"];
    let ran = match run(Command::new("callgrind_annotate").args(args).arg(path), Duration::from_secs(60)) {
        Ok(ran) => ran,
        Err(error) => return print_note(&format!("skipped: callgrind_annotate {error}")),
    };
    let report = ran.success();
    let time_of = |name: &str| {
        let line =
            report.lines().find(|line| line.trim_end().ends_with(name)).unwrap_or_else(|| panic!("{name}: {report}"));
        let number = line.split_whitespace().next().unwrap().replace(',', "");
        number.parse::<f64>().unwrap() / 1e6
    };
    assert!((time_of("PROGRAM TOTALS") - total).abs() < 0.01 * total, "{report}");
    for name in PHASES {
        assert!((time_of(&format!(":{name}")) - seconds(times, name)).abs() < 0.01 * total, "{name}: {report}");
    }
}

/// One thread computes, then the other, then none: in a trace they are one after the other, and the pauses are there.
#[test]
fn threads_are_aligned_in_time_and_pauses_are_kept() {
    let _alone = alone_on_this_machine();
    let folder = tempfile::tempdir().unwrap();
    for interpreter in chosen() {
        let target = Target::start(interpreter, "turns.py", &[]);
        let recording = folder.path().join("turns.pyspy");
        let path = recording.to_str().unwrap();
        let pid = target.pid().to_string();
        let record = || {
            let ran = pyspy(&["record", "-o", path, "-r", "200", "-d", "3", "--pid", &pid]);
            ran.success();
            Recording::summary_of(&ran.stderr)
        };
        let summary = until_fed(200.0, |summary| *summary, record);
        let wall = summary.seconds;

        let trace: Vec<Value> =
            serde_json::from_slice(&std::fs::read(convert(&recording, "chrometrace", &[])).unwrap()).unwrap();
        let mut begun = None;
        let mut turns: Vec<(f64, f64, String)> = vec![];
        for event in trace.iter().filter(|event| event["name"] == "burn") {
            let time = event["ts"].as_f64().unwrap() / 1e6;
            match (event["ph"].as_str().unwrap(), begun.take()) {
                ("B", None) => begun = Some(time),
                ("E", Some(start)) => turns.push((start, time, event["tid"].to_string())),
                other => panic!("{other:?}"),
            }
        }
        turns.sort_by(|one, other| one.0.total_cmp(&other.0));
        // Where samples came late, one of another moment may have cut a turn.
        if summary.doubt(200.0) > 0.0 {
            turns.dedup_by(|later, first| {
                let is_same = later.2 == first.2 && later.0 - first.1 < 0.02;
                if is_same {
                    first.1 = later.1;
                }
                is_same
            });
        }
        let all: f64 = turns.iter().map(|(start, end, _)| end - start).sum();
        turns.retain(|(start, end, _)| end - start > 0.1);
        let long: f64 = turns.iter().map(|(start, end, _)| end - start).sum();
        // A call that goes on is one from its beginning to its end, not one for each sample.
        assert!(long > (0.9 - 2.0 * summary.doubt(200.0)) * all, "{interpreter}: {long} s of {all} s in {turns:?}");
        assert!(turns.len() >= 4, "{interpreter}: {turns:?}");
        assert!(turns.iter().all(|(_, end, _)| *end <= wall + 0.05), "{interpreter}: {turns:?} in {wall} s");
        for pair in turns.windows(2) {
            let gap = pair[1].0 - pair[0].1;
            assert_ne!(pair[0].2, pair[1].2, "{interpreter}: {turns:?}");
            assert!(gap > -0.03, "{interpreter}: two at once in {turns:?}");
        }
        let gaps: Vec<f64> = turns.windows(2).map(|pair| pair[1].0 - pair[0].1).collect();
        // Every second gap is the pause.
        assert!(gaps.iter().any(|gap| *gap > 0.2) && gaps.iter().any(|gap| *gap < 0.1), "{interpreter}: {gaps:?}");

        let scope: Value =
            serde_json::from_slice(&std::fs::read(convert(&recording, "speedscope", &[])).unwrap()).unwrap();
        let idle: f64 = scope["profiles"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|thread| thread["samples"].as_array().unwrap().iter().zip(thread["weights"].as_array().unwrap()))
            .filter(|(stack, _)| stack.as_array().unwrap().is_empty())
            .map(|(_, weight)| weight.as_f64().unwrap())
            .sum();
        assert!(idle > wall / 3.0, "{interpreter}: {idle} s idle of {wall} s");
    }
}

#[test]
fn the_collector_is_a_frame_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for interpreter in chosen() {
        let target = Target::start(interpreter, "collector.py", &[]);
        let recording = folder.path().join("collector.pyspy");
        let path = recording.to_str().unwrap();
        pyspy(&["record", "-o", path, "-d", "1", "--pid", &target.pid().to_string()]).success();
        for format in ["raw", "speedscope", "chrometrace", "firefox", "pprof", "pstats", "flamechart", "flamegraph"] {
            let times = read_profile(format, &convert(&recording, format, &[]), 100);
            let (collecting, collect) = (seconds(&times, "garbage collection"), seconds(&times, "collect"));
            assert!(collecting > 0.8 * collect, "{interpreter} {format}: {times:?}");
            seen += 1;
        }
        let callgrind = std::fs::read_to_string(convert(&recording, "callgrind", &[])).unwrap();
        assert!(callgrind.contains("garbage collection"), "{callgrind}");
    }
    assert!(seen > 0, "no interpreter to test with");
}
