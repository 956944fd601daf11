//! Where a recording goes: into a file, or to a server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::push::{Pushed, Pusher};
use super::sink::Sink;
use crate::cli::{Limit, RecordArgs};
use crate::command::shared::failure::{PushError, UnfinishedError};
use crate::command::shared::output_file::format_by_name;
use crate::command::shared::source_finder::SourceFinder;
use crate::output::{Format, Presentation, printable};
use crate::profile::{Keep, Profile};

/// How long an interval is where nothing is said of it.
const PUSH_EVERY: Duration = Duration::from_secs(15);
/// A shorter one is not worth a request.
const SHORTEST_PUSH: Duration = Duration::from_secs(1);

/// Where a recording goes.
pub(super) enum Destination {
    /// Into a file, which has this path.
    File(Box<Sink>, PathBuf),
    /// To a server, in intervals.
    Server(Pusher),
}

/// What became of it.
pub(super) struct Finished {
    /// In words.
    pub(super) text: String,
    /// Where it is.
    pub(super) path: Option<PathBuf>,
    /// What was not taken by the server, if so.
    pub(super) error: Option<PushError>,
}

impl Destination {
    /// Makes sure that the recording can go there.
    pub(super) fn open(arguments: &RecordArgs, presentation: Presentation) -> anyhow::Result<Self> {
        if let Some(url) = &arguments.push.push {
            return Ok(Self::Server(Pusher::start(url, &arguments.push, presentation)?));
        }
        // What is to be looked at is best looked at as a page.
        let default = if arguments.open { Format::Html } else { Format::Flamegraph };
        let format = match (arguments.format, &arguments.output) {
            (Some(name), _) => name.into(),
            (None, Some(path)) => format_by_name(path, default)?,
            (None, None) => default,
        };
        let path = arguments.output.clone().unwrap_or_else(|| default_path(arguments, format));
        // A program that we start runs as who called us through sudo, and its profile is his.
        let for_caller = !arguments.program.is_empty();
        let sink = Sink::open(&path, format, presentation, for_caller)?;
        Ok(Self::File(Box::new(sink), path))
    }

    /// As [`Sink::find_sources`].
    pub(super) fn find_sources(&mut self, sources: SourceFinder) {
        if let Self::File(sink, _) = self {
            sink.find_sources(sources);
        }
    }

    /// What a profile must keep to go there; `waiting_tasks` as in [`Sink::keep`].
    pub(super) fn keep(&self, waiting_tasks: bool) -> Keep {
        match self {
            Self::File(sink, _) => sink.keep(waiting_tasks),
            Self::Server(_) => Keep::default(),
        }
    }

    /// Where what was recorded is written every so often, how often that is.
    pub(super) fn every(&self, asked: Option<Limit>) -> Duration {
        match (self, asked) {
            (Self::File(..), Some(Limit::For(every))) => every,
            (Self::File(..), _) => Duration::MAX,
            (Self::Server(_), Some(Limit::For(every))) => every.max(SHORTEST_PUSH),
            (Self::Server(_), _) => PUSH_EVERY,
        }
    }

    /// Completes it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn finish(self, profile: &mut Profile) -> Result<Finished, UnfinishedError> {
        match self {
            Self::File(sink, path) => {
                sink.finish(profile)?;
                let text = format!("wrote {} with", printable(&path.display().to_string()));
                Ok(Finished { text, path: Some(path), error: None })
            }
            Self::Server(pusher) => {
                let Pushed { text, error } = pusher.finish();
                Ok(Finished { text: format!("{text} with"), path: None, error })
            }
        }
    }
}

/// `NAME-TIME.EXTENSION`, from the program or the pid.
fn default_path(arguments: &RecordArgs, format: Format) -> PathBuf {
    let name = match (arguments.pid.first(), arguments.program.first()) {
        (Some(pid), _) => pid.to_string(),
        (None, Some(program)) => {
            let name = Path::new(program).file_name().map(|name| name.to_string_lossy().into_owned());
            name.unwrap_or_else(|| "profile".to_owned())
        }
        (None, None) => "profile".to_owned(),
    };
    let time = jiff::Zoned::now().strftime("%Y-%m-%dT%H-%M-%S").to_string();
    PathBuf::from(format!("{name}-{time}.{}", format.default_extension()))
}
