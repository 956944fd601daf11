//! What the target's descriptors are open on: files by their paths, sockets by their addresses.
//!
//! Addresses come from `/proc/PID/net`, which is that of the target's own network namespace. Unix sockets have the name
//! that they were bound to; what is at their other end the kernel does not show there.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};

use super::handle::Handle;
use crate::process::DescriptorNames;

/// Bytes of one table of sockets that are read.
const LARGEST_TABLE: u64 = 64 << 20;
/// The states of a listening TCP socket and of a UDP socket that is connected to nothing (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// The tables below `/proc/PID/net`, the cheapest first: for those of TCP the kernel walks through all its buckets,
/// which takes milliseconds.
const TABLES: [(&str, Parse); 5] = [
    ("unix", unix_socket),
    ("udp", |line| internet_socket("udp", line)),
    ("udp6", |line| internet_socket("udp", line)),
    ("tcp", |line| internet_socket("tcp", line)),
    ("tcp6", |line| internet_socket("tcp", line)),
];

/// Takes a line of a table apart.
type Parse = fn(&str) -> Option<Socket>;

/// A socket of a table.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    inode: u64,
    /// What it is and where it leads, in words.
    text: String,
}

/// The descriptors of one process. Sockets are listed when they are asked for, table by table until the one is found.
#[derive(Debug)]
pub struct Descriptors {
    handle: Arc<Handle>,
    sockets: [OnceLock<HashMap<u64, String>>; TABLES.len()],
}

impl Descriptors {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self { handle, sockets: Default::default() }
    }

    /// What the socket with the number `inode` is.
    fn socket(&self, inode: u64) -> Option<&str> {
        let mut tables = TABLES.iter().zip(&self.sockets);
        let found = tables.find_map(|((table, parse), sockets)| {
            let sockets = sockets.get_or_init(|| {
                let text = self.handle.read_file(&format!("net/{table}"), LARGEST_TABLE).unwrap_or_default();
                String::from_utf8_lossy(&text)
                    .lines()
                    .skip(1)
                    .filter_map(parse)
                    .map(|socket| (socket.inode, socket.text))
                    .collect()
            });
            sockets.get(&inode)
        });
        found.map(String::as_str)
    }
}

impl DescriptorNames for Descriptors {
    fn name(&self, descriptor: i32) -> Option<String> {
        let target = self.handle.read_link(&format!("fd/{descriptor}")).ok()?;
        let target = String::from_utf8_lossy(target.as_os_str().as_bytes()).into_owned();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        if let Some(inode) = inode {
            let known = inode.parse().ok().and_then(|inode| self.socket(inode));
            return Some(known.unwrap_or("socket").to_owned());
        }
        if target.starts_with("pipe:[") {
            return Some("pipe".to_owned());
        }
        let anonymous = target.strip_prefix("anon_inode:").map(|name| name.trim_matches(['[', ']']).to_owned());
        Some(anonymous.unwrap_or(target))
    }

    fn watched(&self, descriptor: i32) -> Vec<i32> {
        let text = self.handle.read_file(&format!("fdinfo/{descriptor}"), LARGEST_TABLE).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let watched = text.lines().filter_map(|line| line.strip_prefix("tfd:")?.split_ascii_whitespace().next());
        watched.filter_map(|number| number.parse().ok()).collect()
    }
}

/// A line of `net/tcp` and its like: `sl local remote state queues timer retransmits uid timeout inode …`.
fn internet_socket(protocol: &str, line: &str) -> Option<Socket> {
    let words: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
    let (local, remote) = (address(words.get(1)?)?, address(words.get(2)?)?);
    let inode = words.get(9)?.parse().ok()?;
    let text = if *words.get(3)? == LISTEN {
        format!("{protocol} listening on {local}")
    } else if remote.port() == 0 {
        format!("{protocol} {local}")
    } else {
        format!("{protocol} {local} → {remote}")
    };
    Some(Socket { inode, text })
}

/// `0100007F:1F90`: the address in words of 4 bytes as the machine has them, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (digits, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(digits.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let address = match digits.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(8 * index)?);
            }
            // An IPv4 address in a socket of IPv6 is better known as itself.
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// A line of `net/unix`: `number references protocol flags type state inode path`.
fn unix_socket(line: &str) -> Option<Socket> {
    let mut rest = line;
    let mut words = [""; 7];
    for word in &mut words {
        rest = rest.trim_start();
        let end = rest.find(' ').unwrap_or(rest.len());
        (*word, rest) = rest.split_at(end);
    }
    let path = rest.trim_start();
    let text = if path.is_empty() { "unix socket".to_owned() } else { format!("unix {path}") };
    Some(Socket { inode: words[6].parse().ok()?, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    #[test]
    fn our_own_descriptors_have_the_names_that_we_know() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let stream = TcpStream::connect(there).unwrap();
        let here = stream.local_addr().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a  b");
        let unix = UnixListener::bind(&path).unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let descriptors = Descriptors::new(Arc::new(Handle::open(std::process::id().cast_signed()).unwrap()));
        let name = |descriptor: i32| descriptors.name(descriptor).unwrap();
        assert_eq!(name(listener.as_raw_fd()), format!("tcp listening on {there}"));
        assert_eq!(name(stream.as_raw_fd()), format!("tcp {here} → {there}"));
        assert_eq!(name(udp.as_raw_fd()), format!("udp {}", udp.local_addr().unwrap()));
        assert_eq!(name(unix.as_raw_fd()), format!("unix {}", path.display()));
        assert_eq!(name(file.as_raw_fd()), std::env::current_exe().unwrap().display().to_string());
        assert_eq!(descriptors.name(1 << 20), None);
        match TcpListener::bind("[::1]:0") {
            Ok(listener) => {
                let descriptors = Descriptors::new(Arc::clone(&descriptors.handle));
                let expected = format!("tcp listening on {}", listener.local_addr().unwrap());
                assert_eq!(descriptors.name(listener.as_raw_fd()), Some(expected));
            }
            Err(error) => writeln!(std::io::stderr(), "skipped: no IPv6 here: {error}").unwrap(),
        }
    }

    #[test]
    fn damaged_lines_are_left_out() {
        for line in [
            "",
            "1: 0100007F 0",
            "1: 0100007F:1F90 00000000:0000 0A",
            "1: X:Y Z:W 0A 0 0 0 0 0 5",
            "é é é é é é é é é é",
        ] {
            assert_eq!(internet_socket("tcp", line), None, "{line:?}");
        }
        assert_eq!(unix_socket("1 2 3"), None);
    }
}
