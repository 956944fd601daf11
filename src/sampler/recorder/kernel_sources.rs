//! The programs in the kernel that a recording has: one for each version of CPython that was met.

use std::thread::JoinHandle;
use std::time::Duration;

use crate::process::Process;
use crate::python::layout::Layout;
use crate::sampler::kernel::{KeptStacks, KernelTask, Records, RingWaits, Source, Unavailable, Woken};

/// Programs, and those that are being loaded.
#[derive(Debug)]
pub(in crate::sampler) struct KernelSources {
    task: KernelTask,
    /// In the order in which they were loaded.
    pub(super) loaded: Vec<KernelSource>,
    loading: Vec<Loading>,
    waits: RingWaits,
}

/// Samples the processes of one version of CPython.
#[derive(Debug)]
pub(super) struct KernelSource {
    layout: Layout,
    pub(super) source: Source,
    kept: KeptStacks,
    /// Records that found no room in the ring, as counted.
    pub(super) dropped: u64,
    /// The CPU time that records stand for, ns.
    pub(super) recorded_ns: u64,
    /// Samples that count as missed.
    pub(super) missed: u64,
}

impl KernelSource {
    /// Takes all records out of the ring, in place of those that were there.
    pub(super) fn empty_ring(&mut self, records: &mut Records) {
        records.clear();
        let kept = &mut self.kept;
        self.source.empty_ring(&mut |bytes| records.push(bytes, kept));
        self.recorded_ns += records.iter().map(|record| record.times.weight_ns).sum::<u64>();
    }
}

/// One that a thread loads: it takes longer than a short program runs.
#[derive(Debug)]
struct Loading {
    layout: Layout,
    thread: JoinHandle<Result<Source, Unavailable>>,
}

impl KernelSources {
    /// None so far.
    pub(super) fn new(task: KernelTask) -> Self {
        Self { task, loaded: Vec::new(), loading: Vec::new(), waits: RingWaits::new() }
    }

    /// The number of the program for a version, which is loaded if it is not yet there. `None` while that goes on and
    /// is not `waited` for.
    pub(super) fn source_for(&mut self, layout: &Layout, waited: bool) -> Result<Option<usize>, Unavailable> {
        if let Some(index) = self.loaded.iter().position(|known| known.layout == *layout) {
            return Ok(Some(index));
        }
        let source = match self.loading.iter().position(|loading| loading.layout == *layout) {
            Some(index) if waited || self.loading[index].thread.is_finished() => {
                self.loading.swap_remove(index).finish()?
            }
            Some(_) => return Ok(None),
            None if waited => Source::open(layout, self.task)?,
            None => match Loading::start(layout, self.task) {
                Some(loading) => {
                    self.loading.push(loading);
                    return Ok(None);
                }
                None => Source::open(layout, self.task)?,
            },
        };
        self.waits.add(&source);
        let (layout, kept) = (layout.clone(), KeptStacks::default());
        self.loaded.push(KernelSource { layout, source, kept, dropped: 0, recorded_ns: 0, missed: 0 });
        Ok(Some(self.loaded.len() - 1))
    }

    /// Waits until one of them wants its ring to be emptied soon or a process exits, but no longer than `limit`.
    pub(super) fn wait(&self, process: Option<&Process>, limit: Duration) -> Woken {
        self.waits.wait(process, limit)
    }

    /// The CPU time that each has counted, ns.
    pub(super) fn counted_ns(&self) -> impl Iterator<Item = u64> {
        self.loaded.iter().map(|known| known.source.counted_ns())
    }
}

impl Loading {
    /// `None` where there can be no thread.
    fn start(layout: &Layout, task: KernelTask) -> Option<Self> {
        let layout = layout.clone();
        let of_thread = layout.clone();
        let open = move || Source::open(&of_thread, task);
        let thread = std::thread::Builder::new().name("kernel program".to_owned()).spawn(open).ok()?;
        Some(Self { layout, thread })
    }

    /// What has come of it, once it is over.
    fn finish(self) -> Result<Source, Unavailable> {
        let of_panic = |_| Err(Unavailable::Refused { what: "its program", why: "it could not be loaded".to_owned() });
        self.thread.join().unwrap_or_else(of_panic)
    }
}
