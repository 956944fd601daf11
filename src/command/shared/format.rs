//! Which format each name on the command line means.

use crate::cli::FormatName;
use crate::output::Format;

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Flamegraph => Self::Flamegraph,
            FormatName::Raw => Self::Raw,
            FormatName::Speedscope => Self::Speedscope,
            FormatName::Chrometrace => Self::Chrometrace,
            FormatName::Flamechart => Self::Flamechart,
            FormatName::Firefox => Self::Firefox,
            FormatName::Pprof => Self::Pprof,
            FormatName::Otlp => Self::Otlp,
            FormatName::Callgrind => Self::Callgrind,
            FormatName::Pstats => Self::Pstats,
            FormatName::Html => Self::Html,
            FormatName::Summary => Self::Summary,
            FormatName::Markdown => Self::Markdown,
            FormatName::SummaryJson => Self::SummaryJson,
            FormatName::Pyspy => Self::Pyspy,
        }
    }
}
