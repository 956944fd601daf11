//! All processes of a machine that run Python, as they come.
//!
//! A machine has hundreds of processes that never will. Of those nothing is kept but when to look again, which is ever
//! more seldom; who becomes Python's by executing it does so in the first moments of its life. What a file says that is
//! mapped takes milliseconds to learn where the file is large, so a thread of its own does it: sampling goes on.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::attach::{Attached, Finder, Missing};
use super::fork_count::ForkCount;
use super::reader_retries::Looks;
use super::unread::Unread;
use crate::process::{Process, all_processes};

/// Between two looks at what there is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at the list of processes when the kernel says that nothing was started.
const LIST_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// Finds the processes of a machine that run Python, in a thread that ends with it.
#[derive(Debug)]
pub(super) struct Host {
    found: Receiver<Found>,
    left: Sender<i32>,
}

/// What a look at a process has shown.
#[derive(Debug)]
enum Found {
    Python(Process, Box<Attached>),
    Unread(Process, Missing),
}

impl Host {
    /// Begins to look.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn search() -> io::Result<Self> {
        let (sender, found) = channel();
        let (left, gone) = channel();
        let search = Search { forks: ForkCount::open(), listed_at: None, candidates: HashMap::new(), sender };
        std::thread::Builder::new().name("processes".to_owned()).spawn(move || search.run(&gone))?;
        Ok(Self { found, left })
    }

    /// Processes with an interpreter that can be read, that have come since the last time.
    pub(super) fn arrived(&self, unread: &mut Unread) -> Vec<(Process, Attached)> {
        let found = self.found.try_iter().filter_map(|found| match found {
            Found::Python(process, attached) => {
                unread.remove(&process);
                Some((process, *attached))
            }
            Found::Unread(process, missing) => {
                unread.add(&process, &missing);
                None
            }
        });
        found.collect()
    }

    /// Tells that a process runs no Python any more. It may again.
    pub(super) fn leave(&self, pid: i32) {
        // Where the search has ended, nothing more is found either.
        let _ = self.left.send(pid);
    }
}

/// What the thread knows.
struct Search {
    forks: ForkCount,
    listed_at: Option<Instant>,
    /// By pid.
    candidates: HashMap<i32, Candidate>,
    sender: Sender<Found>,
}

/// A process that may run Python some time.
struct Candidate {
    /// With the pid, what tells it from every other process; not known before the first look.
    start_ticks: Option<u64>,
    looks: Looks,
    /// When it was first listed, its program was called so.
    is_called_python: bool,
    /// It does run Python, and is sampled.
    is_found: bool,
}

impl Search {
    fn run(mut self, gone: &Receiver<i32>) {
        let mut finder = Finder::new();
        loop {
            if self.look_at_all(&mut finder).is_none() {
                return;
            }
            let next = Instant::now() + LOOK_EVERY;
            loop {
                match gone.recv_timeout(next.saturating_duration_since(Instant::now())) {
                    Ok(pid) => {
                        if let Some(candidate) = self.candidates.get_mut(&pid) {
                            candidate.is_found = false;
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }

    /// A look at each candidate that is due; `None` when nobody wants to know any more.
    fn look_at_all(&mut self, finder: &mut Finder) -> Option<()> {
        let now = Instant::now();
        self.list(now);
        let due = self.candidates.iter().filter(|(_, known)| !known.is_found && known.looks.due() <= now);
        let mut due: Vec<i32> = due.map(|(pid, _)| *pid).collect();
        // Where there is much to look at, as at first, what is called so comes first.
        due.sort_by_key(|pid| self.candidates.get(pid).is_none_or(|known| !known.is_called_python));
        for pid in due {
            // The rest is still due in the next round, which knows what has been started meanwhile.
            if now.elapsed() > LOOK_EVERY {
                break;
            }
            if let Some(found) = self.look(pid, finder) {
                self.sender.send(found).ok()?;
            }
        }
        Some(())
    }

    /// Brings the candidates up to date with the list of processes, where that may have changed.
    fn list(&mut self, now: Instant) {
        let is_early = self.listed_at.is_some_and(|last| now < last + LIST_AT_LEAST_EVERY);
        if !self.forks.moved() && is_early {
            return;
        }
        self.listed_at = Some(now);
        let own = std::process::id().cast_signed();
        let Ok(pids) = all_processes() else { return };
        let pids: HashSet<i32> = pids.into_iter().filter(|pid| *pid != own).collect();
        self.candidates.retain(|pid, _| pids.contains(pid));
        for pid in pids {
            self.candidates.entry(pid).or_insert_with(|| Candidate {
                start_ticks: None,
                looks: Looks::on_host(Duration::ZERO),
                is_called_python: is_called_python(pid),
                is_found: false,
            });
        }
    }

    /// One look at a candidate; what is worth telling of it.
    fn look(&mut self, pid: i32, finder: &mut Finder) -> Option<Found> {
        let candidate = self.candidates.get_mut(&pid)?;
        let Ok(process) = Process::observe(pid) else {
            candidate.looks.put_off();
            return None;
        };
        let start_ticks = Some(process.start_ticks());
        if candidate.start_ticks != start_ticks {
            candidate.looks = Looks::on_host(process.age().unwrap_or_default());
            (candidate.start_ticks, candidate.is_found) = (start_ticks, false);
        }
        let depth = candidate.looks.next(&process, finder.may_scan())?;
        match finder.look(&process, depth) {
            Ok(attached) => {
                log::debug!("process {pid} runs Python");
                candidate.is_found = true;
                Some(Found::Python(process, Box::new(attached)))
            }
            Err(missing) => {
                candidate.looks.found(depth, &missing);
                matches!(missing, Missing::Process(_) | Missing::Failed(_)).then(|| Found::Unread(process, missing))
            }
        }
    }
}

fn is_called_python(pid: i32) -> bool {
    let path = Process::observe(pid).ok().and_then(|process| process.executable().ok());
    path.is_some_and(|path| path.to_string_lossy().contains("python"))
}
