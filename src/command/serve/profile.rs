//! `/debug/pprof/profile`: records for some seconds, as `go tool pprof` and scrapers ask for it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Service;
use super::pages::error_response;
use crate::command::shared::arguments::{native, pausing};
use crate::http::{Connection, Request, Response};
use crate::output::{Presentation, pprof};
use crate::process::Process;
use crate::sampler::{Ending, Filter, Finder, PATIENCE_RUNNING, Pausing, ProcessOptions, RecordOptions, Roots, record};

/// For how long is recorded where nothing is said of it, and at most, in seconds.
const SECONDS: (f64, f64) = (10.0, 60.0);
/// Samples a second at most.
const FASTEST: u32 = 1000;

/// The processes that are being read: each by one request at a time.
#[derive(Debug, Default)]
pub(super) struct Busy(Mutex<HashSet<i32>>);

/// Processes that nobody else reads until this is dropped.
pub(super) struct Held<'busy> {
    busy: &'busy Busy,
    pids: Vec<i32>,
}

impl Busy {
    /// Whether a process is being read.
    pub(super) fn has(&self, process: &Process) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&process.pid())
    }

    /// Takes these processes for one request, if no other has any of them; else the number of one that has.
    pub(super) fn hold(&self, processes: &[Process]) -> Result<Held<'_>, i32> {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pids: Vec<i32> = processes.iter().map(Process::pid).collect();
        match pids.iter().find(|pid| busy.contains(pid)) {
            Some(pid) => Err(*pid),
            None => {
                busy.extend(&pids);
                Ok(Held { busy: self, pids })
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut busy = self.busy.0.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|pid| !self.pids.contains(pid));
    }
}

/// What a request asks for.
struct Wanted {
    seconds: f64,
    rate: u32,
    idle: bool,
}

impl Wanted {
    fn of(request: &Request, rate: u32) -> Result<Self, String> {
        let (default, most) = SECONDS;
        let seconds = match request.parameter("seconds") {
            None => default,
            Some(text) => {
                text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0 && *seconds <= most).ok_or_else(|| {
                    format!("seconds is a number above 0 and at most {most}: longer profiles are `pyspy record`'s")
                })?
            }
        };
        let rate = match request.parameter("rate") {
            None => rate,
            Some(text) => {
                let rate = text.parse().ok().filter(|rate| (1..=FASTEST).contains(rate));
                rate.ok_or_else(|| format!("rate is a number from 1 to {FASTEST}"))?
            }
        };
        let idle = match request.parameter("idle") {
            None | Some("0" | "false") => false,
            Some("" | "1" | "true") => true,
            Some(_) => return Err("idle is 0 or 1".to_owned()),
        };
        Ok(Self { seconds, rate, idle })
    }
}

/// Answers a request for a profile.
pub(super) fn answer(service: &Service, request: &Request, connection: &Connection<'_>) -> Response {
    let wanted = match Wanted::of(request, service.rate) {
        Ok(wanted) => wanted,
        Err(text) => return Response::error(400, &text),
    };
    let mut finder = Finder::new();
    let processes = match service.asked_for(request, &mut finder) {
        Ok(processes) => processes,
        Err(response) => return response,
    };
    let held = match service.busy.hold(&processes) {
        Ok(held) => held,
        Err(pid) => return Response::error(409, &format!("process {pid} is being read for another request")),
    };
    let options = match options(service, &wanted) {
        Ok(options) => options,
        Err(error) => return error_response(&error),
    };
    if !service.targets.follows_children() {
        for process in &processes {
            if let Err(error) = finder.attach(process, None, PATIENCE_RUNNING, &|| connection.is_over()) {
                return error_response(&error.into());
            }
        }
    }
    let presentation = Presentation { processes: processes.len() > 1, ..Presentation::default() };
    let roots = Roots { processes, orphans: None };
    let recorded = record(roots, &mut finder, &options, &mut |_, _| !connection.is_over());
    drop(held);
    service.counts.add(&recorded.profile.metadata.counts);
    if let Ending::Lost(reason) = &recorded.ending {
        return Response::error(500, reason);
    }
    let mut body = Vec::new();
    if let Err(error) = pprof::write(&recorded.profile, &presentation, &mut body) {
        return Response::error(500, &error.to_string());
    }
    Response::done("application/octet-stream", body)
        .with_header("Content-Disposition", "attachment; filename=\"profile.pb.gz\"".to_owned())
}

fn options(service: &Service, wanted: &Wanted) -> anyhow::Result<RecordOptions> {
    Ok(RecordOptions {
        rate: wanted.rate,
        duration: Some(Duration::from_secs_f64(wanted.seconds)),
        pausing: pausing(service.pause, Pausing::Adaptive),
        filter: Filter { idle: wanted.idle, ..Filter::default() },
        processes: ProcessOptions {
            subprocesses: service.targets.follows_children(),
            patience: if service.targets.follows_children() { Duration::MAX } else { PATIENCE_RUNNING },
            ..ProcessOptions::default()
        },
        native: native(service.pause)?,
        ..RecordOptions::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_bounded() {
        let of = |query: &str| Wanted::of(&Request::of(&format!("GET /?{query} HTTP/1.1\r\n\r\n")), 100);
        let seconds = |query| of(query).map(|wanted| wanted.seconds).ok();
        assert_eq!((seconds(""), seconds("seconds=60"), seconds("seconds=0.5")), (Some(10.0), Some(60.0), Some(0.5)));
        for odd in ["seconds=61", "seconds=0", "seconds=-1", "seconds=nan", "seconds=inf", "seconds=", "seconds=1s"] {
            assert_eq!(seconds(odd), None, "{odd}");
        }
        assert_eq!(of("rate=1000").map(|wanted| wanted.rate).ok(), Some(1000));
        for odd in ["rate=0", "rate=1001", "rate=x", "idle=2"] {
            assert!(of(odd).is_err(), "{odd}");
        }
    }
}
