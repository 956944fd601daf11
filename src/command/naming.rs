//! What programs are called.

use std::path::Path;

use crate::output::printable;

/// Longer names are cut, in characters.
const NAME_WIDTH: usize = 40;

/// How a process is called in a line: the script, the module or the program.
pub(super) fn program_name(command_line: &str) -> String {
    let base = |word: &str| Path::new(word).file_name().map(|name| name.to_string_lossy().into_owned());
    let mut words = command_line.split_whitespace();
    let program = words.next().and_then(base).unwrap_or_default();
    let mut name = program.clone();
    if program.starts_with("python") || program.starts_with("pypy") {
        while let Some(word) = words.next() {
            match word {
                "-m" => name = words.next().unwrap_or_default().to_owned(),
                "-c" => name = format!("{program} -c"),
                // These have a value.
                "-W" | "-X" => {
                    words.next();
                    continue;
                }
                option if option.starts_with('-') => continue,
                script => name = base(script).unwrap_or_default(),
            }
            break;
        }
    }
    printable(&name).chars().take(NAME_WIDTH).collect()
}

/// What this machine is called; empty where that is not known.
pub(super) fn host_name() -> String {
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
}
