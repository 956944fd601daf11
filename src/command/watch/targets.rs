//! What is watched: processes that were there, those with a name as they come, or a program that we start.

use std::collections::HashMap;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::cli::WatchArgs;
use crate::command::shared::attach;
use crate::command::shared::python_processes::is_called;
use crate::command::shared::standard_streams::print_note;
use crate::process::{Process, SpawnedProgram, all_processes};
use crate::sampler::{Finder, Roots};

/// A program that does not end on SIGTERM is killed after so long.
const GRACE: Duration = Duration::from_secs(5);
/// Between two searches for processes with the name.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// A process that has just started may run a shell or a launcher yet: its command line is looked at again.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);

/// What is watched.
pub(super) struct Targets {
    processes: Vec<Process>,
    program: Option<SpawnedProgram>,
    search: Option<Search>,
}

/// The search for processes by name.
struct Search {
    glob: String,
    due: Instant,
    /// By pid: when each was started, by the system's clock, since when it is known, and whether it is watched.
    known: HashMap<i32, (u64, Instant, bool)>,
}

impl Targets {
    /// Opens the processes asked for, or starts the program.
    pub(super) fn open_or_start(arguments: &WatchArgs) -> anyhow::Result<Self> {
        let mut targets = Self { processes: Vec::new(), program: None, search: None };
        if let Some(glob) = &arguments.name {
            targets.search = Some(Search { glob: glob.clone(), due: Instant::now(), known: HashMap::new() });
            targets.processes = targets.arrivals();
            if targets.processes.is_empty() {
                print_note(&format!("no process has this name or a command line like {glob:?} yet; waiting for one"));
            }
            return Ok(targets);
        }
        if !arguments.pid.is_empty() {
            targets.processes = arguments.pid.iter().map(|pid| Process::open(*pid)).collect::<Result<_, _>>()?;
            return Ok(targets);
        }
        if arguments.all {
            return Ok(targets);
        }
        let (name, rest) = arguments.program.split_first().context("there is neither a pid nor a program")?;
        attach::note_user();
        let mut program = SpawnedProgram::start(name.clone(), rest)?;
        match Process::observe(program.pid()) {
            Ok(process) => targets.processes.push(process),
            Err(error) => {
                let _ = program.end(GRACE);
                return Err(error.into());
            }
        }
        targets.program = Some(program);
        Ok(targets)
    }

    /// Waits until each process shows its interpreter, where that is to be expected.
    pub(super) fn wait_for_python(
        &mut self,
        arguments: &WatchArgs,
        finder: &mut Finder,
        cancelled: &dyn Fn() -> bool,
    ) -> anyhow::Result<()> {
        if arguments.subprocesses || arguments.all || self.search.is_some() {
            return Ok(());
        }
        attach::wait_for_python(&self.processes, self.program.as_mut(), finder, cancelled, &|| None)
    }

    /// Where to begin.
    pub(super) fn roots(&self) -> Roots {
        let orphans = self.program.as_ref().map(SpawnedProgram::orphans);
        Roots { processes: self.processes.clone(), orphans }
    }

    /// Processes with the name that have come since the last call.
    pub(super) fn arrivals(&mut self) -> Vec<Process> {
        let now = Instant::now();
        match &mut self.search {
            Some(search) if now >= search.due => {
                search.due = now + SEARCH_EVERY;
                search.run(now)
            }
            _ => Vec::new(),
        }
    }

    /// Whether it is a program that we started.
    pub(super) fn is_started(&self) -> bool {
        self.program.is_some()
    }

    /// The process of the program that we started.
    pub(super) fn program_process(&self) -> Option<Process> {
        self.program.as_ref().and_then(|_| self.processes.first()).cloned()
    }

    /// Ends the program that we started.
    pub(super) fn end(&mut self) {
        if let Some(program) = &mut self.program {
            let _ = program.end(GRACE);
        }
    }

    /// How the program ends that we started: it is told to with `ends`, else waited for.
    pub(super) fn program_status(&mut self, ends: bool) -> Option<ExitStatus> {
        let program = self.program.as_mut()?;
        let status = if ends { program.end(GRACE) } else { program.wait() };
        status
            .inspect_err(|error| print_note(&format!("cannot learn how process {} ended: {error}", program.pid())))
            .ok()
    }
}

impl Search {
    fn run(&mut self, now: Instant) -> Vec<Process> {
        let own = std::process::id().cast_signed();
        let Ok(pids) = all_processes() else { return Vec::new() };
        let mut arrived = Vec::new();
        let mut known = HashMap::with_capacity(pids.len());
        for pid in pids.into_iter().filter(|pid| *pid != own) {
            let before = self.known.get(&pid);
            if let Some(&(start, since, is_watched)) = before
                && (is_watched || now.saturating_duration_since(since) > SETTLES_WITHIN)
                && Process::observe(pid).is_ok_and(|process| process.start_ticks() == start)
            {
                known.insert(pid, (start, since, is_watched));
                continue;
            }
            let Ok(process) = Process::observe(pid) else { continue };
            let start = process.start_ticks();
            let since = before.filter(|(known, ..)| *known == start).map_or(now, |(_, since, _)| *since);
            let is_wanted = is_called(&process, &self.glob);
            known.insert(pid, (start, since, is_wanted));
            if is_wanted {
                arrived.extend(Process::open(pid).inspect_err(|error| log::warn!("{error}")));
            }
        }
        self.known = known;
        arrived
    }
}
