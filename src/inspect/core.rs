//! Inspecting the process of a core file.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::describe::Describer;
use super::findings::{GreenletCandidates, Wanted, find};
use super::subject::Subject;
use super::{Details, InspectedProcess};
use crate::core_file::{BinarySources, CoreFile, CoreMemory};
use crate::memory::{Memory, PageCache};
use crate::process::{DescriptorNames, Mapping, SystemCall, ThreadId};
use crate::python::greenlets::GreenletTypes;
use crate::python::layout::Layout;
use crate::python::object::ObjectReader;
use crate::sampler::{
    ASYNCIO_SECTION, MOST_SCANNED, MomentThread, NativeThread, PostMortem, core_section_address, object_mappings,
};

/// What the process of a core file was doing; `read` are its stacks.
pub(crate) fn inspect_core(
    core: &CoreFile,
    sources: &BinarySources,
    read: &PostMortem,
    details: Details,
) -> InspectedProcess {
    let memory = CoreMemory::new(core, sources);
    let asyncio_section = || core_section_address(core, sources, ASYNCIO_SECTION);
    inspect_core_memory(core, sources, CoreRead { memory: &memory, stacks: read }, &asyncio_section, details)
}

/// What is read of a core's process.
#[derive(Clone, Copy)]
pub(crate) struct CoreRead<'read> {
    /// All of its memory.
    pub(crate) memory: &'read dyn Memory,
    /// Its stacks.
    pub(crate) stacks: &'read PostMortem,
}

/// The same with memory that was had in another way; `asyncio_section` finds the section `.AsyncioDebug` in it.
pub(crate) fn inspect_core_memory(
    core: &CoreFile,
    sources: &BinarySources,
    CoreRead { memory, stacks: read }: CoreRead<'_>,
    asyncio_section: &dyn Fn() -> Option<u64>,
    details: Details,
) -> InspectedProcess {
    let subject = CoreSubject { core, sources, read, memory };
    let call_of = |thread: &MomentThread| subject.system_call(thread.os_id?);
    let mappings = core.private_mappings();
    let greenlets = |modules| find_greenlets(&mappings, memory, &read.runtime.layout, modules);
    let wanted = Wanted { details, call_of: &call_of, asyncio_section, greenlets: &greenlets };
    let findings = find(&PageCache::new(&memory), &read.runtime, &read.codes, &read.moment, wanted);
    let describer = Describer {
        subject: &subject,
        moment: &read.moment,
        findings: &findings,
        codes: &read.codes,
        native: None,
        layout: &read.runtime.layout,
        source: details.source,
        loop_time: None,
        mappings: &mappings,
    };
    let (threads, tasks, frames_left_out) = describer.threads_and_tasks();
    InspectedProcess {
        threads,
        tasks,
        frames_left_out,
        deadlocks: findings.deadlocks,
        lost_threads: read.moment.lost,
        read_at: None,
        stopped_for: Duration::ZERO,
    }
}

/// What may be greenlets; `None` where greenlet was not imported.
fn find_greenlets(
    mappings: &[Mapping],
    memory: &dyn Memory,
    layout: &Layout,
    modules: u64,
) -> Option<GreenletCandidates> {
    let objects = ObjectReader::new(&memory, layout);
    let types = match GreenletTypes::find(objects, modules).transpose()? {
        Ok(types) => types,
        Err(error) => return Some(Err(error)),
    };
    let candidates = types.scan(objects, &object_mappings(mappings), MOST_SCANNED).candidates;
    Some(Ok((types, candidates)))
}

struct CoreSubject<'core> {
    core: &'core CoreFile,
    sources: &'core BinarySources,
    read: &'core PostMortem,
    memory: &'core dyn Memory,
}

impl Subject for CoreSubject<'_> {
    fn memory(&self) -> &dyn Memory {
        self.memory
    }

    fn descriptors(&self) -> &dyn DescriptorNames {
        &NoDescriptors
    }

    fn open_file(&self, path: &Path) -> io::Result<File> {
        self.core.with_rights_of_owner(|| self.sources.open_file(path))
    }

    fn has_file(&self, path: &Path) -> bool {
        self.sources.open_file(path).is_ok()
    }

    fn thread_name(&self, thread: &MomentThread) -> Option<String> {
        self.read.thread_name(self.core, thread).map(str::to_owned)
    }

    fn native_thread_name(&self, _thread: &NativeThread) -> Option<String> {
        None
    }

    fn system_call(&self, thread: ThreadId) -> Option<SystemCall> {
        self.core.threads().iter().find(|known| known.id == thread)?.system_call
    }

    fn asleep_for(&self, _thread: ThreadId) -> Option<Duration> {
        None
    }

    fn wait_channel(&self, _thread: ThreadId) -> Option<String> {
        None
    }
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
