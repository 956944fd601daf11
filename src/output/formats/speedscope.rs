//! JSON for <https://www.speedscope.app>: one profile for each thread, all on one clock.
//!
//! Frames, names of profiles and the order of frames are as py-spy writes them. Unlike py-spy's, weights are measured,
//! and time without samples (idle threads, a thread not started yet) stays as an empty stack, so that threads are
//! aligned.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use crate::output::Presentation;
use crate::output::place::{PlaceId, Places, sampled_threads, thread_number};
use crate::output::runs::runs;
use crate::output::text::printable;
use crate::profile::{Profile, StackId, ThreadRef};

/// The schema that the files follow.
const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

/// Entries for one run of equal samples, and of all runs of a thread beyond one each, so that no number in a damaged
/// recording makes a file without end.
const MAX_ENTRIES: u64 = 1 << 20;
const MAX_ENTRIES_OF_THREAD: u64 = 1 << 26;

/// Writes `profile` for speedscope. It should have its timeline; without, stacks follow one another in the order in
/// which they were first seen.
///
/// # Errors
/// When `writer` fails.
pub fn write(profile: &Profile, presentation: &Presentation, writer: impl Write) -> io::Result<()> {
    let places = Places::new(profile, presentation);
    let threads = sampled_threads(profile);
    let mut writer = BufWriter::new(writer);
    let unit = if profile.metadata.is_time_known() { "seconds" } else { "none" };
    let profiles = threads
        .iter()
        .map(|thread| {
            let end_us = runs(profile, *thread).last().map_or(0, |run| run.end_us());
            SampledProfile {
                kind: "sampled",
                name: profile_name(profile, *thread, presentation),
                unit,
                start_value: 0.0,
                end_value: seconds(end_us),
                samples: SampleList { profile, places: &places, thread: *thread },
                weights: WeightList { profile, thread: *thread },
            }
        })
        .collect();
    let frames = places.all().iter().map(|place| Frame {
        name: &place.name,
        file: &place.file,
        line: place.line.filter(|line| *line != 0),
        col: Some(place.column).filter(|column| *column != 0),
    });
    let file = File {
        schema: SCHEMA,
        profiles,
        shared: Shared { frames: frames.collect() },
        active_profile_index: heaviest(profile, &threads),
        exporter: concat!("pyspy@", env!("CARGO_PKG_VERSION")),
        name: if profile.metadata.command.is_empty() {
            "pyspy profile".to_owned()
        } else {
            printable(&profile.metadata.command).into_owned()
        },
    };
    serde_json::to_writer(&mut writer, &file)?;
    writer.flush()
}

#[derive(Serialize)]
struct File<'profile> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    profiles: Vec<SampledProfile<'profile>>,
    shared: Shared<'profile>,
    #[serde(rename = "activeProfileIndex")]
    active_profile_index: usize,
    exporter: &'static str,
    name: String,
}

#[derive(Serialize)]
struct Shared<'profile> {
    frames: Vec<Frame<'profile>>,
}

#[derive(Serialize)]
struct Frame<'profile> {
    name: &'profile str,
    file: &'profile str,
    line: Option<u32>,
    col: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SampledProfile<'profile> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    unit: &'static str,
    start_value: f64,
    end_value: f64,
    samples: SampleList<'profile>,
    weights: WeightList<'profile>,
}

/// The samples of a thread, written one by one: a long recording has millions.
struct SampleList<'profile> {
    profile: &'profile Profile,
    places: &'profile Places<'profile>,
    thread: ThreadRef,
}

struct WeightList<'profile> {
    profile: &'profile Profile,
    thread: ThreadRef,
}

impl Serialize for SampleList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut places: Vec<PlaceId> = vec![];
        for item in items(self.profile, self.thread) {
            match item.stack {
                Some(stack) => self.places.stack(self.thread, stack, &mut places),
                None => places.clear(),
            }
            list.serialize_element(&places)?;
        }
        list.end()
    }
}

impl Serialize for WeightList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for item in items(self.profile, self.thread) {
            list.serialize_element(&seconds(item.weight_us))?;
        }
        list.end()
    }
}

/// An entry of the lists: a sample, or a time without (`None`).
struct Item {
    stack: Option<StackId>,
    weight_us: u64,
}

fn items(profile: &Profile, thread: ThreadRef) -> impl Iterator<Item = Item> {
    let (mut end_us, mut left) = (0, MAX_ENTRIES_OF_THREAD);
    runs(profile, thread).flat_map(move |run| {
        let gap = Some(run.start_us - end_us).filter(|gap| *gap > 0).map(|weight_us| Item { stack: None, weight_us });
        end_us = run.end_us();
        // Scripts count entries, so a run is as many as it had samples; the first takes what does not divide.
        let samples = run.samples.min(MAX_ENTRIES).min(left).max(1);
        left = left.saturating_sub(samples);
        let (each, rest) = (run.weight_us / samples, run.weight_us % samples);
        let entries = (0..samples)
            .map(move |at| Item { stack: Some(run.stack), weight_us: each + if at == 0 { rest } else { 0 } });
        gap.into_iter().chain(entries)
    })
}

/// Which thread has the most time: the one that is shown first.
fn heaviest(profile: &Profile, threads: &[ThreadRef]) -> usize {
    let mut weights = vec![0u64; profile.threads().count()];
    for total in profile.totals() {
        let weight = &mut weights[total.thread.number() as usize];
        *weight = weight.saturating_add(total.weight_us);
    }
    let weight = |at: &usize| weights[threads[*at].number() as usize];
    // The first of equals.
    (0..threads.len()).rev().max_by_key(weight).unwrap_or(0)
}

/// `Thread 4242 "NAME"`, and `Process 4241` before it where processes are kept apart.
fn profile_name(profile: &Profile, thread: ThreadRef, presentation: &Presentation) -> String {
    let thread = profile.thread(thread);
    let name = thread.name.map(|name| printable(profile.text(name))).unwrap_or_default();
    let mut text = format!("Thread {} \"{name}\"", thread_number(thread));
    if thread.interpreter != 0 {
        text.push_str(&format!(" (interpreter {})", thread.interpreter));
    }
    if presentation.processes {
        text = format!("Process {} {text}", profile.process(thread.process).pid);
    }
    text
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::output::{Lines, test_profiles};
    use crate::profile::Keep;

    const TIMED: Keep = Keep { timeline: true, journal: false };

    fn speedscope(profile: &Profile, presentation: Presentation) -> Value {
        let mut bytes = vec![];
        write(profile, &presentation, &mut bytes).unwrap();
        let file: Value = serde_json::from_slice(&bytes).unwrap();
        check(&file);
        file
    }

    /// What speedscope's schema asks of a file with sampled profiles.
    fn check(file: &Value) {
        assert_eq!(file["$schema"], SCHEMA);
        assert!(file["name"].is_string() && file["exporter"].is_string() && file["activeProfileIndex"].is_u64());
        let frames = file["shared"]["frames"].as_array().unwrap();
        for frame in frames {
            assert!(frame["name"].is_string() && frame["file"].is_string());
            assert!(frame["line"].is_null() || frame["line"].is_u64());
        }
        for profile in file["profiles"].as_array().unwrap() {
            assert_eq!(profile["type"], "sampled");
            assert!(
                ["none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"]
                    .contains(&profile["unit"].as_str().unwrap())
            );
            let samples = profile["samples"].as_array().unwrap();
            let weights = profile["weights"].as_array().unwrap();
            assert_eq!(samples.len(), weights.len());
            for index in samples.iter().flat_map(|stack| stack.as_array().unwrap()) {
                assert!(index.as_u64().unwrap() < frames.len() as u64);
            }
            let sum: f64 = weights.iter().map(|weight| weight.as_f64().unwrap()).sum();
            let length = profile["endValue"].as_f64().unwrap() - profile["startValue"].as_f64().unwrap();
            assert!((sum - length).abs() < 1e-6 * (1.0 + sum), "weights give {sum}, the profile {length}");
        }
    }

    #[test]
    fn frames_and_profiles_are_named_as_py_spy_names_them() {
        let profile = test_profiles::usual(TIMED);
        let file = speedscope(&profile, Presentation::default());
        assert_eq!(file["profiles"][1]["name"], "Thread 102 \"worker\"");
        let frames = file["shared"]["frames"].as_array().unwrap();
        assert!(frames.contains(&json!({"name": "spin", "file": "/home/me/prog.py", "line": 5, "col": null})));

        let presentation = Presentation { threads: true, processes: true, lines: Lines::None, ..Default::default() };
        let file = speedscope(&profile, presentation);
        assert_eq!(file["profiles"][2]["name"], "Process 101 Thread 101 \"MainThread\"");
        let frames = file["shared"]["frames"].as_array().unwrap();
        let stack: Vec<_> = file["profiles"][2]["samples"][0]
            .as_array()
            .unwrap()
            .iter()
            .take(4)
            .map(|index| frames[index.as_u64().unwrap() as usize].clone())
            .collect();
        let marker = |name| json!({"name": name, "file": "", "line": null, "col": null});
        assert_eq!(stack[0], marker("process 100:\"python3 prog.py --all\""));
        assert_eq!(stack[1], marker("process 101:\"python3 child.py\""));
        assert_eq!(stack[2], marker("thread (101): MainThread"));
        assert_eq!(stack[3], json!({"name": "fib", "file": "/home/me/child.py", "line": null, "col": null}));
    }

    #[test]
    fn threads_share_one_clock_and_idle_time_stays() {
        let file = speedscope(&test_profiles::usual(TIMED), Presentation::default());
        let profiles = file["profiles"].as_array().unwrap();
        let main = profiles[0]["samples"].as_array().unwrap();
        assert_eq!(file["activeProfileIndex"], 2, "the child has the most time");
        assert_eq!(main.len(), 601, "each sample is an entry, and one gap");
        assert_eq!((&main[400], &profiles[0]["weights"][400]), (&json!([]), &json!(4.0)));
        assert_eq!((&profiles[1]["samples"][0], &profiles[1]["weights"][0]), (&json!([]), &json!(1.0)));
        for profile in profiles {
            assert_eq!((&profile["startValue"], &profile["endValue"]), (&json!(0.0), &json!(10.0)));
        }
    }

    #[test]
    fn a_profile_without_a_timeline_has_the_same_weights() {
        let file = speedscope(&test_profiles::usual(Keep::default()), Presentation::default());
        assert_eq!(file["profiles"][0]["endValue"], 6.0);
        assert_eq!(file["profiles"][0]["samples"].as_array().unwrap().len(), 600);
    }

    #[test]
    fn hostile_names_are_valid_json() {
        let file = speedscope(&test_profiles::hostile(TIMED), Presentation { threads: true, ..Default::default() });
        assert_eq!(file["profiles"].as_array().unwrap().len(), test_profiles::HOSTILE.len() + 1);
        let long = file["profiles"][test_profiles::HOSTILE.len()]["name"].as_str().unwrap();
        assert!(long.contains("x<é>") && long.len() <= crate::profile::MAX_TEXT + 20);
    }
}
