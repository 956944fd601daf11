//! The crate's face for programs that look into Python processes themselves.
//!
//! [`Profiler::attach`] opens a process; [`Profiler::stacks`] says what its threads are doing at this moment,
//! [`Profiler::record`] samples it for some time. Nothing is written to that process, and a thread of it is stopped
//! only where its stack cannot be read consistently while it runs, for some microseconds. It takes the permission that
//! the program `pyspy` needs too: to be root, or the same user with the right to trace.
//!
//! ```no_run
//! use std::fs::File;
//! use std::time::Duration;
//!
//! use pyspy::embed::{Format, Options, Profiler};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut profiler = Profiler::attach(4711)?;
//! for thread in profiler.stacks()? {
//!     println!("{}", thread.name.as_deref().unwrap_or("a thread without a name"));
//!     for frame in &thread.frames {
//!         println!("    {} ({}:{})", frame.function, frame.file, frame.line.unwrap_or(0));
//!     }
//! }
//! let recording = profiler.record(Duration::from_secs(10), &Options::default())?;
//! recording.write(Format::Flamegraph, File::create("profile.svg")?)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//! A profiler stays on the thread that made it, as the kernel knows who may stop a thread by thread. It starts no
//! program and reads no native frames, locals and core files; the program `pyspy` does. [`Profiler::record`] raises the
//! limit of open files of the calling process, and has its thread's sleeps end on time.

mod error;

use std::io::{self, Write};
use std::time::Duration;

pub use error::Error;

pub use crate::output::Format;
use crate::output::{Presentation, no_source};
use crate::process::Process;
use crate::profile::{Keep, Profile};
use crate::sampler::{
    self, Ending, Filter, Finder, Moment, MomentThread, PATIENCE_RUNNING, Pausing, ProcessOptions, ProcessSampler,
    RecordOptions, Roots, SampleError,
};

/// How often a moment that could not be read is tried again.
const TRIES: u32 = 20;
/// Between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(10);
/// The highest rate in Hz, as of the program.
const HIGHEST_RATE: u32 = 1_000_000;

/// A thread that Python knows, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thread {
    /// The system's number of it, as our side of a pid namespace has it; `None` where that cannot be told.
    pub id: Option<u64>,
    /// `threading.Thread.ident`.
    pub python_id: u64,
    /// As `threading` names it, else the kernel.
    pub name: Option<String>,
    /// It was on a CPU or waiting for one.
    pub is_active: bool,
    /// It held the GIL of its interpreter; `false` where there is none.
    pub holds_gil: bool,
    /// What it ran, newest first. Empty where it runs no Python code at this moment.
    pub frames: Vec<Frame>,
}

/// A call of a Python function.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// The function's `__qualname__` (3.11 and later), else its name. It comes from the target and can hold anything.
    pub function: String,
    /// `co_filename`, as the target has it.
    pub file: String,
    /// The line that it is at; `None` where its code has no line.
    pub line: Option<u32>,
}

/// How to record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Samples a second, 1 to 1,000,000; 100 unless changed.
    pub rate: u32,
    /// Count threads that wait, too; by default only those that run.
    pub idle: bool,
    /// Record all processes below this one, too.
    pub subprocesses: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { rate: 100, idle: false, subprocesses: false }
    }
}

/// A Python process that is read.
#[derive(Debug)]
pub struct Profiler {
    finder: Finder,
    sampler: ProcessSampler,
}

impl Profiler {
    /// Opens a process, and waits up to a second and a half for its interpreter to be up.
    ///
    /// # Errors
    /// When there is no such process, it may not be read, or no interpreter that can be read is in it.
    pub fn attach(pid: i32) -> Result<Self, Error> {
        let mut finder = Finder::new();
        let sampler = find_interpreter(&mut finder, Process::open(pid)?)?;
        Ok(Self { finder, sampler })
    }

    /// The version of its Python: `3.13.1`.
    pub fn python_version(&self) -> String {
        self.sampler.runtime().layout.version.to_string()
    }

    /// What its threads are doing. What cannot be read consistently is tried again some times; a thread for which that
    /// did not help is missing.
    ///
    /// # Errors
    /// When the process has exited, or cannot be read.
    pub fn stacks(&mut self) -> Result<Vec<Thread>, Error> {
        let mut moment = Moment::default();
        for tries_left in (0..TRIES).rev() {
            match self.sampler.sample(Pausing::Adaptive, &mut moment) {
                Ok(()) if moment.lost == 0 || tries_left == 0 => break,
                Err(SampleError::Exec) if tries_left > 0 => {
                    self.sampler = find_interpreter(&mut self.finder, self.sampler.process().clone())?;
                }
                Err(error) if tries_left == 0 || !matches!(error, SampleError::Unreadable(_)) => {
                    return Err(error.into());
                }
                Ok(()) | Err(_) => std::thread::sleep(BETWEEN_TRIES),
            }
        }
        let existing = moment.threads.iter().filter(|thread| thread.exists);
        Ok(existing.map(|thread| self.describe(&moment, thread)).collect())
    }

    fn describe(&self, moment: &Moment, thread: &MomentThread) -> Thread {
        let frames = moment.frames_of(thread).iter().map(|frame| {
            let code = self.sampler.codes().get(frame.code);
            let line = Some(frame.line).filter(|line| *line > 0);
            Frame { function: code.name.clone(), file: code.filename.clone(), line }
        });
        Thread {
            id: thread.os_id,
            python_id: thread.stack.thread_id,
            name: self.sampler.thread_name(thread).map(str::to_owned),
            is_active: thread.active,
            holds_gil: thread.stack.holds_gil,
            frames: frames.collect(),
        }
    }

    /// Samples the process for some time, or until it exits. Returns when that is over.
    ///
    /// # Errors
    /// When it could not be read at all in that time.
    pub fn record(&mut self, duration: Duration, options: &Options) -> Result<Recording, Error> {
        let options = RecordOptions {
            rate: options.rate.clamp(1, HIGHEST_RATE),
            duration: Some(duration),
            filter: Filter { idle: options.idle, ..Filter::default() },
            // Without it some formats could not be written.
            keep: Keep { timeline: true, journal: false },
            processes: ProcessOptions { subprocesses: options.subprocesses, ..ProcessOptions::default() },
            ..RecordOptions::default()
        };
        let roots = Roots { processes: vec![self.sampler.process().clone()], orphans: None };
        let recorded = sampler::record(roots, &mut self.finder, &options, &mut |_, _| true);
        match recorded.ending {
            Ending::Lost(reason) if recorded.ticks == 0 => Err(Error::Unreadable(reason.into())),
            Ending::Exited if recorded.ticks == 0 => Err(Error::Exited),
            _ => Ok(Recording { profile: recorded.profile }),
        }
    }
}

fn find_interpreter(finder: &mut Finder, process: Process) -> Result<ProcessSampler, Error> {
    let attached = finder.attach(&process, None, PATIENCE_RUNNING, &|| false)?;
    Ok(ProcessSampler::new(process, attached))
}

/// What was sampled.
#[derive(Debug)]
pub struct Recording {
    profile: Profile,
}

impl Recording {
    /// How many samples of threads it holds.
    pub fn samples(&self) -> u64 {
        self.profile.metadata.counts.taken
    }

    /// How many samples could not be had: their threads' stacks moved too fast, or were in flux.
    pub fn lost(&self) -> u64 {
        self.profile.metadata.counts.lost
    }

    /// Writes it in one of the formats of `pyspy record`, with the names of frames as there.
    ///
    /// # Errors
    /// When `writer` fails.
    pub fn write(&self, format: Format, writer: impl Write) -> io::Result<()> {
        format.write(&self.profile, &Presentation::default(), &no_source, "", writer)
    }
}
