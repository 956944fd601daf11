//! The arguments of `watch`, and the values that only it has.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};

use super::values::{self, Limit};

const CONDITIONS: &str = "Conditions (those with a default, or only those that are given)";

/// `pyspy watch`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").args(["pid", "name", "all", "program"]).required(true))]
pub(crate) struct WatchArgs {
    /// Process to watch, in decimal or hex; may be given several times
    #[arg(short, long, value_name = "pid", value_parser = values::pid, help_heading = "Targets")]
    pub pid: Vec<i32>,
    /// All Python processes whose command line matches a glob such as `*gunicorn*`, also those that start later
    #[arg(long, value_name = "glob", help_heading = "Targets")]
    pub name: Option<String>,
    /// All processes of this machine that run Python and may be read, containers included, also those that start later
    #[arg(long, help_heading = "Targets")]
    pub all: bool,
    /// Watch all processes below the given ones, too
    #[arg(short, long, help_heading = "Targets")]
    pub subprocesses: bool,

    /// No thread has run and no stack has changed for so long, and not all threads wait for work [default: 60s]
    #[arg(long, value_name = "duration", value_parser = time, help_heading = CONDITIONS)]
    pub stuck: Option<Duration>,
    /// An event loop did not come back to its selector for so long [default: 5s]
    #[arg(long, value_name = "duration", value_parser = time, help_heading = CONDITIONS)]
    pub lag: Option<Duration>,
    /// One thread held the GIL for so long while others waited for it [default: 10s]
    #[arg(long, value_name = "duration", value_parser = time, help_heading = CONDITIONS)]
    pub gil_held: Option<Duration>,
    /// Threads or tasks wait for each other in a ring [default: yes]
    #[arg(long, help_heading = CONDITIONS)]
    pub deadlock: bool,
    /// A function is on a stack in every look for so long, or a task of it is older: `handle:10s`, `app.db.*:500ms`;
    /// may be given several times
    #[arg(long, value_name = "glob:duration", value_parser = call)]
    #[arg(help_heading = CONDITIONS)]
    pub call: Vec<(String, Duration)>,
    /// The process uses this share of one CPU over so long, such as 95%:60s
    #[arg(long, value_name = "share:duration", value_parser = cpu)]
    #[arg(help_heading = CONDITIONS)]
    pub cpu: Option<(f64, Duration)>,
    /// The process has this much memory: bytes, or a number with K, M or G
    #[arg(long, value_name = "size", value_parser = size, help_heading = CONDITIONS)]
    pub rss: Option<u64>,
    /// The process has more threads than this
    #[arg(long, value_name = "count", help_heading = CONDITIONS)]
    pub max_threads: Option<usize>,
    /// Nothing has moved for so long although all threads only wait for work, as may be wrong in a batch job
    #[arg(long, value_name = "duration", value_parser = time, help_heading = CONDITIONS)]
    pub idle_is_stuck: Option<Duration>,
    /// A function in which threads of this program wait for work, beside those that are known: `Consumer.listen`; may
    /// be given several times
    #[arg(long, value_name = "glob", value_parser = NonEmptyStringValueParser::new(), help_heading = "How to look")]
    pub rests_in: Vec<String>,
    /// Looks to take each second
    #[arg(short, long, value_name = "rate", default_value_t = 4, help_heading = "How to look")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rate: u32,
    /// Never stop a process, not for evidence either
    #[arg(long, help_heading = "How to look")]
    pub nonblocking: bool,
    /// End after this time
    #[arg(long, value_name = "duration", value_parser = time, help_heading = "How to look")]
    pub timeout: Option<Duration>,

    /// Directory in which each event gets a folder with its evidence
    #[arg(short, long, value_name = "directory", default_value = ".", help_heading = "Evidence")]
    pub output: PathBuf,
    /// Dumps to take of an event, a second apart
    #[arg(long, value_name = "count", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    #[arg(help_heading = "Evidence")]
    pub dumps: u8,
    /// How much of what was seen before the event is kept
    #[arg(long, value_name = "duration", value_parser = time, default_value = "30s", help_heading = "Evidence")]
    pub before: Duration,
    /// Write the variables of each frame into the dumps; more of each value when given two or three times
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Evidence")]
    pub locals: u8,
    /// Show the values too of variables, keys and attributes whose names say that they are secrets
    #[arg(long, help_heading = "Evidence")]
    pub show_secrets: bool,
    /// Show the frames of C, C++ and Rust code in the dumps (Linux)
    #[arg(short, long, conflicts_with = "nonblocking", help_heading = "Evidence")]
    pub native: bool,
    /// Write at most so many folders
    #[arg(long, value_name = "count", default_value_t = 20, help_heading = "Evidence")]
    pub max: u32,

    /// Command to run for each event, without a shell, with PYSPY_PID, PYSPY_CAUSE and PYSPY_DIR in its environment
    #[arg(long, value_name = "command", value_parser = command, help_heading = "Then")]
    pub exec: Option<CommandWords>,
    /// URL to which each event is posted as JSON
    #[arg(long, value_name = "url", value_parser = url, help_heading = "Then")]
    pub webhook: Option<String>,
    /// End the process when the evidence is written: SIGTERM and after 5 s SIGKILL, or the signal that is given
    #[arg(long, value_name = "signal", num_args = 0..=1, default_missing_value = "", help_heading = "Then")]
    pub kill: Option<String>,
    /// End after the first event
    #[arg(long, help_heading = "Then")]
    pub once: bool,
    /// After an event the same cause in the same process is left alone for so long
    #[arg(long, value_name = "duration", value_parser = time, default_value = "10m", help_heading = "Then")]
    pub cooldown: Duration,
    /// Write numbers of how it goes to this file, for Prometheus' text collector
    #[arg(long, value_name = "file", help_heading = "Then")]
    pub metrics: Option<PathBuf>,
    /// Say what would be done for each event, and do nothing of it
    #[arg(long, help_heading = "Then")]
    pub dry_run: bool,

    /// Command line of a Python program to run
    #[arg(value_name = "python_program", trailing_var_arg = true)]
    pub program: Vec<std::ffi::OsString>,
}

/// A command and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandWords(pub Vec<String>);

impl WatchArgs {
    /// Whether any condition was given, so that those that were not do not count.
    pub(crate) fn has_conditions(&self) -> bool {
        self.stuck.is_some()
            || self.lag.is_some()
            || self.gil_held.is_some()
            || self.deadlock
            || !self.call.is_empty()
            || self.cpu.is_some()
            || self.rss.is_some()
            || self.max_threads.is_some()
            || self.idle_is_stuck.is_some()
    }
}

fn time(text: &str) -> Result<Duration, String> {
    match values::duration(text)? {
        Limit::For(time) => Ok(time),
        Limit::Unlimited => Err("a duration is needed: a number of seconds, or a number with s, m or h".to_owned()),
    }
}

fn call(text: &str) -> Result<(String, Duration), String> {
    let (glob, limit) = text.rsplit_once(':').ok_or("it is GLOB:DURATION, such as handle:10s")?;
    if glob.is_empty() {
        return Err("the glob is empty".to_owned());
    }
    Ok((glob.to_owned(), time(limit)?))
}

fn cpu(text: &str) -> Result<(f64, Duration), String> {
    let form = "it is SHARE:DURATION, such as 95%:60s";
    let (share, window) = text.split_once(':').ok_or(form)?;
    let percent: f64 = share.strip_suffix('%').ok_or(form)?.parse().map_err(|_| form)?;
    if !(percent > 0.0 && percent < 1e6) {
        return Err(form.to_owned());
    }
    let window = time(window)?;
    if window < Duration::from_secs(1) {
        return Err("CPU time is measured over at least a second".to_owned());
    }
    Ok((percent / 100.0, window))
}

fn size(text: &str) -> Result<u64, String> {
    let form = "a size is a number of bytes, or a number with K, M or G";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(form.to_owned()),
    };
    let is_plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    let number: f64 = digits.parse().ok().filter(|_| is_plain).ok_or(form)?;
    let bytes = number * f64::from(1_u32 << shift);
    if (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(form.to_owned()) }
}

fn command(text: &str) -> Result<CommandWords, String> {
    match shlex::split(text) {
        Some(words) if !words.is_empty() => Ok(CommandWords(words)),
        Some(_) => Err("it is empty".to_owned()),
        None => Err("a quote is not closed".to_owned()),
    }
}

fn url(text: &str) -> Result<String, String> {
    let is_web = text.starts_with("http://") || text.starts_with("https://");
    if is_web { Ok(text.to_owned()) } else { Err("it begins with http:// or https://".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_forms() {
        let seconds = Duration::from_secs;
        assert_eq!(call("app.db:query:10s"), Ok(("app.db:query".to_owned(), seconds(10))));
        assert!(call("handle").is_err() && call(":5s").is_err() && call("handle:x").is_err());
        assert_eq!(cpu("95%:60s"), Ok((0.95, seconds(60))));
        assert!(
            cpu("95:60s").is_err() && cpu("0%:60s").is_err() && cpu("95%:10ms").is_err() && cpu("nan%:9s").is_err()
        );
        assert_eq!((size("2G"), size("1.5k"), size("700")), (Ok(2 << 30), Ok(1536), Ok(700)));
        assert!(size("").is_err() && size("G").is_err() && size("-1").is_err() && size("1T").is_err());
        assert_eq!(command("logger -t 'py spy'").unwrap().0, ["logger", "-t", "py spy"]);
        assert!(command("").is_err() && command("echo 'x").is_err());
        assert!(url("https://x/y").is_ok() && url("file:///x").is_err());
        assert!(time("unlimited").is_err());
    }
}
