//! A process with all processes below it.

use std::collections::HashMap;
use std::time::Duration;

use super::live;
use crate::cli::DumpArgs;
use crate::inspect::Details;
use crate::output::dump::{Parent, ProcessDump};
use crate::process::Process;
use crate::sampler::{Finder, command_line};

/// What all processes of a tree are doing, parents before their children. One that cannot be read, or is no Python, is
/// there with the reason.
///
/// # Errors
/// When none of them could be read: then that of the first.
pub(super) fn dump_tree(arguments: &DumpArgs, root: &Process, details: Details) -> anyhow::Result<Vec<ProcessDump>> {
    let mut finder = Finder::new();
    let mut first_error = None;
    let mut read_one =
        |process: &Process| match live::dump_process(arguments, &mut finder, process, Duration::ZERO, details) {
            Ok(dump) => (dump, true),
            Err(error) => {
                let mut info = live::process_info(process);
                info.unreadable = Some(format!("{error:#}"));
                first_error.get_or_insert(error);
                (ProcessDump { info, threads: vec![], deadlocks: vec![], tasks: None }, false)
            }
        };
    let (dump, mut any) = read_one(root);
    let mut dumps = vec![dump];
    let mut parents: HashMap<i32, Parent> = HashMap::new();
    let describe =
        |process: &Process, parent| Parent { pid: process.pid(), command_line: command_line(process), parent };
    parents.insert(root.pid(), describe(root, None));
    for child in root.descendants() {
        // One that is gone by now has nothing to show; one that may not be read has its name.
        let Ok(process) = Process::observe(child.pid) else { continue };
        let parent = parents.get(&child.parent).cloned().map(Box::new);
        parents.insert(child.pid, describe(&process, parent.clone()));
        let (mut dump, is_read) = read_one(&process);
        if process.has_exited() {
            continue;
        }
        any |= is_read;
        dump.info.parent = parent;
        dumps.push(dump);
    }
    match first_error {
        Some(error) if !any => Err(error),
        _ => Ok(dumps),
    }
}
