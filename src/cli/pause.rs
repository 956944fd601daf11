//! How the target is treated while it is read, for all subcommands that read one.

use clap::Args;

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
