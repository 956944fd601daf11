//! Greenlets of real programs, compared with what the programs say of them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::read::is_hub_code;
use super::scan::Scan;
use super::*;
use crate::memory::{Image, Memory, PageCache};
use crate::python::code::CodeTable;
use crate::python::object::ObjectReader;
use crate::python::test_support::{Interpreter, Random, Target};

/// More memory than any of the programs has, in bytes.
const NO_LIMIT: u64 = 1 << 40;

/// `tell_all(running)` shows every greenlet, with what the program says of it: state, parent, type, frames. Those in
/// `running` are what threads run; frames are those that `pause` has noted, else those of `gr_frame`.
const ORACLE: &str = r#"
import gc, sys, threading, time, greenlet
G = greenlet.greenlet
noted = {}
def chain(frame):
    frames = []
    while frame is not None:
        code = frame.f_code
        frames.append('%s:%d' % (getattr(code, 'co_qualname', code.co_name), frame.f_lineno))
        frame = frame.f_back
    return ' '.join(frames)
def note():
    noted[id(greenlet.getcurrent())] = chain(sys._getframe(1))
def pause(): return (note(), greenlet.getcurrent().parent.switch())[1]
def tell_all(running):
    for g in [o for o in gc.get_objects() if isinstance(o, G)]:
        # Not as a subclass says it: gevent's has another idea of both.
        is_dead, is_active = G.dead.__get__(g), G.__bool__(g)
        state = 'running' if id(g) in running else 'dead' if is_dead else 'paused' if is_active else 'new'
        frames = ''
        if state == 'paused':
            frames = noted[id(g)] if id(g) in noted else chain(g.gr_frame)
        parent = '-' if g.parent is None else '%d' % id(g.parent)
        kind = type(g).__module__ + '.' + getattr(type(g), '__qualname__', type(g).__name__)
        show('greenlet', g, '|'.join([state, parent, kind, frames]))
"#;

const GREENLETS: &str = r#"
running = set([id(greenlet.getcurrent())])
def leaf(*ignored):
    pause()
def below_sort():
    sorted([2, 1], key=lambda x: (leaf(), x)[1])
def generator():
    yield leaf()
def in_generator():
    for x in generator():
        pass
def deep(n):
    return deep(n - 1) if n else leaf()
class Sub(G):
    def run(self):
        leaf()
class Runner(object):
    def go(self):
        leaf()
def start(g):
    g.switch()
    return g
def nested():
    inside.append(start(G(leaf)))
    pause()
inside = []
finished = G(lambda: None)
finished.switch()
without_frames = G(greenlet.getcurrent().switch)
without_frames.switch()
noted[id(without_frames)] = ''
there = [start(G(f)) for f in (leaf, below_sort, in_generator, lambda: deep(200), Runner().go, nested, leaf)]
there += [start(Sub()), Sub(), G(leaf), G(Runner().go), G(leaf, there[0])]
# One that was left and went on, and was left again.
def twice():
    pause()
    pause()
again = start(start(G(twice)))
blocked = []
go_on = threading.Event()
def block():
    blocked.append(1)
    go_on.wait()
threads = []
def note_thread():
    threads.append((greenlet.getcurrent(), threading.current_thread().ident))
def thread_in_main():
    note_thread()
    there.append(start(G(leaf)))
    running.add(id(greenlet.getcurrent()))
    block()
def thread_in_greenlet():
    note_thread()
    g = G(block)
    there.extend([g, start(G(below_sort)), greenlet.getcurrent()])
    running.add(id(g))
    note(), g.switch()
for f in (thread_in_main, thread_in_greenlet):
    thread = threading.Thread(target=f)
    thread.daemon = True
    thread.start()
while len(blocked) < 2:
    time.sleep(0.001)
orphans = []
tells_end = not greenlet.__version__.startswith(('0.', '1.'))
def thread_that_ends():
    orphans.append(start(G(leaf)))
    if not tells_end:
        running.add(id(greenlet.getcurrent()))
thread = threading.Thread(target=thread_that_ends)
thread.start()
thread.join()
while tells_end and not orphans[0].dead:
    time.sleep(0.001)
show('new', there[10], there[10].run.__func__.__qualname__)
show('orphan', orphans[0])
for main, ident in threads:
    show('main', main, '%d' % ident)
tell_all(running)
"#;

const GEVENT: &str = r#"
import gevent, gevent.event, gevent.hub
event = gevent.event.Event()
def handler(n):
    if n:
        return handler(n - 1)
    event.wait()
def sleeper():
    gevent.sleep(1000)
there = [gevent.spawn(handler, 3) for _ in range(20)]
there += [gevent.spawn(sleeper), gevent.spawn(gevent.sleep, 1000), gevent.spawn(sum, [])]
gevent.sleep(0.01)
there.append(gevent.spawn(handler, 1))
hub = gevent.get_hub()
show('hub', hub)
"#;

/// As the hub is put aside; then as it runs.
const GEVENT_IN_MAIN: &str = "tell_all([id(greenlet.getcurrent())])";
const GEVENT_IN_HUB: &str = r#"
def in_hub():
    tell_all([id(hub)])
    wait()
hub.loop.run_callback(in_hub)
gevent.sleep(1000)
"#;

const EVENTLET: &str = r#"
import eventlet, eventlet.event, eventlet.hubs
event = eventlet.event.Event()
def handler(n):
    if n:
        return handler(n - 1)
    event.wait()
pool = eventlet.GreenPool(4)
there = [eventlet.spawn(handler, 3) for _ in range(5)] + [pool.spawn(eventlet.sleep, 1000)]
eventlet.sleep(0.01)
there.append(eventlet.spawn(handler, 1))
show('hub', eventlet.hubs.get_hub().greenlet)
tell_all([id(greenlet.getcurrent())])
"#;

/// What the greenlets of a target are found by.
fn modules_of(target: &Target) -> u64 {
    target.shown("modules").address
}

/// Starts a program with the oracle.
fn start(interpreter: &Interpreter, packages: &Path, program: &str) -> Target {
    let program = format!("{ORACLE}\nshow('modules', sys.modules, '')\n{program}");
    Target::start_with(interpreter, &program, packages)
}

/// Finds, scans and reads all greenlets of a target.
fn greenlets_of(target: &Target) -> (GreenletTypes, Vec<Greenlet>) {
    let memory = PageCache::new(target.memory());
    let objects = ObjectReader::new(&memory, &target.layout);
    let types = GreenletTypes::find(objects, modules_of(target)).unwrap().expect("greenlet is imported");
    let scan: Scan = types.scan(ObjectReader::new(target.memory(), &target.layout), &target.object_ranges(), NO_LIMIT);
    assert!(!scan.is_cut);
    assert!(scan.scanned > 0);
    let greenlets = types.read(objects, &scan.candidates, 0).unwrap();
    (types, greenlets)
}

/// What was read of a greenlet, as the oracle says it.
fn as_told(target: &Target, codes: &mut CodeTable, greenlet: &Greenlet) -> String {
    let state = match greenlet.state {
        GreenletState::New => "new",
        GreenletState::Paused => "paused",
        GreenletState::Running => "running",
        GreenletState::Finished => "dead",
    };
    let memory = PageCache::new(target.memory());
    let mut frames = Vec::new();
    if greenlet.state == GreenletState::Paused {
        assert!(!greenlet.is_truncated);
        for frame in &greenlet.frames {
            codes.load(&memory, &target.layout, frame.code).unwrap();
            let place = codes.resolve(&memory, &target.layout, frame).unwrap();
            frames.push(format!("{}:{}", codes.get(place.code).name, place.line));
        }
    }
    let parent = greenlet.parent.map_or("-".to_owned(), |parent| parent.to_string());
    [state, &parent, &greenlet.type_name, &frames.join(" ")].join("|")
}

/// Compares all that was read with all that the program tells.
fn compare(target: &Target, greenlets: &[Greenlet], what: &str) {
    let mut codes = CodeTable::new();
    let told: BTreeMap<u64, String> = target
        .all_shown()
        .iter()
        .filter(|shown| shown.name == "greenlet")
        .map(|shown| (shown.address, shown.text.clone()))
        .collect();
    let read: BTreeMap<u64, String> =
        greenlets.iter().map(|greenlet| (greenlet.address, as_told(target, &mut codes, greenlet))).collect();
    assert_eq!(read.len(), greenlets.len(), "{what}: none is read twice");
    assert!(told.len() > 3, "{what}: told of {}", told.len());
    for (address, text) in &told {
        assert_eq!(read.get(address), Some(text), "{what}: {address:#x}");
    }
    for (address, text) in &read {
        assert!(told.contains_key(address), "{what}: {address:#x} is none of the program's: {text}");
    }
}

/// Runs `check` for every interpreter and every version of a package that there is, also after a failure; says how many
/// are missing.
fn for_all(package: &str, check: impl Fn(&Interpreter, &Path, &str)) {
    let interpreters: Vec<Interpreter> =
        Interpreter::all_builds().into_iter().filter(|interpreter| interpreter.version >= (3, 6)).collect();
    let without: Vec<String> = interpreters
        .iter()
        .filter(|interpreter| interpreter.packages(package).is_empty())
        .map(ToString::to_string)
        .collect();
    let mut failed = Vec::new();
    for interpreter in &interpreters {
        for folder in interpreter.packages(package) {
            let what = format!("{interpreter} with {}", folder.file_name().unwrap().display());
            if interpreter.is_free_threaded() && !works_without_gil(&folder) {
                eprintln!("skipped {what}, which does not work without a GIL");
                continue;
            }
            if catch_unwind(AssertUnwindSafe(|| check(interpreter, &folder, &what))).is_err() {
                failed.push(what);
            }
        }
    }
    if !without.is_empty() {
        eprintln!("skipped {package} of {} interpreters: {}", without.len(), without.join(", "));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Without a GIL greenlet works from 3.5.3 on: before that it aborts when a greenlet waits for a lock. eventlet hangs.
fn works_without_gil(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let version = name.strip_prefix("greenlet-").and_then(GreenletVersion::parse);
    version.is_some_and(|version| version >= GreenletVersion { major: 3, minor: 5, patch: 3 })
}

#[test]
fn greenlets_are_what_the_program_says() {
    for_all("greenlet", |interpreter, folder, what| {
        let target = start(interpreter, folder, GREENLETS);
        let (types, greenlets) = greenlets_of(&target);
        compare(&target, &greenlets, what);
        let by_name = |name: &str| {
            let address = target.shown(name).address;
            greenlets.iter().find(|greenlet| greenlet.address == address).unwrap()
        };
        assert_eq!(by_name("new").run_name.as_deref(), Some(&*target.shown("new").text), "{what}");
        let of_ended_thread = if types.version.major < 2 { GreenletState::Paused } else { GreenletState::Finished };
        assert_eq!(by_name("orphan").state, of_ended_thread, "{what}");
        let mains = greenlets.iter().filter(|greenlet| greenlet.kind == GreenletKind::Main);
        let mains: Vec<u64> = mains.map(|main| main.address).collect();
        assert_eq!(mains.len(), 4, "{what}");
        for greenlet in &greenlets {
            assert!(greenlet.main.is_some_and(|main| mains.contains(&main)), "{what}: {greenlet:?}");
        }
        // A `pthread_t` lies at the end of its thread's stack.
        let ranges = target.object_ranges();
        let range_of = |address: u64| ranges.iter().find(|range| range.contains(&address)).unwrap();
        let threads = target.all_shown().iter().filter(|shown| shown.name == "main");
        let mut started = 0;
        for thread in threads {
            let stack = range_of(thread.text.parse().unwrap());
            for greenlet in greenlets.iter().filter(|greenlet| greenlet.main == Some(thread.address)) {
                assert!(greenlet.stack_start.is_none_or(|start| stack.contains(&start)), "{what}: {greenlet:?}");
                started += u32::from(greenlet.stack_start.is_some());
            }
        }
        assert!(started >= 4, "{what}: {started}");
    });
}

#[test]
fn greenlets_of_gevent_are_what_it_says() {
    for_all("gevent", |interpreter, folder, what| {
        for (program, hub_state) in [(GEVENT_IN_MAIN, GreenletState::Paused), (GEVENT_IN_HUB, GreenletState::Running)] {
            let target = start(interpreter, folder, &[GEVENT, program].join("\n"));
            let (_, greenlets) = greenlets_of(&target);
            compare(&target, &greenlets, what);
            let hub = the_hub(&greenlets, what);
            assert_eq!((hub.address, hub.state), (target.shown("hub").address, hub_state), "{what}");
        }
    });
}

#[test]
fn greenlets_of_eventlet_are_what_it_says() {
    for_all("eventlet", |interpreter, folder, what| {
        let target = start(interpreter, folder, EVENTLET);
        let (_, greenlets) = greenlets_of(&target);
        compare(&target, &greenlets, what);
        let hub = the_hub(&greenlets, what);
        assert_eq!(hub.address, target.shown("hub").address, "{what}");
        let objects = ObjectReader::new(target.memory(), &target.layout);
        assert!(is_hub_code(objects, hub.frames.last().unwrap().code), "{what}");
        assert!(!is_hub_code(objects, hub.frames[0].code), "{what}");
    });
}

/// The only hub among some greenlets.
fn the_hub<'found>(greenlets: &'found [Greenlet], what: &str) -> &'found Greenlet {
    let hubs: Vec<&Greenlet> = greenlets.iter().filter(|greenlet| greenlet.kind == GreenletKind::Hub).collect();
    assert_eq!(hubs.len(), 1, "{what}: {hubs:?}");
    hubs[0]
}

#[test]
fn a_program_without_greenlets_has_none() {
    for interpreter in Interpreter::all() {
        let target = Target::start(&interpreter, "import sys\nshow('modules', sys.modules, '')");
        let objects = ObjectReader::new(target.memory(), &target.layout);
        assert!(GreenletTypes::find(objects, modules_of(&target)).unwrap().is_none(), "{interpreter}");
    }
}

#[test]
fn what_only_claims_to_be_greenlet_is_refused() {
    for interpreter in Interpreter::all() {
        let program = r#"
class Type(object):
    pass
module = type(sys)('greenlet')
module.greenlet = Type
module.__version__ = '3.5.6'
sys.modules['greenlet'] = module
show('modules', sys.modules, '')
"#;
        let target = Target::start(&interpreter, program);
        let objects = ObjectReader::new(target.memory(), &target.layout);
        assert!(GreenletTypes::find(objects, modules_of(&target)).unwrap().is_none(), "{interpreter}");
    }
}

#[test]
fn versions_are_numbers() {
    let version = |major, minor, patch| Some(GreenletVersion { major, minor, patch });
    assert_eq!(GreenletVersion::parse("3.5.6"), version(3, 5, 6));
    assert_eq!(GreenletVersion::parse("2.0.0.post0"), version(2, 0, 0));
    assert_eq!(GreenletVersion::parse("3.0.0rc3"), version(3, 0, 0));
    assert_eq!(GreenletVersion::parse("3.0"), version(3, 0, 0));
    for odd in ["", "3", "x.1", "3.", "3.1.x", "99999999.1.1"] {
        assert_eq!(GreenletVersion::parse(odd), None, "{odd:?}");
    }
}

/// A target's memory of which some words were changed.
struct Scribbled<'target> {
    memory: &'target dyn Memory,
    words: BTreeMap<u64, u64>,
}

impl Memory for Scribbled<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.memory.read(address, buffer)?;
        let end = address.saturating_add(buffer.len() as u64);
        for (place, word) in self.words.range(address.saturating_sub(7)..end) {
            for (byte, at) in word.to_ne_bytes().into_iter().zip(*place..) {
                if let Some(old) = at.checked_sub(address).and_then(|at| buffer.get_mut(usize::try_from(at).ok()?)) {
                    *old = byte;
                }
            }
        }
        Ok(())
    }
}

/// The newest interpreter that has greenlet, and the newest of these; says so if there is none.
fn newest_with_greenlet() -> Option<(Interpreter, PathBuf)> {
    let newest = Interpreter::all().into_iter().rev().find_map(|interpreter| {
        let folder = interpreter.packages("greenlet").pop()?;
        Some((interpreter, folder))
    });
    if newest.is_none() {
        eprintln!("skipped: no interpreter has greenlet");
    }
    newest
}

#[test]
fn a_release_with_another_shape_is_refused() {
    let Some((interpreter, folder)) = newest_with_greenlet() else { return };
    let target = start(&interpreter, &folder, GREENLETS);
    let (types, greenlets) = greenlets_of(&target);
    let candidates: Vec<u64> = greenlets.iter().map(|greenlet| greenlet.address).collect();
    // The data end with other words than ever before.
    let mut words = BTreeMap::new();
    for greenlet in greenlets.iter().filter(|greenlet| greenlet.kind == GreenletKind::Main) {
        let data = target.memory().read_u64(greenlet.address + 32).unwrap();
        words.extend((128..240).step_by(8).map(|offset| (data + offset, 0x7fff_0000)));
    }
    let memory = Scribbled { memory: target.memory(), words };
    let objects = ObjectReader::new(&memory, &target.layout);
    let error = types.read(objects, &candidates, 0).unwrap_err();
    assert!(matches!(error, GreenletError::UnknownShape { .. }), "{error}");
    assert!(error.to_string().contains(&types.version.to_string()), "{error}");
}

#[test]
fn whatever_lies_in_memory_is_read_in_bounds() {
    let mut random = Random::new(14);
    let Some((interpreter, folder)) = newest_with_greenlet() else { return };
    let target = start(&interpreter, &folder, GREENLETS);
    let (types, greenlets) = greenlets_of(&target);
    let candidates: Vec<u64> = greenlets.iter().map(|greenlet| greenlet.address).collect();
    // Places that matter: objects, what has their data, frames.
    let mut places: Vec<u64> = candidates.clone();
    places.extend(candidates.iter().filter_map(|object| target.memory().read_u64(object + 32).ok()));
    places.extend(greenlets.iter().flat_map(|greenlet| &greenlet.frames).map(|frame| frame.address));
    let mut values: Vec<u64> = places.clone();
    values.extend([0, 1, 7, u64::MAX, 1 << 47, u64::MAX - 7]);
    for _ in 0..300 {
        let mut words = BTreeMap::new();
        for _ in 0..1 + random.below(20) {
            let place = places[random.below(places.len())] + 8 * random.below(40) as u64;
            let value = if random.below(3) == 0 { random.next() } else { values[random.below(values.len())] };
            words.insert(place, value);
        }
        let memory = PageCache::new(Scribbled { memory: target.memory(), words });
        let objects = ObjectReader::new(&memory, &target.layout);
        if let Ok(read) = types.read(objects, &candidates, 0) {
            assert!(read.len() <= candidates.len());
            assert!(read.iter().all(|greenlet| candidates.contains(&greenlet.address)));
        }
    }
}

#[test]
fn a_scan_keeps_to_its_limit_and_goes_past_holes() {
    for_all("greenlet", |interpreter, folder, what| {
        if interpreter.version != (3, 11) {
            return;
        }
        let target = start(interpreter, folder, "");
        let objects = ObjectReader::new(target.memory(), &target.layout);
        let types = GreenletTypes::find(objects, modules_of(&target)).unwrap().unwrap();
        let of = types.types[0].address;
        // An object in a page of its own, right behind what is not mapped and before it.
        let mut page = vec![0_u8; 4096];
        page[4000..4008].copy_from_slice(&1_u64.to_ne_bytes());
        page[4008..4016].copy_from_slice(&of.to_ne_bytes());
        page[4032..4040].copy_from_slice(&0x1000_u64.to_ne_bytes());
        let mut image = Image::new();
        image.map(0x50_0000, page);
        let objects = ObjectReader::new(&image, &target.layout);
        let is_direct = matches!(types.shape, shape::ObjectShape::Direct);
        let ranges = [0x40_0000..0x50_0000, 0x50_0000..0x60_0000];
        let scan = types.scan(objects, &ranges, NO_LIMIT);
        assert_eq!(scan.scanned, 4096, "{what}");
        assert_eq!(scan.left_out, 0x20_0000 - 4096, "{what}");
        assert_eq!(scan.candidates, [0x50_0000 + 4000], "{what}, direct: {is_direct}");
        let scan = types.scan(objects, &ranges, 0x10_0000 + 8);
        assert!(scan.candidates.is_empty(), "{what}");
        assert_eq!(scan.scanned + scan.left_out, 0x20_0000, "{what}");
        // Ranges that make no sense cost nothing.
        let odd = [u64::MAX - 3..u64::MAX, 5..5, 0x50_0003..0x50_0005];
        assert!(types.scan(objects, &odd, NO_LIMIT).candidates.is_empty(), "{what}");
    });
}
