//! What `--below` has found.

use crate::output::{printable, sort_by};
use crate::profile::{Profile, SampleCounts};

/// Functions that are proposed instead.
const PROPOSED: usize = 3;

/// How much of the samples was below functions that match `glob`, and what to do when none was; nothing without a glob
/// or without samples.
/// `profile` has all functions that were seen.
pub(in crate::command) fn below_notes(profile: &Profile, glob: &str, counts: SampleCounts) -> Option<String> {
    let all = counts.taken.saturating_add(counts.outside);
    if glob.is_empty() || all == 0 {
        return None;
    }
    let glob_shown = printable(glob);
    if counts.taken > 0 || counts.outside < all {
        let share = counts.taken as f64 * 100.0 / all as f64;
        return Some(format!("{} of {all} samples ({share:.1} %) were below '{glob_shown}'", counts.taken));
    }
    let similar = similar_names(profile, glob);
    let advice = if similar.is_empty() {
        "`pyspy dump` shows the names, `*` stands for anything, --idle counts functions that only wait".to_owned()
    } else {
        format!("seen were {}", similar.join(", "))
    };
    Some(format!("none of {all} samples were below '{glob_shown}': {advice}"))
}

/// Names of functions that have in them what the glob has beside its wildcards.
fn similar_names(profile: &Profile, glob: &str) -> Vec<String> {
    let parts = glob.split(['*', '?', '.']).filter(|part| part.chars().count() > 1);
    let Some(part) = parts.max_by_key(|part| part.len()).map(str::to_lowercase) else { return vec![] };
    let names = profile.frames_from(0).map(|frame| profile.text(frame.name));
    let mut alike: Vec<&str> = names.filter(|name| name.to_lowercase().contains(&part)).collect();
    sort_by(&mut alike, Ord::cmp);
    alike.dedup();
    alike.into_iter().take(PROPOSED).map(|name| format!("'{}'", printable(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Frame;

    #[test]
    fn what_was_found_is_told_and_what_was_not_with_advice() {
        let mut profile = Profile::default();
        let name = profile.intern("Server.handle_request");
        profile.frame(Frame { name, ..Frame::default() });
        let counts = |taken, outside| SampleCounts { taken, outside, ..SampleCounts::default() };
        let told = |glob, taken, outside| below_notes(&profile, glob, counts(taken, outside)).unwrap_or_default();
        assert_eq!(told("handle*", 25, 75), "25 of 100 samples (25.0 %) were below 'handle*'");
        assert_eq!(told("Handle", 0, 9), "none of 9 samples were below 'Handle': seen were 'Server.handle_request'");
        assert!(told("a\nb", 0, 9).contains("'a\\nb': `pyspy dump` shows the names"));
        assert_eq!((told("x", 0, 0), told("", 5, 0)), (String::new(), String::new()));
    }
}
