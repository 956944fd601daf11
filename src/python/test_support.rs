//! What the tests of [`crate::python`] share: the interpreters of this machine, and programs of theirs to look into.
//!
//! Limits: interpreters are looked for where pyenv, the system and `target/interpreters` have them; one that does not
//! start is left out.

use std::env;
use std::fmt;
use std::fs;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::memory::{Memory, ReadError, ReadFailure};
use crate::python::layout::{Layout, debug_offsets, up_to_3_12};
use crate::python::version::Version;

/// An interpreter that is installed here.
#[derive(Debug, Clone)]
pub(crate) struct Interpreter {
    pub(crate) path: PathBuf,
    /// Major and minor.
    pub(crate) version: (u8, u8),
}

impl Interpreter {
    /// Every interpreter found, oldest first; a test that has none proves nothing, so there must be one.
    pub(crate) fn all() -> Vec<Self> {
        let mut found = Self::all_builds();
        found.retain(|interpreter| !interpreter.is_free_threaded());
        assert!(!found.is_empty(), "no Python interpreter on this machine");
        found
    }

    /// As [`Interpreter::all`], with the builds that have no GIL.
    pub(crate) fn all_builds() -> Vec<Self> {
        let mut found: Vec<Self> = candidates().into_iter().filter_map(Self::probe).collect();
        found.sort_by_key(|interpreter| interpreter.version);
        found
    }

    fn probe(path: PathBuf) -> Option<Self> {
        let program = "import sys; print('%d %d' % sys.version_info[:2])";
        let output = Command::new(&path).args(["-S", "-E", "-c", program]).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (major, minor) = text.trim().split_once(' ')?;
        Some(Self { path, version: (major.parse().ok()?, minor.parse().ok()?) })
    }

    /// Whether it is a build without GIL, by its name.
    pub(crate) fn is_free_threaded(&self) -> bool {
        self.path.file_name().is_some_and(|name| name.to_string_lossy().ends_with('t'))
    }

    /// `python3.14t`, as its packages lie in a folder of that name.
    fn tag(&self) -> String {
        let suffix = if self.is_free_threaded() { "t" } else { "" };
        format!("python{}.{}{suffix}", self.version.0, self.version.1)
    }

    /// The versions of a package that `tests/packages/fetch` has brought for it, each as a folder for `PYTHONPATH`.
    pub(crate) fn packages(&self, name: &str) -> Vec<PathBuf> {
        let folder = target_folder().join("packages").join(self.tag());
        let is_version = |folder: &Path| {
            let folder = folder.file_name().and_then(|folder| folder.to_str()).unwrap_or_default();
            let version = folder.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            version.is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
        };
        let mut found = children(&folder);
        found.retain(|folder| is_version(folder));
        found.sort();
        found
    }

    /// What the interpreter prints when it runs `program`, which must succeed.
    pub(crate) fn output_of(&self, program: &str) -> String {
        let output = Command::new(&self.path).args(["-c", program]).env("PYTHONIOENCODING", "utf-8").output().unwrap();
        assert!(output.status.success(), "{self}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// One layout of every kind: of old versions as tables, of the newer ones as the interpreters of this machine tell.
pub(crate) fn some_layouts() -> Vec<Layout> {
    let old = [(2, 7), (3, 6), (3, 10), (3, 11), (3, 12)];
    let mut layouts: Vec<Layout> =
        old.iter().map(|(major, minor)| up_to_3_12::layout(Version::new(*major, *minor, 1)).unwrap()).collect();
    let new = Interpreter::all().into_iter().filter(|interpreter| interpreter.version >= (3, 13));
    layouts.extend(new.map(|interpreter| Target::start(&interpreter, "").layout.clone()));
    layouts
}

/// What a program under test begins with. `show(name, object)` prints what `Target::shown` finds again: the address of
/// the object, and what the interpreter itself says about it. `wait()` ends the output and keeps everything alive.
const PRELUDE: &str = r#"
from __future__ import print_function
import sys
def _runtime():
    try:
        import ctypes
        return ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, '_PyRuntime'))
    except (ImportError, ValueError):
        return 0
_alive = []
def show(name, object, text=None):
    _alive.append(object)
    text = repr(object) if text is None else text
    print('show', name.replace(' ', '_'), id(object), text.replace('\\', '\\\\').replace('\n', '\\n'))
def wait():
    print('ready')
    sys.stdout.flush()
    sys.stdin.read()
    sys.exit()
print('%#x' % sys.hexversion, _runtime())
"#;

/// A program that an interpreter of this machine runs and that stands still, to be looked into.
pub(crate) struct Target {
    child: Child,
    memory: ProcessMemory,
    pub(crate) interpreter: Interpreter,
    pub(crate) layout: Layout,
    shown: Vec<Shown>,
}

/// An object that the program showed.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) address: u64,
    /// What the interpreter's `repr` says, if the program did not say something else.
    pub(crate) text: String,
}

impl Target {
    /// Starts `program` and returns when it waits.
    pub(crate) fn start(interpreter: &Interpreter, program: &str) -> Self {
        Self::start_with(interpreter, program, Path::new(""))
    }

    /// As [`Target::start`], with the modules that lie in a folder.
    pub(crate) fn start_with(interpreter: &Interpreter, program: &str, packages: &Path) -> Self {
        let program = format!("{PRELUDE}\n{program}\nwait()\n");
        let mut child = Command::new(&interpreter.path)
            .args(["-c", &program])
            .env("PYTHONIOENCODING", "utf-8:backslashreplace")
            .env("PYTHONPATH", packages)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let memory = ProcessMemory(File::open(format!("/proc/{}/mem", child.id())).unwrap());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut lines: Vec<String> = lines.take_while(|line| line != "ready").collect();
        assert!(!lines.is_empty(), "{interpreter} said nothing");
        let first = lines.remove(0);
        let (version, runtime) = first.split_once(' ').unwrap();
        let version = Version::from_hex(u32::from_str_radix(&version[2..], 16).unwrap());
        let layout = up_to_3_12::layout(version).unwrap_or_else(|| {
            let bytes = memory.read_bytes(runtime.parse().unwrap(), 1024, 1024).unwrap();
            debug_offsets::parse(&bytes).unwrap()
        });
        let shown = lines.iter().map(|line| Shown::parse(line)).collect();
        Self { child, memory, interpreter: interpreter.clone(), layout, shown }
    }

    /// Where its objects lie: memory that can be written and has no file behind it.
    pub(crate) fn object_ranges(&self) -> Vec<Range<u64>> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.child.id())).unwrap();
        let range = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (start, end) = words[0].split_once('-').unwrap();
            let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
            (words[1].starts_with("rw") && words[4] == "0").then(|| number(start)..number(end))
        };
        maps.lines().filter_map(range).collect()
    }

    pub(crate) fn memory(&self) -> &dyn Memory {
        &self.memory
    }

    /// Everything that the program showed, in order.
    pub(crate) fn all_shown(&self) -> &[Shown] {
        &self.shown
    }

    /// What was shown under a name.
    pub(crate) fn shown(&self, name: &str) -> &Shown {
        self.shown
            .iter()
            .find(|shown| shown.name == name)
            .unwrap_or_else(|| panic!("{} showed no {name}", self.interpreter))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shown {
    fn parse(line: &str) -> Self {
        let mut words = line.splitn(4, ' ');
        assert_eq!(words.next(), Some("show"), "{line:?}");
        let name = words.next().unwrap().to_owned();
        let address = words.next().unwrap().parse().unwrap();
        let mut text = String::new();
        let mut characters = words.next().unwrap().chars();
        while let Some(character) = characters.next() {
            text.push(match character {
                '\\' if characters.next() == Some('n') => '\n',
                other => other,
            });
        }
        Self { name, address, text }
    }
}

/// A child's memory.
struct ProcessMemory(File);

impl Memory for ProcessMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len();
        let mut file = &self.0;
        file.seek(SeekFrom::Start(address))
            .and_then(|_| file.read_exact(buffer))
            .map_err(|_| ReadError::new(address, length, ReadFailure::Unmapped))
    }
}

impl fmt::Display for Interpreter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.path.display())
    }
}

/// Files that look like an interpreter, each real file once.
fn candidates() -> Vec<PathBuf> {
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    let mut folders = vec![PathBuf::from("/usr/bin")];
    folders.extend(pyenv.iter().flat_map(|root| children(&root.join("versions"))).map(|version| version.join("bin")));
    folders.extend(children(&target_folder().join("interpreters")).into_iter().map(|root| root.join("usr/bin")));
    let mut paths: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| children(folder))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_interpreter_name))
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// `python2.7`, `python3.14`, `python3.14t`; neither `python3` nor `python3.8-config`.
fn is_interpreter_name(name: &str) -> bool {
    name.strip_prefix("python").and_then(|version| version.split_once('.')).is_some_and(|(major, minor)| {
        let minor = minor.strip_suffix('t').unwrap_or(minor);
        matches!(major, "2" | "3") && !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Where cargo builds and the scripts `fetch` put what they bring.
fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or(Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
}

fn children(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

/// A repeatable source of odd input (xorshift64).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The seed must not be 0.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number from 0 up to `limit`, which is not 0 and is not reached.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}
