//! Valgrind's callgrind format, for KCachegrind, QCachegrind and `callgrind_annotate`.
//!
//! The one event is µs of wall time. A function's own cost plus that of its calls is the time in which it was on the
//! stack, also when it is recursive: of a stack, each function gets the time once, as its own if it is innermost, else
//! for the call that it made first. What the format calls the number of calls is the number of samples; how often a
//! function was called, sampling cannot know.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use crate::output::Presentation;
use crate::output::functions::{FunctionId, Functions};
use crate::output::heading::subtitle;
use crate::output::place::Places;
use crate::output::text::printable;
use crate::profile::Profile;

/// Writes `profile` in callgrind's format.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write(profile: &Profile, presentation: &Presentation, writer: impl Write) -> io::Result<()> {
    let places = Places::new(profile, presentation);
    let functions = Functions::new(&places);
    let costs = costs(profile, &places, &functions);

    let mut names = Names { files: vec![], functions: vec![false; functions.all.len()] };
    let mut writer = BufWriter::new(writer);
    let command = printable(&profile.metadata.command);
    writeln!(writer, "# callgrind format\nversion: 1\ncreator: pyspy {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(writer, "cmd: {command}\ndesc: Profile: {}", subtitle(profile))?;
    writeln!(writer, "positions: line\nevent: us : Wall time (µs)\nevents: us\nsummary: {}", costs.total_us)?;
    for (function, cost) in &costs.functions {
        writeln!(writer)?;
        names.put(&mut writer, &functions, "", *function)?;
        for (line, self_us) in &cost.own {
            writeln!(writer, "{line} {self_us}")?;
        }
        for ((line, callee), call) in &cost.calls {
            names.put(&mut writer, &functions, "c", *callee)?;
            writeln!(writer, "calls={} {}", call.samples, functions.all[*callee].first_line)?;
            writeln!(writer, "{line} {}", call.inclusive_us)?;
        }
    }
    writeln!(writer, "\ntotals: {}", costs.total_us)?;
    writer.flush()
}

#[derive(Default)]
struct Costs {
    functions: BTreeMap<FunctionId, Cost>,
    total_us: u64,
}

#[derive(Default)]
struct Cost {
    /// µs by line.
    own: BTreeMap<u32, u64>,
    /// By line and called function.
    calls: BTreeMap<(u32, FunctionId), CallCost>,
}

#[derive(Default)]
struct CallCost {
    samples: u64,
    inclusive_us: u64,
}

fn costs(profile: &Profile, places: &Places<'_>, functions: &Functions<'_>) -> Costs {
    let mut costs = Costs::default();
    let mut stack = vec![];
    let mut last_seen = vec![usize::MAX; functions.all.len()];
    for (at, total) in profile.totals().iter().enumerate() {
        places.stack(total.thread, total.stack, &mut stack);
        let Some(innermost) = stack.last() else { continue };
        costs.total_us = costs.total_us.saturating_add(total.weight_us);
        let function = functions.function_of(*innermost);
        last_seen[function] = at;
        let line = places.get(*innermost).line.unwrap_or(0);
        let own = costs.functions.entry(function).or_default().own.entry(line).or_default();
        *own = own.saturating_add(total.weight_us);
        for pair in stack.windows(2) {
            let caller = functions.function_of(pair[0]);
            if std::mem::replace(&mut last_seen[caller], at) == at {
                continue;
            }
            let line = places.get(pair[0]).line.unwrap_or(0);
            let cost = costs.functions.entry(caller).or_default();
            // A cost of nothing in this line: `callgrind_annotate` shows only lines that have a cost of their own.
            cost.own.entry(line).or_default();
            let call = cost.calls.entry((line, functions.function_of(pair[1]))).or_default();
            call.samples = call.samples.saturating_add(total.samples);
            call.inclusive_us = call.inclusive_us.saturating_add(total.weight_us);
        }
    }
    costs
}

/// Names are given once, with a number, and by their number from then on; so no name can be taken for anything else.
struct Names<'places> {
    files: Vec<&'places str>,
    functions: Vec<bool>,
}

impl<'places> Names<'places> {
    fn put(
        &mut self,
        writer: &mut impl Write,
        functions: &Functions<'places>,
        prefix: &str,
        id: FunctionId,
    ) -> io::Result<()> {
        let function = functions.all[id];
        let tag = if prefix.is_empty() { "fl" } else { "cfi" };
        match self.files.iter().position(|file| *file == function.file) {
            Some(at) => writeln!(writer, "{tag}=({})", at + 1)?,
            None => {
                self.files.push(function.file);
                let name = if function.file.is_empty() { "???" } else { function.file };
                writeln!(writer, "{tag}=({}) {name}", self.files.len())?;
            }
        }
        if std::mem::replace(&mut self.functions[id], true) {
            writeln!(writer, "{prefix}fn=({})", id + 1)
        } else {
            writeln!(writer, "{prefix}fn=({}) {}", id + 1, function.name)
        }
    }
}
