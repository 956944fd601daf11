//! `/metrics`: numbers of each process, for Prometheus. What they tell of time was seen in the second before the
//! answer: between two requests nothing is looked at.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Service;
use crate::command::shared::own_cpu::own_cpu;
use crate::command::shared::program_names::program_name;
use crate::command::shared::prometheus::Exposition;
use crate::http::{Connection, Response};
use crate::process::{Process, ProcessUsage};
use crate::profile::SampleCounts;
use crate::sampler::{
    Assurance, Finder, Glance, LoopLags, ObserveOptions, Observed, Observer, Pausing, ProcessOptions, ProcessSampler,
    Recent, Roots, command_line, observe,
};

/// For how long processes are looked at, and how often a second.
const WINDOW: Duration = Duration::from_secs(1);
const RATE: u32 = 20;
/// So many processes have lines of their own.
const MOST_PROCESSES: usize = 500;

/// What was read since the server began.
#[derive(Debug, Default)]
pub(super) struct Counts {
    samples: AtomicU64,
    unproven: AtomicU64,
    lost: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, counts: &SampleCounts) {
        self.samples.fetch_add(counts.taken, Ordering::Relaxed);
        self.unproven.fetch_add(counts.unproven, Ordering::Relaxed);
        self.lost.fetch_add(counts.lost, Ordering::Relaxed);
    }
}

/// What was seen of a process.
#[derive(Default)]
struct Seen {
    command: String,
    usage: ProcessUsage,
    lags: LoopLags,
    looks: u64,
    /// Of the last look.
    threads: usize,
    /// Threads by looks in which they were active, and in which they waited for the GIL.
    active: u64,
    waiting: u64,
    /// Looks in which the garbage collector ran.
    collecting: u64,
}

struct Looks<'connection> {
    seen: BTreeMap<i32, Seen>,
    counts: SampleCounts,
    /// Known from the first look on.
    ends_at: Option<Instant>,
    connection: &'connection Connection<'connection>,
}

impl Observer for Looks<'_> {
    fn wants_look(&mut self, _sampler: &ProcessSampler, _glance: &Glance) -> bool {
        true
    }

    fn take_in(&mut self, seen: &mut [Observed<'_>], _recent: &Recent<'_>) -> bool {
        for observed in seen {
            let process = observed.sampler.process();
            let of_process = self.seen.entry(process.pid()).or_default();
            if of_process.looks == 0 {
                of_process.command = program_name(&command_line(process));
                of_process.usage = process.usage().unwrap_or_default();
            }
            of_process.lags.observe(observed.sampler, observed.moment);
            of_process.looks += 1;
            let threads = observed.moment.threads.iter().filter(|thread| thread.exists);
            (of_process.threads, self.counts.lost) = (0, self.counts.lost + u64::from(observed.moment.lost));
            let mut is_collecting = false;
            for thread in threads {
                of_process.threads += 1;
                of_process.active += u64::from(thread.active);
                of_process.waiting += u64::from(thread.waits_for_gil && !thread.active);
                is_collecting |= thread.collecting;
                self.counts.taken += 1;
                self.counts.unproven += u64::from(thread.assurance == Assurance::Unproven);
            }
            of_process.collecting += u64::from(is_collecting);
        }
        let now = Instant::now();
        now < *self.ends_at.get_or_insert(now + WINDOW) && !self.connection.is_over()
    }

    fn arrivals(&mut self) -> Vec<Process> {
        Vec::new()
    }
}

/// Answers a request for numbers.
pub(super) fn answer(service: &Service, connection: &Connection<'_>) -> Response {
    let Ok(_looking) = service.looking.try_lock() else {
        return Response::error(409, "the numbers are being collected for another request");
    };
    let mut finder = Finder::new();
    let (pythons, denied) = service.targets.pythons(&mut finder);
    let processes: Vec<Process> = pythons.into_iter().map(|python| python.process).take(MOST_PROCESSES).collect();
    let mut looks = Looks { seen: BTreeMap::new(), counts: SampleCounts::default(), ends_at: None, connection };
    let chosen: HashSet<i32> = processes.iter().map(Process::pid).collect();
    if !processes.is_empty() {
        let options = ObserveOptions {
            rate: RATE,
            pausing: Pausing::Never,
            processes: ProcessOptions { patience: Duration::ZERO, ..ProcessOptions::default() },
            goes_on_without: false,
            keep_for: Duration::ZERO,
        };
        observe(Roots { processes, orphans: None }, &mut finder, &options, &mut looks);
    }
    service.counts.add(&looks.counts);
    looks.seen.retain(|pid, _| chosen.contains(pid));
    let text = text(service, &looks.seen, denied);
    Response::done("text/plain; version=0.0.4; charset=utf-8", text.into_bytes())
}

fn text(service: &Service, seen: &BTreeMap<i32, Seen>, denied: usize) -> String {
    let mut numbers = Exposition::default();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    numbers.one("pyspy_processes", "gauge", "Python processes that are served.", seen.len());
    numbers.one("pyspy_denied_processes", "gauge", "Processes that may not be read.", denied);
    let help = "Samples of threads, in profiles and in the looks that these numbers are from.";
    numbers.one("pyspy_samples_total", "counter", help, count(&service.counts.samples));
    let help = "Of these, how many could not be proven to be what the thread did.";
    numbers.one("pyspy_unproven_samples_total", "counter", help, count(&service.counts.unproven));
    let help = "Samples of which nothing could be read.";
    numbers.one("pyspy_lost_samples_total", "counter", help, count(&service.counts.lost));
    let help = "CPU time of pyspy itself.";
    numbers.one("pyspy_cpu_seconds_total", "counter", help, format_args!("{:.3}", own_cpu().as_secs_f64()));
    let mut of_each = |name, kind, help, value: &dyn Fn(&Seen) -> Option<f64>| {
        numbers.family(name, kind, help);
        for (pid, process) in seen {
            if let Some(value) = value(process) {
                let value = format!("{value:.6}");
                let value = value.trim_end_matches('0').trim_end_matches('.');
                numbers.number(&[("pid", &*pid.to_string()), ("command", &process.command)], value);
            }
        }
    };
    let per_look = |sum: u64, process: &Seen| Some(sum as f64 / process.looks.max(1) as f64);
    of_each("pyspy_process_threads", "gauge", "Threads that run Python.", &|process| Some(process.threads as f64));
    let help = "How many of them ran or wanted to, on average over the second before.";
    of_each("pyspy_process_active_threads", "gauge", help, &|process| per_look(process.active, process));
    let help = "Of the threads that ran or wanted to, the share that waited for the GIL, over the second before.";
    of_each("pyspy_process_gil_wait_ratio", "gauge", help, &|process| {
        Some(process.waiting as f64 / (process.active + process.waiting).max(1) as f64)
    });
    let help = "The share of the second before in which the garbage collector ran.";
    of_each("pyspy_process_gc_ratio", "gauge", help, &|process| per_look(process.collecting, process));
    let help = "The longest time that an event loop was away from its selector in the second before.";
    of_each("pyspy_process_loop_lag_seconds", "gauge", help, &|process| {
        process.lags.loops().map(|lag| lag.longest.as_secs_f64()).max_by(f64::total_cmp)
    });
    let help = "CPU time of the process.";
    of_each("pyspy_process_cpu_seconds_total", "counter", help, &|process| Some(process.usage.cpu.as_secs_f64()));
    let help = "Resident memory of the process.";
    of_each("pyspy_process_resident_memory_bytes", "gauge", help, &|process| Some(process.usage.resident_bytes as f64));
    numbers.into_text()
}
