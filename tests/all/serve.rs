//! `serve`: who asks gets what was asked for, and nothing else.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::running::{Running, any, chosen, prometheus_numbers, read_profile, status_kb};
use crate::target::{Target, print_note, pyspy, run};

/// Only a server that hangs takes this long.
const LIMIT: Duration = Duration::from_secs(60);

/// A `pyspy serve` on a port of its own.
struct Server {
    running: Running,
    address: String,
}

/// What it answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Server {
    fn start(more: &[&str]) -> Self {
        let mut running = Running::start(&[&["serve", "--listen", "127.0.0.1:0"][..], more].concat());
        let path = running.output_path("stderr");
        let mut address = None;
        running.wait_until("its address", || {
            let told = std::fs::read_to_string(&path).unwrap();
            let rest = told.split_once("serving at http://").map(|(_, rest)| rest.to_owned());
            address = rest.and_then(|rest| Some(rest.split_once('/')?.0.to_owned()));
            address.is_some()
        });
        Self { running, address: address.unwrap() }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// What is answered to these bytes.
    fn raw(&self, request: &[u8]) -> Option<Answer> {
        let mut stream = self.connect();
        // It may have answered and hung up before it has read all of it.
        let _ = stream.write_all(request);
        answer_of(&mut stream)
    }

    #[track_caller]
    fn get_with(&self, path: &str, headers: &str) -> Answer {
        let host = &self.address;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        self.raw(request.as_bytes()).expect("an answer")
    }

    #[track_caller]
    fn get(&self, path: &str) -> Answer {
        self.get_with(path, "")
    }
}

fn answer_of(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Answer { status, head, body: bytes[end + 4..].to_vec() })
}

#[test]
fn profiles_dumps_and_processes_are_what_is_there() {
    let targets: Vec<Target> = chosen().map(|python| Target::start(python, "busy.py", &["5"])).collect();
    let pids: Vec<String> = targets.iter().map(|target| target.pid().to_string()).collect();
    let args: Vec<&str> = pids.iter().flat_map(|pid| ["-p", pid]).collect();
    let server = Server::start(&args);
    let folder = tempfile::tempdir().unwrap();
    let seconds = |path: &str| {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let file = folder.path().join("profile.pb.gz");
        std::fs::write(&file, &answer.body).unwrap();
        read_profile("pprof", &file, 100)["compute"].as_f64().unwrap()
    };
    let one = seconds(&format!("/debug/pprof/profile?seconds=1&pid={}", pids[0]));
    assert!(0.0 < one && one < 1.5, "{one}");
    let all = seconds("/debug/pprof/profile?seconds=1");
    assert!(0.0 < all && all < 3.5, "{all}");
    let listed: Value = serde_json::from_slice(&server.get("/processes").body).unwrap();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), targets.len(), "{listed:?}");
    for (python, pid) in chosen().zip(&pids) {
        let number: i64 = pid.parse().unwrap();
        let process = listed.iter().find(|process| process["pid"] == number).unwrap();
        let (major, minor) = python.feature();
        assert!(process["python_version"].as_str().unwrap().starts_with(&format!("{major}.{minor}.")), "{process}");
        let dump = server.get(&format!("/dump?pid={pid}"));
        assert!(dump.status == 200 && dump.text().contains("compute (busy.py:"), "{}", dump.text());
    }
    let dump = server.get("/dump").text();
    assert!(pids.iter().all(|pid| dump.contains(&format!("Process {pid}:"))), "{dump}");
    let index = server.get("/debug/pprof/").text();
    assert!(pids.iter().all(|pid| index.contains(&format!("profile?seconds=10&amp;pid={pid}\""))), "{index}");
    let head = server.raw(b"HEAD /processes HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(head.status == 200 && head.body.is_empty(), "{head:?}");
}

/// Serves a process to who has the token `0123456789abcdef`, for which there is a file in `folder`.
fn start_with_token(target: &Target, folder: &Path) -> Server {
    let token = folder.join("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    Server::start(&["-p", &target.pid().to_string(), "--token", token.to_str().unwrap()])
}

#[test]
fn go_tool_pprof_fetches_a_profile() {
    let target = Target::start(any(), "busy.py", &["5"]);
    let folder = tempfile::tempdir().unwrap();
    let server = start_with_token(&target, folder.path());
    let url = format!("http://any:0123456789abcdef@{}/debug/pprof/profile", server.address);
    let mut go = Command::new("go");
    go.args(["tool", "pprof", "-top", "-seconds", "1", &url]).env("PPROF_TMPDIR", folder.path());
    match run(&mut go, LIMIT) {
        Ok(ran) => {
            let top = ran.success();
            assert!(top.contains("Type: cpu") && top.contains("compute"), "{top}");
        }
        Err(error) => print_note(&format!("skipped: go tool pprof {error}")),
    }
}

#[test]
fn prometheus_parses_the_metrics() {
    let turns = Target::start(any(), "loop_lag.py", &["asyncio", "20", "callback"]);
    let busy = Target::start(any(), "busy.py", &["5"]);
    let (first, second) = (turns.pid().to_string(), busy.pid().to_string());
    let server = Server::start(&["-p", &first, "-p", &second]);
    let answer = server.get("/metrics");
    assert!(answer.head.contains("Content-Type: text/plain; version=0.0.4"), "{answer:?}");
    let Some(numbers) = prometheus_numbers(&answer.text()) else { return };
    let number = |name: &str, pid: &str| {
        let found = numbers.iter().find(|(found, labels, _)| found == name && (pid.is_empty() || labels["pid"] == pid));
        found.unwrap_or_else(|| panic!("no {name} of {pid}: {numbers:?}")).2
    };
    assert_eq!(number("pyspy_processes", ""), 2.0);
    assert!(number("pyspy_samples_total", "") >= 2.0);
    assert_eq!(number("pyspy_process_threads", &second), 1.0);
    assert!(number("pyspy_process_active_threads", &second) > 0.5);
    assert_eq!(number("pyspy_process_gil_wait_ratio", &second), 0.0);
    assert!(number("pyspy_process_resident_memory_bytes", &first) > 1e6);
    assert!(number("pyspy_process_loop_lag_seconds", &first) >= 0.0);
}

#[test]
fn a_process_is_read_for_one_request_at_a_time() {
    let target = Target::start(any(), "busy.py", &["5"]);
    let pid = target.pid().to_string();
    let server = Server::start(&["-p", &pid]);
    let host = &server.address;
    let deadline = Instant::now() + LIMIT;
    let wait_until_busy = |is_busy: bool| {
        let busy = || serde_json::from_slice::<Value>(&server.get("/processes").body).unwrap()[0]["busy"].clone();
        while busy() != is_busy {
            assert!(Instant::now() < deadline, "busy does not become {is_busy}");
            thread::sleep(Duration::from_millis(20));
        }
    };
    let ask = || {
        let mut asking = server.connect();
        let request = format!("GET /debug/pprof/profile?seconds=60 HTTP/1.1\r\nHost: {host}\r\n\r\n");
        asking.write_all(request.as_bytes()).unwrap();
        wait_until_busy(true);
        asking
    };
    let first = ask();
    assert_eq!(server.get(&format!("/debug/pprof/profile?pid={pid}")).status, 409);
    assert_eq!(server.get("/dump").status, 409);
    // Who asked has gone: nobody is to wait for the rest of the minute.
    first.shutdown(Shutdown::Both).unwrap();
    wait_until_busy(false);
    assert_eq!(server.get("/dump").status, 200);
    // Told to end, it answers with what it has.
    let mut last = ask();
    server.running.signal(Signal::SIGTERM);
    assert_eq!(answer_of(&mut last).expect("an answer").status, 200);
    server.running.ended().success();
}

#[test]
fn only_who_has_the_token_gets_anything() {
    let target = Target::start(any(), "busy.py", &["5"]);
    let folder = tempfile::tempdir().unwrap();
    let pid = target.pid().to_string();
    let server = start_with_token(&target, folder.path());
    for path in ["/", "/dump", "/processes", "/metrics", "/debug/pprof/profile?seconds=1", "/none"] {
        for headers in ["", "Authorization: Bearer 0123456789abcdeF\r\n", "Authorization: Basic Og==\r\n"] {
            let answer = server.get_with(path, headers);
            assert_eq!(answer.status, 401, "{path} {headers}: {answer:?}");
            assert!(answer.head.contains("WWW-Authenticate: Basic"), "{answer:?}");
            assert!(!answer.text().contains(&pid), "{answer:?}");
        }
    }
    assert_eq!(server.get_with("/dump", "Authorization: Bearer 0123456789abcdef\r\n").status, 200);
    let ran = pyspy(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(ran.status.code(), Some(2), "{ran:#?}");
    assert!(ran.failure().contains("needs a token") && ran.stderr.contains("--token FILE"), "{}", ran.stderr);
}

#[test]
fn odd_requests_get_an_answer_that_says_why() {
    let target = Target::start(any(), "busy.py", &["5"]);
    let pid = target.pid().to_string();
    let server = Server::start(&["-p", &pid]);
    for (path, status) in [
        ("/debug/pprof/profile?seconds=61", 400),
        ("/debug/pprof/profile?seconds=nan", 400),
        ("/debug/pprof/profile?rate=0", 400),
        ("/dump?pid=x", 400),
        ("/dump?pid=-1", 400),
        // It is there, and not served.
        (&format!("/dump?pid={}", std::process::id()), 404),
        ("/dump?pid=99999999999", 400),
        ("/debug/pprof/heap", 404),
        ("/../etc/passwd", 404),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(!answer.body.is_empty(), "{path}");
    }
    assert_eq!(server.get_with("/", "X: evil\r\n").status, 200);
    let status = |request: &[u8]| server.raw(request).map(|answer| answer.status);
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), Some(421));
    assert_eq!(status(b"POST /dump HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"), Some(405));
    assert_eq!(status(b"\x16\x03\x01\x00\xa5\x01\x00\x00"), Some(400));
    assert_eq!(status(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)).as_bytes()), Some(431));
    assert_eq!(status(format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000)).as_bytes()), Some(431));
}

#[test]
fn slow_clients_hold_no_more_than_their_share_and_idling_costs_nothing() {
    let target = Target::start(any(), "busy.py", &["5"]);
    let pid = target.pid().to_string();
    let server = Server::start(&["-p", &pid]);
    let ticks = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks(server.running.pid());
    // Half a request each, and no more of it.
    let slow: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET /dump HTTP/1.1\r\nHost: ").unwrap();
            stream
        })
        .collect();
    let deadline = Instant::now() + LIMIT;
    while server.get("/").status != 503 {
        assert!(Instant::now() < deadline, "the connections are not counted");
    }
    assert!(status_kb(server.running.pid(), "VmRSS").unwrap() < 200_000);
    for mut stream in slow {
        assert_eq!(answer_of(&mut stream).expect("an answer").status, 408);
    }
    assert_eq!(server.get("/debug/pprof/profile?seconds=0.1").status, 200);
    assert!(ticks(server.running.pid()) - before < 500, "what waits does not compute");
}
