//! The structs at the heart of the crate stay small enough to be understood at once: each has one subject.

use std::fs;
use std::path::Path;

use super::{code_without_tests, rust_files};

/// As many fields may a struct have in these folders.
const MOST_FIELDS: usize = 12;
const FOLDERS: [&str; 2] = ["memory", "sampler"];

#[test]
fn no_struct_of_the_heart_has_more_fields_than_one_can_keep_in_mind() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut seen, mut large) = (0, Vec::new());
    for file in FOLDERS.iter().flat_map(|folder| rust_files(&source.join(folder))) {
        let text = fs::read_to_string(&file).unwrap();
        for (name, fields) in structs(&code_without_tests(&text)) {
            seen += 1;
            if fields > MOST_FIELDS {
                large.push(format!("{}: {name} has {fields}", file.strip_prefix(&source).unwrap().display()));
            }
        }
    }
    assert!(seen > 100, "only {seen} structs were found");
    assert!(large.is_empty(), "{large:#?}");
}

/// The structs that some code defines, each with how many fields it has.
fn structs(code: &str) -> Vec<(String, usize)> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("#["));
    let lines = lines.map(|line| line.split("//").next().unwrap_or(line));
    // The arrow of a function's type is no bracket.
    let code = lines.collect::<Vec<_>>().join("\n").replace("->", "");
    let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
    let definitions = code.match_indices("struct ").filter(|(at, _)| !code[..*at].ends_with(is_of_name));
    let found = definitions.filter_map(|(at, keyword)| {
        let rest = &code[at + keyword.len()..];
        let (name, rest) = rest.split_at(rest.find(|c| !is_of_name(c))?);
        let rest = if rest.starts_with('<') { parts_in_brackets(rest).1 } else { rest };
        let begin = rest.find(['{', '(', ';'])?;
        Some((name.to_owned(), parts_in_brackets(&rest[begin..]).0))
    });
    found.collect()
}

/// How many parts there are, with commas between them, in the brackets that a text begins with, and what follows these;
/// none where it begins with something else.
fn parts_in_brackets(text: &str) -> (usize, &str) {
    let (mut depth, mut parts, mut is_in_part) = (0, 0, false);
    for (at, c) in text.char_indices() {
        let is_opening = matches!(c, '{' | '(' | '[' | '<');
        if matches!(c, '}' | ')' | ']' | '>') {
            depth -= 1;
        }
        if depth == 0 && !is_opening {
            return (parts, &text[at..]);
        }
        if depth == 1 && c == ',' {
            is_in_part = false;
        } else if depth > 0 && !is_in_part && !c.is_whitespace() {
            (is_in_part, parts) = (true, parts + 1);
        }
        depth += i32::from(is_opening);
    }
    (parts, "")
}

#[test]
fn fields_are_counted_in_all_ways_of_writing_them() {
    let many: String = (0..13).map(|number| format!("    field_{number}: u64,\n")).collect();
    let code = format!(
        "pub(crate) struct Many {{\n{many}}}\n\
         #[derive(Debug)]\nstruct Few<'a, T: Fn(u8) -> Option<u8>> {{\n    #[serde(skip)]\n\
         one: HashMap<u8, (T, u8)>,\n\
         pub two: &'a dyn Fn(u8, u8) -> Vec<u8>, // a, b\n    three: [u8; 3] }}\n\
         struct Pair(u8, Option<(u8, u8)>);\nstruct Nothing;\nstruct Empty {{}}\nlet a_struct = 1;\n"
    );
    let named = [("Many", 13), ("Few", 3), ("Pair", 2), ("Nothing", 0), ("Empty", 0)];
    assert_eq!(structs(&code), named.map(|(name, fields)| (name.to_owned(), fields)));
}
