//! The program in the kernel: loaded for one version of CPython, with its maps.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{Array, HashMap, MapData, RingBuf};
use aya::programs::{PerfEvent, RawTracePoint};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfError, EbpfLoader};
use flate2::read::DeflateDecoder;

use super::known_codes::{KnownCodes, KnownWords};
use super::layout::LENGTH;
use super::record::{REGISTERS, registers_of};
use super::support::Unavailable;
use super::{BlockState, CodeNews, Contents, KernelTask};
use crate::process::Registers;

/// What `clang` makes of `program.bpf.c`, packed by `build.rs`.
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/program.bpf.o.deflate"));

/// The size of the ring where records have native stacks: a sixteenth of it wakes us, and with all stacks as deep as
/// they can be copied that are 32 records.
const NATIVE_RING: u32 = 1 << 25;
/// From so many bytes on that are in it, it wakes us.
const NATIVE_WAKE_AT: u64 = NATIVE_RING as u64 / 16;

/// Words of `struct process`, in its order: interpreter, GIL holder, GIL locked, collecting, collecting frame, run.
pub(super) type ProcessWords = [u64; 6];

/// Words of `struct thread`, in its order: state, run, period, delay so far, delay of no stack, smaller numbers, and
/// when it was started.
type ThreadWords = [u64; 7];

/// Words of `struct block`, in its order: since when, run, and two times until then.
type BlockWords = [u64; 4];

/// Words of `struct sleeper`, in its order: run, and the registers in the order of the kernel.
type SleeperWords = [u64; 1 + REGISTERS];

/// So many threads can sleep whose registers are known.
const MOST_SLEEPERS: u32 = 16384;

/// The loaded program. It leaves the kernel with this.
pub(super) struct Program {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    processes: HashMap<MapData, u32, ProcessWords>,
    threads: HashMap<MapData, u32, ThreadWords>,
    blocks: HashMap<MapData, u32, BlockWords>,
    sleepers: HashMap<MapData, u32, SleeperWords>,
    codes: Array<MapData, KnownWords>,
    counters: Array<MapData, [u64; 4]>,
    known: KnownCodes,
    has_news: bool,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Program").finish_non_exhaustive()
    }
}

impl Program {
    /// Loads the program for a version. `frame_is_entry` says where frames of this version say that they were entered
    /// from C.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(super) fn load(layout: &[u32; LENGTH], task: KernelTask, frame_is_entry: u32) -> Result<Self, Unavailable> {
        let (contents, interrupts) = match task {
            KernelTask::Samples { contents, .. } => (contents, task.interrupts_a_sample()),
            KernelTask::Blocks => (Contents::default(), 1),
        };
        let cpus = nr_cpus().map_err(|(_, error)| Unavailable::refused("to count its CPUs", &error))?;
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
        let mut loader = EbpfLoader::new();
        let mut loader = loader
            .override_global("layout", layout, true)
            .override_global("interrupts_a_sample", &interrupts, true)
            .map_max_entries("scratches", cpus);
        if !contents.native {
            loader = loader.map_max_entries("bases", cpus);
        }
        if contents.kernel {
            loader = loader.override_global("records_kernel", &1_u32, true);
        }
        if contents.of_stateless {
            loader = loader.override_global("records_stateless", &1_u32, true);
        }
        if contents.native {
            loader = loader
                .override_global("stack_bound", &Contents::MOST_STACK, true)
                .override_global("frame_is_entry", &frame_is_entry, true)
                .override_global("wake_at", &NATIVE_WAKE_AT, true)
                .map_max_entries("records", NATIVE_RING);
        }
        if contents.of_sleeping {
            loader = loader.override_global("keeps_registers", &1_u32, true).map_max_entries("sleepers", MOST_SLEEPERS);
        }
        let mut object = Vec::new();
        let unpacked = DeflateDecoder::new(PACKED).read_to_end(&mut object);
        unpacked.map_err(|error| Unavailable::refused("to unpack its program", &error))?;
        let mut ebpf = loader.load(&object).map_err(|error| refused("the maps of its program", &error))?;
        let names = ["records", "processes", "threads", "blocks", "sleepers", "codes", "counters"];
        let [ring, processes, threads, blocks, sleepers, codes, counters] = names.map(|name| {
            ebpf.take_map(name).ok_or(Unavailable::Refused { what: "a map", why: "the program lacks it".to_owned() })
        });
        let maps = "the maps of its program";
        let mut program = Self {
            ring: RingBuf::try_from(ring?).map_err(|error| refused(maps, &error.into()))?,
            processes: HashMap::try_from(processes?).map_err(|error| refused(maps, &error.into()))?,
            threads: HashMap::try_from(threads?).map_err(|error| refused(maps, &error.into()))?,
            blocks: HashMap::try_from(blocks?).map_err(|error| refused(maps, &error.into()))?,
            sleepers: HashMap::try_from(sleepers?).map_err(|error| refused(maps, &error.into()))?,
            codes: Array::try_from(codes?).map_err(|error| refused(maps, &error.into()))?,
            counters: Array::try_from(counters?).map_err(|error| refused(maps, &error.into()))?,
            ebpf,
            known: KnownCodes::default(),
            has_news: false,
        };
        let started = match task {
            KernelTask::Samples { .. } => program.start(),
            KernelTask::Blocks => program.start_blocks(),
        };
        started.map_err(|error| refused("its program", &error))?;
        Ok(program)
    }

    fn start(&mut self) -> Result<(), EbpfError> {
        let sample = self.ebpf.program_mut("sample_running").ok_or_else(|| lacks("sample_running"))?;
        let sample: &mut PerfEvent = sample.try_into()?;
        sample.load()?;
        self.start_at("tell_of_exec", "sched_process_exec")?;
        self.start_at("leave_cpu", "sched_switch")
    }

    /// Those that tell of blocks, the one first that ends them: a block without an end would last for ever.
    fn start_blocks(&mut self) -> Result<(), EbpfError> {
        self.start_at("tell_of_exec", "sched_process_exec")?;
        self.start_at("end_block", "sched_wakeup")?;
        self.start_at("begin_block", "sched_switch")
    }

    fn start_at(&mut self, name: &'static str, tracepoint: &str) -> Result<(), EbpfError> {
        let part = self.ebpf.program_mut(name).ok_or_else(|| lacks(name))?;
        let part: &mut RawTracePoint = part.try_into()?;
        part.load()?;
        part.attach(tracepoint)?;
        Ok(())
    }

    /// What is known of whether a thread is blocked, in this run of a program.
    pub(super) fn block_state(&self, thread: u32, run: u64) -> BlockState {
        match self.blocks.get(&thread, 0) {
            Ok([0, of_run, ..]) if of_run == run => BlockState::Woken,
            Ok([since_ns, of_run, ..]) if of_run == run => BlockState::Since(since_ns),
            Ok(_) | Err(_) => BlockState::SinceBefore,
        }
    }

    /// With which registers a thread went to sleep the last time, in this run of a program.
    pub(super) fn registers_asleep(&self, thread: u32, run: u64) -> Option<Registers> {
        let [of_run, words @ ..] = self.sleepers.get(&thread, 0).ok()?;
        (of_run == run).then(|| registers_of(|number| words[number]))
    }

    /// The part of it that events run.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.ebpf.program("sample_running")?.fd().ok()?.as_fd())
    }

    /// The ring: readable when it is to be emptied soon.
    pub(super) fn ring_descriptor(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Takes all records out of the ring.
    pub(super) fn empty_ring(&mut self, take_record: &mut dyn FnMut(&[u8])) {
        while let Some(record) = self.ring.next() {
            take_record(&record);
        }
    }

    /// Has a thread of a process that is added next begin with this time for which it has waited for a CPU in all its
    /// life: what is more when it is seen first, it has waited since.
    pub(super) fn begin_thread(&mut self, thread: u32, run: u64, run_delay_ns: u64) {
        if let Err(error) = self.threads.insert(thread, [0, run, 0, run_delay_ns, 0, 0, 0], 0) {
            log::debug!("thread {thread} is known to the program in the kernel only when it runs: {error}");
        }
    }

    /// From now on threads of a process are sampled that have an event.
    pub(super) fn add_process(&mut self, pid: u32, words: ProcessWords) -> Result<(), Unavailable> {
        let added = self.processes.insert(pid, words, 0);
        added.map_err(|error| refused("another process", &error.into()))
    }

    /// No more.
    pub(super) fn remove_process(&mut self, pid: u32) {
        if let Err(error) = self.processes.remove(&pid) {
            log::debug!("process {pid} was not known to the program in the kernel: {error}");
        }
    }

    /// Tells it of the code of a process; it hears of it with [`Self::publish`].
    pub(super) fn note_code(&mut self, pid: u32, news: CodeNews) {
        self.known.note(pid, news);
        self.has_news = true;
    }

    /// Has the kernel know what was noted.
    pub(super) fn publish(&mut self) {
        if std::mem::take(&mut self.has_news)
            && let Err(error) = self.codes.set(0, self.known.words(), 0)
        {
            log::debug!("the program in the kernel does not hear of code: {error}");
        }
    }

    /// How many records found no room in the ring.
    pub(super) fn dropped(&self) -> u64 {
        self.counters.get(&0, 0).map_or(0, |[dropped, ..]| dropped)
    }

    /// How many samples were of threads without a thread state.
    pub(super) fn stateless(&self) -> u64 {
        self.counters.get(&0, 0).map_or(0, |[_, stateless, ..]| stateless)
    }

    /// How many threads it has met that have come since their process was added.
    pub(super) fn threads_met(&self) -> u64 {
        self.counters.get(&0, 0).map_or(0, |[.., threads]| threads)
    }
}

fn lacks(part: &'static str) -> EbpfError {
    EbpfError::FileError { path: part.into(), error: io::Error::other("the program has no such part") }
}

fn refused(what: &'static str, error: &EbpfError) -> Unavailable {
    log::debug!("{error:?}");
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Unavailable::refused(what, error);
        }
        source = error.source();
    }
    Unavailable::Refused { what, why: error.to_string() }
}
