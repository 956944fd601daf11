//! The formats, one module each, and their names and file suffixes.
//!
//! A new format is a module here with `write(&Profile, &Presentation, impl Write)`, a variant of [`Format`] with its
//! suffixes, one of `cli::FormatName` with its line in `command/shared/format.rs`, and a row in `tests/all/formats.rs`.

pub(crate) mod callgrind;
pub(crate) mod chrometrace;
pub(crate) mod collapsed;
mod diff_flamegraph;
mod diff_text;
pub(crate) mod firefox;
pub(crate) mod flamechart;
pub mod flamegraph;
mod html;
pub(crate) mod otlp;
mod packed_text;
pub mod pprof;
pub(crate) mod pstats;
pub mod raw;
pub mod speedscope;
mod string_table;
mod summary;
mod svg_picture;

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::changed_functions::Difference;
use super::{Presentation, SourceText, recording};
use crate::profile::Profile;
use summary::Form;

/// A format that a profile can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// An interactive SVG in which width is time.
    Flamegraph,
    /// An interactive SVG in which time runs from left to right.
    Flamechart,
    /// Collapsed stacks: a line for each stack, frames joined by `;`, then a count.
    Raw,
    /// JSON for <https://www.speedscope.app>.
    Speedscope,
    /// JSON for `chrome://tracing` and Perfetto.
    Chrometrace,
    /// JSON for <https://profiler.firefox.com>.
    Firefox,
    /// Gzipped protobuf for `go tool pprof`.
    Pprof,
    /// OpenTelemetry's profiles, as protobuf or, in files whose names end in `.json`, as JSON.
    Otlp,
    /// Text for KCachegrind and `callgrind_annotate`.
    Callgrind,
    /// A marshalled dictionary for Python's `pstats`.
    Pstats,
    /// One page to look at a profile in a browser.
    Html,
    /// The most important numbers as text of at most 60 lines.
    Summary,
    /// The same as Markdown.
    Markdown,
    /// The same as JSON.
    SummaryJson,
    /// Our own recording, from which every other format can be made.
    Pyspy,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 15] = [
        Self::Flamegraph,
        Self::Flamechart,
        Self::Raw,
        Self::Speedscope,
        Self::Chrometrace,
        Self::Firefox,
        Self::Pprof,
        Self::Otlp,
        Self::Callgrind,
        Self::Pstats,
        Self::Html,
        Self::Summary,
        Self::Markdown,
        Self::SummaryJson,
        Self::Pyspy,
    ];

    /// What `--format` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flamegraph => "flamegraph",
            Self::Flamechart => "flamechart",
            Self::Raw => "raw",
            Self::Speedscope => "speedscope",
            Self::Chrometrace => "chrometrace",
            Self::Firefox => "firefox",
            Self::Pprof => "pprof",
            Self::Otlp => "otlp",
            Self::Callgrind => "callgrind",
            Self::Pstats => "pstats",
            Self::Html => "html",
            Self::Summary => "summary",
            Self::Markdown => "markdown",
            Self::SummaryJson => "summary-json",
            Self::Pyspy => "pyspy",
        }
    }

    /// Ends of file names; longer ones stand before those that they end in. The first of each format is what it is
    /// called by.
    const SUFFIXES: [(&'static str, Self); 32] = [
        (".flamechart.svg", Self::Flamechart),
        (".chart.svg", Self::Flamechart),
        (".svg", Self::Flamegraph),
        (".trace.json", Self::Chrometrace),
        (".chrometrace.json", Self::Chrometrace),
        (".chrometrace", Self::Chrometrace),
        (".firefox.json", Self::Firefox),
        (".speedscope", Self::Speedscope),
        (".otlp", Self::Otlp),
        (".otlp.json.gz", Self::Otlp),
        (".otlp.json", Self::Otlp),
        (".otlp.pb", Self::Otlp),
        (".json.gz", Self::Firefox),
        (".summary.json", Self::SummaryJson),
        (".json", Self::Speedscope),
        (".summary.txt", Self::Summary),
        (".html", Self::Html),
        (".htm", Self::Html),
        (".md", Self::Markdown),
        (".markdown", Self::Markdown),
        (".txt", Self::Raw),
        (".raw", Self::Raw),
        (".folded", Self::Raw),
        (".collapsed", Self::Raw),
        (".pb", Self::Pprof),
        (".pb.gz", Self::Pprof),
        (".pprof", Self::Pprof),
        (".pstats", Self::Pstats),
        (".prof", Self::Pstats),
        (".callgrind", Self::Callgrind),
        (".callgrind.out", Self::Callgrind),
        (".pyspy", Self::Pyspy),
    ];

    /// The format that a file name asks for by its end.
    pub fn from_suffix(file_name: &str) -> Option<Self> {
        let name = file_name.rsplit(['/', '\\']).next()?.to_ascii_lowercase();
        if name.starts_with("callgrind.out") || name.starts_with("cachegrind.out") {
            return Some(Self::Callgrind);
        }
        let by_end =
            |name: &str| Self::SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix)).map(|(_, format)| *format);
        by_end(&name).or_else(|| by_end(name.strip_suffix(".gz")?))
    }

    /// The end of a file name, with its dot, if it is that of another kind of file, such as a picture of points: nobody
    /// who gives it wants what we write.
    pub fn foreign_suffix(file_name: &str) -> Option<&'static str> {
        let name = file_name.rsplit(['/', '\\']).next()?.to_ascii_lowercase();
        Self::FOREIGN_SUFFIXES.iter().find(|suffix| name.ends_with(*suffix)).copied()
    }

    /// Ends of names of files that we cannot write.
    const FOREIGN_SUFFIXES: [&'static str; 24] = [
        ".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tiff", ".pdf", ".ps", ".eps", ".csv", ".tsv", ".xml",
        ".yaml", ".yml", ".toml", ".xlsx", ".docx", ".zip", ".tar", ".mp4", ".parquet", ".sqlite", ".py",
    ];

    /// The end of a file name that asks for this format and no other, with the dot.
    pub fn suffix(self) -> &'static str {
        Self::SUFFIXES.iter().find(|(_, format)| *format == self).map_or("", |(suffix, _)| suffix)
    }

    /// The end of a file name for this format, without the dot.
    pub fn default_extension(self) -> &'static str {
        match self {
            Self::Flamegraph | Self::Flamechart => "svg",
            Self::Raw => "txt",
            Self::Speedscope | Self::Chrometrace => "json",
            Self::Firefox => "json.gz",
            Self::Pprof => "pb.gz",
            Self::Otlp => "otlp",
            Self::Callgrind => "callgrind",
            Self::Pstats => "pstats",
            Self::Html => "html",
            Self::Summary => "summary.txt",
            Self::Markdown => "md",
            Self::SummaryJson => "summary.json",
            Self::Pyspy => "pyspy",
        }
    }

    /// Whether the profile must have kept its timeline ([`Keep::timeline`](crate::profile::Keep)) for this format. A
    /// recording needs it too when it is written at the end; while recording, [`recording::RecordingWriter`] is better.
    pub fn needs_timeline(self) -> bool {
        match self {
            Self::Flamegraph | Self::Raw | Self::Pprof | Self::Otlp | Self::Callgrind | Self::Pstats => false,
            Self::Summary | Self::Markdown | Self::SummaryJson => false,
            Self::Html | Self::Flamechart | Self::Speedscope | Self::Chrometrace | Self::Firefox | Self::Pyspy => true,
        }
    }

    /// Whether two profiles can be compared in this format.
    pub(crate) fn shows_differences(self) -> bool {
        matches!(self, Self::Flamegraph | Self::Html | Self::Summary | Self::Markdown | Self::SummaryJson)
    }

    /// Writes `profile` in this format, into a file that will have the name `file_name`: what ends in `.gz` is
    /// compressed. Formats that show source have it from `sources`.
    ///
    /// # Errors
    /// When `writer` fails.
    pub fn write(
        self,
        profile: &Profile,
        presentation: &Presentation,
        sources: &SourceText<'_>,
        file_name: &str,
        writer: impl Write,
    ) -> io::Result<()> {
        // These two are compressed anyway.
        let is_plain = !matches!(self, Self::Pprof | Self::Pyspy);
        if is_plain && file_name.to_ascii_lowercase().ends_with(".gz") {
            let mut writer = GzEncoder::new(writer, Compression::default());
            self.write_plain(profile, presentation, sources, file_name, &mut writer)?;
            return writer.finish()?.flush();
        }
        self.write_plain(profile, presentation, sources, file_name, writer)
    }

    fn write_plain(
        self,
        profile: &Profile,
        presentation: &Presentation,
        sources: &SourceText<'_>,
        file_name: &str,
        writer: impl Write,
    ) -> io::Result<()> {
        match self {
            Self::Flamegraph => flamegraph::write(profile, presentation, writer),
            Self::Flamechart => flamechart::write(profile, presentation, writer),
            Self::Raw => raw::write(profile, presentation, writer),
            Self::Speedscope => speedscope::write(profile, presentation, writer),
            Self::Chrometrace => chrometrace::write(profile, presentation, writer),
            Self::Firefox => firefox::write(profile, presentation, writer),
            Self::Pprof => pprof::write(profile, presentation, writer),
            Self::Otlp => otlp::write(profile, presentation, is_json(file_name), writer),
            Self::Callgrind => callgrind::write(profile, presentation, writer),
            Self::Pstats => pstats::write(profile, presentation, writer),
            Self::Html => html::write(profile, presentation, sources, writer),
            Self::Summary => summary::write(Form::Text, profile, presentation, sources, writer),
            Self::Markdown => summary::write(Form::Markdown, profile, presentation, sources, writer),
            Self::SummaryJson => summary::write(Form::Json, profile, presentation, sources, writer),
            Self::Pyspy => recording::write(profile, writer),
        }
    }
}

/// What the values of a profile's samples are called: `cpu`, where idle threads are left out.
pub(crate) fn value_name(profile: &Profile) -> &'static str {
    let filters = &profile.metadata.filters;
    match filters {
        _ if filters.off_cpu => "off_cpu",
        _ if filters.gil_wait => "gil_wait",
        _ if filters.idle => "wall",
        _ => "cpu",
    }
}

/// Whether what is written into this file is to be JSON, where the format has other forms.
fn is_json(file_name: &str) -> bool {
    let name = file_name.to_ascii_lowercase();
    name.strip_suffix(".gz").unwrap_or(&name).ends_with(".json")
}

/// Writes how `after` differs from `before`, in a format that [shows differences](Format::shows_differences). `checks`
/// are sentences of what was asked of the difference.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write_difference(
    format: Format,
    [before, after]: [&Profile; 2],
    presentation: &Presentation,
    sources: &SourceText<'_>,
    checks: &[String],
    writer: impl Write,
) -> io::Result<()> {
    let form = match format {
        Format::Html => return html::write_difference([before, after], presentation, sources, checks, writer),
        Format::Summary => Form::Text,
        Format::Markdown => Form::Markdown,
        Format::SummaryJson => Form::Json,
        _ => return diff_flamegraph::write(before, after, presentation, writer),
    };
    diff_text::write(form, &Difference::new(before, after, presentation.lines, checks), writer)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::output::{no_source, test_profiles};
    use crate::profile::Keep;

    #[test]
    fn file_names_ask_for_a_format() {
        for (name, format) in [
            ("Profile.SVG", Format::Flamegraph),
            ("a.flamechart.svg", Format::Flamechart),
            ("a.svg.gz", Format::Flamegraph),
            ("a.speedscope.json", Format::Speedscope),
            ("a.json", Format::Speedscope),
            ("a.json.gz", Format::Firefox),
            ("a.trace.json", Format::Chrometrace),
            ("stacks.folded", Format::Raw),
            ("dir.svg/profile.pb.gz", Format::Pprof),
            ("x/callgrind.out.4711", Format::Callgrind),
            ("a.prof", Format::Pstats),
            ("a.pyspy", Format::Pyspy),
            ("a.summary.txt", Format::Summary),
            ("a.txt", Format::Raw),
            ("a.md", Format::Markdown),
            ("a.html", Format::Html),
            ("a.summary.json", Format::SummaryJson),
            ("a.otlp.json.gz", Format::Otlp),
            ("a.otlp.pb", Format::Otlp),
        ] {
            assert_eq!(Format::from_suffix(name), Some(format), "{name}");
        }
        for name in ["svg", "", "-", "dir.svg/profile", "a.gz"] {
            assert_eq!(Format::from_suffix(name), None, "{name}");
        }
        for format in Format::ALL {
            let by_extension = Format::from_suffix(&format!("a.{}", format.default_extension()));
            let is_shared = matches!(format, Format::Flamechart | Format::Chrometrace);
            assert!(by_extension == Some(format) || is_shared, "{format:?} gives {by_extension:?}");
            assert_eq!(Format::from_suffix(&format!("a{}", format.suffix())), Some(format));
        }
    }

    #[test]
    fn names_that_end_in_gz_are_compressed() {
        let profile = test_profiles::usual(Keep::default());
        let mut plain = vec![];
        let mut compressed = vec![];
        Format::Raw.write(&profile, &Presentation::default(), &no_source, "a.txt", &mut plain).unwrap();
        Format::Raw.write(&profile, &Presentation::default(), &no_source, "a.txt.gz", &mut compressed).unwrap();
        let mut unpacked = vec![];
        flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
    }

    /// A disk that fills up after some bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_an_error_in_every_format() {
        let profile = test_profiles::usual(Keep { timeline: true, journal: false });
        for format in Format::ALL {
            let mut whole = vec![];
            format.write(&profile, &Presentation::default(), &no_source, "", &mut whole).unwrap();
            for room in [0, 1, whole.len() / 2, whole.len() - 1] {
                let result = format.write(&profile, &Presentation::default(), &no_source, "", Full(room));
                let error = result.expect_err(&format!("{format:?} with {room} of {} bytes", whole.len()));
                assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{format:?}: {error}");
            }
        }
    }
}
