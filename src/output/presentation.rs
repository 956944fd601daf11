//! How frames are named: what py-spy's display options choose.

/// Which line of a function a frame shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lines {
    /// The line that was running.
    #[default]
    Current,
    /// The function's first line (`--function`): one function is one frame.
    First,
    /// None (`--nolineno`).
    None,
}

/// How a profile is shown. The profile itself does not depend on it, so one recording can be written in all ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Presentation {
    /// Which line a frame shows.
    pub lines: Lines,
    /// Show columns too, where they were recorded and `lines` is [`Lines::Current`].
    pub columns: bool,
    /// Show whole paths (`--full-filenames`).
    pub full_file_names: bool,
    /// Keep threads apart: each stack begins with `thread (ID): NAME` (`--threads`).
    pub threads: bool,
    /// Keep processes apart: each stack begins with `process PID:"COMMAND"` of its process and those above
    /// (`--subprocesses`).
    pub processes: bool,
    /// Draw callers below what they call (`--upward`): flames that rise. Without, they hang from their callers.
    pub upward: bool,
}
