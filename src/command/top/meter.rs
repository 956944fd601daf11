//! What the processes and we ourselves use, for the header.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant, SystemTime};

use crate::output::dump::TaskKind;
use crate::output::sort_by_key;
use crate::process::{Process, ProcessUsage};
use crate::profile::Flags;
use crate::python::tasks::TaskLibrary;
use crate::sampler::{LiveTasks, LiveWindow, LoopLag, why_not_pausable};
use crate::tui::window::{EventLoop, Facts, LoopBlocker, TaskGroup, ThreadNow, Usage, Window};

/// Measures what the processes and we ourselves use.
pub(super) struct Meter {
    /// By pid, with what it had used at the last look.
    processes: HashMap<u32, (Process, Option<ProcessUsage>)>,
    our_cpu: Option<Duration>,
    measured_at: Instant,
    first: Option<Process>,
    /// Threads are to be stopped where that is needed.
    stops: bool,
}

/// What has been used between two looks.
struct Measured {
    /// By each process.
    usages: Vec<Usage>,
    /// By ourselves: CPU time in percent of one CPU.
    own_cpu: Option<f64>,
}

impl Meter {
    pub(super) fn new(processes: &[Process], stops: bool) -> Self {
        let known =
            processes.iter().map(|process| (process.pid().unsigned_abs(), (process.clone(), process.usage().ok())));
        Self {
            processes: known.collect(),
            our_cpu: our_cpu(),
            measured_at: Instant::now(),
            first: processes.first().cloned(),
            stops,
        }
    }

    /// What has been used since the last call.
    fn measure_usage(&mut self, profile: &[crate::profile::Process]) -> Measured {
        let now = Instant::now();
        let passed = (now - self.measured_at).as_secs_f64().max(1e-3);
        self.measured_at = now;
        let share = |cpu: Duration, before: Duration| cpu.saturating_sub(before).as_secs_f64() * 100.0 / passed;
        for process in profile.iter().filter(|process| process.end_us.is_none()) {
            if let Entry::Vacant(vacant) = self.processes.entry(process.pid)
                && let Ok(opened) = Process::observe(process.pid.cast_signed())
            {
                vacant.insert((opened, None));
            }
        }
        let mut usages = Vec::new();
        let only = self.processes.len() == 1;
        self.processes.retain(|pid, (process, before)| {
            let has_exited = process.has_exited();
            // On its way out it has let go of its memory already.
            let usage = process.usage().ok().filter(|usage| !has_exited && usage.resident_bytes > 0);
            let Some(usage) = usage else {
                // What the only one had at last is part of the last view.
                usages.extend(before.filter(|_| only).map(|usage| Usage {
                    pid: *pid,
                    cpu: Some(0.0),
                    resident_bytes: usage.resident_bytes,
                }));
                return only || !has_exited;
            };
            let cpu = before.map(|before| share(usage.cpu, before.cpu));
            *before = Some(usage);
            usages.push(Usage { pid: *pid, cpu, resident_bytes: usage.resident_bytes });
            true
        });
        let ours = our_cpu();
        let own_cpu = ours.zip(self.our_cpu).map(|(now, before)| share(now, before));
        self.our_cpu = ours;
        Measured { usages, own_cpu }
    }

    /// Why one of the processes is not stopped though that was wanted, as long as it is so.
    fn why_not_pausable(&self) -> Option<String> {
        let mut processes = self.processes.values().filter(|_| self.stops);
        processes.find_map(|(process, _)| why_not_pausable(process))
    }

    /// A window as the view takes it.
    pub(super) fn window(&mut self, window: LiveWindow) -> Window {
        let Measured { usages: processes, own_cpu } = self.measure_usage(&window.delta.processes);
        let cpu: f64 = processes.iter().filter_map(|usage| usage.cpu).sum();
        let resident: u64 = processes.iter().map(|usage| usage.resident_bytes).sum();
        let (times, pace) = (window.times, window.pace);
        let share = |part: u64| part as f64 * 100.0 / (times.wall_us.max(1)) as f64;
        let facts = Facts {
            gil: share(times.gil_us),
            gil_waiters: times.gil_wait_us as f64 / times.wall_us.max(1) as f64,
            active: share(times.active_us),
            gc: share(times.gc_us),
            cpu: (!processes.is_empty()).then_some(cpu),
            own_cpu,
            resident_bytes: (!processes.is_empty()).then_some(resident),
            processes,
            uptime: self
                .first
                .as_ref()
                .and_then(Process::start_time)
                .and_then(|start| SystemTime::now().duration_since(start).ok()),
            rate_asked: pace.rate,
            rate_held: pace.held,
            is_from_kernel: pace.is_from_kernel,
            missed: pace.missed,
            // Of all of the window: a hold goes on where a late sample stands for less than has passed.
            stopped: pace.stopped_us as f64 * 100.0 / pace.length_us.max(1) as f64,
            running: window.threads.iter().filter(|thread| thread.flags.contains(Flags::ACTIVE)).count(),
            threads: window.threads.len(),
            trouble: window.trouble.or_else(|| self.why_not_pausable()),
            loops: event_loops(window.loops),
            tasks: task_groups(window.tasks),
        };
        let threads = window.threads.into_iter();
        let threads = threads.map(|now| ThreadNow { thread: now.thread, stack: now.stack, flags: now.flags }).collect();
        Window { delta: window.delta, wall_us: times.wall_us, facts, threads }
    }
}

/// The largest first.
fn task_groups(tasks: Vec<LiveTasks>) -> Vec<TaskGroup> {
    let mut groups: Vec<TaskGroup> = tasks
        .into_iter()
        .map(|tasks| {
            let mut hasher = std::hash::DefaultHasher::new();
            (tasks.pid, tasks.group.library, &tasks.group.coroutine).hash(&mut hasher);
            TaskGroup {
                id: hasher.finish(),
                pid: tasks.pid.unsigned_abs(),
                kind: match tasks.group.library {
                    TaskLibrary::Asyncio => TaskKind::Asyncio,
                    TaskLibrary::Trio => TaskKind::Trio,
                    TaskLibrary::Greenlet => TaskKind::Greenlet,
                },
                coroutine: tasks.group.coroutine,
                count: tasks.group.count,
                running: tasks.running * 100.0,
                waiting: tasks.group.waiting,
                oldest: tasks.group.oldest,
                waits: tasks.group.waits,
            }
        })
        .collect();
    sort_by_key(&mut groups, |group| std::cmp::Reverse(group.count));
    groups
}

/// The latest first.
fn event_loops(loops: Vec<(i32, LoopLag)>) -> Vec<EventLoop> {
    let mut loops: Vec<EventLoop> = loops
        .into_iter()
        .map(|(pid, lag)| EventLoop {
            pid: pid.unsigned_abs(),
            python_id: lag.python_id,
            os_id: lag.os_id,
            library: lag.library.name(),
            lag: lag.longest,
            busy_for: lag.busy_for,
            blocker: lag.blocker.map(|blocker| LoopBlocker {
                task: blocker.task,
                function: blocker.function,
                running: blocker.running,
            }),
        })
        .collect();
    sort_by_key(&mut loops, |event_loop| (std::cmp::Reverse(event_loop.lag), event_loop.pid, event_loop.python_id));
    loops
}

/// The CPU time that we have used. Not as others' is measured: the system tells that in hundredths of a second, of
/// which we use less than one between two looks.
#[cfg(unix)]
fn our_cpu() -> Option<Duration> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Some(Duration::from_micros(u64::try_from(micros).ok()?))
}

#[cfg(not(unix))]
fn our_cpu() -> Option<Duration> {
    let ourselves = Process::observe(i32::try_from(std::process::id()).ok()?).ok()?;
    Some(ourselves.usage().ok()?.cpu)
}
