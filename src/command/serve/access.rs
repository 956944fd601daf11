//! Who may ask: who has the token, or whoever is on this machine and is no page in a browser.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use crate::command::shared::failure::AccessError;
use crate::http::{Request, Response};

/// A shorter token could be guessed, in bytes.
const SHORTEST_TOKEN: usize = 16;
/// A longer one is none, in bytes.
const LONGEST_TOKEN: u64 = 4096;

/// Who may ask.
#[derive(Debug)]
pub(super) struct Access {
    token: Option<Vec<u8>>,
}

impl Access {
    /// Reads the token; without one only `address`es of the loopback may be listened at.
    pub(super) fn new(token: Option<&Path>, address: SocketAddr) -> Result<Self, AccessError> {
        match token {
            Some(path) => Ok(Self { token: Some(read_token(path)?) }),
            None if address.ip().is_loopback() => Ok(Self { token: None }),
            None => Err(AccessError::Open(address)),
        }
    }

    /// Why a request is not answered, if it is not.
    pub(super) fn refusal(&self, request: &Request) -> Option<Response> {
        let Some(token) = &self.token else {
            return (!is_direct(request.header("Host"))).then(|| {
                // A page in a browser reaches this machine by a name that it lets lead here (DNS rebinding).
                Response::error(421, "ask by an address or as localhost; other names need a server with --token")
            });
        };
        let given = request.header("Authorization").and_then(given_token);
        let is_right = given.is_some_and(|given| bool::from(given.as_slice().ct_eq(token)));
        (!is_right).then(|| {
            Response::error(401, "this needs the token: Authorization: Bearer TOKEN, or http://pyspy:TOKEN@HOST/")
                .with_header("WWW-Authenticate", "Basic realm=\"pyspy\"".to_owned())
        })
    }
}

fn read_token(path: &Path) -> Result<Vec<u8>, AccessError> {
    let read = |file: File| -> io::Result<String> {
        let mut line = String::new();
        BufReader::new(file.take(LONGEST_TOKEN)).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    };
    let token = File::open(path).and_then(read);
    let token = token.map_err(|source| AccessError::Unreadable { path: path.to_owned(), source })?;
    if token.len() < SHORTEST_TOKEN {
        return Err(AccessError::Short { path: path.to_owned(), shortest: SHORTEST_TOKEN });
    }
    Ok(token.into_bytes())
}

/// The token of `Authorization: Bearer TOKEN` and of `Authorization: Basic`, where it is the password.
fn given_token(header: &str) -> Option<Vec<u8>> {
    let (scheme, value) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = STANDARD.decode(value.trim()).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

/// Whether who asks has named an address and not a name that somebody else lets lead to it. Old clients name nothing.
fn is_direct(host: Option<&str>) -> bool {
    let Some(host) = host else { return true };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &str) -> Request {
        Request::of(&format!("GET / HTTP/1.1\r\n{headers}\r\n"))
    }

    #[test]
    fn without_a_token_names_that_others_can_give_are_refused() {
        let access = Access { token: None };
        for host in ["127.0.0.1:6061", "localhost", "LOCALHOST:1", "[::1]:6061", "10.1.2.3"] {
            assert_eq!(access.refusal(&request(&format!("Host: {host}\r\n"))), None, "{host}");
        }
        assert_eq!(access.refusal(&request("")), None);
        for host in ["evil.example", "localhost.evil.example:6061", "127.0.0.1.evil.example", "", "[x", "a:b"] {
            let refusal = access.refusal(&request(&format!("Host: {host}\r\n")));
            assert_eq!(refusal.map(|refusal| refusal.status), Some(421), "{host}");
        }
    }

    #[test]
    fn only_the_token_opens() {
        let access = Access { token: Some(b"0123456789abcdef".to_vec()) };
        let basic = STANDARD.encode("user:0123456789abcdef");
        for header in ["Bearer 0123456789abcdef", "bearer  0123456789abcdef", &format!("Basic {basic}")] {
            assert_eq!(access.refusal(&request(&format!("Authorization: {header}\r\n"))), None, "{header}");
        }
        let odd = STANDARD.encode("0123456789abcdef");
        for header in ["Bearer 0123456789abcde", "Bearer", "Basic %%%", "0123456789abcdef", &format!("Basic {odd}")] {
            let refusal = access.refusal(&request(&format!("Authorization: {header}\r\n")));
            assert_eq!(refusal.map(|refusal| refusal.status), Some(401), "{header}");
        }
        assert!(access.refusal(&request("Host: localhost\r\n")).is_some());
    }

    #[test]
    fn other_machines_need_a_token_that_is_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let (here, there) = ("127.0.0.1:0".parse().unwrap(), "0.0.0.0:0".parse().unwrap());
        assert!(Access::new(None, here).is_ok());
        assert!(matches!(Access::new(None, there), Err(AccessError::Open(_))));
        assert!(matches!(Access::new(Some(&path), there), Err(AccessError::Unreadable { .. })));
        std::fs::write(&path, "short\nsecond line that is long enough\n").unwrap();
        assert!(matches!(Access::new(Some(&path), there), Err(AccessError::Short { .. })));
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert_eq!(Access::new(Some(&path), there).unwrap().token.unwrap(), b"0123456789abcdef");
    }
}
