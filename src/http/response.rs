//! An answer, written within a time.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::request::is_timeout;

/// What is answered. Each answer ends its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    /// `200`.
    pub status: u16,
    /// Names and values, written as they are: none of them comes from outside.
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Response {
    /// What was asked for.
    pub(crate) fn done(content_type: &'static str, body: Vec<u8>) -> Self {
        let headers = vec![
            ("Content-Type", content_type.to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
            ("Cache-Control", "no-store".to_owned()),
        ];
        Self { status: 200, headers, body }
    }

    /// Why it is not.
    pub(crate) fn error(status: u16, text: &str) -> Self {
        Self { status, ..Self::done("text/plain; charset=utf-8", format!("{text}\n").into_bytes()) }
    }

    /// With one more header.
    #[must_use]
    pub(crate) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Writes it, without its body if `is_head`.
    ///
    /// # Errors
    /// When the connection fails, or does not take it before `deadline`.
    pub(super) fn write(&self, mut stream: &TcpStream, is_head: bool, deadline: Instant) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} {}\r\nConnection: close\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        let body = if is_head { &[][..] } else { &self.body };
        for mut part in [head.as_bytes(), body] {
            while !part.is_empty() {
                let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
                stream.set_write_timeout(Some(left))?;
                match stream.write(part) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => part = &part[count..],
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if is_timeout(&error) && Instant::now() < deadline => {}
                    Err(error) => return Err(error),
                }
                if Instant::now() >= deadline && !part.is_empty() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
        Ok(())
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}
