//! Where the source of native code is: asked of a thread of ours that reads debug information, so that nobody who samples waits for it.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::dwarf::{Dwarf, SourcePlace};
use super::function::CodePlace;
use crate::process::Process;

/// The most bytes of debug information that are held; past it, what was read before is let go.
const MOST_BYTES: usize = 1 << 30;
/// The most places that are remembered.
const MOST_PLACES: usize = 1 << 20;

/// The debug information of a file.
#[derive(Debug)]
pub(super) struct DebugFile {
    /// The file that has it.
    pub(super) file: File,
    /// The one that it shares parts with.
    pub(super) shared: Option<File>,
}

/// What is known of places in the files of one process.
#[derive(Debug)]
pub(super) struct Lines {
    process: Process,
    files: Vec<Arc<DebugFile>>,
    places: HashMap<CodePlace, Option<Box<[SourcePlace]>>>,
    sender: Sender<Answer>,
    answers: Receiver<Answer>,
    waiting: usize,
}

struct Question {
    file: Arc<DebugFile>,
    /// Whose it is.
    process: Process,
    place: CodePlace,
    answer: Sender<Answer>,
}

#[derive(Debug)]
struct Answer {
    place: CodePlace,
    found: Vec<SourcePlace>,
}

/// What is known of a place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'lines> {
    /// It was asked for and not answered yet.
    NotYet,
    /// Innermost first; empty where nothing is known.
    Places(&'lines [SourcePlace]),
}

impl Lines {
    pub(super) fn new(process: Process) -> Self {
        let (sender, answers) = channel();
        Self { process, files: Vec::new(), places: HashMap::new(), sender, answers, waiting: 0 }
    }

    /// Takes a file in; its number.
    pub(super) fn add(&mut self, file: DebugFile) -> Option<u32> {
        let number = u32::try_from(self.files.len()).ok()?;
        self.files.push(Arc::new(file));
        Some(number)
    }

    /// Asks for a place, if it was not asked for before.
    pub(super) fn ask(&mut self, place: CodePlace) {
        let Some(file) = self.files.get(place.file as usize) else { return };
        if self.places.contains_key(&place) || self.places.len() >= MOST_PLACES {
            return;
        }
        let (file, process) = (Arc::clone(file), self.process.clone());
        let question = Question { file, process, place, answer: self.sender.clone() };
        if reader().is_some_and(|reader| reader.send(question).is_ok()) {
            self.places.insert(place, None);
            self.waiting += 1;
        }
    }

    /// Takes the answers that have come.
    pub(super) fn take_answers(&mut self) {
        while self.waiting > 0
            && let Ok(answer) = self.answers.try_recv()
        {
            self.take(answer);
        }
    }

    /// Whether any answer is missing.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Waits for all answers, at most so long.
    pub(super) fn wait(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.waiting > 0 {
            match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(answer) => self.take(answer),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, answer: Answer) {
        self.waiting -= 1;
        self.places.insert(answer.place, Some(answer.found.into()));
    }

    /// What is known of a place.
    pub(super) fn find(&self, place: CodePlace) -> Found<'_> {
        match self.places.get(&place) {
            Some(None) => Found::NotYet,
            Some(Some(places)) => Found::Places(places),
            None => Found::Places(&[]),
        }
    }
}

/// The thread that reads debug information, one for all processes, which mostly share their libraries.
fn reader() -> Option<&'static Sender<Question>> {
    static READER: OnceLock<Option<Sender<Question>>> = OnceLock::new();
    let start = || {
        let (sender, questions) = channel();
        let run = move || read(&questions);
        let thread = std::thread::Builder::new().name("debug information".to_owned()).spawn(run);
        thread.map_err(|error| log::debug!("no thread for debug information: {error}")).ok().map(|_| sender)
    };
    READER.get_or_init(start).as_ref()
}

fn read(questions: &Receiver<Question>) {
    let mut known: HashMap<FileKey, Option<Dwarf>> = HashMap::new();
    for question in questions {
        let key = file_key(&question.file);
        if !known.contains_key(&key) {
            let dwarf = Dwarf::read(&question.file.file, question.file.shared.as_ref());
            let held: usize = known.values().flatten().map(Dwarf::size).sum();
            if held + dwarf.as_ref().map_or(0, Dwarf::size) > MOST_BYTES {
                known.clear();
            }
            known.insert(key, dwarf);
        }
        let dwarf = known.get_mut(&key).and_then(Option::as_mut);
        let open = |path: &Path| question.process.open_in_root(path).ok();
        let found = dwarf.map(|dwarf| dwarf.places(question.place.address, &open)).unwrap_or_default();
        // Who asked may be gone.
        let _ = question.answer.send(Answer { place: question.place, found });
    }
}

/// What tells a file from others, also when it is opened anew: device, inode, size and time of change; or the address of what holds it.
type FileKey = (u64, u64, u64, u128);

fn file_key(file: &Arc<DebugFile>) -> FileKey {
    #[cfg(unix)]
    if let Ok(metadata) = file.file.metadata() {
        use std::os::unix::fs::MetadataExt;
        let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        return (metadata.dev(), metadata.ino(), metadata.size(), changed.map_or(0, |time| time.as_nanos()));
    }
    (0, Arc::as_ptr(file) as u64, 0, 0)
}
