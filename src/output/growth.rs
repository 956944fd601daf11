//! Whether functions have become slower from one profile to another by more than they may, so that noise alone is not
//! taken for it.
//!
//! What is compared is the time in a function for each second spent elsewhere (the odds of its share): whatever the
//! speed of the machine and the length of the recording, it grows by a fifth when the function does. That alone would
//! also grow when something else became faster, so the function's time must have grown too. The noise is that of two
//! independent samplings: the logarithm of such a ratio has the variance 1/a + 1/b + 1/c + 1/d, with a to d the samples
//! inside and outside, before and after. What must be exceeded is chosen so that of two thousand comparisons of equal
//! programs one fails, however many functions are looked at.

use wildmatch::WildMatch;

use super::Lines;
use super::difference::{Side, pairs};
use super::heading::round;
use super::narrow::Amounts;
use super::place::Place;
use super::text::shortened;
use crate::profile::{Profile, module_name};

/// The chance that noise alone is taken for growth, of all that is looked at together.
const CHANCE: f64 = 0.0005;
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
}

/// All time of each side and its samples.
#[derive(Clone, Copy)]
struct Whole {
    us: Amounts,
    samples: [f64; 2],
}

/// Looks at each limit. `lines` says what tells functions apart.
pub(crate) fn growth(before: &Profile, after: &Profile, lines: Lines, limits: &[GrowthLimit]) -> Vec<Grown> {
    let sides = [before, after].map(|profile| Side::new(profile, lines));
    let sums = [sides[0].sums(), sides[1].sums()];
    let pairs = pairs([&sides[0], &sides[1]], [&sums[0], &sums[1]]);
    let [before, after] = [before, after].map(Profile::sum);
    let whole = Whole {
        us: Amounts { before: before.weight_us, ..Amounts::of_time(after.weight_us) },
        samples: [before.samples, after.samples].map(|samples| samples as f64),
    };
    let candidates = limits.iter().map(|limit| {
        let globs = WildMatch::new(&limit.glob);
        let mut candidates = vec![];
        let mut all = Amounts::default();
        for ((name, file, _), pair) in &pairs {
            if !matches(&globs, pair.place) {
                continue;
            }
            all.add(pair.own);
            let label = if file.is_empty() { (*name).to_owned() } else { format!("{name} ({file})") };
            let label = shortened(&label, 120).into_owned();
            // What is new is counted with all of them together: it may have had another name.
            if pair.total.before > 0 {
                candidates.push(Candidate { what: label.clone(), amounts: pair.total });
                candidates.push(Candidate { what: format!("{label} itself"), amounts: pair.own });
            }
        }
        if all != Amounts::default() {
            let what = format!("all that {} matches, without what that calls,", limit.glob);
            candidates.push(Candidate { what, amounts: all });
        }
        candidates
    });
    let candidates: Vec<Vec<Candidate>> = candidates.collect();
    let looked_at = candidates.iter().map(Vec::len).sum::<usize>().max(1);
    let errors = standard_errors(CHANCE / looked_at as f64);
    limits.iter().zip(candidates).map(|(limit, candidates)| grown(limit, &candidates, whole, errors)).collect()
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

fn grown(limit: &GrowthLimit, candidates: &[Candidate], whole: Whole, errors: f64) -> Grown {
    let spec = format!("{}:+{}%", limit.glob, round(limit.by * 100.0));
    let mut beyond = vec![];
    let mut within: Option<(f64, &Candidate)> = None;
    for candidate in candidates {
        let Some(Growth { by, certain }) = growth_of(candidate.amounts, whole, errors) else { continue };
        if certain > limit.by {
            beyond.push((by, candidate));
        } else if by > limit.by && within.is_none_or(|(most, _)| most < by) {
            within = Some((by, candidate));
        }
    }
    beyond.sort_by(|one, other| other.0.total_cmp(&one.0));
    let share = |part: u64, all: u64| format!("{:.1} %", part as f64 * 100.0 / all.max(1) as f64);
    let text = |by: f64, candidate: &Candidate| {
        let Amounts { before, now, .. } = candidate.amounts;
        let by = if by.is_finite() { format!(" by {} %", round(by * 100.0)) } else { String::new() };
        let [from, to] = [share(before, whole.us.before), share(now, whole.us.now)];
        format!("{spec}: {} has grown{by}, from {from} of the time to {to}", candidate.what)
    };
    let mut sentences: Vec<String> = beyond.iter().take(NAMED).map(|(by, one)| text(*by, one)).collect();
    if beyond.len() > NAMED {
        sentences.push(format!("{spec}: and {} more have grown", beyond.len() - NAMED));
    }
    match (sentences.is_empty(), candidates.is_empty(), within) {
        (true, true, _) => sentences.push(format!("{spec}: matches no function")),
        (true, false, None) => sentences.push(format!("{spec}: nothing has grown by more")),
        (true, false, Some((by, one))) => {
            sentences.push(text(by, one) + ", which may be noise: more samples would tell");
        }
        (false, ..) => {}
    }
    Grown { has_failed: !beyond.is_empty(), sentences }
}

/// How something has grown, as shares of what it was.
struct Growth {
    /// As measured.
    by: f64,
    /// At least, but for a small chance.
    certain: f64,
}

/// `None` where it is all there is, or nothing.
fn growth_of(amounts: Amounts, whole: Whole, errors: f64) -> Option<Growth> {
    let Amounts { before, now, .. } = amounts;
    if now == 0 || whole.us.before == 0 || whole.us.now == 0 {
        return None;
    }
    let shares = [before as f64 / whole.us.before as f64, now as f64 / whole.us.now as f64];
    let mut variance = 0.0;
    let [odds_before, odds_now] = [0, 1].map(|side| {
        // Half a sample each keeps what was never seen from being infinitely far away.
        let [inside, outside] = [shares[side], 1.0 - shares[side]].map(|share| share * whole.samples[side] + 0.5);
        variance += 1.0 / inside + 1.0 / outside;
        inside / outside
    });
    let (logarithm, error) = ((odds_now / odds_before).ln(), f64::sqrt(variance));
    let by_time = if before == 0 { f64::INFINITY } else { now as f64 / before as f64 - 1.0 };
    let by = (logarithm.exp() - 1.0).min(by_time);
    Some(Growth { by, certain: ((logarithm - errors * error).exp() - 1.0).min(by_time) })
}

/// By how many standard errors something is exceeded with this small chance: the first terms of the series for large
/// numbers, which is right to a hundredth below a chance of a thousandth.
fn standard_errors(chance: f64) -> f64 {
    let double = -2.0 * chance.ln();
    (double - double.ln() - std::f64::consts::TAU.ln()).max(0.0).sqrt()
}

#[cfg(test)]
mod tests;
