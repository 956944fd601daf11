//! Processes that belong to what is sampled and cannot be read: named, not passed over.

use std::collections::BTreeMap;

use super::attach::Missing;
use super::title::command_line;
use crate::process::{Process, ProcessError};
use crate::python::locate::LocateError;

/// So many are kept by name.
const MOST: usize = 1000;
/// So many are named in one line.
const NAMED: usize = 5;
/// A command line longer than this is cut in messages, in characters.
const LONGEST_COMMAND: usize = 100;

/// Processes that could not be read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// By pid: what it is, and why.
    processes: BTreeMap<i32, (String, String)>,
}

impl Unread {
    /// Takes note of why a look at a process gave no reader, if it is a process that should have had one.
    pub(super) fn add(&mut self, process: &Process, missing: &Missing) {
        let why = match missing {
            Missing::Process(ProcessError::Denied(denial)) => {
                // Of a process that is about to exit and has let go of its memory everything is denied to those who are
                // not root.
                let is_there = !process.has_exited() && process.usage().is_ok_and(|usage| usage.resident_bytes > 0);
                let advice = denial.advice().join("; ");
                is_there.then(|| format!("permission denied: {advice}"))
            }
            Missing::Failed(error @ (LocateError::Unsupported(_) | LocateError::DebugOffsets(_))) => {
                Some(error.to_string())
            }
            _ => None,
        };
        if let Some(why) = why
            && (self.processes.len() < MOST || self.processes.contains_key(&process.pid()))
        {
            self.processes.insert(process.pid(), (name(process), why));
        }
    }

    /// The process can be read after all.
    pub(super) fn remove(&mut self, process: &Process) {
        self.processes.remove(&process.pid());
    }

    /// A line for each reason, with the processes that have it.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, why) in self.processes.values() {
            by_reason.entry(why).or_default().push(name);
        }
        by_reason.into_iter().map(|(why, names)| line(&names, why)).collect()
    }
}

fn line(names: &[&str], why: &str) -> String {
    let named = names.get(..NAMED).unwrap_or(names).join(", ");
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    match names {
        [_] => format!("process {named} was not read, {why}"),
        _ => format!("processes {named}{more} were not read, {why}"),
    }
}

/// A process in a message: its pid and what it runs. The text is the target's.
pub(crate) fn name(process: &Process) -> String {
    let command = command_line(process);
    let cut: String = command.chars().take(LONGEST_COMMAND).collect();
    let dots = if cut.len() < command.len() { "…" } else { "" };
    format!("{} ({cut}{dots})", process.pid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_with_one_reason_share_a_line_of_bounded_length() {
        let mut unread = Unread::default();
        for pid in 1..=7 {
            unread.processes.insert(pid, (format!("{pid} (a)"), "denied".to_owned()));
        }
        unread.processes.insert(9, ("9 (b)".to_owned(), "too old".to_owned()));
        assert_eq!(
            unread.lines(),
            [
                "processes 1 (a), 2 (a), 3 (a), 4 (a), 5 (a) and 2 more were not read, denied",
                "process 9 (b) was not read, too old"
            ]
        );
    }
}
