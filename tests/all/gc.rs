//! What the summary says of the garbage collector, beside what the program has counted itself.
#![cfg(target_os = "linux")]

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::recording::Recording;
use crate::running::Running;
use crate::target::Target;

const COLLECTIONS: u64 = 12;
/// Samples a second.
const RATE: f64 = 500.0;

/// What follows `before` in a line that begins with `begin`, up to the next space.
fn number(text: &str, begin: &str, before: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(begin))?;
    let (rest, _) = line.split_once(before)?;
    rest.trim_end().rsplit(' ').next()?.parse().ok()
}

/// The collections in a trace: what each is called, and how many seconds it took.
fn marks(trace: &str) -> Vec<(String, f64)> {
    let events: Value = serde_json::from_str(trace).unwrap();
    let of_gc = events.as_array().unwrap().iter().filter(|event| event["cat"] == "gc");
    of_gc.map(|event| (event["name"].as_str().unwrap().to_owned(), event["dur"].as_f64().unwrap() / 1e6)).collect()
}

#[test]
fn collections_are_counted_and_timed() {
    let features = [(3, 8), (3, 11), (3, 13), (3, 15)];
    for interpreter in Interpreter::all().iter().filter(|interpreter| features.contains(&interpreter.feature())) {
        let mut target = Target::start(interpreter, "gc_known.py", &[]);
        let pid = target.pid().to_string();
        let args = ["-r", &RATE.to_string(), "-i", "-d", "60", "-f", "chrometrace", "-o", "-", "--pid", &pid];
        let running = Running::start_recording(&args);
        target.send(&COLLECTIONS.to_string());
        let spent: f64 = target.line().parse().unwrap();
        running.signal(Signal::SIGINT);
        let ran = running.ended();
        let (trace, stderr, summary) = (ran.success(), &ran.stderr, Recording::summary_of(&ran.stderr));
        let gc = "pyspy: GC: ";
        assert_eq!(number(stderr, gc, " collections"), Some(COLLECTIONS as f64), "{interpreter}: {stderr}");
        assert!(!stderr.contains("at least"), "{interpreter}: {stderr}");
        assert!(stderr.contains("; most below collect (gc_known.py:"), "{interpreter}: {stderr}");
        let share = number(stderr, gc, " % of").unwrap() / 100.0;
        let seconds = share * summary.observed();
        // The share is given in whole percents, and what was not observed was measured nevertheless.
        // Both ends of each are where samples are, however many there were.
        let ends = COLLECTIONS as f64 * (1.0 / summary.rate_held - 1.0 / RATE).max(0.0);
        let tolerance = spent * 0.05 + summary.observed() * 0.006 + summary.unobserved + 0.02 + ends;
        assert!((seconds - spent).abs() <= tolerance, "{interpreter}: {seconds} s, {spent} measured: {stderr}");
        let longest = number(stderr, gc, " ms").unwrap() / 1e3;
        assert!(longest <= spent + 0.05 && longest * COLLECTIONS as f64 >= spent * 0.6, "{interpreter}: {stderr}");
        let marks = marks(trace);
        if interpreter.feature() == (3, 15) && interpreter.free_threaded {
            // It keeps the last collection only, so that some may be missed.
            assert!(!marks.is_empty() && marks.len() as u64 <= COLLECTIONS, "{interpreter}: {marks:?}");
            continue;
        }
        if interpreter.feature() == (3, 15) {
            // The interpreter has told of each.
            assert_eq!(marks.len() as u64, COLLECTIONS, "{interpreter}: {marks:?}");
            assert!(marks.iter().all(|(name, _)| name == "GC of generation 2"), "{interpreter}: {marks:?}");
        }
        // One is cut where there were no samples for long.
        let cuts = if summary.rate_held > 0.95 * RATE { 0 } else { COLLECTIONS };
        assert!(marks.len() as u64 <= COLLECTIONS + cuts && !marks.is_empty(), "{interpreter}: {marks:?}");
        let marked: f64 = marks.iter().map(|(_, seconds)| seconds).sum();
        assert!(
            (marked - spent).abs() <= tolerance + 0.002 * COLLECTIONS as f64,
            "{interpreter}: {marked} s of {spent}"
        );
    }
}

#[test]
fn the_collector_can_be_shown_as_what_it_interrupts() {
    let interpreter = Interpreter::all().last().unwrap();
    let target = Target::start(interpreter, "collecting.py", &[]);
    let is_gc = |names: &[&str]| names.last() == Some(&"garbage collection");
    let with = Recording::of(target.pid(), &["-d", "0.5"]);
    assert!(with.count(is_gc) > 0, "{with:#?}");
    let without = Recording::of(target.pid(), &["-d", "0.5", "--no-gc-frames"]);
    assert_eq!(without.count(is_gc), 0, "{without:#?}");
    assert!(without.count(|names| names.last() == Some(&"collect")) > 0, "{without:#?}");
}
