//! No stack that cannot be: programs in which only a few stacks are possible, sampled a thousand times a second.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

use crate::dump::wait_until_all_but_one_wait;
use crate::interpreters::Interpreter;
use crate::recording::{Recording, names};
use crate::target::{Target, alone_on_this_machine, print_note};

/// Of all samples, as many may show a stack that was never there.
const IMPOSSIBLE: f64 = 0.0002;
/// Of all samples, as many may show nothing.
const LOST: f64 = 0.01;

/// A busy machine is given so many tries.
const TRIES: usize = 8;

/// The versions that differ in how they keep their stacks; of several builds of one the first.
fn chosen() -> impl Iterator<Item = &'static Interpreter> {
    let features = [(3, 8), (3, 11), (3, 13), (3, 15)];
    let mut seen = BTreeSet::new();
    let is_new = move |interpreter: &&Interpreter| seen.insert((interpreter.feature(), interpreter.free_threaded));
    Interpreter::all().iter().filter(move |interpreter| features.contains(&interpreter.feature())).filter(is_new)
}

fn record(interpreter: &Interpreter, script: &str, args: &[&str]) -> Recording {
    let target = Target::start(interpreter, script, &[]);
    let mut all = vec!["--rate", "1000", "--full-filenames"];
    all.extend(args);
    Recording::fed(1000.0, || Recording::of(target.pid(), &all))
}

/// What the recordings of some interpreters came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) total: u64,
    pub(crate) impossible: u64,
    pub(crate) lost: u64,
    pub(crate) samples: u64,
    examples: Vec<String>,
}

impl Tally {
    fn add(&mut self, interpreter: &Interpreter, recording: &Recording, possible: impl Fn(&[String]) -> bool) {
        // Fewer would mean that it is not sampled at all.
        assert!(recording.summary.samples > 100, "{interpreter}: {:?}", recording.summary);
        self.add_any(interpreter, recording, possible);
    }

    /// The same of a recording that may have few samples.
    pub(crate) fn add_any(
        &mut self,
        interpreter: &Interpreter,
        recording: &Recording,
        possible: impl Fn(&[String]) -> bool,
    ) {
        self.total += recording.total();
        self.samples += recording.summary.samples;
        self.lost += recording.summary.lost;
        for (stack, count) in recording.stacks.iter().filter(|(stack, _)| !possible(stack)) {
            self.impossible += count;
            self.examples.push(format!("{interpreter}: {count} of {}", stack.join(";")));
        }
    }

    #[track_caller]
    fn check(&self, blocking: bool) {
        let (impossible, lost) = if blocking { (0.0, 0.0) } else { (IMPOSSIBLE, LOST) };
        let tried = (self.samples + self.lost) as f64;
        assert!(self.impossible as f64 <= impossible * self.total as f64, "impossible stacks: {self:#?}");
        assert!(self.lost as f64 <= lost * tried, "lost samples: {self:#?}");
    }
}

/// The line of `main` in `chains.py` that calls the first chain; the others follow.
const FIRST_CALL: usize = 221;

/// `<module>`, `main` at the line that calls a chain, and the beginning of that chain.
pub(crate) fn is_in_one_chain(stack: &[String]) -> bool {
    let names = names(stack);
    let ["<module>", "main", chain @ ..] = names.as_slice() else { return false };
    let Some(first) = chain.first() else { return true };
    let number = first.trim_start_matches('c').trim_end_matches("_0");
    let line = number.parse().map_or(0, |number: usize| FIRST_CALL + number);
    if !stack[1].ends_with(&format!(":{line})")) {
        return false;
    }
    let possible = (0..8).map(|step| format!("c{number}_{step}")).chain([format!("p{number}")]);
    chain.len() <= 9 && chain.iter().zip(possible).all(|(name, possible)| *name == possible)
}

/// `<module>`, `main`, and nothing but `fib`.
pub(crate) fn is_fib(stack: &[String]) -> bool {
    matches!(names(stack).as_slice(), ["<module>", "main", calls @ ..] if calls.iter().all(|name| *name == "fib"))
}

/// Every function is named together with its own file.
pub(crate) fn is_in_its_file(stack: &[String]) -> bool {
    stack.iter().zip(&names(stack)).all(|(frame, name)| {
        let in_name = name.strip_prefix("f_").or_else(|| name.strip_prefix("g_"));
        let in_file = frame.split_once(" (file_").and_then(|(_, file)| file.split_once(".py"));
        in_name.is_none() || in_name == in_file.map(|(number, _)| number)
    })
}

/// `f_N` calls `g_N`, both are in `file_N.py`, and no others are there.
pub(crate) fn is_paired(stack: &[String]) -> bool {
    let names = names(stack);
    let numbers = stack.iter().zip(&names).filter_map(|(frame, name)| {
        let in_name = name.strip_prefix("f_").or_else(|| name.strip_prefix("g_"));
        let in_file = frame.split_once(" (file_").and_then(|(_, file)| file.split_once(".py"));
        // The module of the file has its file's number only.
        (in_name.is_some() || in_file.is_some()).then(|| {
            let file = in_file.map(|(number, _)| number);
            if *name == "<module>" { (file, file) } else { (in_name, file) }
        })
    });
    let numbers: Vec<_> = numbers.collect();
    let one = |(name, file): &(Option<&str>, Option<&str>)| name == file && name == &numbers[0].0;
    names.starts_with(&["<module>", "main"]) && numbers.iter().all(one)
}

#[test]
fn only_possible_chains_are_seen() {
    let mut tally = Tally::default();
    for interpreter in chosen() {
        tally.add(interpreter, &record(interpreter, "chains.py", &["-d", "2"]), is_in_one_chain);
    }
    tally.check(false);
}

#[test]
fn only_possible_chains_are_seen_blocking() {
    let mut tally = Tally::default();
    for interpreter in chosen() {
        tally.add(interpreter, &record(interpreter, "chains.py", &["-d", "2", "--blocking"]), is_in_one_chain);
    }
    tally.check(true);
}

#[test]
fn only_possible_chains_are_seen_in_every_other_version() {
    let mut tally = Tally::default();
    for interpreter in Interpreter::all() {
        if chosen().all(|other| other.path != interpreter.path) {
            tally.add(interpreter, &record(interpreter, "chains.py", &["-d", "2"]), is_in_one_chain);
        }
    }
    tally.check(false);
}

/// Without any stop something has to be guessed, so this only says how much; but it must never stop the target, and
/// must say what it guessed.
#[test]
fn never_stopping_says_what_is_unproven() {
    for interpreter in chosen() {
        let recording = record(interpreter, "chains.py", &["-d", "1", "--nonblocking"]);
        let summary = recording.summary;
        assert_eq!(summary.stopped, 0, "{interpreter}: {summary:?}");
        let impossible: u64 =
            recording.stacks.iter().filter(|(stack, _)| !is_in_one_chain(stack)).map(|(_, count)| count).sum();
        // What is proven is true: the impossible must be among the unproven.
        let late = recording.total().saturating_sub(summary.samples);
        assert!(impossible <= summary.unproven + late, "{interpreter}: {impossible} impossible, {summary:?}");
        print_note(&format!(
            "nonblocking, {interpreter}: {impossible} of {} impossible; {summary:?}",
            recording.total()
        ));
    }
}

#[test]
fn depths_of_a_recursion_are_as_when_stopped() {
    let _alone = alone_on_this_machine();
    let (mut adaptive, mut blocking) = (Tally::default(), Tally::default());
    for interpreter in chosen() {
        let free = record(interpreter, "fib.py", &["-d", "2"]);
        let stopped = record(interpreter, "fib.py", &["-d", "2", "--blocking"]);
        adaptive.add(interpreter, &free, is_fib);
        blocking.add(interpreter, &stopped, is_fib);
        let distance = largest_difference(&free.depths(), &stopped.depths());
        assert!(
            distance <= noise(&free, &stopped),
            "{interpreter}: {distance}\n{:?}\n{:?}",
            free.depths(),
            stopped.depths()
        );
    }
    adaptive.check(false);
    blocking.check(true);
}

/// The largest difference between two distributions that sampling makes by chance in all but one case of a thousand
/// (Kolmogorov and Smirnov).
fn noise(one: &Recording, other: &Recording) -> f64 {
    let (n, m) = (one.summary.samples as f64, other.summary.samples as f64);
    // A late sample stands for several intervals, which makes the noise larger than that of as many samples.
    let lateness = (one.total() as f64 / n).max(other.total() as f64 / m).max(1.0).sqrt();
    1.95 * ((n + m) / (n * m)).sqrt() * lateness
}

/// As many samples, each independent of the others, tell shares apart that differ by a tenth: chance makes less of a
/// difference in all but one case of a thousand.
const ENOUGH: f64 = 500.0;

/// How long each function of a program was the newest, of how many sampling intervals.
#[derive(Debug, Default)]
struct Newest {
    functions: BTreeMap<String, u64>,
    total: u64,
    samples: u64,
}

impl Newest {
    /// Of `small_calls.py`, in recordings of two seconds until there are enough samples: on a busy machine one of them
    /// has few, most of which stand for many intervals.
    fn of(interpreter: &Interpreter, mode: &[&str]) -> Self {
        let target = Target::start(interpreter, "small_calls.py", &[]);
        let mut newest = Self::default();
        for _ in 0..TRIES {
            let recording = Recording::of(target.pid(), &[&["--rate", "1000", "-d", "2"], mode].concat());
            newest.total += recording.total();
            newest.samples += recording.summary.samples;
            for (stack, count) in &recording.stacks {
                *newest.functions.entry(names(stack).last().unwrap().to_string()).or_default() += count;
            }
            // Of those that stand for several intervals, as many fewer are independent.
            if (newest.samples as f64).powi(2) / newest.total.max(1) as f64 >= ENOUGH {
                break;
            }
        }
        newest
    }

    fn share(&self, function: &str) -> f64 {
        self.functions.get(function).copied().unwrap_or(0) as f64 / self.total as f64
    }
}

/// A thread that is read while it runs is easier to prove where it stands still: what is seen must not depend on that.
#[test]
fn a_loop_of_small_calls_has_the_shares_that_it_has_when_stopped() {
    let _alone = alone_on_this_machine();
    for interpreter in chosen() {
        let (free, stopped) = (Newest::of(interpreter, &[]), Newest::of(interpreter, &["--blocking"]));
        for function in ["main", "inner", "outer"] {
            let distance = (free.share(function) - stopped.share(function)).abs();
            // Where samples are taken that prove themselves and no others, it is two tenths.
            assert!(distance <= 0.1, "{interpreter}: {function}: {free:?}, stopped {stopped:?}");
        }
    }
}

/// On the CPU of such a thread nothing has to be stopped.
#[test]
fn what_moves_fast_is_seldom_stopped() {
    let _alone = alone_on_this_machine();
    for interpreter in chosen().filter(|interpreter| !interpreter.free_threaded) {
        for script in ["chains.py", "fib.py", "small_calls.py"] {
            // On a busy machine the thread is moved to another CPU now and then, or we come too late to be there first;
            // without our going there it is stopped every time, however often it is tried.
            let mut tried = Vec::new();
            let is_seldom = || {
                let summary = record(interpreter, script, &["-d", "1"]).summary;
                let is_seldom = 2 * summary.stopped <= summary.samples;
                tried.push(summary);
                is_seldom
            };
            let is_seldom = std::iter::repeat_with(is_seldom).take(TRIES).any(|is_seldom| is_seldom);
            assert!(is_seldom, "{interpreter}, {script}: {tried:#?}");
        }
    }
}

/// The largest distance between two cumulative distributions, 0..1.
fn largest_difference(one: &BTreeMap<usize, u64>, other: &BTreeMap<usize, u64>) -> f64 {
    let share = |depths: &BTreeMap<usize, u64>, depth: usize| {
        let total: u64 = depths.values().sum();
        depths.range(..=depth).map(|(_, count)| count).sum::<u64>() as f64 / total as f64
    };
    let depths = one.keys().chain(other.keys());
    depths.map(|depth| (share(one, *depth) - share(other, *depth)).abs()).fold(0.0, f64::max)
}

#[test]
fn functions_are_never_paired_with_files_of_others() {
    for mode in [&["-d", "2", "--sampler=reader"][..], &["-d", "2", "--blocking"]] {
        let (mut files, mut callers) = (Tally::default(), Tally::default());
        for interpreter in chosen() {
            let recording = record(interpreter, "churn.py", mode);
            files.add(interpreter, &recording, is_in_its_file);
            callers.add(interpreter, &recording, is_paired);
        }
        for tally in [&files, &callers] {
            assert_eq!(tally.impossible, 0, "{mode:?}: {tally:#?}");
            assert!(tally.lost as f64 <= LOST * (tally.samples + tally.lost) as f64, "{mode:?}: {tally:#?}");
        }
    }
}

/// The seconds for which each thread of a process has run or waited for a CPU so far, by its number.
pub(crate) fn wanted_cpu(pid: u32) -> BTreeMap<String, f64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let wanted = threads.filter_map(|thread| {
        // Nanoseconds run and waited, and how often it was given a CPU.
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let numbers = text.split_whitespace().take(2).map(str::parse::<u64>);
        let nanoseconds = numbers.sum::<Result<u64, _>>().ok()?;
        Some((thread.file_name().into_string().ok()?, nanoseconds as f64 / 1e9))
    });
    wanted.collect()
}

/// The numbers of the threads that were seen in a function.
fn threads_in(recording: &Recording, function: &str) -> BTreeSet<String> {
    let stacks = recording.stacks.iter().map(|(stack, _)| stack).filter(|stack| names(stack).contains(&function));
    let markers = stacks.flatten().filter_map(|frame| frame.strip_prefix("thread ("));
    markers.filter_map(|marker| marker.split(')').next()).map(str::to_owned).collect()
}

/// Of a thread that waits, at most this share of the samples may say that it runs; of one that computes, at least the
/// other.
#[test]
fn waiting_threads_are_idle_and_busy_ones_active() {
    let _alone = alone_on_this_machine();
    for interpreter in Interpreter::all().iter().filter(|found| matches!(found.feature(), (3, 8 | 13))) {
        let target = Target::start(interpreter, "waiting.py", &[]);
        wait_until_all_but_one_wait(target.pid());
        for (rate, mode) in [("100", None), ("1000", None), ("100", Some("--blocking")), ("1000", Some("--blocking"))] {
            let mut args = vec!["--rate", rate, "-d", "2", "--threads"];
            args.extend(mode);
            let rate_asked = rate.parse().unwrap();
            let (mut before, mut started) = (wanted_cpu(target.pid()), Instant::now());
            let active = Recording::fed(rate_asked, || {
                (before, started) = (wanted_cpu(target.pid()), Instant::now());
                Recording::of(target.pid(), &args)
            });
            let (after, elapsed) = (wanted_cpu(target.pid()), started.elapsed().as_secs_f64());
            let everything = active.summary.intervals(rate);
            // One that is woken and does not get a CPU at once wants to run for as long as that takes.
            let wanted = |function: &str| {
                let of_thread =
                    |thread: String| after.get(&thread).unwrap_or(&0.0) - before.get(&thread).unwrap_or(&0.0);
                threads_in(&active, function).into_iter().map(of_thread).sum::<f64>() / elapsed
            };
            let of = |function: &str| active.count(|names| names.contains(&function)) as f64 / everything;
            for function in ["sleeps", "selects"] {
                let most = 0.01 + 1.5 * wanted(function);
                assert!(of(function) <= most, "{interpreter} {args:?}: {function} {} of {most}", of(function));
            }
            assert!(of("computes") >= 0.95, "{interpreter} {args:?}: {} {:?}", of("computes"), active.summary);
            // That the waiting ones are seen at all.
            args.push("--idle");
            let all = Recording::fed(rate_asked, || Recording::of(target.pid(), &args));
            let everything = all.summary.intervals(rate);
            for function in ["sleeps", "selects"] {
                let share = all.count(|names| names.contains(&function)) as f64 / everything;
                assert!(share >= 0.95, "{interpreter} {args:?}: {function} {share}");
            }
        }
    }
}

/// Threads that wait are left out of the reads until they have moved: each move must show, with the line that belongs
/// to it.
#[test]
fn threads_that_sleep_by_turns_are_seen_where_they_sleep() {
    let _alone = alone_on_this_machine();
    for interpreter in chosen() {
        for mode in [&[][..], &["--blocking"]] {
            let mut args = vec!["-d", "2", "--idle"];
            args.extend(mode);
            let recording = record(interpreter, "sleepers.py", &args);
            let of = |function: &str, line: &str| {
                recording
                    .stacks
                    .iter()
                    .filter(|(stack, _)| names(stack).last() == Some(&function))
                    .inspect(|(stack, count)| {
                        let caller = &stack[stack.len() - 2];
                        assert!(caller.ends_with(line), "{interpreter} {mode:?}: {count} of {function} in {caller}");
                    })
                    .map(|(_, count)| count)
                    .sum::<u64>() as f64
            };
            let (here, there) = (of("here", ":17)"), of("there", ":18)"));
            // Three, and less on a machine so busy that each sleep ends late.
            assert!((1.2..4.0).contains(&(there / here)), "{interpreter} {mode:?}: {here} here, {there} there");
        }
    }
}
