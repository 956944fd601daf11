//! What is done when the evidence is written: a command, a post to the web. Each runs in a thread of its own, with a
//! limit, so that one that hangs delays nothing.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::evidence::{Evidence, Written};
use super::{report, unix_seconds};
use crate::cli::{CommandWords, WatchArgs};
use crate::command::shared::program_names::host_name;
use crate::command::shared::standard_streams::print_note;
use crate::output::{printable, write_safe_json};

/// A command may run for so long.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// A post may take so long, and is tried so often.
const POST_LIMIT: Duration = Duration::from_secs(10);
const POST_TRIES: u32 = 3;
/// So many commands and posts run at the same time.
const MOST_RUNNING: usize = 8;
/// A post has this much of the dump's text.
const MOST_POSTED: usize = 32 << 10;
/// Between two looks at whether a command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Commands and posts.
pub(super) struct Actions {
    command: Option<CommandWords>,
    url: Option<String>,
    running: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Actions {
    pub(super) fn new(arguments: &WatchArgs) -> Self {
        let (command, url) = (arguments.exec.clone(), arguments.webhook.clone());
        Self { command, url, running: Arc::default(), threads: Vec::new() }
    }

    /// Does what is to be done for an event.
    pub(super) fn start(&mut self, evidence: &Evidence, written: &Written) {
        if let Some(CommandWords(words)) = self.command.clone() {
            let variables = [
                ("PYSPY_PID", evidence.process.pid().to_string().into()),
                ("PYSPY_CAUSE", evidence.event.cause.word().into()),
                ("PYSPY_DIR", written.folder().map(PathBuf::from).unwrap_or_default().into_os_string()),
            ];
            self.spawn("command", move || run_command(&words, variables));
        }
        if let Some(url) = self.url.clone() {
            let mut body_text = Vec::new();
            // Nothing that is written to memory fails.
            let _ = write_safe_json(&body(evidence), false, &mut body_text);
            self.spawn("post to the webhook", move || post(&url, &body_text));
        }
    }

    fn spawn(&mut self, what: &str, action: impl FnOnce() -> Result<(), String> + Send + 'static) {
        self.threads.retain(|thread| !thread.is_finished());
        if self.running.load(Ordering::Relaxed) >= MOST_RUNNING {
            print_note(&format!("left out the {what}: {MOST_RUNNING} of the last events still run"));
            return;
        }
        self.running.fetch_add(1, Ordering::Relaxed);
        let running = Arc::clone(&self.running);
        let name = what.to_owned();
        let thread = std::thread::Builder::new().spawn(move || {
            if let Err(error) = action() {
                print_note(&format!("the {name} failed: {}", printable(&error)));
            }
            running.fetch_sub(1, Ordering::Relaxed);
        });
        match thread {
            Ok(thread) => self.threads.push(thread),
            Err(error) => {
                self.running.fetch_sub(1, Ordering::Relaxed);
                print_note(&format!("cannot start the {what}: {error}"));
            }
        }
    }

    /// Waits until all have ended; each has its limit.
    pub(super) fn wait(&mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run_command<const N: usize>(words: &[String], variables: [(&str, std::ffi::OsString); N]) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("it is empty")?;
    let mut command = Command::new(program);
    // What it writes is no product of ours.
    command.args(arguments).envs(variables).stdin(Stdio::null()).stdout(std::io::stderr());
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    let end = Instant::now() + COMMAND_LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{program}: {status}")),
            // Somebody else has collected it: how it ended is not known.
            Err(_) => return Ok(()),
            Ok(None) if Instant::now() >= end => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{program}: killed after {} s", COMMAND_LIMIT.as_secs()));
            }
            Ok(None) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// What is posted. Values of variables are in it only if they are in the evidence.
fn body(evidence: &Evidence) -> serde_json::Value {
    let text = report::event_lines(evidence, evidence.has_locals).join("\n");
    let since = evidence.time.checked_sub(evidence.lasted).unwrap_or(evidence.time);
    let mut dump = report::dump_text(evidence, evidence.has_locals);
    if dump.len() > MOST_POSTED {
        let end = (0..=MOST_POSTED).rev().find(|at| dump.is_char_boundary(*at)).unwrap_or(0);
        dump.truncate(end);
    }
    json!({
        "text": text,
        "pid": evidence.process.pid(),
        "host": host_name(),
        "cause": evidence.event.cause.word(),
        "since": unix_seconds(since),
        "dump": dump,
    })
}

fn post(url: &str, body: &[u8]) -> Result<(), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(POST_LIMIT)).build().into();
    let mut failure = String::new();
    for attempt in 0..POST_TRIES {
        if attempt > 0 {
            std::thread::sleep(Duration::from_secs(u64::from(attempt)));
        }
        match agent.post(url).content_type("application/json").send(body) {
            Ok(_) => return Ok(()),
            // What the other side refuses it will refuse again.
            Err(error @ ureq::Error::StatusCode(400..=499)) => return Err(error.to_string()),
            Err(error) => failure = error.to_string(),
        }
    }
    Err(failure)
}
