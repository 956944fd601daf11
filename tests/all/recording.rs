//! Recordings that tests make: `pyspy record -f raw`, its stacks and the line that sums it up.

use std::collections::BTreeMap;

use crate::target::{Ran, pyspy};

/// What `pyspy record` brought.
#[derive(Debug)]
pub(crate) struct Recording {
    /// Each stack, oldest frame first as `name (file:line)`, with how many sampling intervals it stands for.
    pub(crate) stacks: Vec<(Vec<String>, u64)>,
    /// The line that sums it up.
    pub(crate) summary: Summary,
    /// All that was printed on stderr.
    pub(crate) stderr: String,
}

/// The numbers of the last line of `pyspy record`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) samples: u64,
    /// Wall time, in seconds.
    pub(crate) seconds: f64,
    pub(crate) stopped: u64,
    pub(crate) unproven: u64,
    pub(crate) lost: u64,
    /// In Hz.
    pub(crate) rate_held: f64,
    /// Of the wall time, in seconds: on a machine with much to do pyspy does not always get a CPU.
    pub(crate) unobserved: f64,
}

impl Recording {
    /// Records a process with `args`, in the raw format.
    #[track_caller]
    pub(crate) fn of(pid: u32, args: &[&str]) -> Self {
        let pid = pid.to_string();
        let mut all = vec!["record", "--pid", &pid, "-f", "raw", "-o", "-"];
        all.extend(args);
        Self::from_run(&pyspy(&all))
    }

    /// What `record` records at `rate`, see [`until_fed`].
    pub(crate) fn fed(rate: f64, record: impl FnMut() -> Self) -> Self {
        until_fed(rate, |recording| recording.summary, record)
    }

    /// What a run of `pyspy record -f raw -o -` printed.
    #[track_caller]
    pub(crate) fn from_run(ran: &Ran) -> Self {
        let stacks = stacks(ran.success());
        let summary = Summary::parse(&ran.stderr).unwrap_or_else(|| panic!("no summary in {}", ran.stderr));
        Self { stacks, summary, stderr: ran.stderr.clone() }
    }

    /// The numbers of the summary in what pyspy printed.
    #[track_caller]
    pub fn summary_of(stderr: &str) -> Summary {
        Summary::parse(stderr).unwrap_or_else(|| panic!("no summary in {stderr}"))
    }

    /// Sampling intervals of all stacks.
    pub(crate) fn total(&self) -> u64 {
        self.stacks.iter().map(|(_, count)| count).sum()
    }

    /// Sampling intervals of the stacks that `is_it` picks by the names in them, oldest first.
    pub(crate) fn count(&self, is_it: impl Fn(&[&str]) -> bool) -> u64 {
        let picked = self.stacks.iter().filter(|(stack, _)| is_it(&names(stack)));
        picked.map(|(_, count)| count).sum()
    }

    /// Sampling intervals by depth.
    pub(crate) fn depths(&self) -> BTreeMap<usize, u64> {
        let mut depths = BTreeMap::new();
        for (stack, count) in &self.stacks {
            *depths.entry(stack.len()).or_default() += count;
        }
        depths
    }
}

/// The stacks of a file in the raw format.
#[track_caller]
pub(crate) fn stacks(raw: &str) -> Vec<(Vec<String>, u64)> {
    let parse = |line: &str| {
        let (stack, count) = line.rsplit_once(' ')?;
        Some((stack.split(';').map(str::to_owned).collect(), count.parse().ok()?))
    };
    raw.lines().map(|line| parse(line).unwrap_or_else(|| panic!("not a line of collapsed stacks: {line}"))).collect()
}

/// The functions of a stack, without their places.
pub(crate) fn names(stack: &[String]) -> Vec<&str> {
    stack.iter().map(|frame| frame.rsplit_once(" (").map_or(frame.as_str(), |(name, _)| name)).collect()
}

/// What `record` records at `rate`, again until pyspy had a CPU for it: others may take that from it for a while.
pub(crate) fn until_fed<T>(rate: f64, summary_of: impl Fn(&T) -> Summary, mut record: impl FnMut() -> T) -> T {
    const TRIES: usize = 10;
    let mut recorded = record();
    for _ in 1..TRIES {
        if !summary_of(&recorded).is_starved(rate) {
            break;
        }
        recorded = record();
    }
    recorded
}

impl Summary {
    /// The most sampling intervals that one thread can have in a recording of this rate.
    pub(crate) fn most_intervals(&self, rate: &str) -> u64 {
        ((self.seconds + 0.05) * rate.parse::<f64>().expect("a rate in Hz")) as u64 + 2
    }

    /// The least number of sampling intervals in a recording of this rate: the time was rounded, and the last interval
    /// is not over.
    pub(crate) fn intervals(&self, rate: &str) -> f64 {
        (self.observed() - 0.05) * rate.parse::<f64>().expect("a rate in Hz") - 1.0
    }

    /// By how much a share may be off because samples are missing that were asked for at `rate`: not at all where
    /// nearly all were taken, and else by three standard errors of as many as there were.
    pub(crate) fn doubt(&self, rate: f64) -> f64 {
        let ticks = (self.rate_held * self.seconds).max(1.0);
        if self.rate_held > 0.95 * rate { 0.0 } else { 1.5 / ticks.sqrt() }
    }

    /// Whether pyspy itself got so little of a CPU that its samples, asked for at `rate`, say little.
    pub(crate) fn is_starved(&self, rate: f64) -> bool {
        self.rate_held < (0.5 * rate).min(50.0).max(0.15 * rate) || self.unobserved > 0.05 * self.seconds
    }

    /// The wall time that samples stand for, in seconds.
    pub(crate) fn observed(&self) -> f64 {
        self.seconds - self.unobserved
    }

    pub(crate) fn parse(stderr: &str) -> Option<Self> {
        let line = stderr.lines().rev().find(|line| {
            ["wrote ", "sent "]
                .iter()
                .any(|word| line.strip_prefix("pyspy: ").is_some_and(|line| line.starts_with(word)))
        })?;
        let line = line.split_once(" with ")?.1;
        let number = |after: &str, before: &str| -> Option<f64> {
            let text = line.split(before).next()?.rsplit(after).next()?;
            text.trim().parse().ok()
        };
        Some(Self {
            samples: number(" with ", " samples in")? as u64,
            seconds: number(" in ", " s:")?,
            stopped: number(": ", " stopped")? as u64,
            unproven: number(", ", " unproven")? as u64,
            lost: number(", ", " lost")? as u64,
            rate_held: number("; ", " Hz held")?,
            unobserved: if line.contains(" s unobserved") { number("; ", " s unobserved")? } else { 0.0 },
        })
    }
}

#[test]
fn a_summary_is_read_back() {
    let line = "pyspy: note\npyspy: wrote - with 3335 samples in 4.0 s: 1275 stopped, 7 unproven, 2 lost; \
        999.5 Hz held of 1000 asked for";
    let expected =
        Summary { samples: 3335, seconds: 4.0, stopped: 1275, unproven: 7, lost: 2, rate_held: 999.5, unobserved: 0.0 };
    assert_eq!(Summary::parse(line), Some(expected));
    let line = format!("{line}; 3 processes; 1.2 s unobserved, which is left out");
    assert_eq!(Summary::parse(&line), Some(Summary { unobserved: 1.2, ..expected }));
}
