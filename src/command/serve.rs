//! `pyspy serve`: profiles over HTTP, for whoever asks.
//!
//! Nothing is read between two requests: processes are looked for, recorded and let go for each. A process is read for
//! one request at a time.

mod access;
mod metrics;
mod pages;
mod profile;
mod targets;

use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::Context;

use self::access::Access;
use self::metrics::Counts;
use self::pages::error_response;
use self::profile::Busy;
use self::targets::Targets;
use super::shared::arguments::native;
use super::shared::interrupt;
use super::shared::standard_streams::print_note;
use crate::cli::{PauseArgs, ServeArgs};
use crate::http::{Connection, Request, Response, Server};
use crate::process::Process;
use crate::sampler::Finder;

/// What is served, to whom and how.
struct Service {
    targets: Targets,
    access: Access,
    busy: Busy,
    /// Held by the one request that collects numbers.
    looking: Mutex<()>,
    counts: Counts,
    rate: u32,
    pause: PauseArgs,
}

/// Runs `pyspy serve`, until SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// When it cannot listen, or what is to be served cannot be read.
pub(crate) fn run(arguments: &ServeArgs) -> anyhow::Result<ExitCode> {
    let access = Access::new(arguments.token.as_deref(), arguments.listen)?;
    native(arguments.pause)?;
    let service = Service {
        targets: Targets::open(arguments)?,
        access,
        busy: Busy::default(),
        looking: Mutex::new(()),
        counts: Counts::default(),
        rate: arguments.rate,
        pause: arguments.pause,
    };
    let server = Server::bind(arguments.listen).with_context(|| format!("cannot listen at {}", arguments.listen))?;
    stop_on_signals(server.stopper()?)?;
    print_note(&format!("serving at http://{}/debug/pprof/", server.address()?));
    server.run(move |request, connection| service.answer(request, connection));
    Ok(ExitCode::SUCCESS)
}

impl Service {
    fn answer(&self, request: &Request, connection: &Connection<'_>) -> Response {
        if let Some(refusal) = self.access.refusal(request) {
            return refusal;
        }
        match request.path.as_str() {
            "/debug/pprof/profile" => profile::answer(self, request, connection),
            "/" | "/debug/pprof" | "/debug/pprof/" => pages::index(self),
            "/dump" => pages::dump(self, request),
            "/processes" => pages::processes(self),
            "/metrics" => metrics::answer(self, connection),
            _ => Response::error(404, "there are /debug/pprof/, /debug/pprof/profile, /dump, /processes and /metrics"),
        }
    }

    /// The processes that a request is about: one by its `pid`, or all.
    fn asked_for(&self, request: &Request, finder: &mut Finder) -> Result<Vec<Process>, Response> {
        if let Some(text) = request.parameter("pid") {
            let Some(pid) = text.parse().ok().filter(|pid| *pid > 0) else {
                return Err(Response::error(400, "pid is the number of a process"));
            };
            return self
                .targets
                .by_pid(pid)
                .map(|process| vec![process])
                .map_err(|error| error_response(&error.into()));
        }
        if let Some(only) = self.targets.only() {
            return Ok(vec![only]);
        }
        let (pythons, denied) = self.targets.pythons(finder);
        if pythons.is_empty() {
            let status = if denied > 0 { 403 } else { 404 };
            let text = format!("there is no Python process to read ({denied} processes may not be read)");
            return Err(Response::error(status, &text));
        }
        Ok(pythons.into_iter().map(|python| python.process).collect())
    }
}

/// Has the first signal that asks to end call `stop`, from a thread that waits for it.
#[cfg(unix)]
fn stop_on_signals(stop: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    // Under `nohup` it outlives its terminal.
    let wanted =
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !(*signal == SIGHUP && interrupt::is_ignored(SIGHUP)));
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            stop();
        }
    })?;
    Ok(())
}

/// Has Ctrl-C call `stop`, from a thread that looks whether it was pressed.
#[cfg(not(unix))]
fn stop_on_signals(stop: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let interrupt = interrupt::Interrupt::install()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        while !interrupt.is_set() {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        stop();
    })?;
    Ok(())
}
