//! The functions of two profiles beside each other.

use std::collections::BTreeMap;

use serde::Serialize;

use super::comparison::{Change, Comparison, amounts, heading};
use super::functions::Functions;
use super::narrow::Amounts;
use super::place::{Place, Places};
use super::sort::sort_by;
use super::stack_sums::StackSums;
use super::{Lines, Presentation};
use crate::profile::Profile;

/// Functions that are named.
const MOST_FUNCTIONS: usize = 20;

/// What differs between two profiles, in a few numbers. All texts are [`printable`](super::printable).
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    /// The commands.
    pub(super) title: String,
    /// How much was recorded of each, in words.
    pub(super) about: String,
    /// `seconds`, or `samples` where no time is known.
    pub(super) unit: &'static str,
    /// All time, before and after.
    pub(super) total: [f64; 2],
    /// How many samples, before and after.
    pub(super) samples: [u64; 2],
    /// Functions whose share has changed by more than sampling makes of equal ones, the most first.
    pub(super) changed: Vec<ChangedFunction>,
    /// How many there are of these.
    pub(super) changed_count: usize,
    /// How many functions there are in both together.
    pub(super) function_count: usize,
    /// What was asked of the difference, and how that went, a sentence each.
    pub(super) checks: Vec<String>,
}

/// A function in both profiles.
#[derive(Debug, Serialize)]
pub(super) struct ChangedFunction {
    pub(super) name: String,
    pub(super) file: String,
    /// While it was innermost.
    pub(super) own: ChangedAmount,
    /// With all that it called.
    pub(super) total: ChangedAmount,
}

/// A time before and after, and its share of each.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct ChangedAmount {
    pub(super) time: [f64; 2],
    pub(super) share: [f64; 2],
    /// Sampling alone would not have made it of equal shares.
    pub(super) is_significant: bool,
}

impl ChangedAmount {
    /// By how many points of a hundred the share has grown.
    pub(super) fn points(&self) -> f64 {
        (self.share[1] - self.share[0]) * 100.0
    }
}

impl ChangedFunction {
    /// `name (file)`.
    pub(super) fn label(&self) -> String {
        if self.file.is_empty() { self.name.clone() } else { format!("{} ({})", self.name, self.file) }
    }

    /// By how much it has changed, for the order.
    fn weight(&self) -> f64 {
        [self.own, self.total].iter().filter(|one| one.is_significant).map(|one| one.points().abs()).fold(0.0, f64::max)
    }
}

/// A profile with its places and functions, ready to be compared.
pub(super) struct Side<'profile> {
    pub(super) profile: &'profile Profile,
    pub(super) places: Places<'profile>,
    with_lines: bool,
}

impl<'profile> Side<'profile> {
    pub(super) fn new(profile: &'profile Profile, lines: Lines) -> Self {
        let places = Places::new(profile, &Presentation { lines, ..Presentation::default() });
        Self { profile, places, with_lines: lines != Lines::None }
    }

    /// The functions and what they took.
    pub(super) fn sums(&self) -> (Functions<'_>, StackSums) {
        let functions = Functions::to_compare(&self.places, self.with_lines);
        let sums = StackSums::new(self.profile, &self.places, &functions);
        (functions, sums)
    }

    /// The functions and the sums of what is given for each stack.
    pub(super) fn sums_of(&self, own: Vec<u64>) -> (Functions<'_>, StackSums) {
        let functions = Functions::to_compare(&self.places, self.with_lines);
        let sums = StackSums::of(self.profile, &self.places, &functions, own);
        (functions, sums)
    }
}

/// What a function took on both sides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'side> {
    /// One of its places, of the side where it is, for its name and its files.
    pub(super) place: &'side Place,
    /// The time on its own, and with all that it called, µs.
    pub(super) own: Amounts,
    pub(super) total: Amounts,
}

/// The functions of both sides, by name, file and, where these count, first line.
pub(super) fn pairs<'side>(
    sides: [&'side Side<'_>; 2],
    sums: [&(Functions<'side>, StackSums); 2],
) -> BTreeMap<(&'side str, &'side str, u32), Pair<'side>> {
    let mut pairs = BTreeMap::new();
    for (which, (side, (functions, sums))) in sides.into_iter().zip(sums).enumerate() {
        for (at, place) in side.places.all().iter().enumerate() {
            let id = functions.function_of(at);
            let (function, sum) = (functions.all[id], sums.functions[id]);
            if sum.total_us == 0 {
                continue;
            }
            let key = (function.name, function.file, function.first_line);
            let none = Pair { place, own: Amounts::default(), total: Amounts::default() };
            let pair = pairs.entry(key).or_insert(none);
            for (amounts, us) in [(&mut pair.own, sum.own_us), (&mut pair.total, sum.total_us)] {
                *(if which == 0 { &mut amounts.before } else { &mut amounts.now }) = us;
            }
        }
    }
    pairs
}

impl Difference {
    pub(super) fn new(before: &Profile, after: &Profile, lines: Lines, checks: &[String]) -> Self {
        let sides = [before, after].map(|profile| Side::new(profile, lines));
        let sums = [sides[0].sums(), sides[1].sums()];
        let comparison = Comparison::new(before, after);
        let is_time = comparison.unit == "ms";
        let time = |us: u64| us as f64 / if is_time { 1e6 } else { 1e3 };
        let amount = |amounts: Amounts| {
            let Change { before, after, is_significant } = comparison.change(amounts);
            let time = [amounts.before, amounts.now].map(time);
            ChangedAmount { time, share: [before, after], is_significant }
        };
        let pairs = pairs([&sides[0], &sides[1]], [&sums[0], &sums[1]]);
        let function_count = pairs.len();
        let function = |((name, file, _), pair): ((&str, &str, u32), Pair<'_>)| ChangedFunction {
            name: name.trim().to_owned(),
            file: file.to_owned(),
            own: amount(pair.own),
            total: amount(pair.total),
        };
        let mut changed: Vec<_> = pairs.into_iter().map(function).filter(|function| function.weight() > 0.0).collect();
        let changed_count = changed.len();
        sort_by(&mut changed, |one, other| other.weight().total_cmp(&one.weight()));
        changed.truncate(MOST_FUNCTIONS);
        Self {
            title: heading(before, after),
            about: amounts(before, after),
            unit: if is_time { "seconds" } else { "samples" },
            total: [comparison.sums.before, comparison.sums.now].map(time),
            samples: comparison.samples,
            changed,
            changed_count,
            function_count,
            checks: checks.to_vec(),
        }
    }
}
