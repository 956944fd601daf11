//! Numbers of how it goes, in the text form that Prometheus' node exporter collects.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::{make_directory, write_whole};
use crate::command::shared::failure::OutputError;
use crate::command::shared::prometheus::Exposition;
use crate::command::shared::standard_streams::print_note;
use crate::watch::Cause;

/// Between two writes.
const EVERY: Duration = Duration::from_secs(10);
/// So many processes have lines of their own.
const MOST_PROCESSES: usize = 500;

/// Numbers of one process.
pub(super) struct ProcessNumbers {
    pub(super) pid: i32,
    pub(super) command: String,
    pub(super) still_seconds: f64,
}

/// The file for the numbers.
pub(super) struct Metrics {
    path: PathBuf,
    due: Instant,
    has_failed: bool,
}

impl Metrics {
    /// Makes sure that the file can be written.
    pub(super) fn open(path: &Path) -> Result<Self, OutputError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        make_directory(folder).map_err(|source| OutputError { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), due: Instant::now(), has_failed: false })
    }

    /// Whether it is time to write.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// The next write is not to wait.
    pub(super) fn set_due(&mut self) {
        self.due = Instant::now();
    }

    /// Replaces the file.
    pub(super) fn write(
        &mut self,
        now: Instant,
        looks: u64,
        cpu: Duration,
        events: &HashMap<Cause, u64>,
        processes: impl Iterator<Item = ProcessNumbers>,
    ) {
        self.due = now + EVERY;
        let text = text(looks, cpu, events, &processes.collect::<Vec<_>>());
        let written = write_whole(&self.path, text.as_bytes()).and_then(|()| make_readable(&self.path));
        if let Err(error) = &written
            && !self.has_failed
        {
            print_note(&format!("cannot write {:?}: {error}; it will be tried again", self.path));
        }
        self.has_failed = written.is_err();
    }
}

/// The exporter that collects it is another user.
#[cfg(unix)]
fn make_readable(path: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
}

/// The rights of the folder hold for it.
#[cfg(not(unix))]
fn make_readable(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

fn text(looks: u64, cpu: Duration, events: &HashMap<Cause, u64>, processes: &[ProcessNumbers]) -> String {
    let mut numbers = Exposition::default();
    numbers.one("pyspy_watch_processes", "gauge", "Processes that are watched.", processes.len());
    numbers.one("pyspy_watch_looks_total", "counter", "Looks at the threads of processes.", looks);
    let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
    numbers.one("pyspy_watch_cpu_seconds_total", "counter", "CPU time of pyspy itself.", seconds(cpu));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    numbers.one("pyspy_watch_last_look_timestamp_seconds", "gauge", "When the last look was.", seconds(now));
    numbers.family("pyspy_watch_events_total", "counter", "Events by what was wrong.");
    for cause in Cause::ALL {
        numbers.number(&[("cause", cause.word())], events.get(&cause).copied().unwrap_or(0));
    }
    let help = "How long nothing has moved in a process, also when it waits for work.";
    numbers.family("pyspy_watch_still_seconds", "gauge", help);
    for process in processes.iter().take(MOST_PROCESSES) {
        let labels = [("pid", &*process.pid.to_string()), ("command", &process.command)];
        numbers.number(&labels, format_args!("{:.3}", process.still_seconds));
    }
    numbers.into_text()
}
