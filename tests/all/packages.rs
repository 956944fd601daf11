//! Packages that `tests/packages/fetch` has brought for the programs of tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::interpreters::Interpreter;
use crate::target::{Target, print_note};

/// The directories of the versions of a package that there are for an interpreter, oldest first.
pub(crate) fn package(interpreter: &Interpreter, name: &str) -> Vec<PathBuf> {
    let (major, minor) = interpreter.feature();
    let build = if interpreter.free_threaded { "t" } else { "" };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/packages/python{major}.{minor}{build}"));
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        // What is not whole yet is called `.partial`.
        .filter(|path| version(path, name).is_some())
        .collect();
    found.sort_by_key(|path| version(path, name));
    found
}

/// The numbers of the directory `NAME-1.2.3`.
fn version(path: &Path, name: &str) -> Option<Vec<u32>> {
    let version = path.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix('-')?;
    version.split('.').map(|number| number.parse().ok()).collect()
}

/// Starts a program of `tests/targets` that finds the packages of some directories.
pub(crate) fn start(interpreter: &Interpreter, script: &str, args: &[&str], packages: &[&Path], debug: bool) -> Target {
    let mut command = Command::new(&interpreter.path);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets").join(script)).args(args);
    command.env("PYTHONPATH", std::env::join_paths(packages).expect("paths without a colon"));
    if debug {
        command.env("PYTHONASYNCIODEBUG", "1");
    }
    Target::start_command(command, &format!("{script} {args:?} under {interpreter}"))
}

/// For which interpreters a package is not there; said once, with the count, when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Missing(Mutex<BTreeMap<String, Vec<String>>>);

impl Missing {
    /// The directory of the newest version of a package, or none, which is noted.
    pub(crate) fn newest(&self, interpreter: &Interpreter, name: &str) -> Option<PathBuf> {
        let newest = package(interpreter, name).pop();
        if newest.is_none() {
            let mut noted = self.0.lock().expect("no test fails within");
            noted.entry(name.to_owned()).or_default().push(interpreter.name.clone());
        }
        newest
    }
}

impl Drop for Missing {
    fn drop(&mut self) {
        for (name, interpreters) in self.0.get_mut().into_iter().flatten() {
            let count = interpreters.len();
            let how = "tests/packages/fetch brings it for most";
            print_note(&format!("skipped: no {name} for {count} interpreters ({how}): {}", interpreters.join(", ")));
        }
    }
}
