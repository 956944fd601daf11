//! `w`: what was collected, as a file of any format of `record`.

use std::path::Path;

use anyhow::bail;

use crate::command::shared::output_file::OutputFile;
use crate::output::{Format, Presentation, no_source};
use crate::tui::State;

/// Writes what is shown to a file whose name tells the format; what there is to say of it.
pub(super) fn write(state: &State, path: &Path) -> anyhow::Result<String> {
    let Some(format) = Format::from_suffix(&path.to_string_lossy()) else {
        bail!("which format? {}", Format::ALL.map(Format::suffix).join(" "));
    };
    let mut profile = state.data.profile.without_samples();
    for total in state.data.shown().all.iter().filter(|total| state.selection.wants(total)) {
        profile.add_total(*total);
    }
    let first = profile.processes().next().map(|(_, process)| process.clone()).unwrap_or_default();
    let command = profile.text(first.command_line).to_owned();
    let metadata = &mut profile.metadata;
    metadata.command = command;
    metadata.pid = first.pid;
    metadata.duration_us = state.data.shown().all_us;
    metadata.rate_asked = f64::from(state.data.facts.rate_asked);
    metadata.rate_held = state.data.facts.rate_held;
    metadata.filters.gil_only = state.selection.gil_only;
    metadata.filters.idle = state.selection.idle;
    metadata.filters.below.clone_from(&state.settings.below);
    let presentation = Presentation {
        full_file_names: state.selection.full_file_names,
        threads: state.selection.per_thread,
        processes: profile.processes().count() > 1,
        ..Presentation::default()
    };
    let name = path.to_string_lossy();
    OutputFile::create(path)?.finish(|writer| format.write(&profile, &presentation, &no_source, &name, writer))?;
    // What is kept are sums; where a format has an order in time, it is one that never was.
    let note = match format {
        Format::Pyspy => "",
        _ if format.needs_timeline() => "; what was when is not kept by top",
        _ => "",
    };
    Ok(format!("wrote {}{note}", path.display()))
}
