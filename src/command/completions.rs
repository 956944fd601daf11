//! What a shell asks for while somebody types: completions, and the pages of the manual.

use std::ffi::OsStr;
use std::io::Write;
use std::process::ExitCode;

use clap::{Arg, Command};
use clap_complete::env::Shells;
use clap_complete::{ArgValueCompleter, CompletionCandidate, Shell};
use console::truncate_str;

use super::shared::failure::OutputError;
use super::shared::standard_streams::check_stdout;
use crate::output::printable;
use crate::process::{Process, all_processes};
use crate::sampler::command_line;

/// The variable by which the script of a shell asks us for completions.
pub(super) const VARIABLE: &str = "PYSPY_COMPLETE";

/// Columns of a command line beside a process's number.
const COMMAND_LINE_WIDTH: usize = 60;

/// The command line, with the numbers of running Pythons for `--pid`.
pub(super) fn command() -> Command {
    crate::cli::command(|arg: Arg| arg.add(ArgValueCompleter::new(complete_pid)))
}

/// The processes that run Python as far as their files tell, those first that came last.
fn complete_pid(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let mut pids = all_processes().unwrap_or_default();
    pids.retain(|pid| pid.unsigned_abs() != std::process::id() && pid.to_string().starts_with(&*typed));
    pids.sort_unstable();
    let found = pids.into_iter().rev().filter_map(|pid| {
        let process = Process::observe(pid).ok().filter(maps_python)?;
        let command = printable(&command_line(&process)).into_owned();
        let command = truncate_str(&command, COMMAND_LINE_WIDTH, "…").into_owned();
        Some(CompletionCandidate::new(pid.to_string()).help(Some(command.into())))
    });
    let candidates = found.enumerate().map(|(index, candidate)| candidate.display_order(Some(index)));
    candidates.collect()
}

/// Whether the program or one of its files is called like Python. Asked while somebody waits, so nothing is read.
fn maps_python(process: &Process) -> bool {
    let is_python = |name: &OsStr| name.to_string_lossy().contains("python");
    let runs_it = process.executable().is_ok_and(|path| path.file_name().is_some_and(is_python));
    runs_it
        || process.maps().is_ok_and(|maps| {
            let paths = maps.iter().filter_map(|mapping| mapping.path.as_deref());
            paths.filter_map(|path| path.file_name()).any(|name| name.to_string_lossy().starts_with("libpython"))
        })
}

/// Prints the script by which a shell asks us for completions.
pub(super) fn print_script(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    match shells.completer(&shell.to_string()) {
        Some(completer) => completer.write_registration(VARIABLE, "pyspy", "pyspy", "pyspy", &mut script)?,
        None => anyhow::bail!("there are no completions for {shell}"),
    }
    check_stdout()?;
    std::io::stdout().lock().write_all(&script).map_err(OutputError::of_stdout)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the page of the manual for a subcommand, or for the whole program.
pub(super) fn print_page(name: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut command = command();
    command.build();
    let page = match name {
        None => command,
        Some(name) => match command.find_subcommand(name).filter(|found| !found.is_hide_set()) {
            Some(found) => found.clone(),
            None => anyhow::bail!("there is no subcommand {name:?}"),
        },
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    check_stdout()?;
    std::io::stdout().lock().write_all(&text).map_err(OutputError::of_stdout)?;
    Ok(ExitCode::SUCCESS)
}
