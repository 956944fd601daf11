//! Several processes: those given, and all below them.

use std::collections::HashMap;
use std::time::Duration;

use super::live;
use crate::cli::DumpArgs;
use crate::inspect::Details;
use crate::output::dump::{Parent, ProcessDump};
use crate::process::Process;
use crate::sampler::{Finder, command_line};

/// What processes are doing, with `--subprocesses` all below them too, parents before their children. One that cannot
/// be read, or is no Python, is there with the reason.
///
/// # Errors
/// When none of them could be read: then that of the first.
pub(super) fn dump_trees(
    arguments: &DumpArgs,
    roots: &[Process],
    finder: &mut Finder,
    details: Details,
) -> anyhow::Result<Vec<ProcessDump>> {
    let mut first_error = None;
    let mut any = false;
    let mut read_one = |process: &Process| match live::dump_process(arguments, finder, process, Duration::ZERO, details)
    {
        Ok(dump) => {
            any = true;
            dump
        }
        Err(error) => {
            let mut info = live::process_info(process);
            info.unreadable = Some(format!("{error:#}"));
            first_error.get_or_insert(error);
            ProcessDump { info, threads: vec![], deadlocks: vec![], tasks: None }
        }
    };
    let mut dumps: Vec<ProcessDump> = Vec::new();
    let mut parents: HashMap<i32, Parent> = HashMap::new();
    let describe =
        |process: &Process, parent| Parent { pid: process.pid(), command_line: command_line(process), parent };
    for root in roots {
        // It may be below one that was shown.
        if parents.contains_key(&root.pid()) {
            continue;
        }
        dumps.push(read_one(root));
        parents.insert(root.pid(), describe(root, None));
        for child in if arguments.subprocesses { root.descendants() } else { Vec::new() } {
            // One that is gone by now has nothing to show; one that may not be read has its name.
            let Ok(process) = Process::observe(child.pid) else { continue };
            let parent = parents.get(&child.parent).cloned().map(Box::new);
            if parents.insert(child.pid, describe(&process, parent.clone())).is_some() {
                continue;
            }
            let mut dump = read_one(&process);
            if process.has_exited() {
                continue;
            }
            dump.info.parent = parent;
            dumps.push(dump);
        }
    }
    match first_error {
        Some(error) if !any => Err(error),
        _ => Ok(dumps),
    }
}
