//! A core file.

use std::path::Path;

use super::document::process_dump;
use super::live::note_frames_left_out;
use crate::cli::DumpArgs;
use crate::command::shared::attach::note_if_newer;
use crate::command::shared::program_ending::signal_name;
use crate::command::shared::standard_streams::print_note;
use crate::core_file::{BinarySources, CoreFile};
use crate::inspect::{Details, inspect_core};
use crate::output::dump::{ProcessDump, ProcessInfo};
use crate::output::printable;
use crate::sampler::{PostMortem, title};

/// What the process of a core file was doing.
pub(super) fn dump_core(arguments: &DumpArgs, path: &Path, details: Details) -> anyhow::Result<ProcessDump> {
    let core = CoreFile::open(path)?;
    let sources = BinarySources::new(&core, arguments.exe.as_deref(), arguments.root.as_deref());
    let read = PostMortem::read(&core, &sources)?;
    note_what_is_missing(&core, &read);
    let inspected = inspect_core(&core, &sources, &read, details);
    note_frames_left_out(inspected.frames_left_out);
    let executable = core.executable_mapping().and_then(|mapping| mapping.path.as_deref());
    let info = ProcessInfo {
        pid: core.pid(),
        command_line: title(&core.command_line().join(" ")),
        python_version: read.runtime.layout.version.to_string(),
        executable: executable.map(|path| path.display().to_string()).unwrap_or_default(),
        core: Some(path.display().to_string()),
        ended_by: core.signal().map(signal_name),
        ..ProcessInfo::default()
    };
    Ok(process_dump(inspected, info))
}

fn note_what_is_missing(core: &CoreFile, read: &PostMortem) {
    for path in &read.other_builds {
        print_note(&format!(
            "{} is not the file that the process had mapped: its build id is another",
            printable(&path.display().to_string())
        ));
    }
    if let Some((size, expected)) = core.missing_end() {
        print_note(&format!("the core file is cut off: it has {size} bytes of {expected}"));
    }
    note_if_newer(&read.runtime.layout);
    if read.moment.lost > 0 {
        print_note(&format!("{} threads could not be read to their ends", read.moment.lost));
    }
}
