//! The exit statuses: the one list. `--help` prints it, README.md is compared with it by a test.

/// How `pyspy` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// What was asked for is done.
    Done = 0,
    /// Anything without a status of its own.
    Other = 1,
    /// The command line makes no sense; clap exits with it.
    CommandLine = 2,
    /// There is no such process.
    NoProcess = 3,
    /// Not permitted to read it.
    Permission = 4,
    /// It runs no CPython that can be read.
    NotPython = 5,
    /// Its version is not supported.
    Unsupported = 6,
    /// The output cannot be written, or a server has not taken all that was sent.
    Output = 7,
    /// It exited before it could be read.
    Exited = 8,
    /// The program could not be started.
    NotStarted = 9,
    /// The core file cannot be read.
    CoreFile = 10,
    /// With `diff --fail-if`: something has grown by more than it may.
    Grown = 11,
    /// `watch --kill` ended the program that it had started.
    Killed = 14,
}

/// What is said of the statuses that a signal gives, which are no [`Status`].
const OF_SIGNALS: [&str; 2] =
    ["128 and the number of a signal", "`top` was ended by that, or `record` by a second Ctrl-C"];

impl Status {
    /// Every status, by number.
    pub(crate) const ALL: [Self; 13] = [
        Self::Done,
        Self::Other,
        Self::CommandLine,
        Self::NoProcess,
        Self::Permission,
        Self::NotPython,
        Self::Unsupported,
        Self::Output,
        Self::Exited,
        Self::NotStarted,
        Self::CoreFile,
        Self::Grown,
        Self::Killed,
    ];

    /// What it tells a user.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Other => "failed in a way that has no number of its own",
            Self::CommandLine => "the command line makes no sense",
            Self::NoProcess => "there is no such process",
            Self::Permission => "not permitted to read the process",
            Self::NotPython => "the process runs no CPython that can be read",
            Self::Unsupported => "its version of CPython is not supported",
            Self::Output => "the output cannot be written, or the server has not taken it",
            Self::Exited => "the process exited before it could be read",
            Self::NotStarted => "the program could not be started",
            Self::CoreFile => "the core file cannot be read",
            Self::Grown => "`diff --fail-if`: a function has grown by more",
            Self::Killed => "`watch --kill` has ended the program that it had started",
        }
    }
}

/// The end of `pyspy --help`.
pub(super) fn help() -> String {
    let mut text = "Exit status:\n".to_owned();
    for status in Status::ALL {
        text.push_str(&format!("  {:<2} {}\n", status as u8, status.meaning()));
    }
    let [number, meaning] = OF_SIGNALS;
    text.push_str(&format!("  {number}: {meaning}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_readme_is_this_list() {
        let readme = include_str!("../../README.md");
        let table = readme.split("| status | meaning |\n|---|---|\n").nth(1).unwrap().split("\n\n").next().unwrap();
        let mut rows = Status::ALL.map(|status| format!("| {} | {} |", status as u8, status.meaning())).to_vec();
        let [number, meaning] = OF_SIGNALS;
        rows.push(format!("| {number} | {meaning} |"));
        assert_eq!(table.lines().collect::<Vec<_>>(), rows);
    }
}
