//! Whether functions have become slower from one profile to another by more than they may, so that noise alone is not
//! taken for it.
//!
//! What is compared is the time in a function for each second spent elsewhere (the odds of its share): whatever the
//! speed of the machine and the length of the recording, it grows by a fifth when the function does. That alone would
//! also grow when something else became faster, so the function's time must have grown too.
//!
//! Noise: samples are not independent. A thread that waits for a CPU shows the same stack again and again, and a sample
//! that comes late stands for many; on a busy machine a hundred samples say no more than five. So a stretch of time
//! with the same stack is one observation, up to a tenth of a second, and the variance of a share is that of a sum of
//! such stretches of unequal length. What must be exceeded is chosen so that of two thousand comparisons of equal
//! programs one fails, however many functions are looked at.

use wildmatch::WildMatch;

use super::Lines;
use super::changed_functions::{Side, pairs};
use super::functions::Functions;
use super::heading::round;
use super::narrow::Amounts;
use super::place::Place;
use super::sort::sort_by;
use super::stack_sums::StackSums;
use super::text::shortened;
use crate::profile::{Profile, Run, StackId, module_name};

/// The chance that noise alone is taken for growth, of all that is looked at together.
const CHANCE: f64 = 0.0005;
/// What has less of the time is not judged. A sample that comes late falls where the thread was let run again, so that
/// on a busy machine such places have thousandths of the time more in one recording than in the next.
const NOTABLE: f64 = 0.01;
/// What has more of the time cannot be measured by the rest: start-up alone, which varies, may be most of that.
const NEARLY_ALL: f64 = 0.9;
/// A longer stretch with the same stack is several observations, µs: a thread seldom waits longer for a CPU.
const STRETCH_US: u64 = 100_000;
/// How a share is written that is none, or next to none.
const NOTHING: &str = "0.0 %";
/// Functions that are named for a limit.
const NAMED: usize = 5;

/// By how much functions may grow.
#[derive(Debug, Clone)]
pub(crate) struct GrowthLimit {
    /// Which functions: a glob for their file, module or name.
    pub glob: String,
    /// By how much, as a share: 0.05 are five percent.
    pub by: f64,
}

/// What has become of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grown {
    /// What there is to say of it.
    pub sentences: Vec<String>,
    /// Something has grown by more.
    pub has_failed: bool,
}

/// Something that may have grown.
struct Candidate {
    what: String,
    amounts: Amounts,
    /// The sums of the squares of its stretches.
    squares: Amounts,
}

impl Candidate {
    /// Whether it has enough of the time to be judged.
    fn is_notable(&self, whole: &Whole) -> bool {
        self.amounts.now as f64 >= NOTABLE * whole.us.now as f64
    }
}

/// All time of each side.
struct Whole {
    us: Amounts,
    squares: Amounts,
}

/// For each stack of a profile the sum of the squares of its stretches, in square µs. Without a timeline each sample is
/// taken for one.
fn squares(profile: &Profile) -> Vec<u64> {
    let mut squares = vec![0u64; profile.table_sizes().stacks];
    let mut add = |stack: StackId, square: u64| {
        let sum = &mut squares[stack.number() as usize];
        *sum = sum.saturating_add(square);
    };
    if !profile.has_timeline() {
        for total in profile.totals() {
            let one_us = total.weight_us / total.samples.max(1);
            add(total.stack, total.weight_us.saturating_mul(one_us));
        }
        return squares;
    }
    let gap_us = profile.metadata.joinable_gap_us();
    for (thread, _) in profile.threads() {
        let mut open: Option<Run> = None;
        for run in profile.timeline(thread) {
            match &mut open {
                // The same with another flag goes on.
                Some(last) if last.stack == run.stack && run.start_us.saturating_sub(last.end_us()) <= gap_us => {
                    last.weight_us = last.weight_us.saturating_add(run.weight_us);
                }
                _ => {
                    if let Some(last) = open.replace(run) {
                        add(last.stack, last.weight_us.saturating_mul(last.weight_us.min(STRETCH_US)));
                    }
                }
            }
        }
        if let Some(last) = open {
            add(last.stack, last.weight_us.saturating_mul(last.weight_us.min(STRETCH_US)));
        }
    }
    squares
}

/// Looks at each limit. `lines` says what tells functions apart.
pub(crate) fn growth(before: &Profile, after: &Profile, lines: Lines, limits: &[GrowthLimit]) -> Vec<Grown> {
    let sides = [before, after].map(|profile| Side::new(profile, lines));
    let sums = [sides[0].sums(), sides[1].sums()];
    let [of_before, of_after] = [before, after].map(squares);
    let squares = [sides[0].sums_of(of_before), sides[1].sums_of(of_after)];
    let squares_of = pairs([&sides[0], &sides[1]], [&squares[0], &squares[1]]);
    let times_of = pairs([&sides[0], &sides[1]], [&sums[0], &sums[1]]);
    let all = |of: &[(Functions<'_>, StackSums); 2]| {
        let [before, now] = [0, 1].map(|side| of[side].1.total_us(0));
        Amounts { before, ..Amounts::of_time(now) }
    };
    let whole = Whole { us: all(&sums), squares: all(&squares) };
    let candidates = limits.iter().map(|limit| {
        let globs = WildMatch::new(&limit.glob);
        let mut candidates = vec![];
        let (mut all, mut all_squares) = (Amounts::default(), Amounts::default());
        let is_any_old = times_of.values().any(|pair| pair.total.before > 0 && matches(&globs, pair.place));
        for (key, pair) in &times_of {
            if !matches(&globs, pair.place) {
                continue;
            }
            let (name, file, _) = key;
            let (own_squares, squares) = squares_of.get(key).map(|pair| (pair.own, pair.total)).unwrap_or_default();
            all.add(pair.own);
            all_squares.add(own_squares);
            let label = if file.is_empty() { (*name).to_owned() } else { format!("{name} ({file})") };
            let label = shortened(&label, 120).into_owned();
            // What is new beside others is counted with all of them together: it may have had another name.
            if pair.total.before > 0 || !is_any_old {
                candidates.push(Candidate { what: label.clone(), amounts: pair.total, squares });
                // What calls nothing is the same without what it calls.
                if pair.own != pair.total {
                    let what = format!("{label} itself");
                    candidates.push(Candidate { what, amounts: pair.own, squares: own_squares });
                }
            }
        }
        if all != Amounts::default() {
            let what = format!("all that {} matches, without what that calls,", limit.glob);
            candidates.push(Candidate { what, amounts: all, squares: all_squares });
        }
        candidates
    });
    let candidates: Vec<Vec<Candidate>> = candidates.collect();
    let is_notable = |candidate: &&Candidate| candidate.is_notable(&whole);
    let looked_at = candidates.iter().flatten().filter(is_notable).count().max(1);
    let errors = standard_errors(CHANCE / looked_at as f64);
    limits.iter().zip(candidates).map(|(limit, candidates)| grown(limit, &candidates, &whole, errors)).collect()
}

/// Whether a glob matches a function by its file, its module or its name, as `--include` and `--below` do.
fn matches(glob: &WildMatch, place: &Place) -> bool {
    let name = place.name.as_str();
    let own_name = name.rsplit_once('.').map_or(name, |(_, own_name)| own_name);
    let module = module_name(&place.shown_file);
    let qualified = format!("{module}.{name}");
    let texts = [name, own_name, &place.shown_file, &place.file, &module, &place.module, &qualified];
    texts.iter().any(|text| !text.is_empty() && glob.matches(text))
}

fn grown(limit: &GrowthLimit, candidates: &[Candidate], whole: &Whole, errors: f64) -> Grown {
    let spec = format!("{}:+{}%", limit.glob, round(limit.by * 100.0));
    let mut beyond = vec![];
    let mut within: Option<(f64, &Candidate)> = None;
    for candidate in candidates.iter().filter(|candidate| candidate.is_notable(whole)) {
        let Some(Growth { by, is_certain }) = growth_of(candidate, whole, limit.by, errors) else { continue };
        if is_certain {
            beyond.push((by, candidate));
        } else if by > limit.by && within.is_none_or(|(most, _)| most < by) {
            within = Some((by, candidate));
        }
    }
    sort_by(&mut beyond, |one, other| other.0.total_cmp(&one.0));
    let share = |part: u64, all: u64| format!("{:.1} %", part as f64 * 100.0 / all.max(1) as f64);
    let text = |by: f64, candidate: &Candidate| {
        let Amounts { before, now, .. } = candidate.amounts;
        let [from, to] = [share(before, whole.us.before), share(now, whole.us.now)];
        let has_grown = match by {
            _ if before == 0 => "is new".to_owned(),
            // Of next to nothing it is no number worth reading.
            _ if from == NOTHING => "has grown many times over".to_owned(),
            by => format!("has grown by {} %", round(by * 100.0)),
        };
        format!("{spec}: {} {has_grown}, from {from} of the time to {to}", candidate.what)
    };
    let mut sentences: Vec<String> = beyond.iter().take(NAMED).map(|(by, one)| text(*by, one)).collect();
    if beyond.len() > NAMED {
        sentences.push(format!("{spec}: and {} more have grown", beyond.len() - NAMED));
    }
    let is_all = |one: &Candidate| growth_of(one, whole, limit.by, errors).is_none() && one.amounts.now > 0;
    match (sentences.is_empty(), candidates.is_empty(), within) {
        (true, true, _) => sentences.push(format!("{spec}: matches no function")),
        (true, false, None) if candidates.iter().all(is_all) => {
            sentences.push(format!(
                "{spec}: what it matches takes nearly all of the time, too much to be measured by the rest"
            ));
        }
        (true, false, None) => sentences.push(format!("{spec}: nothing has grown by more")),
        (true, false, Some((by, one))) => {
            sentences.push(text(by, one) + ", which may be noise: more samples would tell");
        }
        (false, ..) => {}
    }
    Grown { has_failed: !beyond.is_empty(), sentences }
}

/// How something has grown.
struct Growth {
    /// As a share of what it was; infinite for what is new.
    by: f64,
    /// It has grown by more than it may, but for a small chance.
    is_certain: bool,
}

/// `None` where it is nothing, or nearly all, so that there is too little else to measure it by. `limit` is the share
/// by which it may grow.
fn growth_of(candidate: &Candidate, whole: &Whole, limit: f64, errors: f64) -> Option<Growth> {
    let Amounts { before, now, .. } = candidate.amounts;
    if now == 0 || whole.us.before == 0 || whole.us.now == 0 {
        return None;
    }
    let inside = [before, now].map(|us| us as f64);
    let all = [whole.us.before, whole.us.now].map(|us| us as f64);
    if (0..2).any(|side| inside[side] > NEARLY_ALL * all[side]) {
        return None;
    }
    let [odds_before, odds_now] = [0, 1].map(|side| inside[side] / (all[side] - inside[side]));
    let by_time = if before == 0 { f64::INFINITY } else { now as f64 / before as f64 - 1.0 };
    let by = (odds_now / odds_before - 1.0).min(by_time);
    // What its share would be now if it had grown by just the limit, and how steeply that goes with the share before.
    let ratio = 1.0 + limit;
    let grown = |share: f64| ratio * share / (1.0 - share + ratio * share);
    let slope = |share: f64| ratio / (1.0 - share + ratio * share).powi(2);
    let shares = [0, 1].map(|side| inside[side] / all[side]);
    // How much both shares vary is taken from what both sides show together: of what was never seen on one side, that
    // side alone would say that it does not vary at all.
    let together = (inside[0] + inside[1]) / (all[0] + ratio * all[1]);
    let expected = [together, grown(together)];
    let squares = [candidate.squares.before, candidate.squares.now].map(|square| square as f64);
    let all_squares = [whole.squares.before, whole.squares.now].map(|square| square as f64);
    let variance = |side: usize| {
        let share = expected[side];
        // Its stretches may be longer than others, or shorter.
        let elsewhere = (all_squares[side] - squares[side]).max(0.0);
        let own = squares[side] * (1.0 - share).powi(2) + elsewhere * share.powi(2);
        own.max(all_squares[side] * share * (1.0 - share)) / all[side].powi(2)
    };
    let error = (variance(1) + slope(together).powi(2) * variance(0)).sqrt();
    let is_beyond = shares[1] - grown(shares[0]) > errors * error;
    Some(Growth { by, is_certain: is_beyond && by_time > limit })
}

/// By how many standard errors something is exceeded with this small chance: the first terms of the series for large
/// numbers, which is right to a hundredth below a chance of a thousandth.
fn standard_errors(chance: f64) -> f64 {
    let double = -2.0 * chance.ln();
    (double - double.ln() - std::f64::consts::TAU.ln()).max(0.0).sqrt()
}

#[cfg(test)]
mod tests;
