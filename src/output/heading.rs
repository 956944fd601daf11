//! What stands above a profile in the formats that have a heading: the command, and what was recorded of it.

use super::text::{printable, shortened};
use crate::profile::{Metadata, Profile};

/// The command, shortened to what fits.
pub(super) fn title(metadata: &Metadata) -> String {
    const FITS: usize = 100;
    if metadata.command.trim().is_empty() {
        return "Python profile".to_owned();
    }
    shortened(&printable(&metadata.command), FITS).into_owned()
}

/// Pid, rate, samples and duration, as far as they are known.
pub(super) fn subtitle(profile: &Profile) -> String {
    let metadata = &profile.metadata;
    let mut parts = vec![];
    if metadata.pid != 0 {
        parts.push(format!("pid {}", metadata.pid));
    }
    if metadata.is_time_known() {
        let mut rate = format!("{} samples/s", round(metadata.rate_asked));
        // A rate that was nearly held is not worth a word.
        if metadata.rate_held > 0.0 && metadata.rate_held < 0.97 * metadata.rate_asked {
            rate.push_str(&format!(" asked, {} held", round(metadata.rate_held)));
        }
        parts.push(rate);
    }
    parts.push(format!("{} samples", profile.sum().samples));
    let below = &metadata.filters.below;
    if !below.is_empty() {
        let (inside, outside) = (profile.sum().samples, metadata.counts.outside);
        let share = inside as f64 * 100.0 / (inside + outside).max(1) as f64;
        parts.push(format!("below {}: {} %", shortened(&printable(below), 40), round(share)));
    }
    if metadata.duration_us > 0 {
        parts.push(format!("{} s", round(metadata.duration_us as f64 / 1e6)));
    }
    if let Some(seconds) = metadata.unobserved_s() {
        parts.push(format!("{} s of them unobserved", round(seconds)));
    }
    parts.join(" · ")
}

/// A subtitle with what else there is to know of the picture.
pub(super) fn with_legend(subtitle: String, legend: Option<String>) -> String {
    match legend {
        Some(legend) => format!("{subtitle} · {legend}"),
        None => subtitle,
    }
}

/// One digit after the point, and none when that is a zero.
pub(super) fn round(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}
