//! The head of a request, read within bounds. Bodies are not read: nothing that is served takes one.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Instant;

use thiserror::Error;

/// A longer head is refused, in bytes.
const LARGEST_HEAD: usize = 8 << 10;
/// More headers are refused.
const MOST_HEADERS: usize = 64;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// `GET`.
    pub method: String,
    /// What stands before the `?`, as it was sent.
    pub path: String,
    query: String,
    headers: Vec<(String, String)>,
}

/// Why there is no request.
#[derive(Debug, Error)]
pub(super) enum RequestError {
    /// Its head is longer than it may be, or has more headers.
    #[error("the head of a request has at most {LARGEST_HEAD} bytes and {MOST_HEADERS} headers")]
    TooLarge,
    /// It did not come in time.
    #[error("the request did not come in time")]
    TooSlow,
    /// It is none.
    #[error("this is no HTTP request: {0}")]
    Malformed(httparse::Error),
    /// The connection has ended.
    #[error("the connection has ended")]
    Gone,
}

impl Request {
    /// Reads the head of a request, all of it before `deadline`, however slowly it comes.
    pub(super) fn read(mut stream: &TcpStream, deadline: Instant) -> Result<Self, RequestError> {
        let mut head = Vec::new();
        let mut part = [0; 2048];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(RequestError::TooSlow);
            }
            stream.set_read_timeout(Some(left)).map_err(|_| RequestError::Gone)?;
            match stream.read(&mut part) {
                Ok(0) => return Err(RequestError::Gone),
                Ok(count) => head.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_timeout(&error) => return Err(RequestError::TooSlow),
                Err(_) => return Err(RequestError::Gone),
            }
            if let Some(request) = Self::parse(&head)? {
                return Ok(request);
            }
            if head.len() > LARGEST_HEAD {
                return Err(RequestError::TooLarge);
            }
        }
    }

    /// The request, if its head is complete.
    fn parse(head: &[u8]) -> Result<Option<Self>, RequestError> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(&head[..head.len().min(LARGEST_HEAD)]) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(RequestError::TooLarge),
            Err(error) => return Err(RequestError::Malformed(error)),
        }
        let target = parsed.path.unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Some(Self {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: parsed.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
        }))
    }

    /// The first value of a parameter, as it was sent.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A request as a client would have sent it, for tests.
    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self::parse(text.as_bytes()).unwrap().unwrap()
    }
}

/// Whether a read or write failed because its time was over.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_headers_are_found() {
        let request =
            Request::of("GET /a/b?seconds=5&pid=7&flag HTTP/1.1\r\nHost: x:1\r\nauthorization: Bearer t\r\n\r\n");
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/a/b"));
        assert_eq!((request.parameter("seconds"), request.parameter("pid")), (Some("5"), Some("7")));
        assert_eq!((request.parameter("flag"), request.parameter("econds")), (Some(""), None));
        assert_eq!((request.header("Host"), request.header("AUTHORIZATION")), (Some("x:1"), Some("Bearer t")));
    }

    #[test]
    fn heads_are_bounded() {
        assert!(Request::parse(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap().is_none());
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MOST_HEADERS + 1));
        assert!(matches!(Request::parse(many.as_bytes()), Err(RequestError::TooLarge)));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(LARGEST_HEAD));
        assert!(Request::parse(long.as_bytes()).unwrap().is_none(), "what is beyond the bound is not looked at");
        assert!(matches!(Request::parse(b"\x16\x03\x01\x02\x00\x01"), Err(RequestError::Malformed(_))));
    }
}
