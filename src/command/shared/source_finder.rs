//! Source files for what is written: those of the process, or our own where it sees the same.
//!
//! Names of files come from the target, and what is written may be shown to others. So only what is Python's source by
//! its name or by its first line is read, and only as a regular file.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::inspect::read_source;
use crate::process::{Process, is_container};
use crate::profile::Profile;

/// A larger file is none, in bytes.
const LARGEST: u64 = 8 << 20;
/// Ends of names that Python's source has, and Cython's.
const SUFFIXES: [&str; 5] = [".py", ".pyw", ".pyx", ".pxd", ".pxi"];

/// Where source files are looked for.
#[derive(Debug, Clone, Default)]
pub(in crate::command) enum SourceFinder {
    /// Among our own files.
    #[default]
    Here,
    /// Among those of a process that sees others.
    Elsewhere(Process),
    /// Nowhere: one path means other files in one process than in another.
    Nowhere,
}

impl SourceFinder {
    /// Those that `process` sees. It may end: what it sees is asked now.
    pub(in crate::command) fn of_process(process: &Process) -> Self {
        if sees_our_files(process) { Self::Here } else { Self::Elsewhere(process.clone()) }
    }

    /// Our own, if those are what all processes of a profile see that are still there, and none was in a container.
    pub(in crate::command) fn of_profile(profile: &Profile) -> Self {
        let are_ours = profile.processes().all(|(_, process)| {
            let is_in_container = is_container(profile.text(process.supervisor));
            let living = Process::observe(process.pid.cast_signed()).ok().filter(|_| process.end_us.is_none());
            living.as_ref().map_or(!is_in_container, sees_our_files)
        });
        if are_ours { Self::Here } else { Self::Nowhere }
    }

    /// The text of a source file.
    pub(in crate::command) fn text(&self, name: &str) -> Option<String> {
        if name.starts_with('<') {
            return None;
        }
        let open = |path: &Path| match self {
            Self::Here => open_regular(path),
            Self::Elsewhere(process) => process.open_in_root(path),
            Self::Nowhere => Err(io::ErrorKind::NotFound.into()),
        };
        let bytes = read_source(&open, Path::new(name), LARGEST + 1)?;
        let is_named_so = SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
        let is_text = bytes.len() as u64 <= LARGEST && !bytes.contains(&0);
        (is_text && (is_named_so || is_python_script(&bytes))).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Whether a process has the root that we have.
fn sees_our_files(process: &Process) -> bool {
    ["ns/mnt", "root"].iter().all(|what| {
        let link = |who: &str| fs::read_link(format!("/proc/{who}/{what}")).ok();
        link(&process.pid().to_string()) == link("self")
    })
}

/// Whether a file says in its first line that Python runs it.
fn is_python_script(bytes: &[u8]) -> bool {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    first.starts_with(b"#!") && first.windows(6).any(|part| part == b"python")
}

/// A regular file; a pipe or a device would keep us waiting.
fn open_regular(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_source_of_python_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let text = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            SourceFinder::default().text(path.to_str().unwrap())
        };
        assert_eq!(text("a.py", "x = 1\n").as_deref(), Some("x = 1\n"));
        assert_eq!(text("tool", "#!/usr/bin/env python3\n").as_deref(), Some("#!/usr/bin/env python3\n"));
        for (name, content) in [("shadow", "root:secret\n"), ("id_rsa", "#!/bin/sh\n"), ("b.py", "nul\0\n")] {
            assert_eq!(text(name, content), None, "{name}");
        }
        assert_eq!(SourceFinder::default().text("<string>"), None);
        assert_eq!(SourceFinder::default().text("/dev/zero"), None);
    }
}
