//! `pyspy record`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, ValueEnum};

use super::format::FormatName;
use super::pause::PauseArgs;
use super::push::PushArgs;
use super::values::{self, Limit};

/// `pyspy record`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").args(["pid", "name", "all", "program"]).required(true).multiple(true))]
#[command(group = ArgGroup::new("several").args(["subprocesses", "all"]).multiple(true))]
pub(crate) struct RecordArgs {
    /// Process to attach to, in decimal or hex; may be given several times
    #[arg(short, long, value_name = "pid", value_parser = values::pid, conflicts_with = "program")]
    pub pid: Vec<i32>,
    /// All Python processes whose program has this name (`gunicorn`), or whose whole command line matches a glob
    /// (`*gunicorn*myapp*`)
    #[arg(long, value_name = "glob", conflicts_with = "program")]
    pub name: Option<String>,
    /// All processes of this machine that run Python and may be read, containers included, also those that start later
    #[arg(long, conflicts_with_all = ["pid", "name", "program"])]
    pub all: bool,
    /// Show full Python filenames, instead of only the part from the package on
    #[arg(long)]
    pub full_filenames: bool,
    /// Output filename, `-` for standard output [default: from the process, the time and the format]
    #[arg(short, long, value_name = "filename")]
    pub output: Option<PathBuf>,
    /// Output file format [default: by the end of the output filename, else flamegraph, or html with --open]
    #[arg(short, long, value_enum, ignore_case = true, value_name = "format")]
    pub format: Option<FormatName>,
    /// How long to sample for: seconds, or a number with s, m or h [default: unlimited]
    #[arg(short, long, value_name = "duration", value_parser = values::duration)]
    #[arg(default_value = "unlimited", hide_default_value = true)]
    pub duration: Limit,
    /// Samples to take each second [default: 100]
    ///
    /// The last line says how many were taken (`Hz held`): fewer on a busy machine, or where threads would have been
    /// stopped for too long
    #[arg(short, long, value_name = "rate", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// Profile all processes below the given ones, too, and those that a started program leaves behind
    #[arg(short, long)]
    pub subprocesses: bool,
    /// Aggregate samples by function's first line number, instead of current line number
    #[arg(short = 'F', long)]
    pub function: bool,
    /// Do not show line numbers
    #[arg(long)]
    pub nolineno: bool,
    /// In pictures, draw callers below what they call
    #[arg(long)]
    pub upward: bool,
    /// Show columns with the line numbers, where the interpreter knows them (3.11 and later)
    #[arg(long, conflicts_with_all = ["nolineno", "function"])]
    pub columns: bool,
    /// Show who awaits whom instead of how event loops call, each task below those that wait for it; with `=all` tasks
    /// that wait too, by what they wait in
    #[arg(long = "async", value_enum, value_name = "which", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "running")]
    pub tasks: Option<AsyncTasks>,
    /// Show threads in the output
    #[arg(short, long)]
    pub threads: bool,
    /// Only include threads that hold the GIL
    #[arg(short, long)]
    pub gil: bool,
    /// Include idle threads
    #[arg(short, long)]
    pub idle: bool,
    /// What counts: wall (also idle threads), cpu (threads that run or want to, the default), gil (threads that hold
    /// the GIL), gil-wait (threads that wait for the GIL, each below the function that holds it), offcpu (threads that
    /// are blocked, exactly timed)
    ///
    /// With offcpu nothing is sampled: the kernel tells when threads are blocked and in what, with the rights and on
    /// the systems of --sampler=kernel
    #[arg(long, value_enum, value_name = "mode", conflicts_with_all = ["gil", "idle"])]
    pub mode: Option<Mode>,
    /// With --mode=offcpu, leave out what is blocked for less than this: seconds, or a number with ms or s; how many
    /// that were is said
    #[arg(long, value_name = "duration", value_parser = values::least_time)]
    pub min_block: Option<std::time::Duration>,
    /// Include idle threads, each with what it waits in as its innermost frame: a socket with its peer, a lock with
    /// who holds it, a sleep, a file
    #[arg(long, conflicts_with_all = ["gil", "mode"])]
    pub waits: bool,
    /// Show no frame for the garbage collector: its time is that of the function that it interrupts
    #[arg(long)]
    pub no_gc_frames: bool,
    /// Only threads whose name matches a glob; may be given several times
    #[arg(long, value_name = "glob")]
    pub thread: Vec<String>,
    /// Only the main thread of each process
    #[arg(long)]
    pub main_thread: bool,
    /// Only what happens below a function, rooted there: `handle`, `Server.handle` or `app.views.*`; --include and
    /// --exclude look at that part
    #[arg(long, value_name = "glob", value_parser = NonEmptyStringValueParser::new())]
    pub below: Option<String>,
    /// Only stacks with a frame whose file or module matches a glob; may be given several times
    #[arg(long, value_name = "glob")]
    pub include: Vec<String>,
    /// No stacks with a frame whose file or module matches a glob; may be given several times
    #[arg(long, value_name = "glob")]
    pub exclude: Vec<String>,
    /// Make one of processes with the same command line and parent, such as the workers of a server
    #[arg(long, requires = "several")]
    pub merge: bool,
    /// Write what there is every so often, and go on, or with --push send it [default: with --push 15s]; SIGUSR1 does
    /// it once
    #[arg(long, value_name = "duration", value_parser = values::duration)]
    pub every: Option<Limit>,
    /// Where to send what is recorded, in place of a file
    #[command(flatten)]
    pub push: PushArgs,
    /// Open the result with the desktop's viewer: a page in the browser, unless another format is asked for
    #[arg(long)]
    pub open: bool,
    /// Show no progress
    #[arg(long, hide = true)]
    pub hideprogress: bool,
    /// A descriptor that we inherit, of a socket, to whoever started us: nothing is read before a byte has come, and
    /// `ready` is sent when the first sample has been taken
    #[arg(long, value_name = "number", value_parser = clap::value_parser!(i32).range(3..))]
    pub control_fd: Option<i32>,
    /// Who takes the samples of threads that run: reader (pyspy, from outside), kernel (in the timer interrupt of each
    /// thread, which stops nothing and costs least: Linux 5.17 with x86-64, as root), auto (the kernel where it can)
    /// [default: auto]
    #[arg(long, value_enum, value_name = "who")]
    pub sampler: Option<SamplerArg>,
    /// With --sampler=kernel, show the kernel's functions above the program's, where that is in a system call or a page
    /// fault
    #[arg(long)]
    pub kernel_frames: bool,
    /// When to stop the process
    #[command(flatten)]
    pub pause: PauseArgs,
    /// Exit with the status of the program that was started
    #[arg(long, requires = "program")]
    pub exit_status: bool,
    /// Leave the program running when --duration is over, instead of ending it
    #[arg(long, requires = "program")]
    pub keep: bool,
    /// Command line of a Python program to run
    #[arg(value_name = "python_program", trailing_var_arg = true)]
    pub program: Vec<std::ffi::OsString>,
}

impl RecordArgs {
    /// Samples to take each second.
    pub(crate) fn rate(&self) -> u32 {
        self.rate.unwrap_or(100)
    }
}

/// Who takes samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SamplerArg {
    /// The kernel where it can, else the reader.
    Auto,
    /// The kernel, or nobody.
    Kernel,
    /// Reads from outside.
    Reader,
}

/// What counts as a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// All threads, also idle ones.
    Wall,
    /// Threads that run or want to.
    Cpu,
    /// Threads that hold the GIL.
    Gil,
    /// Threads that wait for the GIL.
    GilWait,
    /// Threads that are blocked.
    Offcpu,
}

/// Which tasks `record --async` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AsyncTasks {
    /// Those that run
    Running,
    /// Those that wait, too
    All,
}
