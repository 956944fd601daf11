//! The layers of the crate: imports run one way only, between layers and within each.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

mod circles;
mod fields;

/// Each layer with those that it may use.
const LAYERS: &[(&str, &[&str])] = &[
    ("memory", &[]),
    ("profile", &[]),
    ("cli", &[]),
    ("http", &[]),
    ("binary", &["memory"]),
    ("process", &["memory"]),
    ("python", &["memory", "binary"]),
    ("output", &["profile"]),
    ("tui", &["profile", "output"]),
    ("core_file", &["memory", "binary", "process"]),
    ("native", &["memory", "binary", "process"]),
    ("sampler", &["memory", "binary", "process", "core_file", "native", "python", "profile"]),
    ("inspect", &["memory", "process", "core_file", "native", "python", "sampler"]),
    ("watch", &["process", "profile", "sampler", "inspect"]),
    ("embed", &["process", "profile", "output", "sampler"]),
    (
        "command",
        &[
            "memory",
            "binary",
            "process",
            "core_file",
            "native",
            "python",
            "profile",
            "output",
            "tui",
            "sampler",
            "inspect",
            "watch",
            "http",
            "cli",
        ],
    ),
    // For fuzzing and tests only.
    (
        "fuzzing",
        &["memory", "binary", "core_file", "native", "python", "profile", "output", "sampler", "inspect", "command"],
    ),
];

#[test]
fn imports_run_one_way() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (layer, allowed) in LAYERS {
        for file in rust_files(&source.join(layer)) {
            seen += 1;
            let text = fs::read_to_string(&file).unwrap();
            for used in used_layers(&text) {
                if used != *layer && !allowed.contains(&used.as_str()) {
                    wrong.push(format!("{} uses {used}", file.strip_prefix(&source).unwrap().display()));
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} files were read");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_layer_is_listed() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders: BTreeSet<String> = fs::read_dir(source)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<String> = LAYERS.iter().map(|(layer, _)| (*layer).to_owned()).collect();
    assert_eq!(folders, listed);
}

/// The first path segments after `crate::`, grouped imports included, test modules left out.
fn used_layers(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for line in code_without_tests(text).lines() {
        for (position, _) in line.match_indices("crate::") {
            let rest = &line[position + "crate::".len()..];
            if let Some(group) = rest.strip_prefix('{') {
                let names = group.split(',').filter_map(|name| name.trim().split([':', '}', ' ']).next());
                used.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
            } else {
                used.extend(rest.split([':', ';', ' ', '(', ')', ',']).next().map(str::to_owned));
            }
        }
    }
    used.retain(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !name.is_empty());
    used
}

/// What a file says to the compiler, without comments of whole lines and without the tests at its end.
fn code_without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Whether a file or folder holds nothing but tests and what they need.
fn is_test_only(name: &str) -> bool {
    ["tests.rs", "tests", "testing.rs", "test_support.rs", "reader_tests.rs", "test_profiles.rs"].contains(&name)
}

/// Files of a layer, but for those that are tests only.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if is_test_only(&name) {
            continue;
        } else if path.is_dir() {
            files.extend(rust_files(&path));
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let text = "use crate::memory::{Image};\nuse crate::{binary::Binary, process::Process};\n\
        let x = crate::profile::f(crate::output::g());\n// crate::tui::no\n";
    let used: Vec<String> = used_layers(text).into_iter().collect();
    assert_eq!(used, ["binary", "memory", "output", "process", "profile"]);
}
