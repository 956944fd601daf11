//! Processes below a process.

use std::collections::{HashMap, HashSet};
use std::{fs, io};

use super::directory::is_mounted;
use super::handle::Handle;
use super::stat::StatLine;
use crate::process::{ChildProcess, ProcessError};

/// More descendants than a machine has process numbers for are not looked for.
const DESCENDANT_LIMIT: usize = 1 << 20;

/// The numbers of all processes that we can see.
///
/// # Errors
/// When the system's list of them cannot be read.
pub(crate) fn all_processes() -> io::Result<Vec<i32>> {
    if !is_mounted() {
        return Err(io::Error::new(io::ErrorKind::NotFound, ProcessError::NoProcfs));
    }
    let entries = fs::read_dir("/proc")?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// The direct children, from `/proc/PID/task/TID/children`; `None` where the kernel has no such files
/// (`CONFIG_PROC_CHILDREN`).
fn listed_children(handle: &Handle) -> Option<Vec<i32>> {
    let threads = handle.threads().ok()?;
    let mut children = Vec::new();
    let mut any = false;
    for thread in threads {
        let Ok(text) = handle.read_file(&format!("task/{thread}/children"), 64 << 20) else { continue };
        any = true;
        children.extend(str::from_utf8(&text).ok()?.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    any.then_some(children)
}

/// The children of every process, by parent: one pass over all of `/proc`.
fn all_children() -> HashMap<i32, Vec<i32>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return children };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let parent = fs::read(format!("/proc/{pid}/stat")).ok().and_then(|line| StatLine::parse(&line));
        if let Some(line) = parent {
            children.entry(line.parent).or_default().push(pid);
        }
    }
    children
}

/// The direct children of a process, zombies included.
pub(crate) fn children(handle: &Handle) -> Vec<ChildProcess> {
    let parent = handle.pid();
    let pids = listed_children(handle).unwrap_or_else(|| all_children().remove(&parent).unwrap_or_default());
    pids.into_iter().map(|pid| ChildProcess { pid, parent }).collect()
}

/// All processes below a process, parents before their children.
pub(crate) fn descendants(handle: &Handle) -> Vec<ChildProcess> {
    if listed_children(handle).is_some() {
        return collect_below(handle.pid(), |pid| {
            Handle::open(pid).map(|handle| children(&handle)).unwrap_or_default()
        });
    }
    let all = all_children();
    collect_below(handle.pid(), |parent| {
        let pids = all.get(&parent).map(Vec::as_slice).unwrap_or_default();
        pids.iter().map(|pid| ChildProcess { pid: *pid, parent }).collect()
    })
}

/// Goes down from `root`. A process that is met twice, as when numbers are given anew meanwhile, counts once.
fn collect_below(root: i32, mut children_of: impl FnMut(i32) -> Vec<ChildProcess>) -> Vec<ChildProcess> {
    let mut found: Vec<ChildProcess> = Vec::new();
    let mut seen = HashSet::from([root]);
    let mut next = 0;
    let mut parent = root;
    loop {
        for child in children_of(parent) {
            if found.len() < DESCENDANT_LIMIT && seen.insert(child.pid) {
                found.push(child);
            }
        }
        let Some(child) = found.get(next) else { return found };
        parent = child.pid;
        next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::linux::testing::Target;

    #[test]
    fn a_circle_of_parents_ends() {
        let found = collect_below(1, |pid| vec![ChildProcess { pid: if pid == 3 { 1 } else { pid + 1 }, parent: pid }]);
        assert_eq!(found, [ChildProcess { pid: 2, parent: 1 }, ChildProcess { pid: 3, parent: 2 }]);
    }

    #[test]
    fn grandchildren_are_found_in_both_ways() {
        let target = Target::shell("sh -c 'sleep 600 & echo ready; wait'; true");
        let handle = target.handle();
        let listed = descendants(&handle);
        assert_eq!(listed.len(), 2, "{listed:?}");
        assert_eq!(listed[0].parent, handle.pid());
        assert_eq!(listed[1].parent, listed[0].pid);

        let all = all_children();
        assert_eq!(all.get(&handle.pid()), Some(&vec![listed[0].pid]));
        assert_eq!(all.get(&listed[0].pid), Some(&vec![listed[1].pid]));
    }
}
