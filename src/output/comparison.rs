//! Two profiles beside each other: how shares have changed, and whether sampling alone could have made that of equal
//! ones.

use super::heading::{round, title};
use super::narrow::Amounts;
use super::text::thousands;
use crate::profile::Profile;

/// How many standard errors make a difference: one of a hundred that are none is beyond.
const STANDARD_ERRORS: f64 = 2.58;

/// What stands above a comparison.
pub(super) fn heading(before: &Profile, after: &Profile) -> String {
    match [before, after].map(title) {
        [one, other] if one == other => format!("{one} — difference"),
        [one, other] => format!("{one} → {other}"),
    }
}

/// How much there was of each, in words.
pub(super) fn amounts(before: &Profile, after: &Profile) -> String {
    let amount = |profile: &Profile| {
        let samples = profile.sum().samples;
        let duration_us = profile.metadata.duration_us;
        if duration_us > 0 {
            format!("{samples} samples in {} s", round(duration_us as f64 / 1e6))
        } else {
            format!("{samples} samples")
        }
    };
    format!("before {} · after {}", amount(before), amount(after))
}

/// Two profiles beside each other.
pub(super) struct Comparison {
    /// All time of each, µs.
    pub(super) sums: Amounts,
    /// How many samples each has.
    pub(super) samples: [u64; 2],
    /// What a thousand of the amounts are called.
    pub(super) unit: &'static str,
}

/// How the share of something has changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) before: f64,
    pub(super) after: f64,
    /// More than sampling alone would make of equal shares.
    pub(super) is_significant: bool,
}

impl Comparison {
    pub(super) fn new(before: &Profile, after: &Profile) -> Self {
        let [sum_before, sum_after] = [before, after].map(Profile::sum);
        let is_time_known = before.metadata.is_time_known() && after.metadata.is_time_known();
        Self {
            sums: Amounts { before: sum_before.weight_us, ..Amounts::of_time(sum_after.weight_us) },
            samples: [sum_before.samples, sum_after.samples],
            unit: if is_time_known { "ms" } else { "samples" },
        }
    }

    /// How wide what took so much before is drawn.
    pub(super) fn scaled(&self, before: u64) -> u64 {
        let scaled = u128::from(before) * u128::from(self.sums.now) / u128::from(self.sums.before.max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    /// How the share of something has changed.
    pub(super) fn change(&self, amounts: Amounts) -> Change {
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let (before, after) = (share(amounts.before, self.sums.before), share(amounts.now, self.sums.now));
        // Of two samples of the same, the shares differ by so much.
        let numbers = self.samples.map(|number| number.max(1) as f64);
        let pooled = (before * numbers[0] + after * numbers[1]) / (numbers[0] + numbers[1]);
        let error = (pooled * (1.0 - pooled) * (1.0 / numbers[0] + 1.0 / numbers[1])).max(0.0).sqrt();
        Change { before, after, is_significant: (after - before).abs() > STANDARD_ERRORS * error }
    }

    /// The hover text of something, from its changes in all and on its own.
    pub(super) fn about(&self, amounts: Amounts, [total, own]: [Change; 2]) -> String {
        let what = match (amounts.before, amounts.now) {
            (0, _) => "new, ",
            (_, 0) => "gone, ",
            _ => "",
        };
        let [before, now] = [amounts.before, amounts.now].map(thousands);
        format!("{what}{}; own {}; {before} → {now} {}", total.text(), own.text(), self.unit)
    }
}

impl Change {
    pub(super) fn difference(self) -> f64 {
        self.after - self.before
    }

    pub(super) fn text(self) -> String {
        let [before, after, points] = [self.before, self.after, self.difference()].map(|share| share * 100.0);
        let noise = if self.is_significant || points == 0.0 { "" } else { ", within noise" };
        // A difference of nothing has no sign.
        let points = format!("{points:+.2}").replace("-0.00", "0.00").replace("+0.00", "0.00");
        format!("{before:.2}% → {after:.2}%, {points} points{noise}")
    }
}
