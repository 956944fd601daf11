//! Every number of every layout, compared with what a C compiler makes of the headers of the interpreters that are
//! installed, and with the objects of those interpreters while they run.

use crate::layout_numbers::numbers;
use pyspy::internals::Version;
use pyspy::internals::layout::{Layout, debug_offsets, up_to_3_12};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory with `include/pythonX.Y`, and `bin/pythonX.Y` if the interpreter itself is there too.
struct Installation {
    prefix: PathBuf,
    /// `include/pythonX.Y` with whatever comes after the version.
    headers: PathBuf,
    /// What follows "python" in the names of headers, executable and library: `3.12`, `3.6m`, `3.14t`.
    name: String,
}

impl Installation {
    fn all() -> Vec<Self> {
        let mut prefixes = vec![PathBuf::from("/usr/local"), PathBuf::from("/usr")];
        let pyenv = std::env::var_os("PYENV_ROOT")
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".pyenv")));
        prefixes.extend(pyenv.iter().flat_map(|root| children(&root.join("versions"))));
        let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interpreters");
        prefixes.extend(children(&fetched).into_iter().map(|root| root.join("usr")));
        prefixes.iter().flat_map(|prefix| Self::under(prefix)).collect()
    }

    fn under(prefix: &Path) -> Vec<Self> {
        children(&prefix.join("include"))
            .into_iter()
            .filter(|headers| headers.join("patchlevel.h").is_file())
            .filter_map(|headers| {
                let name = headers.file_name()?.to_str()?.strip_prefix("python")?.to_owned();
                Some(Self { prefix: prefix.to_owned(), headers, name })
            })
            .collect()
    }

    fn executable(&self) -> Option<PathBuf> {
        Some(self.prefix.join(format!("bin/python{}", self.name))).filter(|path| path.is_file())
    }

    fn has_debug_offsets(&self) -> bool {
        let feature = self.name.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let minor = feature.strip_prefix("3.").and_then(|minor| minor.parse::<u32>().ok());
        minor.is_some_and(|minor| minor >= 13)
    }

    /// The section that `_PyRuntime` has for itself, from the executable or from the library.
    fn runtime_section(&self) -> Option<Vec<u8>> {
        let library = self.prefix.join(format!("lib/libpython{}.so.1.0", self.name));
        [self.executable()?, library].iter().find_map(|path| section(&fs::read(path).ok()?, ".PyRuntime"))
    }

    /// The layout of the interpreter itself.
    fn layout(&self) -> Option<Layout> {
        if self.has_debug_offsets() {
            return debug_offsets::parse(&self.runtime_section()?).ok();
        }
        let print = Command::new(self.executable()?).args(["-c", "import sys; print(sys.hexversion)"]).output().ok()?;
        up_to_3_12::layout(Version::from_hex(String::from_utf8(print.stdout).ok()?.trim().parse().ok()?))
    }

    fn compile(&self, source: &str, output: &Path, options: &[&str]) {
        let source = sources().join(source);
        let mut command = Command::new("cc");
        command.args(options).arg("-w").arg("-o").arg(output).arg(source);
        command.arg("-I").arg(&self.headers).arg("-I").arg(self.headers.join("internal"));
        command.arg("-I").arg(self.prefix.join("include"));
        succeed(&mut command);
    }

    /// What `layout_probe.c` prints.
    fn probe(&self, options: &[&str]) -> BTreeMap<String, i64> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = folder.path().join("probe");
        self.compile("layout_probe.c", &program, options);
        let output = succeed(&mut Command::new(&program));
        let text = String::from_utf8(output.stdout).expect("plain text");
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
            .collect()
    }

    fn describe(&self) -> String {
        self.headers.display().to_string()
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all")
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn section(file: &[u8], name: &str) -> Option<Vec<u8>> {
    let elf = goblin::elf::Elf::parse(file).ok()?;
    let header = elf.section_headers.iter().find(|header| elf.shdr_strtab.get_at(header.sh_name) == Some(name))?;
    Some(file.get(header.file_range()?)?.to_owned())
}

/// Says on the terminal that something was not tested; the harness would swallow `eprintln!`.
fn notice(text: &str) {
    writeln!(std::io::stderr(), "\nskipped: {text}").expect("standard error");
}

/// The installations with headers that `wanted` selects, none of them if there is no compiler.
fn with_headers(wanted: impl Fn(&Installation) -> bool) -> Vec<Installation> {
    if Command::new("cc").arg("--version").output().is_err() {
        notice("there is no C compiler (cc) to compare the layouts with the headers");
        return Vec::new();
    }
    let installations: Vec<_> = Installation::all().into_iter().filter(wanted).collect();
    if installations.is_empty() {
        notice("there are no headers of any such CPython to compare the layouts with");
    }
    installations
}

/// All differences at once, so that a wrong table is corrected in one go.
fn assert_same(what: &str, found: &BTreeMap<String, i64>, expected: &BTreeMap<String, i64>) {
    let differences: Vec<_> = found
        .keys()
        .chain(expected.keys())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .filter(|name| found.get(*name) != expected.get(*name))
        .map(|name| format!("{name}: layout {:?}, headers {:?}", found.get(name), expected.get(name)))
        .collect();
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
}

#[test]
fn tables_are_as_the_headers_say() {
    for installation in with_headers(|installation| !installation.has_debug_offsets()) {
        let mut expected = installation.probe(&[]);
        let version = expected.remove("version").and_then(|hex| u32::try_from(hex).ok()).expect("a version");
        let Some(layout) = up_to_3_12::layout(Version::from_hex(version)) else {
            notice(&format!("{} is of a version without a table", installation.describe()));
            continue;
        };
        let mut found = numbers(&layout);
        for size in ["interpreter.size", "thread.size"] {
            let (claimed, real) = (found.remove(size), expected.remove(size));
            assert!(claimed > Some(0) && claimed <= real, "{}: {size} {claimed:?}, {real:?}", installation.describe());
        }
        assert_same(&installation.describe(), &found, &expected);
    }
}

/// The headers make debug offsets, of a build as theirs is and of a free-threaded one; what is read from them, and what
/// is added to them, is what the same headers say.
#[test]
fn debug_offsets_are_as_the_headers_say() {
    for installation in with_headers(Installation::has_debug_offsets) {
        for options in [&[][..], &["-DPy_GIL_DISABLED=1"]] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let object = folder.path().join("runtime.o");
            installation.compile("layout_runtime.c", &object, &[options, &["-c"]].concat());
            let bytes = section(&fs::read(&object).expect("the object file"), ".PyRuntime").expect("the section");
            let layout = debug_offsets::parse(&bytes).expect("debug offsets");
            assert!(layout.free_threaded || options.is_empty());
            let mut expected = installation.probe(options);
            assert_eq!(expected.remove("version"), Some(hex(layout.version)));
            assert_same(&format!("{} {options:?}", installation.describe()), &numbers(&layout), &expected);
        }
    }
}

/// Real binaries have the debug offsets of their headers. Only the sizes may differ: options of the build that no
/// header shows add fields at the end.
#[test]
fn debug_offsets_of_binaries_are_as_the_headers_say() {
    for installation in with_headers(Installation::has_debug_offsets) {
        let Some(bytes) = installation.runtime_section() else {
            notice(&format!("{} has headers but no interpreter", installation.prefix.display()));
            continue;
        };
        let needed = debug_offsets::size(&bytes).expect("a header");
        let layout = debug_offsets::parse(&bytes[..needed]).expect("debug offsets");
        let options: &[&str] = if layout.free_threaded { &["-DPy_GIL_DISABLED=1"] } else { &[] };
        let (mut found, mut expected) = (numbers(&layout), installation.probe(options));
        if expected.remove("version") != Some(hex(layout.version)) {
            notice(&format!("{} has headers of another version than its interpreter", installation.prefix.display()));
            continue;
        }
        for size in ["runtime.size", "interpreter.size", "thread.size"] {
            let (claimed, real) = (found.remove(size), expected.remove(size));
            assert!(claimed >= real, "{}: {size} {claimed:?}, {real:?}", installation.describe());
        }
        assert_same(&installation.describe(), &found, &expected);
    }
}

/// Each interpreter looks at its own objects with the numbers of its layout; this covers the structs that are in no
/// header.
#[test]
fn objects_lie_where_the_layout_says() {
    let mut checked = 0;
    for installation in Installation::all() {
        let Some((executable, layout)) = installation.executable().zip(installation.layout()) else { continue };
        let numbers = serde_json::to_string(&numbers(&layout)).expect("plain numbers");
        let output = succeed(Command::new(&executable).arg(sources().join("layout_objects.py")).arg(numbers));
        let said = String::from_utf8_lossy(&output.stdout);
        if said.starts_with("skipped") {
            notice(&format!("{}: {said}", executable.display()));
        } else {
            assert!(said.ends_with("objects are in place\n"), "{}: {said}", executable.display());
            checked += 1;
        }
    }
    if checked == 0 {
        notice("no interpreter could look at its own objects");
    }
}

fn hex(version: Version) -> i64 {
    u32::from_be_bytes([version.major, version.minor, version.patch, version.release]).into()
}
