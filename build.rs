//! Puts the commit and the target triple into `--version`, so that a bug report tells which build it is about, and
//! packs the program that samples in the kernel, the texts of pages and pictures, and the relocations of the static
//! binary.

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// What `clang` has made of `program.bpf.c`, which stands beside it.
const KERNEL_PROGRAM: &str = "src/sampler/kernel/program.bpf.o";
/// Where scripts and styles of pages and pictures are, and what their names end in.
const TEXT_FOLDERS: [&str; 2] = ["src/output/formats", "src/output/formats/html"];
const TEXT_ENDINGS: [&str; 3] = ["js", "css", "html"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={KERNEL_PROGRAM}");
    // One that is not there, as in a worktree, would count as changed each time.
    for file in [".git/HEAD", ".git/logs/HEAD"].into_iter().filter(|file| Path::new(file).exists()) {
        println!("cargo:rerun-if-changed={file}");
    }
    pack_kernel_program();
    pack_texts();
    pack_relocations();
    let target = std::env::var("TARGET").unwrap_or_else(|_| "unknown target".to_owned());
    // A packaged source has no repository; its version alone says what it is.
    let commit = Command::new("git")
        .args(["rev-parse", "--short=10", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| text.trim().to_owned());
    let build = match commit {
        Some(commit) => format!("{commit}, {target}"),
        None => target,
    };
    println!("cargo:rustc-env=PYSPY_BUILD={build}");
}

/// Packs the texts, where `output::formats::packed_text` includes them from.
fn pack_texts() {
    for folder in TEXT_FOLDERS {
        // With all that is in it.
        println!("cargo:rerun-if-changed={folder}");
        for entry in std::fs::read_dir(folder).expect("the folder is in the source") {
            let path = entry.expect("the folder can be read").path();
            if path.extension().is_some_and(|ending| TEXT_ENDINGS.iter().any(|text| ending == *text)) {
                pack(&path);
            }
        }
    }
}

/// Packs the program for the kernel without what only a debugger reads: its sections are filled with zeros, which keeps
/// all places in the file.
fn pack_kernel_program() {
    let mut object = std::fs::read(KERNEL_PROGRAM).expect("the program for the kernel cannot be read");
    for section in debug_sections(&object).expect("the program for the kernel is no object file") {
        object[section].fill(0);
    }
    write_packed(Path::new(KERNEL_PROGRAM), &object);
}

/// Where the contents of the sections `.debug_…` are, in an object file of 64 bits and the lowest byte first
/// (`Elf64_Ehdr`, `Elf64_Shdr` in elf.h). Not those of their relocations, which the loader looks at.
fn debug_sections(object: &[u8]) -> Option<Vec<Range<usize>>> {
    let number = |at: usize, size: usize| {
        let bytes = object.get(at..at + size)?;
        bytes.iter().rev().try_fold(0_usize, |number, byte| Some(number << 8 | usize::from(*byte)))
    };
    let (headers, size, count, names) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3c, 2)?, number(0x3e, 2)?);
    let of = |index: usize| {
        let header = headers + index * size;
        Some((number(header, 4)?, number(header + 0x18, 8)?, number(header + 0x20, 8)?))
    };
    let (_, names, _) = of(names)?;
    let mut found = Vec::new();
    for index in 0..count {
        let (name, place, length) = of(index)?;
        let name = object.get(names + name..)?;
        if name.starts_with(b".debug_") {
            object.get(place..place + length)?;
            found.push(place..place + length);
        }
    }
    Some(found)
}

/// Writes `NAME.deflate`, a third of the size, to where the source includes it from.
fn pack(path: &Path) {
    write_packed(path, &std::fs::read(path).expect("it is in the source"));
}

fn write_packed(path: &Path, bytes: &[u8]) {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).expect("a vector takes all");
    let folder = std::env::var_os("OUT_DIR").expect("cargo names a folder");
    let name = path.file_name().and_then(|name| name.to_str()).expect("its name is text");
    let path = Path::new(&folder).join(format!("{name}.deflate"));
    std::fs::write(path, packed.finish().expect("a vector takes all")).expect("the folder can be written");
}

/// Has the linker write the relocations of a static binary in the packed form (`DT_RELR`): 2 kB instead of 200. It
/// relocates itself when it starts, which musl does for that form from 1.2.4 on; compilers bring 1.2.5 from 1.93 on.
fn pack_relocations() {
    let configured = |name: &str| std::env::var(name).unwrap_or_default();
    // Cargo names no feature `crt-static` here, which musl's targets have unless a flag takes it away.
    let is_static = !configured("CARGO_ENCODED_RUSTFLAGS").contains("-crt-static");
    if configured("CARGO_CFG_TARGET_ENV") == "musl" && is_static && compiler_minor().is_some_and(|minor| minor >= 93) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The minor version of the compiler: N of `rustc 1.N.0`.
fn compiler_minor() -> Option<u32> {
    let output = Command::new(std::env::var_os("RUSTC")?).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.split('.').nth(1)?.parse().ok()
}
