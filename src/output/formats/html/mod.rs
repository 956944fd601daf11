//! One page of HTML that needs nothing but itself: flame graph, functions and source of a profile, to be searched,
//! turned and looked into.
//!
//! The page is a fixed text (`page.html`, its style and scripts) and the packed data. It says itself that it may load
//! nothing. Where no script runs it shows the summary.

mod data;
mod first_picture;
mod sources;
mod time;
mod tree;

use std::io::{self, Write};

use self::data::{PageData, PageRest, Words, encoded, packed};
use self::first_picture::FirstPicture;
use self::time::Timeline;
use self::tree::PageTree;
use super::diff_text;
use super::packed_text::packed_text;
use super::summary;
use super::summary::Form;
use crate::output::changed_functions::Difference;
use crate::output::comparison::Comparison;
use crate::output::heading::{subtitle, title};
use crate::output::place::Places;
use crate::output::source_text::SourceText;
use crate::output::summary::doubts;
use crate::output::text::xml;
use crate::output::{Lines, Presentation};
use crate::profile::Profile;

/// The page's scripts, which are one module.
fn scripts() -> String {
    let scripts = [
        packed_text!("model.js"),
        packed_text!("flame_tree.js"),
        packed_text!("canvas.js"),
        packed_text!("time_chart.js"),
        packed_text!("table.js"),
        packed_text!("source.js"),
        packed_text!("page.js"),
        packed_text!("keys_and_mouse.js"),
        packed_text!("start_up.js"),
    ];
    scripts.concat()
}

/// Writes `profile` as a page.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write(
    profile: &Profile,
    presentation: &Presentation,
    sources: &SourceText<'_>,
    writer: impl Write,
) -> io::Result<()> {
    let by_thread = presentation.threads;
    let presentation = Presentation {
        lines: Lines::Current,
        full_file_names: presentation.full_file_names,
        upward: presentation.upward,
        ..Presentation::default()
    };
    let group = if by_thread { "thread" } else { "all" };
    let mut tree = PageTree::new();
    tree.add(profile, &Places::new(profile, &presentation), Lines::Current, false);
    tree.finish();
    let timeline = Timeline::new(profile, &tree);
    let pieces = sources::pieces(&tree, sources);
    let mut doubts = doubts(profile);
    doubts.extend(joined_note(&tree));
    let words = Words {
        title: &title(profile),
        about: &subtitle(profile),
        is_time_known: profile.metadata.is_time_known(),
        doubts,
        samples: vec![profile.sum().samples],
    };
    let mut plain = vec![];
    summary::write(Form::Text, profile, &presentation, sources, &mut plain)?;
    let packed = Packed {
        first: encoded(&FirstPicture::new(&words, &tree, false, !by_thread && !presentation.upward))?,
        data: packed(&PageData::new(&words, &tree, timeline.as_ref()))?,
        rest: packed(&PageRest::new(&pieces, timeline.as_ref()))?,
    };
    write_page((words.title, &packed), &String::from_utf8_lossy(&plain), (presentation.upward, group), writer)
}

/// Writes how `after` differs from `before` as a page. `lines` says what tells frames apart; `checks` are sentences
/// that stand with what is to be kept in mind.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write_difference(
    [before, after]: [&Profile; 2],
    presentation: &Presentation,
    sources: &SourceText<'_>,
    checks: &[String],
    writer: impl Write,
) -> io::Result<()> {
    let mut tree = PageTree::new();
    for (profile, is_before) in [(before, true), (after, false)] {
        tree.add(profile, &Places::new(profile, presentation), presentation.lines, is_before);
    }
    tree.finish();
    let pieces = sources::pieces(&tree, sources);
    let comparison = Comparison::new(before, after);
    let difference = Difference::new(before, after, presentation.lines, checks);
    let words = Words {
        title: &difference.title,
        about: &difference.about,
        is_time_known: difference.unit == "seconds",
        doubts: checks.iter().cloned().chain(joined_note(&tree)).collect(),
        samples: vec![comparison.samples[1], comparison.samples[0]],
    };
    let mut plain = vec![];
    diff_text::write(Form::Text, &difference, &mut plain)?;
    let packed = Packed {
        first: encoded(&FirstPicture::new(&words, &tree, true, false))?,
        data: packed(&PageData::new(&words, &tree, None))?,
        rest: packed(&PageRest::new(&pieces, None))?,
    };
    write_page((words.title, &packed), &String::from_utf8_lossy(&plain), (presentation.upward, "all"), writer)
}

/// What is said of a tree that is not whole.
fn joined_note(tree: &PageTree) -> Option<String> {
    let percent = tree.joined_share * 100.0;
    (percent > 0.0).then(|| format!("{percent:.2} % of the time is in stacks too rare for this page, joined to “…”"))
}

/// What a page knows, as it stands there: for the first picture, for all others, and what is wanted later.
struct Packed {
    first: String,
    data: String,
    rest: String,
}

/// `is_upward` and `group` are how it is shown at first.
fn write_page(
    (title, packed): (&str, &Packed),
    plain: &str,
    (is_upward, group): (bool, &str),
    mut writer: impl Write,
) -> io::Result<()> {
    let parts = |name: &str| -> String {
        match name {
            "title" => xml(title),
            "style" => packed_text!("page.css"),
            "summary" => xml(plain),
            "upward" => if is_upward { "1" } else { "" }.to_owned(),
            "group" => group.to_owned(),
            "first" => packed.first.clone(),
            "data" => packed.data.clone(),
            "rest" => packed.rest.clone(),
            "script" => scripts(),
            _ => String::new(),
        }
    };
    // Odd pieces are names of what stands there.
    for (at, piece) in packed_text!("page.html").split("%%").enumerate() {
        if at % 2 == 0 {
            writer.write_all(piece.as_bytes())?;
        } else {
            writer.write_all(parts(piece).as_bytes())?;
        }
    }
    writer.flush()
}

#[cfg(test)]
mod tests;
