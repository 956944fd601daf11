//! What Python's own profilers save: a marshalled dictionary, for `pstats.Stats`, snakeviz, gprof2dot and tuna.
//!
//! Functions are named by file, first line and name, as cProfile does. Times are seconds. Where cProfile counts calls
//! there are samples: how often a function was called, sampling cannot know.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use crate::output::Presentation;
use crate::output::functions::{Function, FunctionId, Functions};
use crate::output::place::Places;
use crate::profile::{Profile, Total};

/// Writes `profile` as `pstats.Stats` reads it.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write(profile: &Profile, presentation: &Presentation, writer: impl Write) -> io::Result<()> {
    let places = Places::new(profile, presentation);
    let functions = Functions::new(&places);
    let times = times(profile, &places, &functions);

    // Marshal's version 0 types, which every Python reads: `{` dictionary up to `0`, `(` tuple with its length, `u`
    // text, `i` 32-bit integer, `g` double (Python/marshal.c).
    let mut out = Marshal { writer: BufWriter::new(writer) };
    out.put(b"{")?;
    for (function, time) in &times {
        out.function(functions.all[*function])?;
        out.tuple(5)?;
        out.count(time.all.samples)?;
        out.count(time.all.samples)?;
        out.seconds(time.all.own_us)?;
        out.seconds(time.all.inclusive_us)?;
        out.put(b"{")?;
        for (caller, time) in &time.by_caller {
            out.function(functions.all[*caller])?;
            out.tuple(4)?;
            out.count(time.samples)?;
            out.count(time.samples)?;
            out.seconds(time.own_us)?;
            out.seconds(time.inclusive_us)?;
        }
        out.put(b"0")?;
    }
    out.put(b"0")?;
    out.writer.flush()
}

#[derive(Default)]
struct Times {
    all: Time,
    by_caller: BTreeMap<FunctionId, Time>,
}

#[derive(Default)]
struct Time {
    samples: u64,
    own_us: u64,
    inclusive_us: u64,
    /// The last stack that was counted, so that recursion counts once.
    last_stack: Option<usize>,
}

impl Time {
    fn add(&mut self, at: usize, total: &Total, is_innermost: bool) {
        if is_innermost {
            self.own_us = self.own_us.saturating_add(total.weight_us);
        }
        if self.last_stack.replace(at) != Some(at) {
            self.samples = self.samples.saturating_add(total.samples);
            self.inclusive_us = self.inclusive_us.saturating_add(total.weight_us);
        }
    }
}

fn times(profile: &Profile, places: &Places<'_>, functions: &Functions<'_>) -> BTreeMap<FunctionId, Times> {
    let mut times: BTreeMap<FunctionId, Times> = BTreeMap::new();
    let mut stack = vec![];
    for (at, total) in profile.totals().iter().enumerate() {
        places.stack(total.thread, total.stack, &mut stack);
        let mut caller = None;
        for (depth, place) in stack.iter().enumerate() {
            let function = functions.function_of(*place);
            let is_innermost = depth + 1 == stack.len();
            let time = times.entry(function).or_default();
            time.all.add(at, total, is_innermost);
            if let Some(caller) = caller.replace(function) {
                time.by_caller.entry(caller).or_default().add(at, total, is_innermost);
            }
        }
    }
    times
}

struct Marshal<W: Write> {
    writer: BufWriter<W>,
}

impl<W: Write> Marshal<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    fn tuple(&mut self, length: i32) -> io::Result<()> {
        self.put(b"(")?;
        self.put(&length.to_le_bytes())
    }

    fn integer(&mut self, number: i32) -> io::Result<()> {
        self.put(b"i")?;
        self.put(&number.to_le_bytes())
    }

    fn count(&mut self, count: u64) -> io::Result<()> {
        self.integer(i32::try_from(count).unwrap_or(i32::MAX))
    }

    fn seconds(&mut self, us: u64) -> io::Result<()> {
        self.put(b"g")?;
        self.put(&(us as f64 / 1e6).to_le_bytes())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.put(b"u")?;
        // A text of the profile is never longer than a few kB.
        self.put(&i32::try_from(text.len()).unwrap_or(i32::MAX).to_le_bytes())?;
        self.put(text.as_bytes())
    }

    /// (file, line, name); what has no file has `~`, which `pstats` prints as `{name}`.
    fn function(&mut self, function: Function<'_>) -> io::Result<()> {
        self.tuple(3)?;
        self.text(if function.file.is_empty() { "~" } else { function.file })?;
        self.integer(i32::try_from(function.first_line).unwrap_or(i32::MAX))?;
        self.text(function.name)
    }
}
