//! What a profile says in a few numbers: the kinds of time, the functions that took most, the heaviest paths, threads,
//! and what is doubtful. The formats `summary`, `markdown` and `summary-json` show it.

mod doubts;
mod paths;

use serde::Serialize;

use super::color::MEANINGS;
use super::functions::Functions;
use super::heading::{subtitle, title};
use super::place::{Origin, Places, sampled_threads, thread_name, thread_number};
use super::sort::sort_by_key;
use super::source_text::{SourceFiles, SourceText};
use super::stack_sums::StackSums;
use super::text::shortened;
use super::{Lines, Presentation};
use crate::profile::{Flags, Profile};
pub(in crate::output) use doubts::doubts;

/// Functions, paths and threads that are named.
const MOST_FUNCTIONS: usize = 12;
const MOST_PATHS: usize = 5;
const MOST_THREADS: usize = 8;
/// The longest name or line of source, in characters.
const LONGEST: usize = 200;

/// A profile in a few numbers. All texts are [`printable`](super::printable).
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// The commands.
    pub(super) title: String,
    /// Pids, rate, samples and duration, in words.
    pub(super) about: String,
    /// `seconds`, or `samples` where no time is known.
    pub(super) unit: &'static str,
    /// All time of all threads.
    pub(super) total: f64,
    /// How many samples that was.
    pub(super) samples: u64,
    /// How long the recording took, in seconds; 0 when not known.
    pub(super) duration_seconds: f64,
    /// Samples a second, asked for and held; 0 when not known.
    pub(super) rate_asked: f64,
    pub(super) rate_held: f64,
    /// By whose code was innermost.
    pub(super) kinds: Vec<Part>,
    /// By what threads did: running, idle, holding the GIL; these overlap.
    pub(super) states: Vec<Part>,
    /// Those that took most themselves.
    pub(super) functions: Vec<FunctionPart>,
    /// How many there are in all.
    pub(super) function_count: usize,
    /// The stacks of functions that took most.
    pub(super) paths: Vec<PathPart>,
    /// The threads that took most.
    pub(super) threads: Vec<ThreadPart>,
    /// How many there are in all.
    pub(super) thread_count: usize,
    /// What the numbers do not say, a sentence each.
    pub(super) doubts: Vec<String>,
}

/// A time, and its share of all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Amount {
    /// In the summary's unit.
    pub(super) time: f64,
    /// Of 1.
    pub(super) share: f64,
}

/// A time with a name.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    pub(super) name: &'static str,
    #[serde(flatten)]
    pub(super) amount: Amount,
}

/// What a function took.
#[derive(Debug, Serialize)]
pub(super) struct FunctionPart {
    pub(super) name: String,
    /// As frames show it.
    pub(super) file: String,
    /// 0 when not known.
    pub(super) first_line: u32,
    /// While it was innermost.
    pub(super) own: Amount,
    /// With all that it called; recursion counts once.
    pub(super) total: Amount,
    /// The line at which most of its own time was spent, or of the total where it has none of its own.
    pub(super) hottest: Option<HotLine>,
}

/// A line of a function.
#[derive(Debug, Serialize)]
pub(super) struct HotLine {
    pub(super) line: u32,
    pub(super) own: Amount,
    pub(super) total: Amount,
    /// Its text, where the file was found.
    pub(super) source: Option<String>,
}

/// A stack of functions.
#[derive(Debug, Serialize)]
pub(super) struct PathPart {
    /// `name (file)`, outermost first.
    pub(super) frames: Vec<String>,
    /// The names alone.
    #[serde(skip)]
    pub(super) names: Vec<String>,
    /// The time in which it was just these.
    #[serde(flatten)]
    pub(super) amount: Amount,
}

/// What a thread took.
#[derive(Debug, Serialize)]
pub(super) struct ThreadPart {
    pub(super) pid: u32,
    pub(super) thread: String,
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) amount: Amount,
}

impl FunctionPart {
    /// `name (file:line)` with its hottest line.
    pub(super) fn label(&self) -> String {
        let line = self.hottest.as_ref().map_or(self.first_line, |hottest| hottest.line);
        match (self.file.as_str(), line) {
            ("", _) => self.name.clone(),
            (file, 0) => format!("{} ({file})", self.name),
            (file, line) => format!("{} ({file}:{line})", self.name),
        }
    }
}

impl PathPart {
    /// The innermost frame with its file and as many above as there is room for, in characters; how many are between
    /// these and the outermost.
    pub(super) fn text(&self, room: usize) -> String {
        const BETWEEN: &str = " > ";
        let (Some(outermost), Some(innermost)) = (self.names.first(), self.frames.last()) else { return String::new() };
        if self.names.len() == 1 {
            return innermost.clone();
        }
        let length = |text: &str| text.chars().count() + BETWEEN.len();
        let mut left = room.saturating_sub(length(outermost) + length(innermost) + "… 9999 more".len());
        let above = &self.names[1..self.names.len() - 1];
        let fitting = above.iter().rev().take_while(|name| {
            let fits = length(name) <= left;
            left = left.saturating_sub(length(name));
            fits
        });
        let named = fitting.count();
        let more = above.len() - named;
        let more = (more > 0).then(|| format!("… {more} more"));
        let named = above[above.len() - named..].iter().cloned();
        let parts = std::iter::once(outermost.clone()).chain(more).chain(named).chain([innermost.clone()]);
        parts.collect::<Vec<_>>().join(BETWEEN)
    }
}

impl ThreadPart {
    /// `NAME, thread 7 of process 5`.
    pub(super) fn label(&self) -> String {
        match (self.pid, self.thread.as_str()) {
            (0, _) => self.name.clone(),
            (pid, thread) => format!("{}, thread {thread} of process {pid}", self.name),
        }
    }
}

/// Turns µs into the unit of a profile, and shares.
#[derive(Debug, Clone, Copy)]
struct Scale {
    whole_us: u64,
    us_per_unit: f64,
}

impl Scale {
    fn of(profile: &Profile) -> Self {
        let us_per_unit = if profile.metadata.is_time_known() { 1e6 } else { 1e3 };
        Self { whole_us: profile.sum().weight_us, us_per_unit }
    }

    fn amount(&self, us: u64) -> Amount {
        Amount { time: us as f64 / self.us_per_unit, share: us as f64 / self.whole_us.max(1) as f64 }
    }
}

impl Summary {
    pub(super) fn new(profile: &Profile, presentation: &Presentation, sources: &SourceText<'_>) -> Self {
        let presentation = Presentation {
            lines: Lines::Current,
            full_file_names: presentation.full_file_names,
            ..Presentation::default()
        };
        let places = Places::new(profile, &presentation);
        let functions = Functions::new(&places);
        let sums = StackSums::new(profile, &places, &functions);
        let scale = Scale::of(profile);
        let mut sources = SourceFiles::new(sources);
        let metadata = &profile.metadata;
        let named = named_functions(&sums, &places, &functions, scale, &mut sources);
        let (threads, thread_count) = named_threads(profile, scale);
        Self {
            title: title(profile),
            about: subtitle(profile),
            unit: if metadata.is_time_known() { "seconds" } else { "samples" },
            total: scale.amount(scale.whole_us).time,
            samples: profile.sum().samples,
            duration_seconds: metadata.duration_us as f64 / 1e6,
            rate_asked: metadata.rate_asked,
            rate_held: metadata.rate_held,
            kinds: kinds(&sums, &places, scale),
            states: states(profile, scale),
            function_count: sums.functions.iter().filter(|function| function.total_us > 0).count(),
            functions: named,
            paths: paths::heaviest(&sums, &functions, &places, scale, MOST_PATHS),
            threads,
            thread_count,
            doubts: doubts(profile),
        }
    }
}

/// By whose code was innermost, the largest first.
fn kinds(sums: &StackSums, places: &Places<'_>, scale: Scale) -> Vec<Part> {
    let mut times: Vec<(u64, &'static str)> = MEANINGS
        .into_iter()
        .map(|(origin, meaning)| {
            let own = sums.own_us.iter().enumerate().filter(|(place, _)| places.get(*place).origin == origin);
            let bare = if origin == Origin::Marker { sums.bare_us } else { 0 };
            (own.fold(bare, |sum, (_, us)| sum.saturating_add(*us)), meaning)
        })
        .filter(|(us, _)| *us > 0)
        .collect();
    sort_by_key(&mut times, |(us, _)| std::cmp::Reverse(*us));
    times.into_iter().map(|(us, name)| Part { name, amount: scale.amount(us) }).collect()
}

/// What threads did, where it is known.
fn states(profile: &Profile, scale: Scale) -> Vec<Part> {
    if !profile.metadata.is_time_known() {
        return vec![];
    }
    let sum = |wanted: Flags| profile.sum_where(|flags| flags.contains(wanted)).weight_us;
    let running = sum(Flags::ACTIVE);
    let all = [
        ("running", running),
        ("idle", scale.whole_us.saturating_sub(running)),
        ("holding the GIL", sum(Flags::GIL)),
        ("collecting garbage", sum(Flags::GC)),
    ];
    let seen = all.into_iter().filter(|(_, us)| *us > 0);
    seen.map(|(name, us)| Part { name, amount: scale.amount(us) }).collect()
}

fn named_functions(
    sums: &StackSums,
    places: &Places<'_>,
    functions: &Functions<'_>,
    scale: Scale,
    sources: &mut SourceFiles<'_>,
) -> Vec<FunctionPart> {
    let mut order: Vec<usize> = (0..functions.all.len()).filter(|id| sums.functions[*id].total_us > 0).collect();
    sort_by_key(&mut order, |id| {
        let (sum, function) = (&sums.functions[*id], &functions.all[*id]);
        (std::cmp::Reverse((sum.own_us, sum.total_us)), function.name, function.file, function.first_line)
    });
    order.truncate(MOST_FUNCTIONS);
    let mut hottest: Vec<Option<usize>> = vec![None; functions.all.len()];
    let heat = |place: usize| (sums.own_us[place], sums.at_line_us[place]);
    for place in 0..places.all().len() {
        let best = &mut hottest[functions.function_of(place)];
        // The first of equals.
        if heat(place) > (0, 0) && best.is_none_or(|best| heat(best) < heat(place)) {
            *best = Some(place);
        }
    }
    let part = |id: usize| {
        let (sum, function) = (&sums.functions[id], &functions.all[id]);
        let hot = hottest[id].filter(|place| places.get(*place).line.is_some_and(|line| line != 0));
        let hottest_line = hot.map(|place| {
            let line = places.get(place).line.unwrap_or(0);
            let source = sources.line(function.file, line);
            let source = source.map(|text| shortened(&text, LONGEST).into_owned());
            HotLine { line, own: scale.amount(sums.own_us[place]), total: scale.amount(sums.at_line_us[place]), source }
        });
        let any = hottest[id].map(|place| places.get(place).shown_file.as_str()).unwrap_or(function.file);
        FunctionPart {
            name: shortened(function.name.trim(), LONGEST).into_owned(),
            file: shortened(any, LONGEST).into_owned(),
            first_line: function.first_line,
            own: scale.amount(sum.own_us),
            total: scale.amount(sum.total_us),
            hottest: hottest_line,
        }
    };
    order.into_iter().map(part).collect()
}

/// The threads that took most, and how many there are.
fn named_threads(profile: &Profile, scale: Scale) -> (Vec<ThreadPart>, usize) {
    let time = |thread| profile.sum_of(thread).unwrap_or_default().weight_us;
    let mut threads = sampled_threads(profile);
    let count = threads.len();
    sort_by_key(&mut threads, |thread| std::cmp::Reverse(time(*thread)));
    threads.truncate(MOST_THREADS);
    let part = |id: crate::profile::ThreadRef| {
        let thread = profile.thread(id);
        ThreadPart {
            pid: profile.process(thread.process).pid,
            thread: thread_number(thread),
            name: shortened(&thread_name(profile, thread), LONGEST).into_owned(),
            amount: scale.amount(time(id)),
        }
    };
    (threads.into_iter().map(part).collect(), count)
}

#[cfg(test)]
mod tests;
