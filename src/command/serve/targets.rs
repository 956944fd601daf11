//! Which processes are served, as there are when somebody asks.

use std::time::Duration;

use crate::cli::ServeArgs;
use crate::command::shared::python_processes::is_called;
use crate::output::sort_by_key;
use crate::process::{Process, ProcessError, all_processes};
use crate::python::version::Version;
use crate::sampler::{AttachError, Finder};

/// Of more than this nothing is said: a look at each takes its time.
const MOST: usize = 1000;

/// Which processes are served.
#[derive(Debug)]
pub(super) struct Targets {
    choice: Choice,
    subprocesses: bool,
}

#[derive(Debug)]
enum Choice {
    /// These, whoever gets their numbers after them.
    Given(Vec<Process>),
    /// Those that are called so.
    Named(String),
    /// All.
    All,
}

/// A process that runs Python.
pub(super) struct PythonProcess {
    pub(super) process: Process,
    pub(super) version: Version,
}

impl Targets {
    /// # Errors
    /// When a process that was given cannot be read.
    pub(super) fn open(arguments: &ServeArgs) -> Result<Self, ProcessError> {
        let choice = match (&arguments.name, &arguments.pid[..]) {
            (Some(name), _) => Choice::Named(name.clone()),
            (None, []) => Choice::All,
            (None, pids) => Choice::Given(pids.iter().map(|pid| Process::open(*pid)).collect::<Result<_, _>>()?),
        };
        Ok(Self { choice, subprocesses: arguments.subprocesses })
    }

    /// The process that was given, if it is one and all that is served.
    pub(super) fn only(&self) -> Option<Process> {
        match &self.choice {
            Choice::Given(processes) if !self.subprocesses && processes.len() == 1 => processes.first().cloned(),
            _ => None,
        }
    }

    /// Whether what is below a process belongs to it.
    pub(super) fn follows_children(&self) -> bool {
        self.subprocesses
    }

    /// The processes that may be asked for by number, whether or not they run Python.
    fn all(&self) -> Vec<Process> {
        let own = std::process::id().cast_signed();
        let pids = || all_processes().unwrap_or_default().into_iter().filter(|pid| *pid != own);
        let mut all: Vec<Process> = match &self.choice {
            Choice::Given(processes) => processes.iter().filter(|process| !process.has_exited()).cloned().collect(),
            Choice::All => return pids().filter_map(|pid| Process::observe(pid).ok()).take(MOST).collect(),
            Choice::Named(glob) => {
                let processes = pids().filter_map(|pid| Process::observe(pid).ok());
                processes.filter(|process| is_called(process, glob)).take(MOST).collect()
            }
        };
        if self.subprocesses {
            let below: Vec<i32> = all.iter().flat_map(Process::descendants).map(|child| child.pid).collect();
            for pid in below {
                if all.len() < MOST
                    && !all.iter().any(|known| known.pid() == pid)
                    && let Ok(process) = Process::observe(pid)
                {
                    all.push(process);
                }
            }
        }
        all
    }

    /// The process of a number, if it is one that is served.
    pub(super) fn by_pid(&self, pid: i32) -> Result<Process, AttachError> {
        let found = self.all().into_iter().find(|process| process.pid() == pid);
        let found = found.ok_or(AttachError::Process(ProcessError::NoSuchProcess(pid)))?;
        // Now that it is known to be served it is tried whether it may be read.
        let process = Process::open(pid)?;
        if process.start_ticks() == found.start_ticks() {
            Ok(process)
        } else {
            Err(AttachError::Process(ProcessError::NoSuchProcess(pid)))
        }
    }

    /// The processes that run Python and may be read, and how many may not be.
    pub(super) fn pythons(&self, finder: &mut Finder) -> (Vec<PythonProcess>, usize) {
        let mut denied = 0;
        let mut pythons = Vec::new();
        for process in self.all() {
            let pid = process.pid();
            // Its patience is for one that is about to start.
            let attached = Process::open(pid).map_err(AttachError::from).and_then(|process| {
                let attached = finder.attach(&process, None, Duration::ZERO, &|| false)?;
                Ok(PythonProcess { version: attached.runtime.layout.version, process })
            });
            match attached {
                Ok(python) => pythons.push(python),
                Err(AttachError::Process(ProcessError::Denied(_))) => denied += 1,
                Err(error) => log::debug!("process {pid} is not served: {error}"),
            }
        }
        sort_by_key(&mut pythons, |python| python.process.pid());
        (pythons, denied)
    }
}
