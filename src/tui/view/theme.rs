//! Styles: of the terminal's own sixteen colours or of none. On the terminal's background only those that stand out
//! from white and from black (yellow and cyan do not from white, blue does not from black).

use ratatui::style::{Color, Modifier, Style};

/// How things are to look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    /// Colours may be used.
    pub(super) colour: bool,
}

impl Theme {
    pub(super) fn plain(self) -> Style {
        Style::default()
    }

    pub(super) fn bold(self) -> Style {
        Style::default().add_modifier(Modifier::BOLD)
    }

    pub(super) fn dim(self) -> Style {
        Style::default().add_modifier(Modifier::DIM)
    }

    /// The selected row, the current tab.
    pub(super) fn selected(self) -> Style {
        Style::default().add_modifier(Modifier::REVERSED)
    }

    /// What was switched on or is being said.
    pub(super) fn accent(self) -> Style {
        self.coloured(Color::Magenta, Modifier::BOLD)
    }

    /// What must not be missed.
    pub(super) fn warning(self) -> Style {
        self.coloured(Color::Red, Modifier::BOLD)
    }

    /// Sparklines.
    pub(super) fn spark(self) -> Style {
        self.coloured(Color::Green, Modifier::empty())
    }

    /// A share of the time.
    pub(super) fn share(self, percent: f64) -> Style {
        match percent {
            _ if percent >= 20.0 => self.coloured(Color::Red, Modifier::BOLD),
            _ if percent >= 5.0 => self.coloured(Color::Magenta, Modifier::empty()),
            _ if percent > 0.0 => self.plain(),
            _ => self.dim(),
        }
    }

    /// A block of the flame graph; `number` chooses among several that differ.
    pub(super) fn block(self, number: u32) -> Style {
        if !self.colour {
            return if number.is_multiple_of(2) { self.plain() } else { self.bold() };
        }
        const WARM: [Color; 5] = [Color::Yellow, Color::LightRed, Color::LightYellow, Color::Red, Color::LightMagenta];
        let colour = WARM[number.wrapping_mul(0x9E37_79B9).rotate_left(7) as usize % WARM.len()];
        // Both colours are set, so that it does not matter what the terminal's background is.
        Style::default().fg(Color::Black).bg(colour)
    }

    fn coloured(self, colour: Color, modifier: Modifier) -> Style {
        let style = Style::default().add_modifier(modifier);
        if self.colour { style.fg(colour) } else { style }
    }
}
