use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::*;
use crate::output::text::printable;
use crate::output::{no_source, test_profiles};
use crate::profile::Keep;

fn written(write: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut bytes = vec![];
    write(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.len() <= fit::MOST_BYTES && text.lines().count() <= fit::MOST_LINES, "{} bytes: {text}", text.len());
    text
}

fn plain(profile: &Profile) -> String {
    written(|bytes| write(Form::Text, profile, &Presentation::default(), &no_source, bytes))
}

fn markdown(profile: &Profile, sources: &SourceText<'_>) -> String {
    written(|bytes| write(Form::Markdown, profile, &Presentation::default(), sources, bytes))
}

/// The tables of a Markdown text, as rows of cells; nothing of it may be markup but tables, lists, and code spans.
fn tables(text: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables: Vec<Vec<Vec<String>>> = vec![];
    for event in Parser::new_ext(text, Options::all() - Options::ENABLE_SMART_PUNCTUATION) {
        match event {
            Event::Start(Tag::Table(_)) => tables.push(vec![]),
            Event::Start(Tag::TableHead | Tag::TableRow) => tables.last_mut().unwrap().push(vec![]),
            Event::Start(Tag::TableCell) => tables.last_mut().unwrap().last_mut().unwrap().push(String::new()),
            Event::Text(piece) | Event::Code(piece) => {
                if let Some(cell) = tables.last_mut().and_then(|table| table.last_mut()).and_then(|row| row.last_mut())
                {
                    cell.push_str(&piece);
                }
            }
            Event::Start(Tag::List(_) | Tag::Item | Tag::Paragraph) | Event::SoftBreak => {}
            Event::End(TagEnd::TableCell | TagEnd::TableHead | TagEnd::TableRow | TagEnd::Table) => {}
            Event::End(TagEnd::List(_) | TagEnd::Item | TagEnd::Paragraph) => {}
            other => panic!("{other:?} in {text}"),
        }
    }
    tables
}

#[test]
fn text_has_all_that_matters_in_few_lines() {
    let text = plain(&test_profiles::usual(Keep::default()));
    for line in [
        "python3 prog.py --all and python3 child.py",
        "pids 100 and 101 · 100 samples/s · 2500 samples · 10 s",
        "    24.00    96.0  own code",
        "    14.00    56.0     14.00    56.0  spin (prog.py:5)",
        "     8.00    32.0  Thread.run > spin (prog.py)",
        "    10.00    40.0  MainThread, thread 101 of process 101",
    ] {
        assert!(text.lines().any(|other| other == line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn a_markdown_parser_gives_the_tables_back() {
    let source = |_: &str| Some("a | b\n".repeat(3) + "x = `y` | \"*_z_*\" <b>\n  while True: # @all\n");
    let tables = tables(&markdown(&test_profiles::usual(Keep::default()), &source));
    let [kinds, functions, paths, threads] = &tables[..] else { panic!("{tables:#?}") };
    assert_eq!(kinds[0], ["python3 prog.py --all and python3 child.py", "s", "%"]);
    assert_eq!(kinds[1], ["own code", "24.00", "96.0"]);
    assert_eq!(functions[1], ["spin (prog.py:5)", "14.00", "56.0", "14.00", "56.0", "while True: # @all"]);
    assert_eq!(functions[2], ["fib (child.py:3)", "10.00", "40.0", "10.00", "40.0", "a | b"]);
    assert_eq!(paths[1], ["Thread.run > spin (prog.py)", "8.00", "32.0"]);
    assert_eq!(threads[1], ["MainThread, thread 101 of process 101", "10.00", "40.0"]);
}

#[test]
fn hostile_names_are_cells_and_nothing_else() {
    let names = test_profiles::HOSTILE.iter().copied().chain([
        "`",
        "``a`",
        "a|b\\|c\\",
        "[x](y)",
        "![x](y)",
        "@all #1",
        "漢字`|",
    ]);
    for name in names {
        let mut profile = Profile::default();
        profile.metadata.command = name.to_owned();
        let process = test_profiles::process(&mut profile, 7, None, name);
        let thread = test_profiles::thread(&mut profile, process, 7, Some(name));
        let frame = test_profiles::python(&mut profile, name, name, 2);
        let stack = test_profiles::stack(&mut profile, &[frame]);
        profile.add_sample(thread, stack, 1_000, 1_000, crate::profile::Flags::ACTIVE);
        let text = markdown(&profile, &|_| Some(format!("\n{name}")));
        let tables = tables(&text);
        assert_eq!(tables.iter().map(Vec::len).collect::<Vec<_>>(), [2; 4], "{text}");
        assert!(tables[1].iter().all(|row| row.len() == 6), "{text}");
        let shown = printable(name);
        let shown = if shown.trim().is_empty() { "<unknown>" } else { shown.trim() };
        // The middle of longer ones is left out.
        if name.chars().count() < 40 {
            assert!(tables[1][1][0].starts_with(shown), "{shown:?} in {text}");
        }
        plain(&profile);
    }
}

#[test]
fn names_without_end_fit_too() {
    let profile = test_profiles::hostile(Keep::default());
    for text in [plain(&profile), markdown(&profile, &no_source), markdown(&profile, &|_| Some("漢\n".repeat(9)))] {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
    }
    plain(&Profile::default());
    markdown(&Profile::default(), &no_source);
}

#[test]
fn json_has_the_same_numbers_and_equal_profiles_give_equal_bytes() {
    let profile = test_profiles::usual(Keep::default());
    let json = || {
        let mut bytes = vec![];
        write(Form::Json, &profile, &Presentation::default(), &no_source, &mut bytes).unwrap();
        bytes
    };
    let value: serde_json::Value = serde_json::from_slice(&json()).unwrap();
    assert_eq!(value["functions"][0]["name"], "spin");
    assert_eq!(value["functions"][0]["own"]["time"], 14.0);
    assert_eq!(value["functions"][0]["hottest"]["line"], 5);
    assert_eq!(value["kinds"][0]["share"], 0.96);
    assert_eq!((json(), plain(&profile)), (json(), plain(&test_profiles::usual(Keep::default()))));
}

#[test]
fn of_nothing_there_are_no_tables_but_the_reason() {
    let mut nothing = Profile::default();
    nothing.metadata.duration_us = 500_000;
    let reason = "no samples: no thread was seen to run";
    let text = plain(&nothing);
    assert!(text.contains(reason) && !text.contains('%') && !text.contains("heaviest"), "{text}");
    let markdown = markdown(&nothing, &no_source);
    assert_eq!(tables(&markdown).len(), 1, "that of the title: {markdown}");
    assert!(markdown.contains(reason), "{markdown}");
}
