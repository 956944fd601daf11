//! The formats by name and by file suffix.

use std::io::{self, Write};

use super::{Presentation, flamegraph, raw, speedscope};
use crate::profile::Profile;

/// A format that a profile can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// An interactive SVG in which width is time.
    Flamegraph,
    /// Collapsed stacks: a line for each stack, frames joined by `;`, then a count.
    Raw,
    /// JSON for <https://www.speedscope.app>.
    Speedscope,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Flamegraph, Self::Raw, Self::Speedscope];

    /// What `--format` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flamegraph => "flamegraph",
            Self::Raw => "raw",
            Self::Speedscope => "speedscope",
        }
    }

    /// The format with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format that a file name asks for by its end.
    pub fn from_suffix(file_name: &str) -> Option<Self> {
        let name = file_name.to_ascii_lowercase();
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        if ends(&[".svg"]) {
            Some(Self::Flamegraph)
        } else if ends(&[".speedscope.json", ".speedscope"]) {
            Some(Self::Speedscope)
        } else if ends(&[".txt", ".raw", ".folded", ".collapsed"]) {
            Some(Self::Raw)
        } else {
            None
        }
    }

    /// The end of a file name for this format, without the dot.
    pub fn default_extension(self) -> &'static str {
        match self {
            Self::Flamegraph => "svg",
            Self::Raw => "txt",
            Self::Speedscope => "json",
        }
    }

    /// Whether the profile must have kept its timeline ([`Keep::timeline`](crate::profile::Keep)) for this format.
    pub fn needs_timeline(self) -> bool {
        match self {
            Self::Flamegraph | Self::Raw => false,
            Self::Speedscope => true,
        }
    }

    /// Writes `profile` in this format.
    ///
    /// # Errors
    /// When `writer` fails.
    pub fn write(self, profile: &Profile, presentation: &Presentation, writer: impl Write) -> io::Result<()> {
        match self {
            Self::Flamegraph => flamegraph::write(profile, presentation, writer),
            Self::Raw => raw::write(profile, presentation, writer),
            Self::Speedscope => speedscope::write(profile, presentation, writer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_its_name() {
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Some(format));
        }
        assert_eq!(Format::from_name("gif"), None);
    }

    #[test]
    fn file_names_ask_for_a_format() {
        assert_eq!(Format::from_suffix("Profile.SVG"), Some(Format::Flamegraph));
        assert_eq!(Format::from_suffix("a.speedscope.json"), Some(Format::Speedscope));
        assert_eq!(Format::from_suffix("stacks.folded"), Some(Format::Raw));
        assert_eq!(Format::from_suffix("svg"), None);
    }
}
