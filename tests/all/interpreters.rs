//! The interpreters of this machine: where they are, and what each says that it is.
//!
//! They are looked for among pyenv's versions, in `/usr/bin`, on `PATH`, in `target/interpreters` (where
//! `tests/interpreters/fetch` puts them), and in `PYSPY_TEST_INTERPRETERS`, a list of paths written as `PATH` is. One
//! that is not there is counted as skipped where everyone sees it, and fails nothing.

use std::env;
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::target::run;

/// The feature releases that pyspy reads, with a global interpreter lock.
const SUPPORTED: [(u8, u8); 11] =
    [(2, 7), (3, 6), (3, 7), (3, 8), (3, 9), (3, 10), (3, 11), (3, 12), (3, 13), (3, 14), (3, 15)];
/// Those that it also reads in a free-threaded build.
const SUPPORTED_FREE_THREADED: [(u8, u8); 3] = [(3, 13), (3, 14), (3, 15)];

/// Prints what [`Interpreter`] holds, a line each. Any CPython from 2.7 on can run it.
const PROBE: &str = "
import platform, sys, sysconfig
paths = sysconfig.get_paths()
print(platform.python_implementation())
print('%d.%d.%d' % sys.version_info[:3])
print(bool(sysconfig.get_config_var('Py_GIL_DISABLED')))
print(paths['include'])
print(paths['platinclude'])
";

/// A CPython that starts on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Interpreter {
    /// Its version and path, for messages: `3.14.2t (/usr/bin/python3.14t)`.
    pub(crate) name: String,
    /// The executable, with symbolic links followed.
    pub(crate) path: PathBuf,
    /// Major, minor, patch.
    pub(crate) version: (u8, u8, u8),
    /// Whether it is built without the global interpreter lock.
    pub(crate) free_threaded: bool,
    /// The directories with its headers; none when they are not installed.
    pub(crate) include_dirs: Vec<PathBuf>,
}

impl Interpreter {
    /// Every interpreter of a supported version, oldest first, each executable once.
    pub(crate) fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Interpreter>> = OnceLock::new();
        ALL.get_or_init(|| {
            let asked_for = named_by_the_user();
            let mut paths = candidates();
            paths.extend(asked_for.iter().cloned());
            paths.sort();
            paths.dedup();
            let mut found: Vec<Self> = paths.iter().filter_map(|path| Self::probe(path)).collect();
            for path in asked_for {
                let there = found.iter().any(|interpreter| interpreter.path == path);
                assert!(there, "{} of PYSPY_TEST_INTERPRETERS is no CPython that starts", path.display());
            }
            found.retain(|interpreter| SUPPORTED.contains(&interpreter.feature()));
            found.sort_by_key(|interpreter| (interpreter.version, interpreter.free_threaded));
            found
        })
    }

    /// Major and minor.
    pub(crate) fn feature(&self) -> (u8, u8) {
        (self.version.0, self.version.1)
    }

    fn probe(path: &Path) -> Option<Self> {
        let ran = run(Command::new(path).args(["-E", "-S", "-c", PROBE]), Duration::from_secs(30)).ok()?;
        let mut lines = ran.stdout.lines();
        if !ran.status.success() || lines.next()? != "CPython" {
            return None;
        }
        let version = lines.next()?;
        let mut numbers = version.split('.').map_while(|number| number.parse().ok());
        let free_threaded = lines.next()? == "True";
        let mut include_dirs: Vec<PathBuf> = lines.map(PathBuf::from).collect();
        include_dirs.dedup();
        include_dirs.retain(|directory| directory.join("Python.h").exists() || directory.join("pyconfig.h").exists());
        Some(Self {
            name: format!("{version}{} ({})", if free_threaded { "t" } else { "" }, path.display()),
            path: path.to_owned(),
            version: (numbers.next()?, numbers.next()?, numbers.next()?),
            free_threaded,
            include_dirs,
        })
    }
}

impl fmt::Display for Interpreter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// Files with the name of an interpreter, with symbolic links followed.
fn candidates() -> Vec<PathBuf> {
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".pyenv")));
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interpreters");
    let mut folders = vec![PathBuf::from("/usr/bin")];
    folders.extend(pyenv.iter().flat_map(|root| children(&root.join("versions"))).map(|version| version.join("bin")));
    folders.extend(children(&fetched).into_iter().map(|root| root.join("usr/bin")));
    let files = folders.iter().flat_map(|folder| children(folder)).filter(|path| has_interpreter_name(path));
    files.chain(first_on_path()).filter_map(|path| path.canonicalize().ok()).collect()
}

/// `python3`, `python3.14`, `python3.14t`, `python3.14-dbg`, but not `python3-config`.
fn has_interpreter_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(version) = name.strip_prefix("python") else { return false };
    let build = version.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    version.len() > build.len() && matches!(build, "" | "t" | "d" | "-dbg" | ".exe")
}

/// What `python3` and `python` on `PATH` run. They may be scripts that choose (pyenv's shims), so they are asked.
fn first_on_path() -> impl Iterator<Item = PathBuf> {
    ["python3", "python"].into_iter().filter_map(|name| {
        let mut command = Command::new(name);
        let ran = run(command.args(["-c", "import sys; print(sys.executable)"]), Duration::from_secs(30)).ok()?;
        ran.status.success().then(|| PathBuf::from(ran.stdout.trim_end()))
    })
}

/// The interpreters that `PYSPY_TEST_INTERPRETERS` names, each of which must start.
fn named_by_the_user() -> Vec<PathBuf> {
    let paths = env::var_os("PYSPY_TEST_INTERPRETERS").unwrap_or_default();
    let paths = env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty());
    paths.map(|path| path.canonicalize().unwrap_or(path)).collect()
}

fn children(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[test]
fn every_supported_version_is_present_or_counted_as_skipped() {
    let all = Interpreter::all();
    assert!(!all.is_empty(), "no Python interpreter on this machine, so nothing is tested");
    for (number, interpreter) in all.iter().enumerate() {
        assert!(all[..number].iter().all(|other| other.path != interpreter.path), "{interpreter} is there twice");
    }

    let expected = SUPPORTED.iter().map(|version| (*version, false));
    let expected = expected.chain(SUPPORTED_FREE_THREADED.iter().map(|version| (*version, true)));
    let (mut tested, mut skipped) = (Vec::new(), Vec::new());
    for ((major, minor), free_threaded) in expected {
        let name = format!("{major}.{minor}{}", if free_threaded { "t" } else { "" });
        let is_it = |interpreter: &Interpreter| {
            interpreter.feature() == (major, minor) && interpreter.free_threaded == free_threaded
        };
        if all.iter().any(is_it) { &mut tested } else { &mut skipped }.push(name);
    }
    // Not eprintln: the test runner takes that away from tests that pass, and this is to be seen.
    let mut terminal = std::io::stderr();
    writeln!(terminal, "tested with CPython {}", tested.join(" ")).unwrap();
    if !skipped.is_empty() {
        let how = "tests/interpreters/fetch brings some";
        writeln!(terminal, "skipped: {} CPython not here: {} ({how})", skipped.len(), skipped.join(" ")).unwrap();
    }
}

#[test]
fn an_interpreter_is_what_it_says() {
    for interpreter in Interpreter::all() {
        let (major, minor) = interpreter.feature();
        // Its file name is the one that `make install` gave it; that of a virtual environment or Windows has no
        // version.
        let file_name = interpreter.path.file_name().unwrap().to_str().unwrap();
        if let Some(version) = file_name.strip_prefix("python").filter(|version| version.contains('.')) {
            let version = version.trim_end_matches("-dbg").trim_end_matches(['t', 'd']);
            assert_eq!(version, format!("{major}.{minor}"), "{interpreter}");
        }
        for folder in interpreter.include_dirs.iter().filter(|folder| folder.join("patchlevel.h").exists()) {
            let header = fs::read_to_string(folder.join("patchlevel.h")).unwrap();
            let of_this_minor = header.lines().any(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words == ["#define", "PY_MINOR_VERSION", minor.to_string().as_str()]
            });
            assert!(of_this_minor, "{interpreter}: {} has the headers of another version", folder.display());
        }
    }
}
