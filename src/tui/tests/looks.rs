//! Colours, and names that would break the screen.

use super::*;

#[test]
fn hostile_and_wide_names_do_not_break_the_screen() {
    let mut source = Source::new();
    let thread = source.thread("\u{1b}]0;x\u{7}\n名前\u{202e}");
    for name in [
        "\u{1b}[2J\u{1b}[H",
        "a\nb\tc\r",
        "\u{202e}evil",
        "日本語の関数名がとても長い場合でも列は崩れない関数",
        "e\u{301}👩‍👩‍👧‍👦",
    ] {
        source.add(thread, &[name], ACTIVE_GIL, 100_000);
    }
    source.add(thread, &["x".repeat(4000).as_str()], ACTIVE_GIL, 100_000);
    let mut state = State::new(Settings { colour: true, ..Settings::default() }, Size::new(80, 24));
    let window = source.window(600_000);
    update(&mut state, window);
    for key in ["F1", "F2", "F3", "F4", "F5", "F6", "F1 j Enter"] {
        press(&mut state, key);
        let lines = screen(&state);
        for line in &lines {
            assert!(!line.chars().any(|character| character.is_control() || character == '\u{202e}'), "{line:?}");
            assert!(unicode_width::UnicodeWidthStr::width(line.as_str()) <= 80, "{line:?}");
        }
    }
}

/// Every view, with every kind of row and overlay, in a state with something to warn of.
fn every_look(state: &mut State, mut look: impl FnMut(&State)) {
    for key in [
        "F1", "F2", "F3", "F4", "F5", "F6", "Down", "Enter", "F1 j", "Enter", "Esc ?", "Esc /", "h Enter", "Space",
        "g", "t",
    ] {
        press(state, key);
        look(state);
    }
}

#[test]
fn without_colour_there_is_none() {
    for colour in [true, false] {
        let (mut state, _) = usual((80, 24));
        state.settings.colour = colour;
        state.data.ended = Some("target exited, status 1".to_owned());
        let mut coloured = false;
        every_look(&mut state, |state| {
            let terminal = drawn(state);
            let cells = &terminal.backend().buffer().content;
            coloured |= cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        });
        assert_eq!(coloured, colour);
    }
}

#[test]
fn colours_are_readable_on_light_and_dark_backgrounds() {
    let (mut state, _) = usual((80, 24));
    state.data.ended = Some("target exited, status 1".to_owned());
    let mut seen = std::collections::HashSet::new();
    every_look(&mut state, |state| {
        for cell in &drawn(state).backend().buffer().content {
            seen.insert((cell.fg, cell.bg));
        }
    });
    assert!(seen.len() > 3, "{seen:?}");
    for (front, back) in seen {
        let on_theirs = [Color::Reset, Color::Red, Color::Green, Color::Magenta];
        // On the terminal's own background only what its palette makes readable there; elsewhere both colours are ours.
        let readable = match back {
            Color::Reset => on_theirs.contains(&front),
            Color::Yellow | Color::LightYellow | Color::LightRed | Color::LightMagenta | Color::Red => {
                front == Color::Black
            }
            _ => false,
        };
        assert!(readable, "{front:?} on {back:?}");
    }
}
