//! What is said of several threads: the line at the top, and the heading of those that are alike.

use std::io;
use std::time::Duration;

use super::{Text, number, wait_text};
use crate::output::dump::{ProcessDump, ThreadDump};
use crate::output::sort::sort_by_key;
use crate::output::text::{duration_text, printable};

/// With fewer threads there is no summary.
const LEAST_SUMMARISED: usize = 5;
/// So many of the things that they do are named in it.
const SUMMARY_PARTS: usize = 6;
/// Seconds for which a thread is asleep before that is worth telling.
const LEAST_ASLEEP: f64 = 1.0;
/// So many numbers and names of threads that are alike are written, and so many of what they wait in.
const NAMES_SHOWN: usize = 3;

impl Text<'_> {
    /// What the threads of a process are doing, those first that run, then what most do, and how long those have been
    /// asleep that are `shown_first`.
    pub(super) fn write_thread_summary(&mut self, dump: &ProcessDump, shown_first: &[usize]) -> io::Result<()> {
        let shown: Vec<&ThreadDump> = dump.threads.iter().filter(|thread| !thread.left_out).collect();
        if shown.len() < LEAST_SUMMARISED {
            return Ok(());
        }
        let mut counts: Vec<(Doing, usize)> = Vec::new();
        for thread in &shown {
            let doing = doing(thread);
            match counts.iter_mut().find(|(known, _)| *known == doing) {
                Some((_, count)) => *count += 1,
                None => counts.push((doing, 1)),
            }
        }
        sort_by_key(&mut counts, |(doing, count)| (*doing != Doing::Runs, std::cmp::Reverse(*count)));
        let named = if counts.len() > SUMMARY_PARTS { SUMMARY_PARTS - 1 } else { SUMMARY_PARTS };
        let mut parts: Vec<String> = counts.iter().take(named).map(|(doing, count)| doing.sentence(*count)).collect();
        let left: usize = counts.iter().skip(named).map(|(_, count)| count).sum();
        if left > 0 {
            parts.push(format!("{left} do something else"));
        }
        let first: Vec<&ThreadDump> = shown_first.iter().filter_map(|place| dump.threads.get(*place)).collect();
        if let Some((longest, thread)) = longest_asleep(&first) {
            let name = thread.thread_name.as_ref().map(|name| format!("\"{}\"", printable(name)));
            parts
                .push(format!("{} asleep for {longest}", name.unwrap_or_else(|| format!("thread {}", number(thread)))));
        }
        writeln!(self.writer, "{} threads: {}", shown.len(), parts.join("; "))
    }
}

/// What a thread does, as far as it tells threads apart in a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Doing {
    Runs,
    /// It waits, and for this.
    Waits(String),
    IsIdle,
    IsGone,
}

impl Doing {
    fn sentence(&self, count: usize) -> String {
        let (wait, run, are) = if count == 1 { ("waits", "runs", "is") } else { ("wait", "run", "are") };
        match self {
            Self::Runs => format!("{count} {run}"),
            Self::Waits(what) => format!("{count} {wait} {what}"),
            Self::IsIdle => format!("{count} {are} idle"),
            Self::IsGone => format!("{count} {are} gone"),
        }
    }
}

fn doing(thread: &ThreadDump) -> Doing {
    if thread.gone {
        return Doing::IsGone;
    }
    if thread.waits_for_gil {
        return Doing::Waits("for the GIL".to_owned());
    }
    if thread.waits_for_world {
        return Doing::Waits("for a thread that has stopped the world".to_owned());
    }
    if let Some(wait) = &thread.waits_for {
        let mut text = format!("in {}", printable(&wait.operation));
        if let Some(name) = wait.holder_name.as_ref().filter(|_| wait.operation != "Thread.join") {
            text.push_str(&format!(", held by \"{}\"", printable(name)));
        }
        return Doing::Waits(text);
    }
    match thread.waits_in.as_deref().and_then(|call| call.split(' ').next()) {
        _ if thread.active => Doing::Runs,
        Some(call) => Doing::Waits(format!("in {}", printable(call))),
        None => Doing::IsIdle,
    }
}

/// The longest time that one of these is asleep, and which it is; `None` where that is not worth telling.
fn longest_asleep<'dump>(threads: &[&'dump ThreadDump]) -> Option<(String, &'dump ThreadDump)> {
    let asleep = threads.iter().filter_map(|thread| Some((thread.asleep_for?, *thread)));
    let (longest, thread) = asleep.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (longest >= LEAST_ASLEEP).then(|| (duration_text(Duration::from_secs_f64(longest)), thread))
}

/// How long threads that are alike have been asleep, as the end of a sentence.
pub(super) fn asleep_text(threads: &[&ThreadDump]) -> Option<String> {
    let (longest, _) = longest_asleep(threads)?;
    let up_to = if threads.len() == 1 { "" } else { "up to " };
    Some(format!(", asleep for {up_to}{longest}"))
}

/// The numbers of threads that are alike.
pub(super) fn numbers(threads: &[&ThreadDump]) -> String {
    let numbers: Vec<String> = threads.iter().map(|thread| number(thread)).collect();
    let some = some_of(&numbers);
    if threads.len() == 1 { format!("Thread {some}") } else { format!("Threads {some}") }
}

/// Their names, with what stands before them.
pub(super) fn names(threads: &[&ThreadDump]) -> String {
    let names = threads.iter().filter_map(|thread| thread.thread_name.as_ref());
    let mut names: Vec<String> = names.map(|name| format!("\"{}\"", printable(name))).collect();
    names.dedup();
    if names.is_empty() { String::new() } else { format!(": {}", some_of(&names)) }
}

/// What they wait in: one text where it is the same.
pub(super) fn wait_texts(threads: &[&ThreadDump]) -> Option<String> {
    let mut texts: Vec<String> = Vec::new();
    for text in threads.iter().filter_map(|thread| wait_text(thread)) {
        if !texts.contains(&text) && texts.len() <= NAMES_SHOWN {
            texts.push(text);
        }
    }
    let mut first = texts.first()?.clone();
    for other in texts.iter().skip(1).take(NAMES_SHOWN - 1) {
        first.push_str(&format!("; {}", other.strip_prefix("waits ").unwrap_or(other)));
    }
    if texts.len() > NAMES_SHOWN {
        first.push_str("; …");
    }
    Some(first)
}

/// The first ones and the last.
fn some_of(texts: &[String]) -> String {
    match texts {
        [.., last] if texts.len() > NAMES_SHOWN => {
            format!("{}, … {last}", texts[..NAMES_SHOWN - 1].join(", "))
        }
        _ => texts.join(", "),
    }
}
