//! What a program that we started has left behind: processes below it that go on while their parents have ended.
//!
//! Daemons are made that way. The kernel gives such a process to the nearest *subreaper* above it
//! (`PR_SET_CHILD_SUBREAPER`, prctl(2)), and to the first process where there is none. So we are one from before the
//! start of a program: what it leaves is found among our children, stays below us (Yama lets nobody but who is above a
//! process read it), and is ours to collect once it has ended. Nothing else comes of it: it gets no signal, and when we
//! end it goes to the next reaper, where it would have gone without us.
//!
//! # Limits
//! Whatever else comes to be a child of ours after the start of the program is taken for an orphan, so nothing
//! more is started while these are asked for. A process that becomes us by `exec` may have children from before. They
//! are left alone; what *they* leave behind cannot be told from what the program leaves.

use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::prctl;

use super::procfs::children;
use super::procfs::handle::Handle;
use super::waitpid;
use crate::process::ChildProcess;

/// The processes that a program has left behind. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct Orphans {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Ourselves; `None` where there is no /proc.
    ourselves: Option<Handle>,
    /// Children of ours that are none: the program, and what we had before it.
    others: Vec<Handle>,
}

/// Children of ours from before a program is started.
#[derive(Debug)]
pub(super) struct Before {
    ourselves: Option<Handle>,
    others: Vec<Handle>,
}

impl Before {
    /// Makes us the one to whom orphans go.
    pub(super) fn become_reaper() -> Self {
        if let Err(error) = prctl::set_child_subreaper(true) {
            log::debug!("cannot become a subreaper: {error}");
        }
        let ourselves = Handle::open(std::process::id().cast_signed()).ok();
        let others = ourselves.iter().flat_map(children::children);
        let others = others.filter_map(|child| Handle::open(child.pid).ok()).collect();
        Self { ourselves, others }
    }

    /// The program has been started.
    pub(super) fn started(mut self, program: i32) -> Orphans {
        self.others.extend(Handle::open(program).ok());
        Orphans { shared: Arc::new(Shared { ourselves: self.ourselves, others: self.others }) }
    }
}

impl Orphans {
    /// Those that there are now. Those that have ended are collected, so this is to be called as long as there may be
    /// any.
    ///
    /// When a process is seen to have exited, what it leaves is here already: the kernel gives its children away first.
    pub(crate) fn living(&self) -> Vec<ChildProcess> {
        let Some(ourselves) = &self.shared.ourselves else { return Vec::new() };
        let mut found = children::children(ourselves);
        found.retain(|child| !self.is_other(child.pid) && !has_ended(child.pid));
        found
    }

    /// Whether a child of ours is none of them. Once another has been collected, its number may be that of an orphan.
    fn is_other(&self, pid: i32) -> bool {
        self.shared.others.iter().any(|other| other.pid() == pid && other.stat_line().is_ok())
    }

    /// Those that there are now, and all processes below them.
    pub(crate) fn with_descendants(&self) -> Vec<ChildProcess> {
        let mut found = Vec::new();
        for child in self.living() {
            found.push(child);
            found.extend(Handle::open(child.pid).iter().flat_map(children::descendants));
        }
        found
    }
}

/// Whether a child of ours has ended; then it is collected. Asked for one by one: to wait for any child would take the
/// stops of threads that we hold, and the status of the program.
fn has_ended(child: i32) -> bool {
    match waitpid::has_child_exited(child) {
        // Who holds a thread of it may have to collect that one first; then it ends a moment later.
        Ok(true) => waitpid::collect_exit(child).is_ok(),
        Ok(false) => false,
        Err(error) => error.raw_os_error() == Some(Errno::ECHILD as i32),
    }
}
