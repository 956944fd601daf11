//! `pyspy dump`: what every thread is doing right now, or was doing when a core file was written.

mod core;
mod document;
mod live;
mod tree;

pub(super) use live::{SampledDump, dump_sampled, lost_threads};

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use wildmatch::WildMatch;

use super::shared::failure::{OutputError, below_text};
use super::shared::python_processes::{self, Which};
use super::shared::standard_streams::{check_stdout, print_note};
use crate::cli::{DumpArgs, TaskView};
use crate::inspect::{Details, TasksWanted};
use crate::output::dump::{ProcessDump, TextOptions, ThreadDump, write_json, write_text};
use crate::output::printable;
use crate::sampler::{Finder, PATIENCE_RUNNING};

/// So many names are told of where none is the one that was asked for.
const NAMES_SHOWN: usize = 10;

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

/// Columns of the screen that the output goes to, if it goes to one.
fn columns() -> Option<usize> {
    let (_, columns) = console::Term::stdout().size_checked().filter(|_| io::stdout().is_terminal())?;
    Some(usize::from(columns))
}

/// Leaves out the threads that were not asked for.
///
/// # Errors
/// When that would leave none.
fn leave_out_unwanted(arguments: &DumpArgs, dumps: &mut [ProcessDump]) -> anyhow::Result<()> {
    if arguments.thread.is_empty() && !arguments.main_thread {
        return Ok(());
    }
    let globs: Vec<WildMatch> = arguments.thread.iter().map(|glob| WildMatch::new(glob)).collect();
    let is_named = |thread: &ThreadDump| {
        let name = thread.thread_name.as_deref().unwrap_or_default();
        globs.is_empty() || globs.iter().any(|glob| glob.matches(name))
    };
    let is_main = |thread: &ThreadDump| thread.os_thread_id == Some(u64::from(thread.pid.unsigned_abs()));
    for thread in dumps.iter_mut().flat_map(|dump| &mut dump.threads) {
        thread.left_out = !is_named(thread) || arguments.main_thread && !is_main(thread);
    }
    let threads = || dumps.iter().flat_map(|dump| &dump.threads);
    if threads().all(|thread| thread.left_out) {
        let names: Vec<String> =
            threads().filter_map(|thread| thread.thread_name.as_ref()).take(NAMES_SHOWN).cloned().collect();
        anyhow::bail!("no thread is one that was asked for; there are {}", printable(&names.join(", ")));
    }
    Ok(())
}

/// What is printed of a process, as text and as JSON: all that its memory says goes through here.
#[cfg(any(fuzzing, test))]
pub(crate) fn dump_as_written(inspected: crate::inspect::InspectedProcess) -> (Vec<u8>, Vec<u8>) {
    let dump = [document::process_dump(inspected, crate::output::dump::ProcessInfo::default())];
    let (mut text, mut json) = (Vec::new(), Vec::new());
    let options = TextOptions { full_stacks: true, long_lines: true, ..TextOptions::default() };
    let _ = (write_text(&dump, options, &mut text), write_json(&dump, true, &mut json));
    (text, json)
}

/// Runs `pyspy dump`.
///
/// # Errors
/// When the process or the core file cannot be read.
pub(crate) fn run(arguments: &DumpArgs) -> anyhow::Result<ExitCode> {
    check_stdout()?;
    let source = !arguments.json && !arguments.no_source && (arguments.source || io::stdout().is_terminal());
    let details = Details {
        variables: arguments.locals,
        secrets: arguments.show_secrets,
        source,
        tasks: tasks_wanted(arguments),
        sleep: true,
    };
    let mut dumps = match (&arguments.core, arguments.pid) {
        (Some(core), _) => vec![core::dump_core(arguments, core, details)?],
        (None, Some(pid)) if arguments.subprocesses => {
            tree::dump_trees(arguments, &[live::open_process(pid)?], &mut Finder::new(), details)?
        }
        (None, Some(pid)) => {
            let (process, mut finder) = (live::open_process(pid)?, Finder::new());
            let dump = live::dump_process(arguments, &mut finder, &process, PATIENCE_RUNNING, details)?;
            if !dump.threads.iter().any(ThreadDump::runs_python) {
                note_workers(&finder.pythons_below(&process));
            }
            vec![dump]
        }
        (None, None) if arguments.name.is_some() || arguments.all => {
            let which = arguments.name.as_deref().map_or(Which::All, Which::Called);
            let mut finder = Finder::new();
            let processes = python_processes::find(&which, &mut finder)?;
            tree::dump_trees(arguments, &processes, &mut finder, details)?
        }
        (None, None) => anyhow::bail!("give a process with --pid or --name, or a core file with --core"),
    };
    leave_out_unwanted(arguments, &mut dumps)?;
    if !arguments.source {
        dumps.iter_mut().for_each(ProcessDump::keep_one_source_each);
    }
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
            few_variables: arguments.locals == 1,
            columns: columns().filter(|_| arguments.locals == 1),
            long_lines: arguments.locals > 2,
        };
        write_text(&dumps, options, &mut writer)
    };
    written.and_then(|()| writer.flush()).map_err(OutputError::of_stdout)?;
    Ok(ExitCode::SUCCESS)
}
