//! The names of the output formats.

use clap::ValueEnum;

/// The formats of `record`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatName {
    /// Interactive flame graph (SVG)
    Flamegraph,
    /// Collapsed stacks, one a line with its count
    Raw,
    /// JSON for the speedscope viewer
    Speedscope,
    /// JSON for Chrome's trace viewer and Perfetto
    Chrometrace,
    /// Flame graph in which time runs from left to right (SVG)
    Flamechart,
    /// JSON for the Firefox profiler
    Firefox,
    /// Gzipped protobuf for `go tool pprof`
    Pprof,
    /// OpenTelemetry's profiles (alpha): protobuf, or JSON where the filename ends in .json
    Otlp,
    /// Text for KCachegrind and callgrind_annotate
    Callgrind,
    /// For Python's pstats, snakeviz and gprof2dot
    Pstats,
    /// One page for a browser: flame graph, functions, source
    Html,
    /// The most important numbers as text of at most 60 lines
    Summary,
    /// The same as Markdown, for a pull request or the summary of a CI job
    #[value(alias = "md")]
    Markdown,
    /// The same as JSON
    SummaryJson,
    /// Our own recording, for `pyspy convert`
    Pyspy,
}
