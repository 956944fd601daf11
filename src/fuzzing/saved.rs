//! Saved images: real interpreters at one moment, of whose memory only the words are kept that `dump` reads. A fuzzer's
//! input says what to change in one of them; what a real dump does is done over the result.
//!
//! An image is `NAME.core.gz`, a core file with those words ([`CoreFile::write_reduced`]), and `NAME.json` with what
//! else a dump finds in the files of the process: where the runtime is, of which version, where the section of asyncio
//! is.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use crate::command::dump_as_written;
use crate::core_file::{BinarySources, CoreFile, CoreMemory, PAGE};
use crate::inspect::{CoreRead, Details, InspectedProcess, TasksWanted, inspect_core_memory};
use crate::memory::{Copies, Memory, ReadError, ReadFailure, ReadPlan, Recording, Snapshot, reads_through_caches};
use crate::python::locate::PythonFile;
use crate::python::stack::Stacks;
use crate::python::version::Version;
use crate::sampler::{ASYNCIO_SECTION, PostMortem, core_section_address};

/// Bytes of one change in a fuzzer's input: a kind, the place of a word, a value.
const CHANGE: usize = 12;
/// The most changes of one input that are made.
const MOST_CHANGES: usize = 64;
/// The most that a dump of a changed image may print, in bytes. What the images have is a hundredth of that.
const MOST_PRINTED: usize = 32 << 20;
/// Looks at one image by the walker, with changes in between.
const LOOKS: usize = 3;

/// A saved image, loaded.
pub(super) struct SavedImage {
    /// Its file, without the ending.
    pub(super) name: String,
    core: CoreFile,
    sources: BinarySources,
    memory: ChangeableMemory,
    /// The addresses of all words that are not 0: what is worth changing.
    words: Vec<u64>,
    python: PythonFile,
    asyncio_section: Option<u64>,
}

/// Memory that can be changed and put back.
struct ChangeableMemory {
    pages: RefCell<HashMap<u64, Vec<u8>, foldhash::fast::FixedState>>,
}

impl ChangeableMemory {
    fn of(kept: &[(u64, Vec<u8>)]) -> Self {
        let pages = kept.iter().flat_map(|(start, bytes)| {
            let addresses = (*start..).step_by(PAGE as usize);
            addresses.zip(bytes.chunks_exact(PAGE as usize).map(<[u8]>::to_vec))
        });
        Self { pages: RefCell::new(pages.collect()) }
    }

    /// Puts a word there; the word that was there, or `None` where the page is not kept.
    fn replace(&self, address: u64, word: u64) -> Option<u64> {
        let mut pages = self.pages.borrow_mut();
        let bytes = pages.get_mut(&(address & !(PAGE - 1)))?.get_mut((address % PAGE) as usize..)?;
        let place = bytes.first_chunk_mut::<8>()?;
        Some(u64::from_ne_bytes(std::mem::replace(place, word.to_ne_bytes())))
    }
}

impl Memory for ChangeableMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let pages = self.pages.borrow();
        let length = buffer.len();
        let failed = || ReadError::new(address, length, ReadFailure::Unmapped);
        let mut done = 0;
        while done < length {
            let at = address.checked_add(done as u64).ok_or_else(failed)?;
            let page = pages.get(&(at & !(PAGE - 1))).ok_or_else(failed)?;
            let rest = &page[(at % PAGE) as usize..];
            let part = rest.len().min(length - done);
            buffer[done..done + part].copy_from_slice(&rest[..part]);
            done += part;
        }
        Ok(())
    }
}

impl SavedImage {
    /// All images of the repository, by name.
    pub(super) fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/images");
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut facts: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
        facts.sort();
        facts.iter().map(|path| Self::load(path).unwrap_or_else(|error| panic!("{path:?}: {error}"))).collect()
    }

    fn load(facts: &Path) -> io::Result<Self> {
        let known: serde_json::Value = serde_json::from_slice(&std::fs::read(facts)?)?;
        let core = CoreFile::open(&facts.with_extension("core.gz")).map_err(io::Error::other)?;
        let kept = core.kept_memory()?;
        let addresses = kept.iter().flat_map(|(start, bytes)| {
            let words = (*start..).step_by(8).zip(bytes.as_chunks::<8>().0);
            words.filter(|(_, word)| **word != [0; 8]).map(|(address, _)| address)
        });
        let version = known["version"].as_str().and_then(Version::parse);
        let runtime = known["runtime"].as_u64();
        let (Some(version), Some(runtime)) = (version, runtime) else {
            return Err(io::Error::other("it names no version or no runtime"));
        };
        Ok(Self {
            name: facts.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            words: addresses.collect(),
            memory: ChangeableMemory::of(&kept),
            // There is no such folder: no file of this machine is to be read.
            sources: BinarySources::new(&core, None, Some(Path::new("/nonexistent"))),
            core,
            python: PythonFile::known(runtime, version),
            asyncio_section: known["asyncio_section"].as_u64(),
        })
    }

    /// Makes the changes that `input` tells of, does `work`, and puts everything back.
    pub(super) fn with_changes<T>(&self, input: &[u8], work: impl FnOnce(&Self) -> T) -> T {
        let before: Vec<(u64, u64)> = input
            .as_chunks::<CHANGE>()
            .0
            .iter()
            .take(MOST_CHANGES)
            .filter_map(|change| self.make_change(change))
            .collect();
        let result = work(self);
        for (address, word) in before.into_iter().rev() {
            self.memory.replace(address, word);
        }
        result
    }

    /// Makes one change: where, and the word that was there.
    fn make_change(&self, change: &[u8; CHANGE]) -> Option<(u64, u64)> {
        let [kind, place @ ..] = *change;
        let (place, value) = place.split_first_chunk::<3>()?;
        let place = u32::from_le_bytes([place[0], place[1], place[2], 0]) as usize;
        let value = u64::from_le_bytes(*value.first_chunk()?);
        let address = *self.words.get(place.checked_rem(self.words.len())?)?;
        let other = self.words[value as usize % self.words.len()];
        let now = self.memory.read_u64(address).ok()?;
        let low = |bits: u32| now & !((1 << bits) - 1) | value & ((1 << bits) - 1);
        let word = match kind % 8 {
            0 => value,
            1 => low(32),
            2 => low(8),
            // The address of another word, or one a little before or after.
            3 => other.wrapping_add_signed(i64::from(kind.cast_signed() >> 3) * 8),
            // What another word holds.
            4 => self.memory.read_u64(other).unwrap_or(0),
            5 => now.wrapping_add_signed(i64::from((value as u8).cast_signed())),
            // Its own address: the shortest circle.
            6 => address,
            _ => now ^ 1_u64.rotate_left(value as u32),
        };
        Some((address, self.memory.replace(address, word)?))
    }

    /// What a dump of it prints, as text; `None` where it has no stacks.
    pub(super) fn dump(&self, details: Details) -> Option<String> {
        let (text, json) = dump_as_written(self.inspect(details)?);
        assert!(text.len() + json.len() <= MOST_PRINTED, "{} and {} bytes", text.len(), json.len());
        let text = String::from_utf8(text).expect("a dump is UTF-8");
        let is_raw = |character: char| character.is_control() && character != '\n';
        assert!(!text.contains(is_raw), "a control character is not escaped: {text:?}");
        assert!(!json.iter().any(|byte| *byte < b' ' && *byte != b'\n'), "a control character is in JSON");
        Some(text)
    }

    fn inspect(&self, details: Details) -> Option<InspectedProcess> {
        let runtime = self.python.locate(&self.memory, 0).ok()?;
        let stacks = PostMortem::walk(&self.core, &self.memory, runtime, vec![]).ok()?;
        let read = CoreRead { memory: &self.memory, stacks: &stacks };
        Some(inspect_core_memory(&self.core, &self.sources, read, &|| self.asyncio_section, details))
    }

    /// Walks all stacks as sampling does, some times, with a part of the changes made before each; the frames of all.
    pub(super) fn walk(&self, changes: &[u8]) -> usize {
        let Ok(runtime) = self.python.locate(&self.memory, 0) else { return 0 };
        let mut snapshot = Snapshot::new(&self.memory);
        let (mut stacks, mut frames, mut before) = (Stacks::default(), 0, Vec::new());
        let changes = changes.as_chunks::<CHANGE>().0;
        for look in 0..LOOKS {
            let part = changes.iter().skip(look).step_by(LOOKS).take(MOST_CHANGES);
            before.extend(part.filter_map(|change| self.make_change(change)));
            let plan = ReadPlan { copies_of: &|_| Copies::Two, leaves_out_the_same: false, is_stopped: look == 1 };
            snapshot.fetch_planned(&plan, &mut []);
            let _ = stacks.walk(&mut snapshot, &runtime);
            let units: Vec<u64> = stacks.threads.iter().map(|thread| thread.address).collect();
            frames += stacks.threads.iter().map(|thread| stacks.frames_of(thread).len()).sum::<usize>();
            let told = units.iter().filter(|unit| snapshot.evidence_of(**unit).is_some()).count();
            assert!(told <= units.len());
            let _ = snapshot.revalidate(&units, &[]);
        }
        for (address, word) in before.into_iter().rev() {
            self.memory.replace(address, word);
        }
        frames
    }
}

/// Makes an image of a core file, `TO.core.gz` and `TO.json`: the words that a dump reads with all tasks and variables.
///
/// # Errors
/// When the core cannot be read or a file not written.
pub fn save_image(core: &Path, to: &Path) -> anyhow::Result<()> {
    let core = CoreFile::open(core)?;
    let sources = BinarySources::new(&core, None, None);
    let memory = Recording::new(CoreMemory::new(&core, &sources));
    let found = PostMortem::read(&core, &sources)?.runtime;
    let layout = &found.layout;
    let runtime = found.interpreters_head - u64::from(layout.runtime.interpreters_head.unwrap_or(0));
    let asyncio_section = core_section_address(&core, &sources, ASYNCIO_SECTION);
    let python = PythonFile::known(runtime, layout.version);
    let mut failure = None;
    let mut reads = reads_through_caches(|| {
        for variables in 0..=2 {
            let details = Details { variables, tasks: TasksWanted::All, ..Details::default() };
            let dumped = python.locate(&memory, 0).map_err(anyhow::Error::new).and_then(|runtime| {
                let stacks = PostMortem::walk(&core, &memory, runtime, vec![])?;
                let read = CoreRead { memory: &memory, stacks: &stacks };
                inspect_core_memory(&core, &sources, read, &|| asyncio_section, details);
                Ok(())
            });
            failure = failure.take().or(dumped.err());
        }
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    // Without the pages that caches fetched, and the search for greenlets, which goes through all memory in large
    // pieces: what it finds is read once more by itself.
    let others = memory.into_reads();
    let others = others.iter().map(|(address, bytes)| (*address, bytes.len()));
    reads.extend(others.filter(|(address, length)| *length < PAGE as usize || !address.is_multiple_of(PAGE)));
    let whole = CoreMemory::new(&core, &sources);
    let mut pages: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for (address, length) in reads.into_iter().filter(|(_, length)| *length <= 2 * PAGE as usize) {
        // In words, which is what changes are made of.
        for word in (address & !7..address + length as u64).step_by(8) {
            if let Ok(bytes) = whole.read_array::<8>(word) {
                let page = pages.entry(word & !(PAGE - 1)).or_insert_with(|| vec![0; PAGE as usize]);
                page[(word % PAGE) as usize..][..8].copy_from_slice(&bytes);
            }
        }
    }
    let named = |ending: &str| PathBuf::from(format!("{}.{ending}", to.display()));
    let file = std::fs::File::create(named("core.gz"))?;
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    core.write_reduced(&pages, &mut packed)?;
    packed.finish()?;
    let version = layout.version.to_string();
    let facts = serde_json::json!({ "version": version, "runtime": runtime, "asyncio_section": asyncio_section });
    std::fs::write(named("json"), format!("{facts}\n"))?;
    Ok(())
}
