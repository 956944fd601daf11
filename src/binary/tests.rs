//! Real files only: the interpreters of this machine, the committed extension modules of two wheels, and the libraries
//! of macOS and Windows in `target/foreign`. What we find is compared with what goblin's own complete parsers find.

mod damage;
pub(crate) mod dice;
#[cfg(target_os = "linux")]
mod elf;
mod foreign;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::*;

const PY_RUNTIME: SectionName = SectionName { elf: ".PyRuntime", mach_o: "__DATA,PyRuntime", pe: "PyRuntim" };

fn skip(why: &str) {
    writeln!(std::io::stderr(), "skipped: {why}").unwrap();
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where the build and what was fetched for the tests are.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
}

fn parse(bytes: &[u8]) -> Binary<'_> {
    Binary::parse(bytes, Architecture::X86_64).unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/binary").join(name))
}

#[test]
fn version_texts_have_one_shape() {
    for text in ["2.7.18", "3.6.15+", "3.8.18", "3.15.0b4", "3.13.0rc2", "3.7.0a1+"] {
        assert_eq!(version_at(format!("{text}\0rest").as_bytes()), Some(text));
        assert_eq!(version_at(text.as_bytes()), None, "without its end");
    }
    for text in [
        "",
        "3",
        "3.8",
        "1.2.11",
        "3.8.",
        "3..1",
        "3.8.x",
        "3.8.18 ",
        "3.8.1.2",
        "3.8.18++",
        "3.8.1rc",
        "3.8.b1",
        "3.0001.2",
        "3.8.1\u{e9}",
    ] {
        assert_eq!(version_at(format!("{text}\0").as_bytes()), None, "{text}");
    }
}
