//! No circles among the modules of one folder: of two that lie side by side at most one knows the other.
//!
//! What counts is where a path leads, whether it stands in a `use` or in the code: `super::sibling::f`, a name that the
//! parent re-exports from a sibling, or the whole path from `crate` on. A parent that declares or re-exports its
//! children, and children that use what is their parent's own, are no circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{code_without_tests, is_test_only};

/// A module's path from the crate on, or that of an item in it.
type ModulePath = Vec<String>;

/// A module of the crate, all of its files read.
#[derive(Debug, Default)]
struct Module {
    /// What its own file says, without tests.
    code: String,
    children: BTreeMap<String, Module>,
}

impl Module {
    /// Reads a folder of modules: `name.rs`, `name/mod.rs`, or `name.rs` beside `name/`.
    fn of_folder(folder: &Path) -> Self {
        let mut module = Self::default();
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let file_name = entry.file_name().into_string().unwrap();
            if is_test_only(&file_name) {
                continue;
            }
            if entry.path().is_dir() {
                let read = Self::of_folder(&entry.path());
                let child = module.children.entry(file_name).or_default();
                child.children = read.children;
                child.code.push_str(&read.code);
            } else if let Some(name) = file_name.strip_suffix(".rs") {
                let code = code_without_tests(&fs::read_to_string(entry.path()).unwrap());
                match name {
                    "mod" | "lib" => module.code.push_str(&code),
                    _ => module.children.entry(name.to_owned()).or_default().code.push_str(&code),
                }
            }
        }
        module
    }

    /// From which child each name comes that this module imports or re-exports from one.
    fn imported_from(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for (position, _) in self.code.match_indices("use ") {
            let mut paths = Vec::new();
            read_tree(&self.code[position + "use ".len()..], &[], &mut paths);
            for path in paths {
                let from_here = path.strip_prefix(&["self".to_owned()][..]).unwrap_or(&path);
                if let [child, .., name] = from_here
                    && self.children.contains_key(child)
                {
                    found.insert(name.clone(), child.clone());
                }
            }
        }
        found
    }

    /// All that this module and what lies in it name by paths from `super` or `crate` on, as paths from the crate on.
    fn named_paths(&self, own: &[String], found: &mut Vec<ModulePath>) {
        for (position, _) in self.code.match_indices("super::") {
            // The first of several only.
            if !self.code[..position].ends_with("super::") {
                let mut rest = &self.code[position..];
                let mut base = own;
                while let Some(after) = rest.strip_prefix("super::") {
                    (rest, base) = (after, base.split_last().map_or(&[][..], |(_, above)| above));
                }
                read_tree(rest, base, found);
            }
        }
        for (position, _) in self.code.match_indices("crate::") {
            read_tree(&self.code[position + "crate::".len()..], &[], found);
        }
        for (name, child) in &self.children {
            child.named_paths(&joined(own, name), found);
        }
    }

    /// Which children each child knows.
    fn known_siblings(&self, own: &[String]) -> BTreeMap<&str, BTreeSet<&str>> {
        let imported = self.imported_from();
        let knows = |name: &str, child: &Self| {
            let mut paths = Vec::new();
            child.named_paths(&joined(own, name), &mut paths);
            let named = paths.iter().filter_map(|path| path.strip_prefix(own)?.first());
            let modules = named.filter_map(|first| match self.children.get_key_value(first) {
                Some((sibling, _)) => Some(sibling.as_str()),
                None => {
                    imported.get(first).and_then(|from| self.children.get_key_value(from)).map(|(key, _)| key.as_str())
                }
            });
            modules.filter(|sibling| *sibling != name).collect()
        };
        self.children.iter().map(|(name, child)| (name.as_str(), knows(name, child))).collect()
    }

    /// The groups of modules in here that know each other in a circle, as `folder: {one, other}`.
    fn circles(&self, own: &[String], found: &mut Vec<String>) {
        let known = self.known_siblings(own);
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            known.keys().map(|from| (*from, reachable(&known, from))).collect();
        let mut told = BTreeSet::new();
        for (name, reaches) in &reached {
            let circle: BTreeSet<&str> =
                reaches.iter().copied().filter(|other| reached[other].contains(name)).collect();
            if circle.len() > 1 && told.insert(circle.clone()) {
                found.push(format!("{}: {circle:?}", own.join("/")));
            }
        }
        for (name, child) in &self.children {
            child.circles(&joined(own, name), found);
        }
    }
}

fn joined(path: &[String], name: &str) -> ModulePath {
    path.iter().cloned().chain([name.to_owned()]).collect()
}

/// All modules that are known from `start` on, over any number of others.
fn reachable<'name>(known: &BTreeMap<&str, BTreeSet<&'name str>>, start: &str) -> BTreeSet<&'name str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = known[start].iter().copied().collect();
    while let Some(next) = open.pop() {
        if reached.insert(*known.values().flatten().find(|name| **name == next).unwrap()) {
            open.extend(&known[next]);
        }
    }
    reached
}

/// Reads a path, with groups in braces if it has such: `a::{b, c::D as E}`. Adds each path that it stands for behind
/// `base`, and returns what follows it.
fn read_tree<'text>(text: &'text str, base: &[String], found: &mut Vec<ModulePath>) -> &'text str {
    let mut rest = text.trim_start();
    let mut path = base.to_vec();
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            rest = group.trim_start();
            while !rest.starts_with('}') && !rest.is_empty() {
                rest = read_tree(rest, &path, found);
                // What stands between two parts of a group: a comma, or another name for the part.
                rest = rest.trim_start_matches(|c| !matches!(c, ',' | '}'));
                rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            }
            return rest.strip_prefix('}').unwrap_or(rest);
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        match name {
            "" => break,
            // The group's own module.
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
        rest = after;
        match after.strip_prefix("::") {
            Some(more) => rest = more,
            None => break,
        }
    }
    found.push(path);
    rest
}

#[test]
fn modules_of_a_folder_know_each_other_one_way_only() {
    let source = Module::of_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(source.children.len() > 10 && source.children["sampler"].children.len() > 10, "modules were not found");
    let mut circles = Vec::new();
    source.circles(&[], &mut circles);
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn circles_are_seen_in_all_ways_of_naming_a_sibling() {
    let module = |code: &str| Module { code: code.to_owned(), children: BTreeMap::new() };
    let circles_of = |parent: &str, one: &str, other: &str, third: &str| {
        let children = [("one", one), ("other", other), ("third", third)];
        let children = children.map(|(name, code)| (name.to_owned(), module(code))).into();
        let folder = Module { code: parent.to_owned(), children };
        let root = Module { code: String::new(), children: [("folder".to_owned(), folder)].into() };
        let mut found = Vec::new();
        root.circles(&[], &mut found);
        found
    };
    let pair = ["folder: {\"one\", \"other\"}"];
    assert_eq!(circles_of("", "use super::other::F;", "fn f(g: super::one::G) {}", ""), pair);
    assert_eq!(circles_of("", "use super::{third, other::{self, F as G}};", "crate::folder::one::g()", ""), pair);
    assert_eq!(circles_of("pub use other::F;", "use super::F;", "use super::one;", ""), pair);
    let all = ["folder: {\"one\", \"other\", \"third\"}"];
    assert_eq!(circles_of("", "use super::other;", "use super::third;", "use super::one;"), all);
    let none: [&str; 0] = [];
    assert_eq!(
        circles_of("pub use one::F; mod other;", "use super::other;", "use super::third;", "use super::G;"),
        none
    );
}
