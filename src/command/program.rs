//! The program from its arguments to its exit status.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
#[cfg(unix)]
use std::sync::{Arc, atomic::AtomicBool};

use clap::FromArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind as UsageError};
use clap_complete::CompleteEnv;

use super::completions;
use super::shared::failure;
#[cfg(unix)]
use super::shared::interrupt;
use crate::cli::{Cli, Command};
use crate::process::drop_foreign_rights;

/// The whole program: reads the command line, does what it says, prints an error once. The exit status is one of
/// [`failure`]'s.
pub fn run_program() -> ExitCode {
    if let Err(error) = drop_foreign_rights() {
        let text = "pyspy is set-uid or set-gid and cannot give up rights that its caller has not";
        let _ = writeln!(io::stderr(), "pyspy: {text}: {error}");
        return ExitCode::from(crate::cli::Status::Other as u8);
    }
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    #[cfg(unix)]
    if let Err(error) = survive_file_limits() {
        log::warn!("cannot take over SIGXFSZ: {error}");
    }
    // Ends the program where a shell asks for completions.
    CompleteEnv::with_factory(completions::command).var(completions::VARIABLE).complete();
    let matches = completions::command().try_get_matches().unwrap_or_else(|error| with_own_tip(error).exit());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some(text) = misplaced_pid(&cli.command) {
        completions::command().error(UsageError::UnknownArgument, text).exit();
    }
    match super::run(cli) {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(failure::status(&error) as u8)
        }
    }
}

/// A write beyond the limit on files (`ulimit -f`) fails as one to a full disk does, instead of killing us. A handler,
/// unlike a signal that is ignored, is not inherited by programs that we start.
#[cfg(unix)]
fn survive_file_limits() -> io::Result<()> {
    if !interrupt::is_ignored(libc::SIGXFSZ) {
        signal_hook::flag::register(libc::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// An error of the command line with the tip that fits. What other tools have as `dump -f json` is `dump --json` here;
/// that an option could be given as a value behind `--` helps nobody where no value is expected.
fn with_own_tip(mut error: clap::Error) -> clap::Error {
    let is_unknown = error.kind() == UsageError::UnknownArgument;
    let is_dump = std::env::args_os().nth(1).is_some_and(|name| name == "dump");
    if !is_unknown || !is_dump {
        return error;
    }
    error.remove(ContextKind::Suggested);
    if let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
        && ["-f", "--format", "-o", "--output"].contains(&option.as_str())
    {
        let tip = "a dump goes to standard output, as text or, with '--json', as JSON";
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// What to say of a process's number that stands where a program belongs, or nothing.
fn misplaced_pid(command: &Command) -> Option<String> {
    let (name, word) = match command {
        Command::Dump(arguments) => ("dump", arguments.misplaced.as_ref()?.as_str()),
        Command::Record(arguments) => ("record", only_word(&arguments.program)?),
        Command::Top(arguments) => ("top", only_word(&arguments.program)?),
        _ => return None,
    };
    let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    match (name, is_number) {
        (_, true) => Some(format!("{word} alone is no process; give `pyspy {name} --pid {word}`")),
        // Everything else that could be said of it, a file of this name might answer.
        ("dump", false) => Some(format!("unexpected argument {word:?}; a process is given by its number: --pid PID")),
        _ => None,
    }
}

/// The only word of a program that is to be started, if no program of this name is found.
fn only_word(program: &[OsString]) -> Option<&str> {
    let [word] = program else { return None };
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_program = std::env::split_paths(&folders).any(|folder| folder.join(word).is_file());
    word.to_str().filter(|_| !is_program)
}

/// An error with its causes, each told once: some say in their own text what their cause is.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn report(error: &anyhow::Error) {
    let mut lines = format!("pyspy: {}\n", with_causes(error));
    for sentence in failure::advice(error) {
        lines.push_str(&format!("  {sentence}\n"));
    }
    // Where nobody can be told, the exit status says it.
    let _ = io::stderr().write_all(lines.as_bytes());
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;
    use crate::process::SpawnError;

    #[test]
    fn a_cause_is_told_once() {
        let cause = || io::Error::from_raw_os_error(13);
        let told = SpawnError::System { program: "x".into(), source: cause() };
        let error = anyhow::Error::from(told).context("above");
        assert_eq!(with_causes(&error), "above: cannot start \"x\": Permission denied (os error 13)");
        let error = Err::<(), _>(cause()).context("cannot").unwrap_err();
        assert_eq!(with_causes(&error), "cannot: Permission denied (os error 13)");
    }
}
