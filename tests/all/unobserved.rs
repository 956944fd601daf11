//! Time in which pyspy gets no CPU is given to nobody: a gap in all formats that show time, and a number in the
//! summary.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::running::{Running, any};
use crate::target::{Target, pyspy};

/// For how long pyspy is stopped at least.
const AWAY: f64 = 2.5;
/// As much of that as nobody can have seen: a late sample stands for 0.1 s.
const UNSEEN: f64 = AWAY - 0.2;

/// Waits until the clock of the target has gone on for so long.
fn wait_by_clock_of(target: &mut Target, seconds: f64) {
    let until = SystemTime::now() + Duration::from_secs_f64(seconds);
    let until = until.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    while target.line().parse::<f64>().unwrap() < until {}
}

/// Stops pyspy for some time in the midst of its work, lets it work on and ends it.
fn interrupt(running: &Running, target: &mut Target) {
    running.signal(Signal::SIGSTOP);
    wait_by_clock_of(target, AWAY);
    running.signal(Signal::SIGCONT);
    wait_by_clock_of(target, 0.5);
    running.signal(Signal::SIGINT);
}

fn convert(recording: &Path, format: &str) -> String {
    let path = recording.with_extension(format);
    pyspy(&["convert", recording.to_str().unwrap(), "-f", format, "-o", path.to_str().unwrap()]).success();
    fs::read_to_string(path).unwrap()
}

/// The number in front of ` s unobserved`.
fn unobserved(stderr: &str) -> f64 {
    let before = stderr.split(" s unobserved").next().unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("nothing is unobserved in {stderr}"))
}

#[test]
fn time_without_us_is_a_gap_in_every_format_that_shows_time() {
    let mut target = Target::start(any(), "clock.py", &[]);
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("a.pyspy");
    let pid = target.pid().to_string();
    let mut running = Running::start(&["record", "--sampler=reader", "-p", &pid, "-o", recording.to_str().unwrap()]);
    running.wait_until("the first samples", || recording.exists());
    interrupt(&running, &mut target);
    let ran = running.ended();
    ran.success();
    let unobserved = unobserved(&ran.stderr);
    let summary = crate::recording::Recording::summary_of(&ran.stderr);
    assert!((UNSEEN..summary.seconds).contains(&unobserved), "{ran:#?}");

    let raw = crate::recording::stacks(&convert(&recording, "raw"));
    let seen = raw.iter().map(|(_, count)| *count as f64 / 100.0).sum::<f64>();
    assert!(seen < summary.seconds - unobserved + 0.1, "{seen} s seen of {} s: {}", summary.seconds, ran.stderr);

    // The module's own call is there from the begin to the end, but for the gap.
    let events: Value = serde_json::from_str(&convert(&recording, "chrometrace")).unwrap();
    let of_module = events.as_array().unwrap().iter().filter(|event| event["name"] == "<module>");
    let edges: Vec<(&str, f64)> =
        of_module.map(|event| (event["ph"].as_str().unwrap(), event["ts"].as_f64().unwrap() / 1e6)).collect();
    let gaps = edges.windows(2).filter(|pair| pair[0].0 == "E" && pair[1].0 == "B");
    let longest = gaps.map(|pair| pair[1].1 - pair[0].1).fold(0.0, f64::max);
    assert!(longest > UNSEEN, "{edges:?}");

    let file: Value = serde_json::from_str(&convert(&recording, "speedscope")).unwrap();
    let profile = &file["profiles"][0];
    let (samples, weights) = (profile["samples"].as_array().unwrap(), profile["weights"].as_array().unwrap());
    let of = |is_gap: bool| {
        let entries = samples.iter().zip(weights).filter(|(stack, _)| stack.as_array().unwrap().is_empty() == is_gap);
        entries.map(|(_, weight)| weight.as_f64().unwrap()).fold(0.0, f64::max)
    };
    assert!(of(true) > UNSEEN && of(false) < UNSEEN, "{} and {}", of(true), of(false));

    let file: Value = serde_json::from_str(&convert(&recording, "firefox")).unwrap();
    let samples = &file["threads"][0]["samples"];
    let (stacks, steps) = (samples["stack"].as_array().unwrap(), samples["timeDeltas"].as_array().unwrap());
    // A sample without a stack ends the time of the one before; the step after it is how long it lasts.
    let gaps = stacks.iter().zip(steps.iter().skip(1)).filter(|(stack, _)| stack.is_null());
    let longest = gaps.map(|(_, step)| step.as_f64().unwrap() / 1e3).fold(0.0, f64::max);
    assert!(longest > UNSEEN, "{longest}");

    let chart = convert(&recording, "flamechart");
    let lengths = chart.split("data-w=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let longest = lengths.map(|length| length.parse::<f64>().unwrap() / 1e6).fold(0.0, f64::max);
    assert!(longest > 0.0 && longest < summary.seconds - unobserved + 0.1, "{longest}");
    assert!(chart.contains("s of them unobserved"));
}

/// The end comes while pyspy is away: the time until then is in a last sample, or unobserved.
#[test]
fn time_up_to_the_end_is_in_a_sample_or_unobserved() {
    let mut target = Target::start(any(), "clock.py", &[]);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("a.raw");
    let pid = target.pid().to_string();
    let args = [
        "record",
        "--sampler=reader",
        "-i",
        "-r",
        "1000",
        "-d",
        "1",
        "-p",
        &pid,
        "-f",
        "raw",
        "-o",
        output.to_str().unwrap(),
    ];
    // Where it was stopped before it had begun, it has seen everything.
    let summary = (0..10).find_map(|_| {
        let running = Running::start(&args);
        wait_by_clock_of(&mut target, 0.6);
        running.signal(Signal::SIGSTOP);
        wait_by_clock_of(&mut target, 1.0);
        running.signal(Signal::SIGCONT);
        let ran = running.ended();
        ran.success();
        Some(crate::recording::Recording::summary_of(&ran.stderr)).filter(|summary| summary.unobserved > 0.3)
    });
    let summary = summary.expect("one of ten recordings ends while it is stopped");
    let raw = crate::recording::stacks(&fs::read_to_string(&output).unwrap());
    let seen: u64 = raw.iter().map(|(_, count)| *count).sum();
    assert!(seen as f64 >= summary.intervals("1000"), "{seen} of {summary:?}");
}

#[test]
fn the_live_view_gives_time_without_us_to_nobody() {
    let mut target = Target::start(any(), "clock.py", &[]);
    let pid = target.pid().to_string();
    let mut running = Running::start(&["top", "--json", "--delay", "200ms", "-p", &pid]);
    let stdout = running.output_path("stdout");
    running.wait_until("the first window", || fs::metadata(&stdout).is_ok_and(|file| file.len() > 0));
    interrupt(&running, &mut target);
    let ran = running.ended();
    let windows: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (first, last) = (windows.first().unwrap(), windows.last().unwrap());
    let number = |window: &Value, name: &str| window[name].as_f64().unwrap();
    assert!(number(last, "unobserved_seconds") > UNSEEN, "{last}");
    let passed = number(last, "time") - number(first, "time") + number(first, "since_reset_seconds");
    assert!(number(last, "since_reset_seconds") < passed - UNSEEN + 0.1, "{last}");
    let functions = last["functions"].as_array().unwrap();
    let own: f64 = functions.iter().map(|function| number(function, "own_seconds")).sum();
    assert!(own < passed - UNSEEN + 0.1, "{own} s of {passed} s: {last}");
}
