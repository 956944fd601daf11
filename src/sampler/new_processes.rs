//! Where the processes of a recording come from beside those given: they are below these, or were left behind by
//! them, or are any of the machine.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::attach::Attached;
use super::fork_count::ForkCount;
use super::machine_processes::Host;
use super::members::Member;
use super::unread::Unread;
use crate::process::{ChildProcess, Orphans, Process, ProcessError, raise_descriptor_limit};

/// Between two looks for new children.
const CHILDREN_EVERY: Duration = Duration::from_millis(10);
/// Between two looks for children when the kernel says that nothing was started.
const CHILDREN_AT_LEAST_EVERY: Duration = Duration::from_millis(200);

/// A look for children takes a file for each thread of each member. So the next one comes no sooner than so many times
/// later as it took, or so many where nothing was started; but that is no reason to wait for longer than this.
const LOOK_SHARE: u32 = 20;
const LOOK_SHARE_AT_LEAST: u32 = 100;
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE_AT_LEAST: Duration = Duration::from_secs(1);

/// Finds the processes that are to be recorded from now on.
#[derive(Debug)]
pub(super) struct Arrivals {
    children: Children,
    /// Where all processes of the machine are recorded.
    host: Option<Host>,
    /// Those among them that cannot be read.
    pub(super) unread: Unread,
    has_raised_limit: bool,
}

impl Arrivals {
    /// For a recording of these members, of what the program among them leaves behind, and of all of the machine where
    /// there is a search for that.
    pub(super) fn new(members: &[Member], orphans: Option<Orphans>, host: Option<Host>) -> Self {
        Self { children: Children::new(members, orphans), host, unread: Unread::default(), has_raised_limit: false }
    }

    /// Whether processes come from anywhere on the machine.
    pub(super) fn are_of_host(&self) -> bool {
        self.host.is_some()
    }

    /// Processes below the members or left behind by them that have come since the last look, if it is time for one.
    pub(super) fn below(&mut self, members: &[Member]) -> Vec<Member> {
        self.children.arrived(members)
    }

    /// Has what the members leave behind collected when it ends, where it is not followed.
    pub(super) fn collect_orphans(&mut self) {
        self.children.collect_orphans();
    }

    /// Processes of the machine that have come to run Python.
    pub(super) fn of_host(&mut self) -> Vec<(Process, Attached)> {
        self.host.as_ref().map(|host| host.arrived(&mut self.unread)).unwrap_or_default()
    }

    /// A member is recorded no more: it has exited, or runs no Python. Of all processes of a machine it may come again.
    pub(super) fn leave(&self, member: &Member) {
        if let Some(host) = &self.host {
            host.leave(member.process.pid());
        }
    }

    /// Lets us have as many open files as several processes need.
    pub(super) fn make_room(&mut self, members: &[Member]) {
        if members.len() > 1 && !std::mem::replace(&mut self.has_raised_limit, true) {
            raise_descriptor_limit();
        }
    }
}

/// Finds the children of members, and what members have left behind.
#[derive(Debug)]
struct Children {
    orphans: Option<Orphans>,
    looked_at: Instant,
    /// How long the last look took.
    look: Duration,
    forks: ForkCount,
    /// Start times of what is known by pid, so that a number used again is a new process.
    known: HashMap<i32, u64>,
}

impl Children {
    fn new(members: &[Member], orphans: Option<Orphans>) -> Self {
        let known = members.iter().map(|member| (member.process.pid(), member.process.start_ticks())).collect();
        let now = Instant::now();
        let looked_at = now.checked_sub(CHILDREN_AT_LEAST_EVERY).unwrap_or(now);
        Self { orphans, looked_at, look: Duration::ZERO, forks: ForkCount::open(), known }
    }

    /// Processes below the members or left behind by them that have come since the last look, if it is time for one; at
    /// once where all members have exited, as what they have left decides whether it is over.
    fn arrived(&mut self, members: &[Member]) -> Vec<Member> {
        let since = self.looked_at.elapsed();
        let all_have_exited = members.iter().all(|member| member.has_exited);
        let shortest = (self.look * LOOK_SHARE).min(LONGEST_PAUSE).max(CHILDREN_EVERY);
        let longest = (self.look * LOOK_SHARE_AT_LEAST).min(LONGEST_PAUSE_AT_LEAST).max(CHILDREN_AT_LEAST_EVERY);
        let is_early = since < shortest || (since < longest && !self.forks.moved());
        if is_early && !all_have_exited {
            return Vec::new();
        }
        self.looked_at = Instant::now();
        let mut new: Vec<Member> = Vec::new();
        let of_members: HashMap<i32, &Process> =
            members.iter().map(|member| (member.process.pid(), &member.process)).collect();
        // A number is not used again before its process has exited, so one that has not is the member.
        let is_member = |child: &ChildProcess| of_members.get(&child.pid).is_some_and(|process| !process.has_exited());
        let others = |children: Vec<ChildProcess>| children.into_iter().filter(|child| !is_member(child)).collect();
        for member in members {
            self.enter(others(member.process.children()), &mut new);
        }
        self.enter(others(self.orphans.iter().flat_map(Orphans::living).collect()), &mut new);
        // What is below the new ones, too.
        let mut next = 0;
        while let Some(parent) = new.get(next).map(|member| member.process.clone()) {
            self.enter(parent.children(), &mut new);
            next += 1;
        }
        self.look = self.looked_at.elapsed();
        new
    }

    /// Has what the members leave behind collected when it ends, where it is not followed.
    fn collect_orphans(&mut self) {
        if self.looked_at.elapsed() >= CHILDREN_AT_LEAST_EVERY {
            self.looked_at = Instant::now();
            self.orphans.iter().for_each(|orphans| drop(orphans.living()));
        }
    }

    fn enter(&mut self, children: Vec<ChildProcess>, new: &mut Vec<Member>) {
        for child in children {
            let process = match Process::observe(child.pid) {
                Ok(process) => process,
                Err(ProcessError::NoSuchProcess(_) | ProcessError::Exited(_)) => continue,
                Err(error) => {
                    log::debug!("{error}");
                    continue;
                }
            };
            if self.known.insert(child.pid, process.start_ticks()) != Some(process.start_ticks()) {
                log::debug!("process {} has come below process {}", child.pid, child.parent);
                new.push(Member::new(process, false));
            }
        }
    }
}
