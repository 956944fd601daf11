//! What the numbers of a profile do not say: samples that are doubtful or missing, and how exact shares can be.

use crate::output::heading::{no_samples, round};
use crate::profile::Profile;

/// Two standard errors: of twenty shares one is further off.
const STANDARD_ERRORS: f64 = 1.96;

/// Sentences without capital and full stop; the first is how exact a share is.
pub(in crate::output) fn doubts(profile: &Profile) -> Vec<String> {
    let metadata = &profile.metadata;
    let counts = metadata.counts;
    let samples = profile.sum().samples;
    let mut doubts = vec![];
    if samples == 0 {
        doubts.push(no_samples(profile).to_owned());
    } else if metadata.filters.off_cpu {
        doubts.push("times are those for which threads were blocked, exactly; they add up over all threads".to_owned());
    } else {
        let points = STANDARD_ERRORS * 50.0 / (samples as f64).sqrt();
        doubts.push(format!("sampling error: a share of 50 % is good to ±{points:.1} points, a small one to less"));
    }
    let taken = counts.taken.max(samples);
    let share = |part: u64, whole: u64| round(part as f64 * 100.0 / whole.max(1) as f64);
    let mut count = |part: u64, whole: u64, what: &str| {
        if part > 0 {
            doubts.push(format!("{part} samples ({} %) {what}", share(part, whole)));
        }
    };
    count(counts.unproven, taken, "could not be proven to be stacks that were");
    count(counts.lost, taken.saturating_add(counts.lost), "are missing, as nothing could be read");
    count(counts.stopped, taken, "needed a stop of the thread");
    count(counts.outside, taken.saturating_add(counts.outside), "are left out, as they were not below the function");
    if let Some(seconds) = metadata.unobserved_s() {
        doubts.push(format!("{} s were not observed: pyspy could not look in time", round(seconds)));
    }
    if metadata.rate_held > 0.0 && metadata.rate_held < 0.97 * metadata.rate_asked {
        let [held, asked] = [metadata.rate_held, metadata.rate_asked].map(round);
        doubts.push(format!("{held} samples a second were held of {asked}"));
    }
    if profile.is_clipped() {
        doubts.push("some names or stacks were too many and are left out".to_owned());
    }
    doubts
}
