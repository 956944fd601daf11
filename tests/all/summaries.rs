//! What `-f summary` says of real programs, beside the sums of the raw format.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::recording::stacks;
use crate::running::{any, chosen};
use crate::target::{Target, pyspy};

/// Sampling intervals a second.
const RATE: f64 = 100.0;

#[test]
fn numbers_equal_the_sums_of_raw() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for interpreter in chosen() {
        let target = Target::start(interpreter, "shares.py", &[]);
        let recording = path("shares.pyspy");
        pyspy(&["record", "-d", "1", "-i", "-o", &recording, "--pid", &target.pid().to_string()]).success();
        let converted = |name: &str| {
            pyspy(&["convert", &recording, "-F", "-o", &path(name)]).success();
            fs::read_to_string(path(name)).unwrap()
        };
        let raw = stacks(&converted("raw.txt"));
        let (mut own, mut total) = (BTreeMap::new(), BTreeMap::new());
        for (stack, count) in &raw {
            *own.entry(stack.last().unwrap().clone()).or_insert(0) += count;
            let mut frames = stack.clone();
            frames.sort();
            frames.dedup();
            for frame in frames {
                *total.entry(frame).or_insert(0) += count;
            }
        }
        let json: Value = serde_json::from_str(&converted("shares.summary.json")).unwrap();
        let functions = json["functions"].as_array().unwrap();
        assert_eq!(functions.len(), total.len().min(12), "{interpreter}: {total:?} {json:#}");
        for function in functions {
            let text = |key: &str| function[key].as_str().unwrap();
            let label = format!("{} ({}:{})", text("name"), text("file"), function["first_line"]);
            for (key, sums) in [("own", &own), ("total", &total)] {
                let counted = sums.get(&label).copied().unwrap_or(0) as f64;
                let said = function[key]["time"].as_f64().unwrap() * RATE;
                // Each stack of raw is rounded to whole intervals.
                let rounding = 0.5 * raw.len() as f64 + 0.01;
                assert!((said - counted).abs() <= rounding, "{interpreter}: {label} {key} {said}, raw {counted}");
            }
        }
        let text = converted("shares.summary.txt");
        let hottest = functions[0]["hottest"]["source"].as_str().unwrap();
        assert!(text.len() <= 4096 && text.lines().count() <= 60 && text.contains(hottest), "{text}");
        let markdown = converted("shares.md");
        assert!(markdown.contains(&format!("`{hottest}`")), "{markdown}");
    }
}

/// A program that computes in two functions by turns; `TURNS` stands for how long the second one does.
const PROGRAM: &str = "
def work(turns, number=7):
    while turns:
        number = number * 3 % 1000003
        turns -= 1
def steady(): work(300)
def varies(): work(TURNS)
for _ in range(40_000):
    steady()
    varies()
";

#[test]
fn a_function_that_has_grown_fails_a_comparison_and_noise_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let recorded = |name: &str, turns: &str| {
        let program = path("turns.py");
        fs::write(&program, PROGRAM.replace("TURNS", turns)).unwrap();
        let python = any().path.to_str().unwrap();
        pyspy(&["record", "-r", "1000", "-o", &path(name), "--", python, &program]).success();
        path(name)
    };
    let [one, same, slower] = [("one.pyspy", "100"), ("same.pyspy", "100"), ("slower.pyspy", "1500")]
        .map(|(name, turns)| recorded(name, turns));
    let compare = |after: &str, args: &[&str]| {
        let mut all = vec!["diff", &one, after];
        all.extend(args);
        pyspy(&all)
    };
    let ran = compare(&same, &["--fail-if", "turns*:+5%"]);
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    // A quarter of the turns are five sixths of them now, which is seen on a busy machine too.
    let ran =
        compare(&slower, &["--fail-if", "steady:+5%", "--fail-if", "varies:+20%", "-o", &path("diff.summary.txt")]);
    assert_eq!(ran.status.code(), Some(11), "{}", ran.stderr);
    assert!(ran.stderr.contains("varies:+20%: varies (turns.py) has grown by "), "{}", ran.stderr);
    assert!(ran.stderr.contains("steady:+5%: nothing has grown by more"), "{}", ran.stderr);
    let text = fs::read_to_string(path("diff.summary.txt")).unwrap();
    assert!(text.contains("  varies (turns.py)") && text.contains("- varies:+20%: varies"), "{text}");
    for name in ["diff.md", "diff.html", "diff.summary.json", "diff.svg"] {
        assert_eq!(compare(&slower, &["-o", &path(name)]).status.code(), Some(0));
        assert!(fs::read_to_string(path(name)).unwrap().contains("varies") || name == "diff.html");
    }
    let ran = compare(&slower, &[]);
    assert!(ran.status.success() && ran.stdout.contains("  varies (turns.py)"), "{}{}", ran.stdout, ran.stderr);
    let ran = compare(&slower, &["-o", &path("diff.pstats")]);
    assert!(ran.status.code() == Some(1) && ran.stderr.contains("pstats cannot show differences"), "{}", ran.stderr);
}
