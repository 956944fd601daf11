//! What `-f summary` says of real programs, beside the sums of the raw format.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::recording::stacks;
use crate::running::chosen;
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
