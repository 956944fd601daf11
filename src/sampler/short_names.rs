//! Short file names: the part of a path that tells a module from others, judged by the target's own file system.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

/// More levels of packages than any program has.
const DEEPEST: usize = 32;
/// How the names of archives end that Python imports from.
const ARCHIVES: [&str; 7] = [".zip", ".pyz", ".pyzw", ".egg", ".whl", ".pex", ".par"];
/// Directories that modules and packages lie in, whose own path says nothing.
const ROOTS: [&str; 2] = ["site-packages", "dist-packages"];

/// Short names of the files of one process, each found once.
#[derive(Debug, Default)]
pub(crate) struct ShortNames {
    names: HashMap<String, String>,
    packages: HashMap<PathBuf, bool>,
    /// A file that was there: while it is, others that are not are really missing, and it is not the process that is
    /// gone.
    seen: Option<PathBuf>,
}

impl ShortNames {
    /// The part of `path` that is shown. `is_file` tells whether the target sees a regular file at a path.
    ///
    /// - In a package: from the outermost one on.
    /// - In an archive: the member's name, after an archive inside it too; outside of any package with the archive's
    ///   name.
    /// - A relative path that leads to no file, as PyInstaller gives its modules: all of it.
    /// - A file that is not there: from the directory on that Python keeps packages in, else with the directory that it
    ///   was in.
    /// - Any other: the file's own name.
    pub(crate) fn shorten(&mut self, path: &str, is_file: impl Fn(&Path) -> bool) -> &str {
        if !self.names.contains_key(path) {
            let short = self.find(Path::new(path), &is_file);
            self.names.insert(path.to_owned(), short);
        }
        self.known(path)
    }

    /// The part of `path` that is shown, if it was found before.
    pub(crate) fn known(&self, path: &str) -> &str {
        self.names.get(path).map_or("", String::as_str)
    }

    fn find(&mut self, path: &Path, is_file: &impl Fn(&Path) -> bool) -> String {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        // `<string>`, `<frozen importlib._bootstrap>` and the like are no paths.
        let Some(name) = path.file_name().filter(|_| !path.as_os_str().as_encoded_bytes().starts_with(b"<")) else {
            return text(path);
        };
        let name = Path::new(name);
        if is_file(path) {
            self.seen = Some(path.to_owned());
            return text(self.within_packages(path, is_file));
        }
        let packaged = self.within_packages(path, is_file);
        if packaged != name {
            return text(packaged);
        }
        if let Some(archive) = archive_of(path, is_file) {
            let member = path.strip_prefix(archive).unwrap_or(name);
            let inside = innermost(member);
            return match archive.file_name() {
                Some(archive) if inside == member && inside == name => text(&Path::new(archive).join(name)),
                _ => text(inside),
            };
        }
        if path.is_relative() {
            return text(path.strip_prefix(".").unwrap_or(path));
        }
        let inside = innermost(path);
        if inside != path {
            return text(inside);
        }
        let is_missing = self.seen.as_deref().is_some_and(is_file);
        let directory = path.parent().and_then(Path::file_name).filter(|_| is_missing);
        text(&directory.map_or_else(|| name.to_owned(), |directory| Path::new(directory).join(name)))
    }

    /// From the outermost package on; the file's name when it is in none.
    fn within_packages<'path>(&mut self, path: &'path Path, is_file: &impl Fn(&Path) -> bool) -> &'path Path {
        let mut root = path.parent();
        for _ in 0..DEEPEST {
            match root {
                Some(directory) if !directory.as_os_str().is_empty() && self.is_package(directory, is_file) => {
                    root = directory.parent();
                }
                _ => break,
            }
        }
        root.and_then(|root| path.strip_prefix(root).ok()).unwrap_or(path)
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

/// The archive that a path leads into: the file above it, or, when that is gone, what is called like one.
fn archive_of<'path>(path: &'path Path, is_file: &impl Fn(&Path) -> bool) -> Option<&'path Path> {
    let above = || path.ancestors().skip(1).take(DEEPEST).filter(|above| above.file_name().is_some());
    // The innermost is the file; of names the outermost is.
    above().find(|above| is_file(above)).or_else(|| above().filter(|above| is_archive_name(above)).last())
}

fn is_archive_name(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase());
    name.is_some_and(|name| ARCHIVES.iter().any(|end| name.len() > end.len() && name.ends_with(end)))
}

/// What follows the last directory that is an archive by its name or holds installed modules; the path itself where
/// there is none.
fn innermost(path: &Path) -> &Path {
    let mut rest = path.components();
    let mut inside = path;
    let mut before: Option<Component<'_>> = None;
    while let Some(part) = rest.next() {
        let name = part.as_os_str().to_string_lossy();
        let is_lib = |part: Component<'_>| part.as_os_str() == "lib" || part.as_os_str() == "lib64";
        let is_version = |name: &str| {
            let version = name.strip_prefix("python").unwrap_or_default();
            version.starts_with(['2', '3']) && version.contains('.')
        };
        let ends = ROOTS.contains(&&*name)
            || is_archive_name(Path::new(&*name))
            || before.is_some_and(is_lib) && is_version(&name);
        if ends && !rest.as_path().as_os_str().is_empty() {
            inside = rest.as_path();
        }
        before = Some(part);
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&str; 9] = [
        "/lib/json/__init__.py",
        "/lib/json/decoder.py",
        "/lib/a/__init__.py",
        "/lib/a/b/__init__.py",
        "/lib/a/b/c.py",
        "/lib/threading.py",
        "/srv/app.pyz",
        "/srv/tool",
        "relative.py",
    ];

    fn is_file(path: &Path) -> bool {
        FILES.contains(&path.to_str().unwrap())
    }

    fn shortened(path: &str) -> String {
        let mut names = ShortNames::default();
        names.shorten("/lib/threading.py", is_file);
        names.shorten(path, is_file).to_owned()
    }

    #[test]
    fn the_prefix_ends_where_the_packages_begin() {
        for (path, short) in [
            ("/lib/json/decoder.py", "json/decoder.py"),
            ("/lib/a/b/c.py", "a/b/c.py"),
            ("/lib/a/b/removed.py", "a/b/removed.py"),
            ("/lib/threading.py", "threading.py"),
            ("relative.py", "relative.py"),
            ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap>"),
            ("<string>", "<string>"),
            ("", ""),
            ("/", "/"),
        ] {
            assert_eq!(shortened(path), short, "{path}");
        }
    }

    #[test]
    fn modules_of_an_archive_keep_their_packages() {
        for (path, short) in [
            ("/srv/app.pyz/pa/util.py", "pa/util.py"),
            ("/srv/app.pyz/pb/util.py", "pb/util.py"),
            ("/srv/app.pyz/__main__.py", "app.pyz/__main__.py"),
            ("/srv/tool/pa/util.py", "pa/util.py"),
            ("/srv/tool/__main__.py", "tool/__main__.py"),
            ("/srv/app.pyz/.deps/requests-2.0-py3-none-any.whl/requests/api.py", "requests/api.py"),
            ("/srv/app.pyz/site-packages/six.py", "six.py"),
            // Not there any more, or not seen from here.
            ("/tmp/spark-1f/userFiles-9a/deps.zip/pa/util.py", "pa/util.py"),
            ("/gone/thing-1.0-py3.11.egg/thing/core.py", "thing/core.py"),
            ("/gone/dags.zip/dag.py", "dags.zip/dag.py"),
        ] {
            assert_eq!(shortened(path), short, "{path}");
        }
    }

    #[test]
    fn what_leads_to_no_file_keeps_what_tells_it_apart() {
        for (path, short) in [
            ("pa/util.py", "pa/util.py"),
            ("pb/util.py", "pb/util.py"),
            ("./tool.py", "tool.py"),
            ("many_gen.py", "many_gen.py"),
            ("/opt/venv/lib/python3.11/site-packages/requests/api.py", "requests/api.py"),
            ("/usr/lib/python3.11/json/decoder.py", "json/decoder.py"),
            ("/usr/lib/python3/dist-packages/six.py", "six.py"),
            ("/build/pa/util.py", "pa/util.py"),
            ("/build/pb/util.py", "pb/util.py"),
        ] {
            assert_eq!(shortened(path), short, "{path}");
        }
    }

    #[test]
    fn a_process_that_is_gone_gives_the_names_that_it_gave_before() {
        let mut names = ShortNames::default();
        for (path, short) in [
            ("/home/me/app.py", "app.py"),
            ("/usr/lib/python3.11/threading.py", "threading.py"),
            ("/usr/lib/python3.11/json/decoder.py", "json/decoder.py"),
        ] {
            assert_eq!(names.shorten(path, |_| false), short);
        }
    }
}
