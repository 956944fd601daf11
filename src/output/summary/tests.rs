use super::*;
use crate::output::{no_source, test_profiles};
use crate::profile::{Keep, StackId};

fn summary(profile: &Profile) -> Summary {
    Summary::new(profile, &Presentation::default(), &no_source)
}

#[test]
fn numbers_are_those_of_the_samples() {
    let summary = summary(&test_profiles::usual(Keep::default()));
    assert_eq!((summary.unit, summary.total, summary.samples), ("seconds", 25.0, 2_500));
    let functions: Vec<_> =
        summary.functions.iter().map(|one| (one.label(), one.own.time, one.total.time, one.total.share)).collect();
    let expected = [
        ("spin (prog.py:5)", 14.0, 14.0, 0.56),
        ("fib (child.py:3)", 10.0, 10.0, 0.4),
        ("dumps (__init__.py:12)", 1.0, 1.0, 0.04),
        ("Thread.run (threading.py:982)", 0.0, 9.0, 0.36),
        ("<module> (prog.py:16)", 0.0, 6.0, 0.24),
        ("A.meth (prog.py:8)", 0.0, 6.0, 0.24),
    ];
    assert_eq!(functions, expected.map(|(label, own, total, share)| (label.to_owned(), own, total, share)));
    let hottest = summary.functions[0].hottest.as_ref().unwrap();
    assert_eq!((hottest.line, hottest.own.time), (5, 12.0));
    let kinds: Vec<_> = summary.kinds.iter().map(|kind| (kind.name, kind.amount.time)).collect();
    assert_eq!(kinds, [("own code", 24.0), ("packages", 1.0)]);
    let states: Vec<_> = summary.states.iter().map(|state| (state.name, state.amount.time)).collect();
    assert_eq!(states, [("running", 25.0), ("holding the GIL", 6.0)]);
    let threads: Vec<_> = summary.threads.iter().map(|thread| (thread.label(), thread.amount.time)).collect();
    let expected = [
        ("MainThread, thread 101 of process 101", 10.0),
        ("worker, thread 102 of process 100", 9.0),
        ("MainThread, thread 100 of process 100", 6.0),
    ];
    assert_eq!(threads, expected.map(|(label, time)| (label.to_owned(), time)));
}

#[test]
fn paths_join_lines_and_count_what_is_between() {
    let summary = summary(&test_profiles::usual(Keep::default()));
    let paths: Vec<_> = summary.paths.iter().map(|path| (path.frames.join(" > "), path.amount.time)).collect();
    let expected = [
        ("Thread.run (threading.py) > spin (prog.py)", 8.0),
        ("<module> (prog.py) > A.meth (prog.py) > spin (prog.py)", 6.0),
        ("fib (child.py) > fib (child.py) > fib (child.py)", 5.0),
        ("fib (child.py) > fib (child.py) > fib (child.py) > fib (child.py) > fib (child.py)", 5.0),
        ("Thread.run (threading.py) > dumps (__init__.py)", 1.0),
    ];
    assert_eq!(paths, expected.map(|(path, time)| (path.to_owned(), time)));

    let mut profile = Profile::default();
    let process = test_profiles::process(&mut profile, 1, None, "");
    let thread = test_profiles::thread(&mut profile, process, 1, None);
    let deep = test_profiles::python(&mut profile, "deep", "a.py", 3);
    let stack = test_profiles::stack(&mut profile, &[deep; 20_000]);
    profile.add_sample(thread, stack, 1000, 1000, Flags::NONE);
    let summary = self::summary(&profile);
    assert_eq!(summary.paths[0].frames.len(), 101);
    assert_eq!(summary.paths[0].frames[50], "… 19900 more");
    assert_eq!(summary.paths[0].text(44), "deep > … 19997 more > deep > deep (a.py)");
    assert_eq!((summary.unit, summary.functions[0].total.time), ("samples", 1.0), "recursion counts once");
}

#[test]
fn the_hottest_line_has_its_source() {
    let source = |file: &str| (file == "/home/me/prog.py").then(|| "a\nb\nc\nd\n  while\u{7} x:\n".to_owned());
    let summary = Summary::new(&test_profiles::usual(Keep::default()), &Presentation::default(), &source);
    let sources: Vec<_> = summary.functions.iter().map(|one| one.hottest.as_ref().unwrap().source.clone()).collect();
    assert_eq!(sources[..2], [Some("while\\u{7} x:".to_owned()), None]);
}

#[test]
fn doubts_are_said() {
    let mut profile = test_profiles::usual(Keep::default());
    let counts = &mut profile.metadata.counts;
    (counts.taken, counts.unproven, counts.lost, counts.stopped) = (2_500, 25, 100, 5);
    profile.metadata.unobserved_us = 1_500_000;
    profile.metadata.rate_held = 50.0;
    let doubts = summary(&profile).doubts;
    for part in
        ["±2.0 points", "25 samples (1 %)", "100 samples (3.8 %)", "5 samples", "1.5 s were not", "50 samples a"]
    {
        assert!(doubts.iter().any(|doubt| doubt.contains(part)), "{part}: {doubts:?}");
    }
    assert_eq!(summary(&Profile::default()).doubts, ["no samples"]);
}

/// A profile with so many different stacks of 30 frames, of 2,000 functions.
fn many(stacks: u32) -> Profile {
    let mut profile = Profile::default();
    profile.metadata.rate_asked = 100.0;
    let process = test_profiles::process(&mut profile, 1, None, "");
    let thread = test_profiles::thread(&mut profile, process, 1, None);
    let frames: Vec<_> = (0..2_000)
        .map(|at| test_profiles::python(&mut profile, &format!("f{at}"), &format!("/m{}.py", at % 50), 3))
        .collect();
    let base = test_profiles::stack(&mut profile, &frames[..28]);
    for number in 0..stacks {
        let (one, other) = (number as usize % 1_999, number as usize / 1_999);
        let middle = profile.push(base, frames[other]);
        let stack = profile.push(middle, frames[one + 1]);
        profile.add_sample(thread, stack, 0, 10_000 + u64::from(number % 7), Flags::ACTIVE);
    }
    profile
}

/// It takes no longer than to collect them, or little longer where others compute meanwhile.
#[test]
fn many_stacks_are_summed_up_faster_than_they_are_collected() {
    let begun = std::time::Instant::now();
    let profile = many(300_000);
    let collected = begun.elapsed();
    let best = (0..3).map(|_| {
        let begun = std::time::Instant::now();
        let summary = summary(&profile);
        assert_eq!((summary.samples, summary.function_count), (300_000, 2_000));
        begun.elapsed()
    });
    let best = best.min().unwrap();
    assert!(best < 3 * collected, "{best:?} to sum up what took {collected:?} to collect");
    assert_ne!(profile.totals()[0].stack, StackId::EMPTY);
}

/// `cargo test --release --lib -- --ignored --nocapture a_million_stacks`
#[test]
#[ignore = "it measures time, which means something on an idle machine only; run it by its name"]
fn a_million_stacks_take_less_than_50_ms() {
    let profile = many(1_000_000);
    let times = (0..7).map(|_| {
        let begun = std::time::Instant::now();
        let summary = summary(&profile);
        assert_eq!(summary.samples, 1_000_000);
        begun.elapsed()
    });
    let best = times.min().unwrap();
    assert!(best < std::time::Duration::from_millis(50), "{best:?}");
}
