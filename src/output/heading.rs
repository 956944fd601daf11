//! What stands above a profile in the formats that have a heading: the commands, and what was recorded of them.

use super::place::sampled_threads;
use super::text::{printable, shortened};
use crate::profile::{Process, Profile};

/// What fits into the title, in characters.
const FITS: usize = 100;
/// Process ids that are named one by one.
const NAMED_PIDS: usize = 4;

/// The commands of all processes that have samples, each once, that of the recording first; how many more there are
/// where they do not fit.
pub(super) fn title(profile: &Profile) -> String {
    let metadata = &profile.metadata;
    let mut commands: Vec<String> = vec![];
    let mut add = |command: &str| {
        let command = printable(command.trim()).into_owned();
        if !command.is_empty() && !commands.contains(&command) {
            commands.push(command);
        }
    };
    add(&metadata.command);
    // The command of the recording, where it is known, is that of its process, which may have another form there.
    let is_named = !metadata.command.trim().is_empty();
    for process in sampled_processes(profile) {
        if !(is_named && process.pid == metadata.pid) {
            add(profile.text(process.command_line));
        }
    }
    let Some((first, others)) = commands.split_first() else { return "Python profile".to_owned() };
    let Some((last, middle)) = others.split_last() else { return shortened(first, FITS).into_owned() };
    let whole = [std::slice::from_ref(first), middle].concat().join(", ") + " and " + last;
    if whole.chars().count() <= FITS {
        return whole;
    }
    let more = format!(" and {} more command{}", others.len(), if middle.is_empty() { "" } else { "s" });
    shortened(first, FITS - more.len()).into_owned() + &more
}

/// Pids, rate, samples and duration, as far as they are known.
pub(super) fn subtitle(profile: &Profile) -> String {
    let metadata = &profile.metadata;
    let mut parts: Vec<String> = pids(profile).into_iter().collect();
    if metadata.filters.off_cpu {
        parts.push("blocked time, not sampled".to_owned());
    } else if metadata.is_time_known() {
        let mut rate = format!("{} samples/s", round(metadata.rate_asked));
        // A rate that was nearly held is not worth a word.
        if metadata.rate_held > 0.0 && metadata.rate_held < 0.97 * metadata.rate_asked {
            rate.push_str(&format!(" asked, {} held", round(metadata.rate_held)));
        }
        parts.push(rate);
    }
    if !metadata.filters.off_cpu {
        parts.push(format!("{} samples", profile.sum().samples));
    }
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

/// Why there is nothing to see in a profile without samples, as far as it knows itself.
pub(super) fn no_samples(profile: &Profile) -> &'static str {
    let metadata = &profile.metadata;
    match &metadata.filters {
        _ if metadata.duration_us == 0 => "no samples",
        filters if !filters.below.is_empty() => "no samples below the function that was asked for",
        filters if filters.off_cpu => "no samples: no thread that runs Python was blocked",
        filters if filters.gil_wait => "no samples: no thread was seen to wait for the GIL",
        filters if filters.gil_only => "no samples: no thread was seen to hold the GIL",
        filters if !filters.idle => "no samples: no thread was seen to run (--idle shows idle threads too)",
        _ => "no samples: no thread was seen in Python code",
    }
}

/// The processes that have samples, or else the one that was asked for.
fn pids(profile: &Profile) -> Option<String> {
    let mut pids: Vec<u32> = sampled_processes(profile).into_iter().map(|process| process.pid).collect();
    pids.retain(|pid| *pid != 0);
    if pids.is_empty() && profile.metadata.pid != 0 {
        pids.push(profile.metadata.pid);
    }
    let named: Vec<String> = pids.iter().take(NAMED_PIDS).map(u32::to_string).collect();
    match pids.len() {
        0 => None,
        1 => Some(format!("pid {}", named[0])),
        number @ ..=NAMED_PIDS => Some(format!("pids {} and {}", named[..number - 1].join(", "), named[number - 1])),
        number => Some(format!("{number} processes, pids {} and {} more", named.join(", "), number - NAMED_PIDS)),
    }
}

/// The processes whose threads have samples, each pid once.
fn sampled_processes(profile: &Profile) -> Vec<&Process> {
    let mut processes: Vec<&Process> = vec![];
    let mut pids = std::collections::HashSet::new();
    for thread in sampled_threads(profile) {
        let process = profile.process(profile.thread(thread).process);
        if pids.insert(process.pid) {
            processes.push(process);
        }
    }
    processes
}

/// A subtitle with what else there is to know of the picture.
pub(super) fn with_note(subtitle: String, note: Option<String>) -> String {
    match note {
        Some(note) => format!("{subtitle} · {note}"),
        None => subtitle,
    }
}

/// One digit after the point, and none when that is a zero.
pub(super) fn round(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_profiles;
    use crate::profile::{Flags, StackId};

    fn of_processes(commands: &[&str]) -> Profile {
        let mut profile = Profile::default();
        profile.metadata.command = commands[0].to_owned();
        profile.metadata.pid = 10;
        for (at, command) in commands.iter().enumerate() {
            let process = test_profiles::process(&mut profile, 10 + at as u32, None, command);
            let thread = test_profiles::thread(&mut profile, process, 10 + at as u64, None);
            profile.add_sample(thread, StackId::EMPTY, 1_000, 1_000, Flags::NONE);
        }
        let idle = test_profiles::process(&mut profile, 99, None, "python without samples");
        test_profiles::thread(&mut profile, idle, 99, None);
        profile
    }

    #[test]
    fn every_process_is_named_or_counted() {
        let heading = |commands: &[&str]| {
            let profile = of_processes(commands);
            (title(&profile), pids(&profile).unwrap())
        };
        let expect = |title: &str, pids: &str| (title.to_owned(), pids.to_owned());
        assert_eq!(heading(&["python a"]), expect("python a", "pid 10"));
        assert_eq!(heading(&["python a", "python b"]), expect("python a and python b", "pids 10 and 11"));
        assert_eq!(heading(&["a", "b", "a", "c"]), expect("a, b and c", "pids 10, 11, 12 and 13"));
        assert_eq!(heading(&["pool"; 9]), expect("pool", "9 processes, pids 10, 11, 12, 13 and 5 more"));
        let long: Vec<String> = (0..30).map(|at| format!("python worker.py --number {at}")).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        assert_eq!(heading(&long).0, "python worker.py --number 0 and 29 more commands");
        let wide = "x".repeat(300);
        assert_eq!(heading(&[&wide, "b"]).0.chars().count(), FITS);
        assert!(heading(&[&wide, "b"]).0.ends_with("x and 1 more command"));
        assert_eq!(title(&Profile::default()), "Python profile");
        let mut early = of_processes(&["python a", "python b"]);
        early.metadata.command.clear();
        assert_eq!(title(&early), "python a and python b", "it was read before the program had begun");
    }
}
