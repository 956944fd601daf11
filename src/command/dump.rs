//! `pyspy dump`: what every thread is doing right now, or was doing when a core file was written.

mod core;
mod document;
mod live;
mod tree;

pub(super) use live::{SampledDump, dump_sampled, lost_threads};

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use super::failure::{OutputError, below_text};
use super::{check_stdout, print_note};
use crate::cli::{DumpArgs, TaskView};
use crate::inspect::{Details, TasksWanted};
use crate::output::dump::{TextOptions, ThreadDump, write_json, write_text};
use crate::sampler::{Finder, PATIENCE_RUNNING};

/// Says where the Python code runs that somebody will have looked for in a process without any, such as uWSGI's master.
fn note_workers(workers: &[i32]) {
    if !workers.is_empty() {
        print_note(&format!("the process runs no Python code; {}", below_text(workers)));
    }
}

/// JSON stays the list of threads that py-spy prints unless tasks are asked for.
fn tasks_wanted(arguments: &DumpArgs) -> TasksWanted {
    match arguments.tasks {
        Some(TaskView::None) => TasksWanted::None,
        None if arguments.json && !arguments.all_tasks => TasksWanted::None,
        _ if arguments.all_tasks => TasksWanted::All,
        _ => TasksWanted::Pending,
    }
}

/// Runs `pyspy dump`.
///
/// # Errors
/// When the process or the core file cannot be read.
pub(crate) fn run(arguments: &DumpArgs) -> anyhow::Result<ExitCode> {
    check_stdout()?;
    let source = !arguments.json && !arguments.no_source && (arguments.source || io::stdout().is_terminal());
    let details = Details { variables: arguments.locals, source, tasks: tasks_wanted(arguments) };
    let dumps = match (&arguments.core, arguments.pid) {
        (Some(core), _) => vec![core::dump_core(arguments, core, details)?],
        (None, Some(pid)) if arguments.subprocesses => tree::dump_tree(arguments, &live::open_process(pid)?, details)?,
        (None, Some(pid)) => {
            let (process, mut finder) = (live::open_process(pid)?, Finder::new());
            let dump = live::dump_process(arguments, &mut finder, &process, PATIENCE_RUNNING, details)?;
            if !dump.threads.iter().any(ThreadDump::runs_python) {
                note_workers(&finder.pythons_below(&process));
            }
            vec![dump]
        }
        (None, None) => anyhow::bail!("give a process with --pid or a core file with --core"),
    };
    let mut writer = BufWriter::new(io::stdout().lock());
    let written = if arguments.json {
        write_json(&dumps, details.tasks != TasksWanted::None, &mut writer)
    } else {
        let options = TextOptions {
            full_file_names: arguments.full_filenames,
            reverse: arguments.reverse,
            colour: console::colors_enabled(),
            flat_tasks: arguments.tasks == Some(TaskView::Flat),
            full_stacks: arguments.full_stacks,
        };
        write_text(&dumps, options, &mut writer)
    };
    written.and_then(|()| writer.flush()).map_err(OutputError::of_stdout)?;
    Ok(ExitCode::SUCCESS)
}
