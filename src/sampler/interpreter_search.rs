//! The search for the interpreter of a process, as long as there is no reader of it.

use std::time::{Duration, Instant};

use super::attach::{Attached, Finder, Missing};
use super::reader_retries::Looks;
use super::unread::Unread;
use crate::process::Process;
use crate::python::locate::LocateError;

/// For as long as this an interpreter may be unreadable before it is looked for anew.
const UNREADABLE: Duration = Duration::from_millis(500);

/// What is known of whether a process runs Python.
#[derive(Debug)]
pub(super) struct InterpreterSearch {
    looks: Looks,
    /// Why there is no reader.
    missing: Option<String>,
    /// Since when the reader that there is has read nothing.
    unreadable_since: Option<Instant>,
}

impl InterpreterSearch {
    /// In a process that is new, or runs another program from now on.
    pub(super) fn new() -> Self {
        Self { looks: Looks::new(), missing: None, unreadable_since: None }
    }

    /// Looks if it is time to; the interpreter if there is one.
    pub(super) fn look(&mut self, process: &Process, finder: &mut Finder, unread: &mut Unread) -> Option<Attached> {
        let depth = self.looks.next(process, finder.may_scan())?;
        match finder.look(process, depth) {
            Ok(attached) => {
                unread.remove(process);
                self.missing = None;
                Some(attached)
            }
            Err(missing) => {
                unread.add(process, &missing);
                self.missing = Some(reason(&missing));
                self.looks.found(depth, &missing);
                None
            }
        }
    }

    /// How long ago it began.
    pub(super) fn age(&self) -> Duration {
        self.looks.age()
    }

    /// Whether the process was looked at and found to run something else than Python.
    pub(super) fn found_no_python(&self) -> bool {
        self.looks.found_no_python()
    }

    /// Why there is no reader, as far as is known.
    pub(super) fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// The reader has read something.
    pub(super) fn note_read(&mut self) {
        self.unreadable_since = None;
    }

    /// The reader has read nothing, though the program is still there. Whether that has been so for too long.
    pub(super) fn note_unreadable(&mut self) -> bool {
        self.unreadable_since.get_or_insert_with(Instant::now).elapsed() > UNREADABLE
    }
}

fn reason(missing: &Missing) -> String {
    match missing {
        Missing::NotPython { .. } => "it runs no Python".to_owned(),
        Missing::ThirtyTwoBit => "it is a 32-bit program".to_owned(),
        Missing::Failed(LocateError::NotReady) => "no interpreter is initialised in it".to_owned(),
        Missing::Failed(error) => error.to_string(),
        Missing::Process(error) => error.to_string(),
    }
}
