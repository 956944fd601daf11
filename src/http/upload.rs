//! Sends what is made piece by piece to a server that may be away, slow or unwilling: a bounded queue, and a thread
//! that tries again.
//!
//! Whoever makes the pieces never waits. While the server does not take them the oldest are dropped, and counted.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

/// So many pieces wait, the one that is being sent among them, and so many bytes of them.
const MOST_PIECES: usize = 4;
const MOST_BYTES: usize = 32 << 20;
/// A try takes no longer.
const TRY_LIMIT: Duration = Duration::from_secs(10);
/// The pause after a failure, which doubles with each that follows, and the longest. A server that names a time itself
/// (`Retry-After`) has that, within its own bound.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);
/// This much is read of an answer, and kept of it for the reader, in bytes.
const MOST_READ: u64 = 64 << 10;
const MOST_KEPT: usize = 200;

/// Where pieces go.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// `https://HOST/PATH`.
    pub url: String,
    /// Names and values, beside those that each request has.
    pub headers: Vec<(String, String)>,
    /// Certificates to trust in place of those of the web, if not empty.
    pub certificates: Vec<Certificate<'static>>,
}

/// What has become of the pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UploadCounts {
    /// The server has taken them.
    pub sent: u64,
    /// They were given up: too many waited, or the server could not take them.
    pub dropped: u64,
    /// Of these, how many were there yet at the end.
    pub left: u64,
    /// Why nothing is sent any more, if so.
    pub refusal: Option<String>,
    /// What went wrong last.
    pub failure: Option<String>,
}

/// The certificates in a text of PEM.
///
/// # Errors
/// When there is none, or one is none.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, ureq::Error> {
    let all: Vec<_> = ureq::tls::parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
        .collect::<Result<_, _>>()?;
    if all.is_empty() { Err(ureq::Error::Tls("there is no certificate")) } else { Ok(all) }
}

/// Told of what a user should know, from the thread that sends.
pub(crate) type Notes = Box<dyn Fn(&str) + Send>;

/// The queue with its thread.
#[derive(Debug)]
pub(crate) struct Uploader {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// The queue has changed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// With their numbers.
    pieces: VecDeque<(u64, Arc<Vec<u8>>)>,
    bytes: usize,
    made: u64,
    /// Until when is sent what there is, once no more comes.
    ends_at: Option<Instant>,
    counts: UploadCounts,
}

impl Queue {
    /// Gives up the oldest while there are too many; whether any was.
    fn drop_surplus(&mut self) -> bool {
        let before = self.counts.dropped;
        while self.pieces.len() > MOST_PIECES || self.bytes > MOST_BYTES && self.pieces.len() > 1 {
            self.drop_oldest();
        }
        self.counts.dropped > before
    }

    fn drop_oldest(&mut self) {
        if let Some((_, piece)) = self.pieces.pop_front() {
            self.bytes -= piece.len();
            self.counts.dropped += 1;
        }
    }

    /// A piece was taken by the server; it may have been given up meanwhile.
    fn note_sent(&mut self, number: u64) {
        self.counts.sent += 1;
        match self.pieces.front() {
            Some((oldest, piece)) if *oldest == number => {
                self.bytes -= piece.len();
                self.pieces.pop_front();
            }
            _ => self.counts.dropped -= 1,
        }
    }

    fn drop_one(&mut self, number: u64) {
        if self.pieces.front().is_some_and(|(oldest, _)| *oldest == number) {
            self.drop_oldest();
        }
    }

    fn drop_all(&mut self) {
        while !self.pieces.is_empty() {
            self.drop_oldest();
        }
    }
}

/// What an answer, or that there is none, means for a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Sent,
    /// To be tried again, after the time that the server has named.
    Again(String, Option<Duration>),
    /// This one will not be taken; others may.
    Drop(String),
    /// None will be taken.
    Refused(String),
}

impl Uploader {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there is none to be had.
    pub(crate) fn start(destination: Destination, notes: Notes) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("push".to_owned()).spawn(move || {
            let sender = Sender { agent: agent(&destination), destination };
            theirs.run(&sender, &notes);
        })?;
        Ok(Self { shared, thread })
    }

    /// Takes a piece to be sent.
    pub(crate) fn push(&self, piece: Vec<u8>) {
        let mut queue = self.shared.lock();
        queue.made += 1;
        if queue.counts.refusal.is_some() {
            queue.counts.dropped += 1;
            return;
        }
        let number = queue.made;
        queue.bytes += piece.len();
        queue.pieces.push_back((number, Arc::new(piece)));
        if queue.drop_surplus() {
            log::debug!("a piece was dropped: too many wait to be sent");
        }
        drop(queue);
        self.shared.changed.notify_one();
    }

    /// Sends what there is for so long at most, and says what has become of it all.
    pub(crate) fn finish(self, limit: Duration) -> UploadCounts {
        self.shared.lock().ends_at = Some(Instant::now() + limit);
        self.shared.changed.notify_one();
        // A try that is under way when the time is over ends by itself soon; nothing is left to wait for.
        let deadline = Instant::now() + limit + Duration::from_millis(200);
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut queue = self.shared.lock();
        queue.counts.left = queue.pieces.len() as u64;
        queue.drop_all();
        queue.counts.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, sender: &Sender, notes: &Notes) {
        let mut pause = PAUSES.0;
        // It is told when the server goes away and when it is back, not for each try.
        let mut is_away = false;
        while let Some((number, piece, limit)) = self.next_piece() {
            match sender.send(&piece, limit) {
                Verdict::Sent => {
                    let mut queue = self.lock();
                    queue.note_sent(number);
                    let dropped = queue.counts.dropped;
                    drop(queue);
                    if std::mem::take(&mut is_away) {
                        notes(&format!("it takes profiles again; {dropped} were dropped so far"));
                    }
                    pause = PAUSES.0;
                }
                Verdict::Again(why, named) => {
                    if !std::mem::replace(&mut is_away, true) {
                        notes(&format!("{why}; it will be tried again"));
                    }
                    log::debug!("{why}");
                    self.lock().counts.failure = Some(why);
                    self.wait(named.unwrap_or_else(|| uneven(pause)));
                    pause = (pause * 2).min(PAUSES.1);
                }
                Verdict::Drop(why) => {
                    notes(&format!("{why}; one profile is dropped"));
                    let mut queue = self.lock();
                    queue.drop_one(number);
                    queue.counts.failure = Some(why);
                }
                Verdict::Refused(why) => {
                    notes(&format!("{why}; no more profiles are sent"));
                    let mut queue = self.lock();
                    queue.drop_all();
                    queue.counts.refusal = Some(why);
                    return;
                }
            }
        }
    }

    /// The oldest piece, and how long a try to send it may take; waits for one. `None` when no more comes, or the time
    /// is over.
    fn next_piece(&self) -> Option<(u64, Arc<Vec<u8>>, Duration)> {
        let mut queue = self.lock();
        loop {
            let left = queue.ends_at.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            if let Some((number, piece)) = queue.pieces.front() {
                return Some((*number, Arc::clone(piece), left.map_or(TRY_LIMIT, |left| left.min(TRY_LIMIT))));
            }
            if left.is_some() {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits before the next try; no longer when the end has come, and then once more.
    fn wait(&self, pause: Duration) {
        let end = Instant::now() + pause;
        let mut queue = self.lock();
        let was_ending = queue.ends_at.is_some();
        loop {
            let until = if was_ending { queue.ends_at.map_or(end, |last| last.min(end)) } else { end };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !was_ending && queue.ends_at.is_some() {
                return;
            }
            queue = self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

struct Sender {
    agent: ureq::Agent,
    destination: Destination,
}

impl Sender {
    fn send(&self, piece: &[u8], limit: Duration) -> Verdict {
        let mut request = self.agent.post(&self.destination.url);
        for (name, value) in &self.destination.headers {
            request = request.header(name, value);
        }
        match request.config().timeout_global(Some(limit)).build().send(piece) {
            Ok(mut answer) => {
                let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
                let (status, retry_after) = (answer.status().as_u16(), header("retry-after"));
                let location = header("location");
                // All of a short answer is read, so that the connection can be used again.
                let mut text = Vec::new();
                let _ = answer.body_mut().as_reader().take(MOST_READ).read_to_end(&mut text);
                judge_answer(status, retry_after.as_deref(), location.as_deref(), &text)
            }
            Err(ureq::Error::BadUri(why)) => Verdict::Refused(why),
            Err(error) => Verdict::Again(error.to_string(), None),
        }
    }
}

fn agent(destination: &Destination) -> ureq::Agent {
    let mut tls = TlsConfig::builder();
    if !destination.certificates.is_empty() {
        tls = tls.root_certs(RootCerts::new_with_certs(&destination.certificates));
    }
    let config = ureq::Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        // What is sent, and the secrets in its headers, go nowhere but to where the user has said.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("pyspy/", env!("CARGO_PKG_VERSION")));
    config.build().into()
}

fn judge_answer(status: u16, retry_after: Option<&str>, location: Option<&str>, body: &[u8]) -> Verdict {
    let told = || {
        let text = String::from_utf8_lossy(body);
        let text: String = text.trim().chars().take(MOST_KEPT).collect();
        let more = if text.is_empty() { String::new() } else { format!(": {text:?}") };
        format!("it answers {status}{more}")
    };
    match status {
        200..=299 => Verdict::Sent,
        300..=399 => {
            let place = location.map(|place| format!(" to {place:?}")).unwrap_or_default();
            Verdict::Refused(format!("it redirects{place}, which is not followed: give that address itself"))
        }
        429 | 502..=504 => Verdict::Again(told(), retry_after.and_then(named_pause)),
        400..=499 => Verdict::Refused(told()),
        _ => Verdict::Drop(told()),
    }
}

/// The time of `Retry-After`: seconds, or a date.
fn named_pause(text: &str) -> Option<Duration> {
    let pause = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
            SystemTime::from(date).duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(pause.min(LONGEST_RETRY_AFTER))
}

/// Up to a quarter more, so that not all of those who lost one server come back to it at once.
fn uneven(pause: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    pause + pause * (nanos / 1000 % 256) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_is_documented() {
        let judge = |status| judge_answer(status, Some("7"), Some("https://else.where/"), b"no\n");
        assert_eq!((judge(200), judge(204)), (Verdict::Sent, Verdict::Sent));
        for status in [429, 502, 503, 504] {
            let why = format!("it answers {status}: \"no\"");
            assert_eq!(judge(status), Verdict::Again(why, Some(Duration::from_secs(7))));
        }
        for status in [500, 501, 505] {
            assert!(matches!(judge(status), Verdict::Drop(_)), "{status}");
        }
        for status in [400, 401, 403, 404, 413, 415] {
            assert!(matches!(judge(status), Verdict::Refused(_)), "{status}");
        }
        for status in [301, 302, 307, 308] {
            let Verdict::Refused(why) = judge(status) else { panic!("{status}") };
            assert!(why.contains("https://else.where/"), "{why}");
        }
    }

    #[test]
    fn the_time_that_a_server_names_is_bounded() {
        assert_eq!(named_pause("0"), Some(Duration::ZERO));
        assert_eq!(named_pause(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(named_pause("999999999"), Some(LONGEST_RETRY_AFTER));
        assert_eq!(named_pause("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(named_pause("Tue, 31 Dec 2199 23:59:59 GMT"), Some(LONGEST_RETRY_AFTER));
        for odd in ["", "soon", "-1", "1.5"] {
            assert_eq!(named_pause(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_oldest_go_when_too_many_wait() {
        let mut queue = Queue::default();
        for number in 1..=6 {
            queue.pieces.push_back((number, Arc::new(vec![0; 10])));
            queue.bytes += 10;
            queue.drop_surplus();
        }
        assert_eq!((queue.pieces.len(), queue.pieces[0].0, queue.bytes, queue.counts.dropped), (4, 3, 40, 2));
        // The first was under way when it was given up, and has arrived.
        queue.note_sent(1);
        queue.note_sent(3);
        assert_eq!((queue.counts.sent, queue.counts.dropped, queue.bytes), (2, 1, 30));
        queue.pieces.push_back((7, Arc::new(vec![0; MOST_BYTES])));
        queue.bytes += MOST_BYTES;
        queue.drop_surplus();
        assert_eq!((queue.pieces.len(), queue.bytes, queue.counts.dropped), (1, MOST_BYTES, 4));
    }
}
