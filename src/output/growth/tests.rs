use super::*;
use crate::output::{collapsed, test_profiles};
use crate::profile::Profile;

/// Numbers that look random, always the same.
struct Dice(u64);

impl Dice {
    /// Between 0 and 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What so many samples show of a program in whose functions time is spent by these weights.
fn sampled(weights: &[f64], samples: u32, dice: &mut Dice) -> Profile {
    let whole: f64 = weights.iter().sum();
    let mut counts = vec![0u32; weights.len()];
    for _ in 0..samples {
        let mut at = dice.next() * whole;
        let hit = weights.iter().position(|weight| {
            at -= weight;
            at < 0.0
        });
        counts[hit.unwrap_or(0)] += 1;
    }
    let lines = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let text: String = lines
        .map(|(at, count)| format!("main (app/main.py:3);f{at} (app/f{}.py:{}) {count}\n", at % 3, at + 1))
        .collect();
    collapsed::read(text.as_bytes()).unwrap()
}

fn limit(glob: &str, percent: f64) -> GrowthLimit {
    GrowthLimit { glob: glob.to_owned(), by: percent / 100.0 }
}

fn look(before: &Profile, after: &Profile, glob: &str, percent: f64) -> Grown {
    growth(before, after, Lines::None, &[limit(glob, percent)]).remove(0)
}

/// Forty functions, from a third of the time down to almost nothing.
fn weights() -> Vec<f64> {
    (0..40).map(|at| 0.75f64.powi(at)).collect()
}

#[test]
fn noise_alone_never_fails() {
    let mut dice = Dice(1);
    for samples in [100, 5_000] {
        let profiles: Vec<_> = (0..21).map(|_| sampled(&weights(), samples, &mut dice)).collect();
        let mut compared = 0;
        for (at, before) in profiles.iter().enumerate() {
            for after in &profiles[..at] {
                let grown = look(before, after, "app/*", 0.0);
                assert!(!grown.has_failed, "{grown:?}");
                compared += 1;
            }
        }
        assert_eq!(compared, 210);
    }
}

#[test]
fn a_fifth_more_is_always_found() {
    let mut dice = Dice(2);
    let mut slower = weights();
    slower[0] *= 1.2;
    for _ in 0..20 {
        let [before, after] = [(weights(), 40_000), (slower.clone(), 42_000)]
            .map(|(weights, samples)| sampled(&weights, samples, &mut dice));
        let grown = look(&before, &after, "app/*", 5.0);
        assert!(grown.has_failed, "{grown:?}");
        assert!(grown.sentences[0].starts_with("app/*:+5%: f0 (app/f0.py) "), "{grown:?}");
        assert!(!look(&before, &after, "f7", 5.0).has_failed, "another function has not grown");
    }
}

#[test]
fn what_grew_only_beside_others_has_not_grown() {
    let read = |text: &str| collapsed::read(text.as_bytes()).unwrap();
    let before = read("m;stays (a.py:1) 10000\nm;other (a.py:9) 90000\n");
    let faster = read("m;stays (a.py:1) 10000\nm;other (a.py:9) 20000\n");
    assert!(!look(&before, &faster, "stays", 5.0).has_failed, "the other became faster");
    let machine = read("m;stays (a.py:1) 13000\nm;other (a.py:9) 117000\n");
    assert!(!look(&before, &machine, "*", 5.0).has_failed, "the machine became slower");
    let slower = read("m;stays (a.py:1) 12000\nm;other (a.py:9) 90000\n");
    let grown = look(&before, &slower, "a.py", 5.0);
    let sentence = "a.py:+5%: stays (a.py) has grown by 20 %, from 10.0 % of the time to 11.8 %";
    assert_eq!((grown.has_failed, grown.sentences[0].as_str()), (true, sentence));
    assert!(!look(&before, &slower, "a.py", 20.5).has_failed);
    let [few, more] = [300, 900].map(|count| read(&format!("m;stays (a.py:1) {count}\nm;other (a.py:9) 100000\n")));
    let grown = look(&few, &more, "stays", 5.0);
    assert_eq!(grown.sentences, ["stays:+5%: nothing has grown by more"], "less than a hundredth is not judged");
}

#[test]
fn what_is_new_has_grown() {
    let read = |text: &str| collapsed::read(text.as_bytes()).unwrap();
    let before = read("m;g (a.py:1) 2000\n");
    let after = read("m;g (a.py:1) 1860\nm;extra (b.py:5);dumps (json.py:9) 140\n");
    let grown = look(&before, &after, "extra", 5.0);
    let sentence = "extra:+5%: extra (b.py) is new, from 0.0 % of the time to 7.0 %";
    assert_eq!((grown.has_failed, grown.sentences[0].as_str()), (true, sentence));
    let one = read("m;g (a.py:1) 2000\nm;extra (b.py:5);dumps (json.py:9) 1\n");
    let grown = look(&one, &after, "extra", 5.0);
    assert!(grown.has_failed && grown.sentences[0].contains(" has grown many times over, from 0.0 %"), "{grown:?}");
    let few = read("m;g (a.py:1) 186\nm;extra (b.py:5);dumps (json.py:9) 4\n");
    assert!(!look(&read("m;g (a.py:1) 190\n"), &few, "extra", 5.0).has_failed, "four samples may be chance");
}

#[test]
fn few_samples_and_odd_globs_are_said() {
    let read = |text: &str| collapsed::read(text.as_bytes()).unwrap();
    let (before, after) = (read("m;f (a.py:1) 10\nm;g (a.py:5) 90\n"), read("m;f (a.py:1) 20\nm;g (a.py:5) 90\n"));
    let grown = look(&before, &after, "f", 5.0);
    assert!(!grown.has_failed && grown.sentences[0].ends_with("may be noise: more samples would tell"), "{grown:?}");
    assert_eq!(look(&before, &after, "no*", 5.0).sentences, ["no*:+5%: matches no function"]);
    assert_eq!(look(&before, &before, "*", 5.0).sentences, ["*:+5%: nothing has grown by more"]);
    let new = read("m;f (a.py:1) 10\nm;g (a.py:5) 90\nm;new (b.py:5) 90\n");
    let grown = look(&before, &new, "b.py", 5.0);
    let sentence = "b.py:+5%: new (b.py) is new, from 0.0 % of the time to 47.4 %";
    assert!(grown.has_failed && grown.sentences[0].starts_with(sentence), "{grown:?}");
}

#[test]
fn a_stretch_with_the_same_stack_is_one_observation() {
    let recorded = |stretches: [u64; 2], samples: u64| {
        let mut profile = Profile::new(crate::profile::Keep { timeline: true, journal: false });
        profile.metadata.rate_asked = 1000.0;
        let process = test_profiles::process(&mut profile, 1, None, "");
        let thread = test_profiles::thread(&mut profile, process, 1, None);
        // By turns in two lines of each, so that neighbouring stretches are not one.
        let stacks = [("f", 3), ("f", 4), ("g", 7), ("g", 8)].map(|(name, line)| {
            let frame = test_profiles::python(&mut profile, name, "a.py", line);
            test_profiles::stack(&mut profile, &[frame])
        });
        let mut time = 0;
        for turn in 0..stretches[0].max(stretches[1]) {
            for (which, count) in stretches.into_iter().enumerate() {
                let stack = stacks[2 * which + turn as usize % 2];
                for _ in 0..if turn < count { samples } else { 0 } {
                    time += 1_000;
                    profile.add_sample(thread, stack, time, 1_000, crate::profile::Flags::ACTIVE);
                }
            }
        }
        profile
    };
    let same_samples = |stretches, each| look(&recorded([1_000, 1_000], each), &recorded(stretches, each), "f", 5.0);
    assert!(same_samples([1_500, 1_000], 1).has_failed, "so many are no chance");
    let few = look(&recorded([20, 20], 50), &recorded([30, 20], 50), "f", 5.0);
    assert!(!few.has_failed, "as many samples in twenty stretches are: {few:?}");
}

#[test]
fn errors_for_a_chance_are_those_of_tables() {
    for (chance, errors) in [(5e-4, 3.29), (5e-6, 4.42), (1e-9, 6.0)] {
        assert!((standard_errors(chance) - errors).abs() < 0.04, "{chance}: {}", standard_errors(chance));
    }
}
