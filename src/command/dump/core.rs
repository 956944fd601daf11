//! A core file.

use std::path::Path;

use super::describe::Describer;
use super::inspect::inspect;
use crate::cli::DumpArgs;
use crate::command::attach::note_if_newer;
use crate::command::ending::signal_name;
use crate::command::note;
use crate::core_file::{BinarySources, CoreFile, CoreMemory};
use crate::output::dump::{ProcessDump, ProcessInfo};
use crate::output::printable;
use crate::process::{DescriptorNames, ThreadId};
use crate::sampler::PostMortem;

/// What the process of a core file was doing.
pub(super) fn dump(arguments: &DumpArgs, path: &Path, source: bool) -> anyhow::Result<ProcessDump> {
    let core = CoreFile::open(path)?;
    let sources = BinarySources::new(&core, arguments.exe.as_deref(), arguments.root.as_deref());
    let read = PostMortem::read(&core, &sources)?;
    warn(&core, &read);
    let memory = CoreMemory::new(&core, &sources);
    let call_of = |thread: ThreadId| {
        let known = core.threads().iter().find(|known| known.id == thread)?;
        known.system_call
    };
    let inspection =
        inspect(&memory, &read.runtime, &read.codes, &read.moment, &|thread| call_of(thread.os_id?), arguments.locals);
    let describer = Describer {
        pid: core.pid(),
        moment: &read.moment,
        inspection: &inspection,
        codes: &read.codes,
        native: None,
        memory: &memory,
        descriptors: &NoDescriptors,
        open: &|path| sources.open_file(path),
        name_of: &|thread| read.thread_name(&core, thread).map(str::to_owned),
        native_name_of: &|_| None,
        call_of: &call_of,
        channel_of: &|_| None,
        source,
    };
    let threads = describer.threads();
    let executable = core.executable_mapping().and_then(|mapping| mapping.path.as_deref());
    let info = ProcessInfo {
        pid: core.pid(),
        command_line: core.command_line().join(" "),
        python_version: read.runtime.layout.version.to_string(),
        executable: executable.map(|path| path.display().to_string()).unwrap_or_default(),
        core: Some(path.display().to_string()),
        ended_by: core.signal().map(signal_name),
        ..ProcessInfo::default()
    };
    Ok(ProcessDump { info, threads, deadlocks: inspection.rings })
}

/// A core file does not say what descriptors were open on.
struct NoDescriptors;

impl DescriptorNames for NoDescriptors {
    fn name(&self, _descriptor: i32) -> Option<String> {
        None
    }

    fn watched(&self, _descriptor: i32) -> Vec<i32> {
        vec![]
    }
}

fn warn(core: &CoreFile, read: &PostMortem) {
    for path in &read.other_builds {
        note(&format!(
            "{} is not the file that the process had mapped: its build id is another",
            printable(&path.display().to_string())
        ));
    }
    if let Some((size, expected)) = core.missing_end() {
        note(&format!("the core file is cut off: it has {size} bytes of {expected}"));
    }
    note_if_newer(&read.runtime.layout);
    if read.moment.lost > 0 {
        note(&format!("{} threads could not be read to their ends", read.moment.lost));
    }
}
