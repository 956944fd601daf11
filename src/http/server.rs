//! A server: a thread a connection, one request a connection.
//!
//! At most so many connections are open; what comes beyond gets a short answer and is closed. A request must come and
//! an answer be taken within a time, however slow the other side is; so what an idle or hostile client can hold is a
//! thread for that time. Without connections nothing runs: the server waits in accept(2).

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::request::{Request, RequestError};
use super::response::Response;

/// So many connections are open at the same time.
const MOST_CONNECTIONS: usize = 64;
/// All of a request's head comes within this time.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// All of an answer is taken within this time.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// What is answered to who comes beyond that has to be taken at once: nobody else is let in meanwhile.
const REFUSAL_LIMIT: Duration = Duration::from_millis(20);
/// What was sent and not read would have the answer thrown away by the kernel (a reset), so it is read, this much of it
/// and for so long.
const LINGER: (usize, Duration) = (64 << 10, Duration::from_millis(500));
/// After an accept that failed, as it does when there are no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers under way are waited for at the end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A server that listens.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    stop: Arc<AtomicBool>,
    open: Arc<AtomicUsize>,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) struct Connection<'server> {
    stream: &'server TcpStream,
    stop: &'server AtomicBool,
}

impl Connection<'_> {
    /// Whether nobody waits for the answer any more, or the server is to end.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.has_hung_up()
    }

    fn has_hung_up(&self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let peeked = self.stream.peek(&mut [0]);
        let is_blocking_again = self.stream.set_nonblocking(false).is_ok();
        match peeked {
            Ok(count) => count == 0 || !is_blocking_again,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock || !is_blocking_again,
        }
    }
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address)?, stop: Arc::default(), open: Arc::default() })
    }

    /// Where it listens: with the port that the system chose, if it was to.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What ends [`Self::run`] from another thread.
    ///
    /// # Errors
    /// As [`Self::address`].
    pub(crate) fn stopper(&self) -> io::Result<impl FnOnce() + Send + use<>> {
        let (mut address, stop) = (self.address()?, Arc::clone(&self.stop));
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        Ok(move || {
            stop.store(true, Ordering::Relaxed);
            // Ends the wait for the next connection by being it. Where that fails the one after ends it.
            let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        })
    }

    /// Serves until it is stopped; `answer` is called by a thread for each request.
    pub(crate) fn run(&self, answer: impl Fn(&Request, &Connection<'_>) -> Response + Send + Sync + 'static) {
        let answer = Arc::new(answer);
        loop {
            let accepted = self.listener.accept();
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    log::debug!("no connection accepted: {error}");
                    std::thread::sleep(ACCEPT_PAUSE);
                    continue;
                }
            };
            let Some(slot) = Slot::of(&self.open) else {
                let refusal = Response::error(503, "too many connections are open");
                let _ = refusal.write(&stream, false, Instant::now() + REFUSAL_LIMIT);
                continue;
            };
            let (answer, stop) = (Arc::clone(&answer), Arc::clone(&self.stop));
            let serve = move || {
                let _slot = slot;
                serve(&stream, &stop, &*answer);
            };
            if let Err(error) = std::thread::Builder::new().name("request".to_owned()).spawn(serve) {
                log::debug!("no thread for a connection: {error}");
            }
        }
        let end = Instant::now() + END_LIMIT;
        while self.open.load(Ordering::Acquire) > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// One of the connections that may be open; given back when dropped, also by a thread that panics.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn of(open: &Arc<AtomicUsize>) -> Option<Self> {
        if open.fetch_add(1, Ordering::AcqRel) < MOST_CONNECTIONS {
            return Some(Self(Arc::clone(open)));
        }
        open.fetch_sub(1, Ordering::AcqRel);
        None
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn serve(stream: &TcpStream, stop: &AtomicBool, answer: &dyn Fn(&Request, &Connection<'_>) -> Response) {
    let (response, is_head) = match Request::read(stream, Instant::now() + REQUEST_LIMIT) {
        Ok(request) => {
            let response = match request.method.as_str() {
                "GET" | "HEAD" => answer(&request, &Connection { stream, stop }),
                _ => Response::error(405, "only GET is served").with_header("Allow", "GET, HEAD".to_owned()),
            };
            (response, request.method == "HEAD")
        }
        Err(RequestError::Gone) => return,
        Err(error @ RequestError::TooSlow) => (Response::error(408, &error.to_string()), false),
        Err(error @ RequestError::TooLarge) => (Response::error(431, &error.to_string()), false),
        Err(error @ RequestError::Malformed(_)) => (Response::error(400, &error.to_string()), false),
    };
    match response.write(stream, is_head, Instant::now() + ANSWER_LIMIT) {
        Ok(()) => linger(stream),
        Err(error) => log::debug!("an answer was not taken: {error}"),
    }
}

/// Reads and forgets what the other side goes on sending, within bounds.
fn linger(mut stream: &TcpStream) {
    let (most, limit) = LINGER;
    let end = Instant::now() + limit;
    let mut part = [0; 4096];
    let mut read = 0;
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    while read < most {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(&mut part) {
            Ok(count) if count > 0 => read += count,
            _ => return,
        }
    }
}
