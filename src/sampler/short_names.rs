//! Short file names: the part of a path from the package on, judged by the target's own file system.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// More levels of packages than any program has.
const DEEPEST: usize = 32;

/// Short names of the files of one process, each found once.
#[derive(Debug, Default)]
pub struct ShortNames {
    names: HashMap<String, String>,
    packages: HashMap<PathBuf, bool>,
}

impl ShortNames {
    /// The part of `path` from its outermost package on; the file's own name when it is in none. `is_file` tells whether the target sees a
    /// regular file at a path.
    pub fn shorten(&mut self, path: &str, is_file: impl Fn(&Path) -> bool) -> &str {
        if !self.names.contains_key(path) {
            let short = self.find(Path::new(path), is_file);
            self.names.insert(path.to_owned(), short);
        }
        self.names.get(path).map_or("", String::as_str)
    }

    fn find(&mut self, path: &Path, is_file: impl Fn(&Path) -> bool) -> String {
        let whole = path.to_string_lossy().into_owned();
        // `<string>`, `<frozen importlib._bootstrap>` and the like are no paths.
        if whole.starts_with('<') || path.file_name().is_none() {
            return whole;
        }
        let mut root = path.parent();
        for _ in 0..DEEPEST {
            match root {
                Some(directory) if !directory.as_os_str().is_empty() && self.is_package(directory, &is_file) => {
                    root = directory.parent();
                }
                _ => break,
            }
        }
        let short = root.and_then(|root| path.strip_prefix(root).ok()).unwrap_or(path);
        short.to_string_lossy().into_owned()
    }

    fn is_package(&mut self, directory: &Path, is_file: &impl Fn(&Path) -> bool) -> bool {
        if let Some(known) = self.packages.get(directory) {
            return *known;
        }
        let is_package = is_file(&directory.join("__init__.py"));
        self.packages.insert(directory.to_owned(), is_package);
        is_package
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_ends_where_the_packages_begin() {
        let packages = ["/lib/json/__init__.py", "/lib/a/__init__.py", "/lib/a/b/__init__.py"];
        let is_file = |path: &Path| packages.contains(&path.to_str().unwrap());
        let mut names = ShortNames::default();
        for (path, short) in [
            ("/lib/json/decoder.py", "json/decoder.py"),
            ("/lib/a/b/c.py", "a/b/c.py"),
            ("/lib/threading.py", "threading.py"),
            ("relative.py", "relative.py"),
            ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap>"),
            ("", ""),
            ("/", "/"),
        ] {
            assert_eq!(names.shorten(path, is_file), short, "{path}");
        }
    }
}
