//! `record --push`: what arrives at a server, and what becomes of it when the server is away, slow or unwilling.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::running::{Running, any, read_otlp, read_profile, wait_for_handlers};
use crate::target::{Target, print_note, pyspy, run};

/// `tests/targets/push_server.py`, and the files that it has made.
struct Server {
    target: Target,
    port: String,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut target =
            Target::start(any(), "push_server.py", &[&[folder.path().to_str().unwrap()][..], more].concat());
        let port = target.line();
        Self { target, port, _folder: folder }
    }

    /// The next requests are answered so.
    fn answer(&mut self, answers: &Value) {
        self.target.send(&answers.to_string());
    }

    /// The next request that came.
    fn request(&mut self) -> Value {
        serde_json::from_str(&self.target.line()).unwrap()
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }
}

fn busy() -> Target {
    Target::start(any(), "busy.py", &["5"])
}

fn record<'a>(pid: &'a str, url: &'a str, seconds: &'a str) -> Vec<&'a str> {
    vec!["record", "-p", pid, "--push", url, "--every", "1s", "-d", seconds, "-r", "50"]
}

/// The profiles of all series so far that have this pid, by what their function `compute` has in seconds.
fn computed(request: &Value, pid: u32) -> f64 {
    let series = request["series"].as_array().unwrap();
    let pid = pid.to_string();
    let of_pid = series.iter().filter(|series| series["labels"]["pid"] == pid);
    let profiles = of_pid.flat_map(|series| series["profiles"].as_array().unwrap());
    let seconds = profiles.map(|profile| {
        let file = Path::new(profile[1].as_str().unwrap());
        read_profile("pprof", file, 50)["compute"].as_f64().unwrap()
    });
    seconds.sum()
}

/// How many profiles the summary says were sent, and how many dropped.
#[track_caller]
fn counts(stderr: &str) -> (u64, u64) {
    let line = stderr.lines().find_map(|line| line.strip_prefix("pyspy: sent ")).unwrap_or_else(|| panic!("{stderr}"));
    let sent = line.split(' ').next().unwrap().parse().unwrap();
    let dropped = line.split_once(" dropped)").map_or("0", |(before, _)| before.rsplit('(').next().unwrap());
    (sent, dropped.parse().unwrap())
}

/// Blocks that last from one interval into the next, and blocks that come and go: all of their time arrives.
#[test]
fn blocks_arrive_in_pieces_that_add_up() {
    if !crate::kernel::may_sample("blocks that are sent") {
        return;
    }
    let mut server = Server::start(&[]);
    let program = "import threading, time\ndef rests():\n    time.sleep(1000)\n\
        threading.Thread(target=rests, daemon=True).start()\ndef naps():\n    while True: time.sleep(0.05)\n\
        print('ready', flush=True)\nnaps()\n";
    let mut command = Command::new(&any().path);
    command.args(["-c", program]);
    let target = Target::start_command(command, "a program that sleeps");
    let (pid, url) = (target.pid().to_string(), server.url("pyroscope+http"));
    let args = ["record", "-p", &pid, "--mode", "offcpu", "--push", &url, "--every", "1s", "-d", "4"];
    let ran = pyspy(&args);
    ran.success();
    let (sent, dropped) = counts(&ran.stderr);
    assert!(sent >= 3 && dropped == 0, "{ran:?}");
    let (mut rests, mut naps) = (0.0, 0.0);
    for _ in 0..sent {
        let request = server.request();
        for series in request["series"].as_array().unwrap() {
            assert_eq!(series["labels"]["__name__"], "off_cpu", "{request:#}");
            for profile in series["profiles"].as_array().unwrap() {
                let seconds = read_profile("pprof", Path::new(profile[1].as_str().unwrap()), 1);
                let of = |function: &str| seconds.get(function).and_then(Value::as_f64).unwrap_or(0.0);
                (rests, naps) = (rests + of("rests"), naps + of("naps"));
            }
        }
    }
    assert!((3.8..4.3).contains(&rests) && (3.3..4.3).contains(&naps), "{rests} {naps} {}", ran.stderr);
}

#[test]
fn pyroscope_gets_each_interval_of_each_process() {
    let mut server = Server::start(&[]);
    let plain = busy();
    let mut command = Command::new(&any().path);
    command.arg(crate::running::script("busy.py")).arg("5").env("OTEL_SERVICE_NAME", "web \"shop\"");
    let named = Target::start_command(command, "busy.py with a service's name");
    let folder = tempfile::tempdir().unwrap();
    let headers = folder.path().join("headers");
    std::fs::write(&headers, "# who we are\nX-Scope-OrgID: team\n").unwrap();
    let (first, second, url) = (plain.pid().to_string(), named.pid().to_string(), server.url("pyroscope+http"));
    let mut args = record(&first, &url, "2.5");
    args.extend(["-p", &second, "--label", "env=test", "--label", "k8s.pod.name=p-1"]);
    args.extend(["--header-file", headers.to_str().unwrap()]);
    let ran = pyspy(&args);
    ran.success();
    let (sent, dropped) = counts(&ran.stderr);
    assert!(sent >= 2 && dropped == 0, "{}", ran.stderr);
    let (mut times, mut last, mut ids) = ([0.0; 2], 0.0, Vec::new());
    for _ in 0..sent {
        let request = server.request();
        assert_eq!(request["path"], "/push.v1.PusherService/Push");
        assert_eq!(request["headers"]["content-type"], "application/proto");
        assert_eq!(request["headers"]["x-scope-orgid"], "team");
        for series in request["series"].as_array().unwrap() {
            let labels = &series["labels"];
            let service = if labels["pid"] == first { "busy.py" } else { "web \"shop\"" };
            assert_eq!(labels["service_name"], service, "{labels}");
            assert_eq!((&labels["__name__"], &labels["env"]), (&"process_cpu".into(), &"test".into()));
            assert_eq!(labels["k8s_pod_name"], "p-1");
            assert!(labels["host_name"].is_string() && labels["process_executable_name"].is_string(), "{labels}");
            ids.push(series["profiles"][0][0].to_string());
        }
        times[0] += computed(&request, plain.pid());
        times[1] += computed(&request, named.pid());
        let came = request["came"].as_f64().unwrap();
        assert!(came > last);
        last = came;
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "each profile has an id of its own: {ids:?}");
    // Nothing is lost between two intervals: what arrived is what was sampled.
    let summary = crate::recording::Recording::summary_of(&ran.stderr);
    for time in times {
        assert!(time > summary.seconds - summary.unobserved - 1.0, "{times:?} {}", ran.stderr);
        assert!(time < summary.seconds + 0.2, "{times:?} {}", ran.stderr);
    }
}

#[test]
fn otlp_is_what_its_own_messages_read() {
    let mut server = Server::start(&[]);
    let target = busy();
    let (pid, url) = (target.pid().to_string(), server.url("otlp+http"));
    let mut args = record(&pid, &url, "2");
    args.extend(["--service", "shop", "--label", "deployment.environment.name=test"]);
    let ran = pyspy(&args);
    ran.success();
    let mut seconds = 0.0;
    for _ in 0..counts(&ran.stderr).0 {
        let request = server.request();
        assert_eq!(request["path"], "/v1development/profiles");
        assert_eq!(request["headers"]["content-type"], "application/x-protobuf");
        let path = PathBuf::from(request["file"].as_str().unwrap());
        let Some(times) = read_otlp(&path, 50) else { return };
        seconds += times["compute"].as_f64().unwrap();
    }
    let summary = crate::recording::Recording::summary_of(&ran.stderr);
    assert!(seconds > summary.seconds - summary.unobserved - 1.0, "{seconds} {}", ran.stderr);
}

/// Records until the server has said `count` times what it did, which is returned with what pyspy has said at the end.
fn record_until(server: &mut Server, count: usize) -> (Vec<Value>, String) {
    let target = busy();
    let (pid, url) = (target.pid().to_string(), server.url("pyroscope+http"));
    let mut running = Running::start(&["record", "-p", &pid, "--push", &url, "--every", "1s", "-r", "50"]);
    wait_for_handlers(&mut running);
    let requests = (0..count).map(|_| server.request()).collect();
    running.signal(Signal::SIGTERM);
    let ran = running.ended();
    ran.success();
    (requests, ran.stderr)
}

#[test]
fn a_server_that_asks_for_time_gets_it() {
    let mut server = Server::start(&[]);
    server.answer(&serde_json::json!([[429, {"Retry-After": "3"}, 0], [503, {}, 0], [200, {}, 1]]));
    let (requests, stderr) = record_until(&mut server, 5);
    let statuses: Vec<i64> = requests.iter().map(|request| request["status"].as_i64().unwrap()).collect();
    assert_eq!(statuses, [429, 503, 200, 200, 200]);
    let came: Vec<f64> = requests.iter().map(|request| request["came"].as_f64().unwrap()).collect();
    assert!(came[1] - came[0] >= 3.0, "the time that it named: {came:?}");
    assert!(came[2] - came[1] >= 1.0, "a pause of our own: {came:?}");
    assert!(came[3] - came[2] >= 1.0, "the next only when this one was taken: {came:?}");
    // The server's going and its coming back are told once each.
    assert_eq!(stderr.matches("it will be tried again").count(), 1, "{stderr}");
    assert_eq!(stderr.matches("takes profiles again").count(), 1, "{stderr}");
}

#[test]
fn what_a_server_cannot_take_is_dropped_and_the_next_is_sent() {
    let mut server = Server::start(&[]);
    server.answer(&serde_json::json!([[500, {}, 0]]));
    let (requests, stderr) = record_until(&mut server, 2);
    assert_eq!((&requests[0]["status"], &requests[1]["status"]), (&500.into(), &200.into()));
    let (sent, dropped) = counts(&stderr);
    assert!(sent >= 1 && dropped == 1, "{stderr}");
    assert!(stderr.contains("it answers 500: \"\\u{1b}[31mas told\"; one profile is dropped"), "{stderr}");
}

#[test]
fn what_is_refused_is_not_sent_again_and_the_recording_goes_on() {
    for (status, headers, words) in [
        (401, serde_json::json!({}), "it answers 401: \"\\u{1b}[31mas told\""),
        (307, serde_json::json!({"Location": "https://elsewhere.example/x"}), "https://elsewhere.example/x"),
    ] {
        let mut server = Server::start(&[]);
        server.answer(&serde_json::json!([[status, headers, 0]]));
        let target = busy();
        let (pid, url) = (target.pid().to_string(), server.url("otlp+http"));
        let begun = Instant::now();
        let ran = pyspy(&record(&pid, &url, "1.5"));
        assert_eq!(ran.status.code(), Some(7), "{status}: {ran:#?}");
        assert!(begun.elapsed() >= Duration::from_millis(1500), "{status}: the recording ended early");
        assert!(ran.stderr.contains(words) && !ran.stderr.contains('\u{1b}'), "{status}: {}", ran.stderr);
        let (sent, dropped) = counts(&ran.stderr);
        assert!(sent == 0 && dropped >= 1, "{status}: {}", ran.stderr);
        assert_eq!(server.request()["status"], status);
        // Had there been another request, it would stand before this one.
        pyspy(&record(&pid, &format!("{}/last", server.url("otlp+http")), "0.5")).success();
        assert_eq!(server.request()["path"], "/last");
    }
}

/// A port of this machine at which nobody listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn without_a_server_a_recording_ends_when_it_is_told_to() {
    let target = busy();
    let (pid, url) = (target.pid().to_string(), format!("otlp+http://127.0.0.1:{}", closed_port()));
    let mut running = Running::start(&["record", "-p", &pid, "--push", &url, "--every", "1s"]);
    wait_for_handlers(&mut running);
    let note = running.output_path("stderr");
    running.wait_until("a failure", || std::fs::read_to_string(&note).unwrap().contains("it will be tried again"));
    running.signal(Signal::SIGTERM);
    let told = Instant::now();
    let ran = running.ended();
    // Five seconds for what is left; the rest is for a machine that has other things to do.
    assert!(told.elapsed() < Duration::from_secs(15), "{:?}", told.elapsed());
    assert_eq!(ran.status.code(), Some(7), "{ran:#?}");
    let (sent, dropped) = counts(&ran.stderr);
    assert!(sent == 0 && dropped > 0, "{}", ran.stderr);
}

#[test]
fn the_last_interval_is_sent_when_it_is_told_to_end() {
    let mut server = Server::start(&[]);
    let target = busy();
    let (pid, url) = (target.pid().to_string(), server.url("pyroscope+http"));
    let mut running = Running::start(&["record", "-p", &pid, "--push", &url, "--every", "1h"]);
    wait_for_handlers(&mut running);
    running.signal(Signal::SIGUSR1);
    let early = server.request();
    assert!(computed(&early, target.pid()) > 0.0, "{early}");
    running.signal(Signal::SIGTERM);
    let last = server.request();
    assert!(computed(&last, target.pid()) > 0.0, "{last}");
    assert_eq!(counts(&running.ended().stderr), (2, 0));
}

#[test]
fn only_servers_with_the_right_certificate_get_anything() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    match run(&mut openssl, Duration::from_secs(60)) {
        Ok(ran) => drop(ran.success()),
        Err(error) => return print_note(&format!("skipped: openssl {error}")),
    }
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let mut server = Server::start(&[certificate, key]);
    let target = busy();
    let (pid, url) = (target.pid().to_string(), server.url("pyroscope+https"));
    let ran = pyspy(&record(&pid, &url, "1"));
    assert_eq!(ran.status.code(), Some(7), "{ran:#?}");
    assert!(ran.stderr.contains("certificate"), "{}", ran.stderr);
    let mut args = record(&pid, &url, "1");
    args.extend(["--ca-file", certificate]);
    pyspy(&args).success();
    assert!(computed(&server.request(), target.pid()) > 0.0);
}
