//! No line of code or of a comment is wider than the formatter's lines. It leaves long comments and strings alone, so
//! this looks at every file that people read as code: Rust, Python, C, shell.

use std::fs;
use std::path::{Path, PathBuf};

/// As `max_width` of rustfmt.toml, in characters.
const WIDEST: usize = 120;
/// Where the code is; what else is in the root is read too.
const FOLDERS: [&str; 6] = ["src", "tests", "benches", "docs", ".ci", ".github"];

#[test]
fn no_line_is_wider_than_the_formatter_makes_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = fs::read_dir(root).unwrap().flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.is_file());
    FOLDERS.iter().for_each(|folder| add_files(&root.join(folder), &mut files));
    let (mut read, mut wide) = (0, Vec::new());
    for path in files {
        let Some(text) = code_of(&path) else { continue };
        read += 1;
        let lines = text.lines().enumerate().filter(|(_, line)| line.chars().count() > WIDEST);
        wide.extend(lines.map(|(index, _)| format!("{}:{}", path.strip_prefix(root).unwrap().display(), index + 1)));
    }
    assert!(read > 200, "only {read} files were read");
    assert!(wide.is_empty(), "{} lines are wider than {WIDEST}: {wide:#?}", wide.len());
}

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            add_files(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The text of a file that is code, by its name or by its first line.
fn code_of(path: &Path) -> Option<String> {
    let text = || fs::read_to_string(path).ok();
    match path.extension().map(|extension| extension.to_str().unwrap_or_default()) {
        Some("rs" | "py" | "c" | "h" | "cc" | "toml" | "yml") => text(),
        None => text().filter(|text| text.starts_with("#!")),
        Some(_) => None,
    }
}
