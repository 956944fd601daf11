//! What programs are called.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::Path;

use crate::output::printable;

/// Longer names are cut, in characters.
const NAME_WIDTH: usize = 40;

/// How a process is called in a line: the script, the module or the program.
pub(in crate::command) fn program_name(command_line: &str) -> String {
    let mut words = command_line.split_whitespace();
    let program = words.next().map(base_name).unwrap_or_default();
    let is_python = program.starts_with("python") || program.starts_with("pypy");
    let name = match Program::of(words).filter(|_| is_python) {
        Some(Program::Module(module)) => module.to_owned(),
        Some(Program::Code) => format!("{program} -c"),
        Some(Program::Script(script)) => base_name(script),
        None => program,
    };
    printable(&name).chars().take(NAME_WIDTH).collect()
}

/// What the program with this command line may be called by somebody who looks for it: by its own name; as the script
/// that Python runs, with its ending or without; as the module that Python runs.
pub(in crate::command) fn program_names(command_line: &[OsString]) -> Vec<String> {
    let words: Vec<Cow<'_, str>> = command_line.iter().map(|word| word.to_string_lossy()).collect();
    let mut words = words.iter().map(AsRef::as_ref);
    let mut names: Vec<String> = words.next().map(base_name).into_iter().collect();
    match Program::of(words) {
        Some(Program::Module(module)) => names.push(module.to_owned()),
        Some(Program::Script(script)) => {
            let name = base_name(script);
            names.extend(name.strip_suffix(".py").map(str::to_owned));
            names.push(name);
        }
        Some(Program::Code) | None => {}
    }
    names
}

/// What Python is told to run.
enum Program<'words> {
    /// `-m`.
    Module(&'words str),
    /// `-c`.
    Code,
    /// A file.
    Script(&'words str),
}

impl<'words> Program<'words> {
    /// By the arguments of Python; `None` where they name none.
    fn of(mut arguments: impl Iterator<Item = &'words str>) -> Option<Self> {
        while let Some(word) = arguments.next() {
            match word {
                "-m" => return arguments.next().map(Self::Module),
                "-c" => return Some(Self::Code),
                // These have a value of their own.
                "-W" | "-X" | "--check-hash-based-pycs" => drop(arguments.next()),
                option if option.starts_with('-') => {}
                script => return Some(Self::Script(script)),
            }
        }
        None
    }
}

/// The last part of a path.
fn base_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// What this machine is called; empty where that is not known.
pub(in crate::command) fn host_name() -> String {
    #[cfg(unix)]
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").ok();
    name.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_called_by_their_scripts() {
        for (command_line, name) in [
            ("/usr/bin/python3 -u /srv/app/server.py --port 80", "server.py"),
            ("python3.11 -X dev -m http.server 80", "http.server"),
            ("python -c import time", "python -c"),
            ("/srv/venv/bin/gunicorn app:app", "gunicorn"),
            ("python", "python"),
            ("", ""),
        ] {
            assert_eq!(program_name(command_line), name);
        }
    }

    #[test]
    fn programs_are_called_by_their_scripts_and_modules() {
        let names = |line: &str| program_names(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(names("/usr/bin/python3 -X dev /srv/worker.py --name web"), ["python3", "worker", "worker.py"]);
        assert_eq!(names("python -u -m http.server 80"), ["python", "http.server"]);
        assert_eq!(names("/v/bin/python /v/bin/gunicorn app:app"), ["python", "gunicorn"]);
        assert_eq!(names("python -c pass worker"), ["python"]);
        assert_eq!(names("uwsgi"), ["uwsgi"]);
    }
}
