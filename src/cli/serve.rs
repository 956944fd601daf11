//! The arguments of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::pause::PauseArgs;
use super::values;

/// `pyspy serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Process to serve, in decimal or hex; may be given several times [default: all Python processes that may be read]
    #[arg(short, long, value_name = "pid", value_parser = values::pid)]
    pub pid: Vec<i32>,
    /// Processes whose program has this name (`gunicorn`), or whose whole command line matches a glob
    /// (`*gunicorn*myapp*`), as there are at each request
    #[arg(long, value_name = "glob", conflicts_with = "pid")]
    pub name: Option<String>,
    /// And all processes below these
    #[arg(short, long)]
    pub subprocesses: bool,
    /// Address and port to listen at; port 0 has the system choose one. Any but an address of the loopback (127.0.0.1,
    /// `[::1]`) needs --token
    #[arg(long, value_name = "address", default_value = "127.0.0.1:6061")]
    pub listen: SocketAddr,
    /// File whose first line is the token that each request must have: `Authorization: Bearer TOKEN`, or as the
    /// password in the URL
    #[arg(long, value_name = "file")]
    pub token: Option<PathBuf>,
    /// Samples to take each second, unless a request says another rate
    #[arg(short, long, value_name = "rate", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// When to stop a process
    #[command(flatten)]
    pub pause: PauseArgs,
}
