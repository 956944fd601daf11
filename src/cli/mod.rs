//! The command line: clap definitions and nothing else. The flags are py-spy's, so that its users need not learn new
//! ones.

mod choices;
mod exit_status;
mod help;
mod push;
mod serve;
mod values;
mod watch;

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

pub(crate) use choices::{Mode, SamplerArg};
pub(crate) use exit_status::Status;
pub(crate) use help::command;
pub(crate) use push::{PushArgs, PushProtocol, PushUrl};
pub(crate) use serve::ServeArgs;
pub(crate) use values::{GrowthArg, Limit};
pub(crate) use watch::{CommandWords, WatchArgs};

/// What the whole program is asked to do.
#[derive(Debug, Parser)]
#[command(
    name = "pyspy",
    version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("PYSPY_BUILD"), ")"),
    about = "Sampling profiler for Python programs: reads them from outside, without changing or restarting them",
    after_help = exit_status::help(),
    infer_subcommands = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// Which face.
    #[command(subcommand)]
    pub command: Command,
}

/// The faces on the sampler.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Record a profile to a file: a flame graph or another format
    Record(RecordArgs),
    /// Show live where a process spends its time
    Top(TopArgs),
    /// Print what every thread of a process is doing right now
    #[command(alias = "d")]
    Dump(DumpArgs),
    /// Wait until a process hangs, and keep the evidence
    Watch(WatchArgs),
    /// Serve profiles, dumps and metrics over HTTP
    Serve(ServeArgs),
    /// Render a recording in another format
    Convert(ConvertArgs),
    /// Show what changed between two recordings
    Diff(DiffArgs),
    /// Print a script that completes the command line
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print a page of the manual, for `man -l`
    #[command(hide = true)]
    Man {
        /// Of which subcommand [default: of the whole]
        subcommand: Option<String>,
    },
}

/// How to treat the target while it is read.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct PauseArgs {
    /// Stop the thread that holds the GIL for every sample, or all threads where there is no GIL, instead of only those
    /// that cannot be read consistently
    #[arg(long, conflicts_with = "nonblocking")]
    pub blocking: bool,
    /// Never stop the process, not even where a stack moves too fast to be read consistently
    #[arg(long)]
    pub nonblocking: bool,
    /// Show the frames of C, C++ and Rust code between the Python ones; stops each thread that is read for every
    /// sample, unless the kernel samples it (Linux)
    #[arg(short, long)]
    pub native: bool,
    /// With --native, show threads too that run no Python, such as those of BLAS, tokio or rayon
    #[arg(long, requires = "native")]
    pub native_threads: bool,
}

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
    /// [default: reader]
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

/// `pyspy top`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").args(["pid", "name", "all", "program"]).required(true).multiple(true))]
pub(crate) struct TopArgs {
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
    /// Samples to take each second
    ///
    /// The header says how many were taken (`held`): fewer on a busy machine, or where threads would have been stopped
    /// for too long
    #[arg(short, long, value_name = "rate", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// Profile all processes below the given ones, too, and those that a started program leaves behind
    #[arg(short, long)]
    pub subprocesses: bool,
    /// Only include threads that hold the GIL
    #[arg(short, long)]
    pub gil: bool,
    /// Include idle threads
    #[arg(short, long)]
    pub idle: bool,
    /// Only what happens below a function, rooted there: `handle`, `Server.handle` or `app.views.*`
    #[arg(long, value_name = "glob", value_parser = NonEmptyStringValueParser::new())]
    pub below: Option<String>,
    /// Time between refreshes: seconds, or a number with ms, s or m
    #[arg(long, value_name = "delay", value_parser = values::delay, default_value = "1.0")]
    pub delay: std::time::Duration,
    /// When to stop the process
    #[command(flatten)]
    pub pause: PauseArgs,
    /// Who takes the samples of threads that run: reader (pyspy, from outside), kernel (in the timer interrupt of each
    /// thread, which stops nothing: Linux 5.17 with x86-64, as root), auto (the kernel where it can) [default: auto]
    #[arg(long, value_enum, value_name = "who")]
    pub sampler: Option<SamplerArg>,
    /// Print one window as plain text, or with --json as JSON, and end
    #[arg(long)]
    pub once: bool,
    /// Print a line of JSON for each window instead of drawing
    #[arg(long)]
    pub json: bool,
    /// Command line of a Python program to run; what it writes is shown in a view of its own
    #[arg(value_name = "python_program", trailing_var_arg = true)]
    pub program: Vec<std::ffi::OsString>,
}

/// `pyspy convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// A recording (`record -f pyspy`), or collapsed stacks (`record -f raw`)
    #[arg(value_name = "in")]
    pub input: PathBuf,
    /// Output filename, `-` for standard output
    #[arg(short, long, value_name = "filename")]
    pub output: PathBuf,
    /// Output file format [default: by the end of the output filename, else flamegraph]
    #[arg(short, long, value_enum, ignore_case = true, value_name = "format")]
    pub format: Option<FormatName>,
    /// Show full Python filenames
    #[arg(long)]
    pub full_filenames: bool,
    /// Aggregate by function's first line number
    #[arg(short = 'F', long)]
    pub function: bool,
    /// Do not show line numbers
    #[arg(long)]
    pub nolineno: bool,
    /// Only what happens below a function, rooted there: `handle`, `Server.handle` or `app.views.*`
    #[arg(long, value_name = "glob", value_parser = NonEmptyStringValueParser::new())]
    pub below: Option<String>,
    /// Show threads
    #[arg(short, long)]
    pub threads: bool,
    /// Show processes
    #[arg(short, long)]
    pub subprocesses: bool,
    /// In pictures, draw callers below what they call
    #[arg(long)]
    pub upward: bool,
}

/// `pyspy diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The recording or collapsed stacks from before
    pub before: PathBuf,
    /// The recording or collapsed stacks from after
    pub after: PathBuf,
    /// Output filename, `-` for standard output
    #[arg(short, long, value_name = "filename", required_unless_present = "fail_if")]
    pub output: Option<PathBuf>,
    /// Output file format [default: by the end of the output filename, else flamegraph]
    #[arg(short, long, value_parser = values::diff_format(), ignore_case = true, value_name = "format")]
    pub format: Option<FormatName>,
    /// Fail when a function has grown, by its file, module or name: `app/*:+5%`; may be given several times
    #[arg(long, value_name = "glob:+N%", value_parser = values::growth)]
    pub fail_if: Vec<GrowthArg>,
    /// Compare lines, not functions
    #[arg(long, overrides_with_all = ["function", "nolineno"])]
    pub lines: bool,
    /// Tell functions of the same name in a file apart, by their first line number
    #[arg(short = 'F', long, overrides_with_all = ["lines", "nolineno"])]
    pub function: bool,
    /// Compare functions by name and file, whatever their line numbers, which is the default
    #[arg(long, overrides_with_all = ["lines", "function"])]
    pub nolineno: bool,
    /// Draw callers below what they call
    #[arg(long)]
    pub upward: bool,
}

/// `pyspy dump`.
#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// Process to look at, in decimal or hex
    #[arg(short, long, value_name = "pid", value_parser = values::pid)]
    #[arg(required_unless_present_any = ["core", "name", "all", "misplaced"], conflicts_with_all = ["core", "name"])]
    pub pid: Option<i32>,
    /// All Python processes whose program has this name (`gunicorn`), or whose whole command line matches a glob
    /// (`*gunicorn*myapp*`)
    #[arg(long, value_name = "glob", conflicts_with = "core")]
    pub name: Option<String>,
    /// All processes of this machine that run Python and may be read, containers included
    #[arg(long, conflicts_with_all = ["pid", "name", "core"])]
    pub all: bool,
    /// Core file to look at instead of a process; also one compressed with gzip or zstd
    #[arg(short, long, value_name = "file", conflicts_with = "native")]
    pub core: Option<PathBuf>,
    /// With --core, the program that dumped it [default: where it was]
    #[arg(long, value_name = "file", requires = "core")]
    pub exe: Option<PathBuf>,
    /// With --core, the directory that has the files of the machine where it was dumped
    #[arg(long, value_name = "directory", requires = "core")]
    pub root: Option<PathBuf>,
    /// Show full Python filenames, instead of only the part from the package on
    #[arg(long)]
    pub full_filenames: bool,
    /// Print JSON
    #[arg(short, long)]
    pub json: bool,
    /// Show the variables of each frame; more of each value when given two or three times
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub locals: u8,
    /// With --locals, show the values too of variables, keys and attributes whose names say that they are secrets
    #[arg(long, requires = "locals")]
    pub show_secrets: bool,
    /// Only threads whose name matches a glob; may be given several times
    #[arg(long, value_name = "glob")]
    pub thread: Vec<String>,
    /// Only the main thread of each process
    #[arg(long)]
    pub main_thread: bool,
    /// Show all processes below too
    #[arg(short, long, conflicts_with = "core")]
    pub subprocesses: bool,
    /// Show the oldest frame first, as Python prints stacks
    #[arg(long)]
    pub reverse: bool,
    /// Show source lines under each frame [default: on a terminal under one of each thread, the newest of the
    /// program's own]
    #[arg(long, conflicts_with = "no_source")]
    pub source: bool,
    /// Show no source lines
    #[arg(long)]
    pub no_source: bool,
    /// How to show the tasks of event loops [default: tree; with --json none]
    #[arg(long, value_enum, value_name = "how")]
    pub tasks: Option<TaskView>,
    /// Show tasks too that have ended and are still in memory
    #[arg(long)]
    pub all_tasks: bool,
    /// Show the frames of event loops too, which are folded where tasks are shown
    #[arg(long)]
    pub full_stacks: bool,
    /// When to stop the process
    #[command(flatten)]
    pub pause: PauseArgs,
    /// What is none of the options: a process's number without `--pid` before it
    #[arg(hide = true)]
    pub misplaced: Option<String>,
}

/// Which tasks `record --async` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AsyncTasks {
    /// Those that run
    Running,
    /// Those that wait, too
    All,
}

/// How `dump` shows tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskView {
    /// Below whom they are waited for, equal ones folded
    Tree,
    /// One after the other, equal ones folded
    Flat,
    /// Not at all
    None,
}

/// The formats of `record`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// Interactive flame graph (SVG)
    Flamegraph,
    /// Collapsed stacks, one a line with its count
    Raw,
    /// JSON for the speedscope viewer
    Speedscope,
    /// JSON for Chrome's trace viewer and Perfetto
    Chrometrace,
    /// Flame graph in which time runs from left to right (SVG)
    Flamechart,
    /// JSON for the Firefox profiler
    Firefox,
    /// Gzipped protobuf for `go tool pprof`
    Pprof,
    /// OpenTelemetry's profiles (alpha): protobuf, or JSON where the filename ends in .json
    Otlp,
    /// Text for KCachegrind and callgrind_annotate
    Callgrind,
    /// For Python's pstats, snakeviz and gprof2dot
    Pstats,
    /// One page for a browser: flame graph, functions, source
    Html,
    /// The most important numbers as text of at most 60 lines
    Summary,
    /// The same as Markdown, for a pull request or the summary of a CI job
    #[value(alias = "md")]
    Markdown,
    /// The same as JSON
    SummaryJson,
    /// Our own recording, for `pyspy convert`
    Pyspy,
}
