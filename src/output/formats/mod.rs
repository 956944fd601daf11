//! The formats, one module each, and their names and file suffixes.
//!
//! A new format is a module here with `write(&Profile, &Presentation, impl Write)`, a variant of [`Format`] with its
//! suffixes, one of `cli::FormatName`, and a row in `tests/all/formats.rs`.

pub(crate) mod callgrind;
pub(crate) mod chrometrace;
pub(crate) mod collapsed;
pub(crate) mod diff;
pub(crate) mod firefox;
pub(crate) mod flamechart;
pub mod flamegraph;
mod picture;
pub mod pprof;
pub(crate) mod pstats;
pub mod raw;
pub mod speedscope;

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Presentation, recording};
use crate::profile::Profile;

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
    /// Text for KCachegrind and `callgrind_annotate`.
    Callgrind,
    /// A marshalled dictionary for Python's `pstats`.
    Pstats,
    /// Our own recording, from which every other format can be made.
    Pyspy,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 10] = [
        Self::Flamegraph,
        Self::Flamechart,
        Self::Raw,
        Self::Speedscope,
        Self::Chrometrace,
        Self::Firefox,
        Self::Pprof,
        Self::Callgrind,
        Self::Pstats,
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
            Self::Callgrind => "callgrind",
            Self::Pstats => "pstats",
            Self::Pyspy => "pyspy",
        }
    }

    /// Ends of file names; longer ones stand before those that they end in. The first of each format is what it is
    /// called by.
    const SUFFIXES: [(&'static str, Self); 22] = [
        (".flamechart.svg", Self::Flamechart),
        (".chart.svg", Self::Flamechart),
        (".svg", Self::Flamegraph),
        (".trace.json", Self::Chrometrace),
        (".chrometrace.json", Self::Chrometrace),
        (".chrometrace", Self::Chrometrace),
        (".firefox.json", Self::Firefox),
        (".speedscope", Self::Speedscope),
        (".json.gz", Self::Firefox),
        (".json", Self::Speedscope),
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
            Self::Callgrind => "callgrind",
            Self::Pstats => "pstats",
            Self::Pyspy => "pyspy",
        }
    }

    /// Whether the profile must have kept its timeline ([`Keep::timeline`](crate::profile::Keep)) for this format. A
    /// recording needs it too when it is written at the end; while recording, [`recording::RecordingWriter`] is better.
    pub fn needs_timeline(self) -> bool {
        match self {
            Self::Flamegraph | Self::Raw | Self::Pprof | Self::Callgrind | Self::Pstats => false,
            Self::Flamechart | Self::Speedscope | Self::Chrometrace | Self::Firefox | Self::Pyspy => true,
        }
    }

    /// Writes `profile` in this format, into a file that will have the name `file_name`: what ends in `.gz` is
    /// compressed.
    ///
    /// # Errors
    /// When `writer` fails.
    pub fn write(
        self,
        profile: &Profile,
        presentation: &Presentation,
        file_name: &str,
        writer: impl Write,
    ) -> io::Result<()> {
        // These two are compressed anyway.
        let is_plain = !matches!(self, Self::Pprof | Self::Pyspy);
        if is_plain && file_name.to_ascii_lowercase().ends_with(".gz") {
            let mut writer = GzEncoder::new(writer, Compression::default());
            self.write_plain(profile, presentation, &mut writer)?;
            return writer.finish()?.flush();
        }
        self.write_plain(profile, presentation, writer)
    }

    fn write_plain(self, profile: &Profile, presentation: &Presentation, writer: impl Write) -> io::Result<()> {
        match self {
            Self::Flamegraph => flamegraph::write(profile, presentation, writer),
            Self::Flamechart => flamechart::write(profile, presentation, writer),
            Self::Raw => raw::write(profile, presentation, writer),
            Self::Speedscope => speedscope::write(profile, presentation, writer),
            Self::Chrometrace => chrometrace::write(profile, presentation, writer),
            Self::Firefox => firefox::write(profile, presentation, writer),
            Self::Pprof => pprof::write(profile, presentation, writer),
            Self::Callgrind => callgrind::write(profile, presentation, writer),
            Self::Pstats => pstats::write(profile, presentation, writer),
            Self::Pyspy => recording::write(profile, writer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::output::samples;
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
        let profile = samples::usual(Keep::default());
        let mut plain = vec![];
        let mut compressed = vec![];
        Format::Raw.write(&profile, &Presentation::default(), "a.txt", &mut plain).unwrap();
        Format::Raw.write(&profile, &Presentation::default(), "a.txt.gz", &mut compressed).unwrap();
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
        let profile = samples::usual(Keep { timeline: true, journal: false });
        for format in Format::ALL {
            let mut whole = vec![];
            format.write(&profile, &Presentation::default(), "", &mut whole).unwrap();
            for room in [0, 1, whole.len() / 2, whole.len() - 1] {
                let result = format.write(&profile, &Presentation::default(), "", Full(room));
                let error = result.expect_err(&format!("{format:?} with {room} of {} bytes", whole.len()));
                assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{format:?}: {error}");
            }
        }
    }
}
