//! Where the source of native code is: asked of a thread of ours that reads debug information, so that nobody who
//! samples waits for it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

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
    /// The number of the first of them.
    first_file: u32,
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
        Self { process, files: Vec::new(), first_file: 0, places: HashMap::new(), sender, answers, waiting: 0 }
    }

    /// Takes a file in; its number. One that another process has mapped too is held open once.
    pub(super) fn add_file(&mut self, file: DebugFile) -> Option<u32> {
        static OPEN: Mutex<BTreeMap<FileKey, Weak<DebugFile>>> = Mutex::new(BTreeMap::new());
        let number = self.first_file.checked_add(u32::try_from(self.files.len()).ok()?)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, file| file.strong_count() > 0);
        let key = file_key(&file.file);
        let shared = key.and_then(|key| open.get(&key)?.upgrade()).unwrap_or_else(|| Arc::new(file));
        if let Some(key) = key {
            open.insert(key, Arc::downgrade(&shared));
        }
        self.files.push(shared);
        Some(number)
    }

    /// Lets go of all files; what was told of them stays known.
    pub(super) fn forget_files(&mut self) {
        let count = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.first_file = self.first_file.saturating_add(count);
        self.files.clear();
    }

    /// Asks for a place, if it was not asked for before.
    pub(super) fn ask_for(&mut self, place: CodePlace) {
        let number = place.file.checked_sub(self.first_file);
        let Some(file) = number.and_then(|number| self.files.get(number as usize)) else { return };
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
            self.keep_answer(answer);
        }
    }

    /// Whether any answer is missing.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Waits for all answers, at most so long.
    pub(super) fn wait_for_answers(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.waiting > 0 {
            match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(answer) => self.keep_answer(answer),
                Err(_) => return,
            }
        }
    }

    fn keep_answer(&mut self, answer: Answer) {
        self.waiting -= 1;
        self.places.insert(answer.place, Some(answer.found.into()));
    }

    /// What is known of a place.
    pub(super) fn places_of(&self, place: CodePlace) -> Found<'_> {
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
        let run = move || answer_questions(&questions);
        let thread = std::thread::Builder::new().name("debug information".to_owned()).spawn(run);
        thread.map_err(|error| log::debug!("no thread for debug information: {error}")).ok().map(|_| sender)
    };
    READER.get_or_init(start).as_ref()
}

fn answer_questions(questions: &Receiver<Question>) {
    let mut known: HashMap<FileKey, Option<Dwarf>> = HashMap::new();
    for question in questions {
        let found = file_key(&question.file.file).map(|key| {
            if !known.contains_key(&key) {
                let dwarf = Dwarf::read(&question.file.file, question.file.shared.as_ref());
                let held: usize = known.values().flatten().map(Dwarf::size).sum();
                if held + dwarf.as_ref().map_or(0, Dwarf::size) > MOST_BYTES {
                    known.clear();
                }
                known.insert(key, dwarf);
            }
            let open = |path: &Path| question.process.open_in_root(path).ok();
            let dwarf = known.get_mut(&key).and_then(Option::as_mut);
            // What makes a library of ours panic takes its own lines away and nobody else's.
            let found = dwarf.map(|dwarf| {
                let look_up = AssertUnwindSafe(|| dwarf.places(question.place.address, &open));
                catch_unwind(look_up)
            });
            match found {
                Some(Ok(places)) => places,
                Some(Err(_)) => {
                    known.insert(key, None);
                    Vec::new()
                }
                None => Vec::new(),
            }
        });
        // Who asked may be gone.
        let _ = question.answer.send(Answer { place: question.place, found: found.unwrap_or_default() });
    }
}

/// What tells a file from others, also when it is opened anew: device, inode, size and time of change.
type FileKey = (u64, u64, u64, u128);

#[cfg(unix)]
fn file_key(file: &File) -> Option<FileKey> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata().ok()?;
    let changed = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.size(), changed.as_nanos()))
}

/// Native stacks are read on Linux only.
#[cfg(not(unix))]
fn file_key(_file: &File) -> Option<FileKey> {
    None
}
