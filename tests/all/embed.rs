//! The crate's face, used as another program would use it.

use std::time::{Duration, Instant};

use pyspy::embed::{Error, Format, Options, Profiler};

use crate::interpreters::Interpreter;
use crate::target::Target;

/// The versions that differ in how they keep their stacks.
fn chosen() -> impl Iterator<Item = &'static Interpreter> {
    let features = [(2, 7), (3, 8), (3, 11), (3, 13), (3, 15)];
    Interpreter::all().iter().filter(move |interpreter| features.contains(&interpreter.feature()))
}

#[test]
fn the_stacks_of_a_process_are_as_its_program_says() {
    for interpreter in chosen() {
        let target = Target::start(interpreter, "shares.py", &[]);
        let mut profiler = Profiler::attach(target.pid().cast_signed()).unwrap();
        let (major, minor) = interpreter.feature();
        assert!(profiler.python_version().starts_with(&format!("{major}.{minor}.")), "{interpreter}");
        let deadline = Instant::now() + Duration::from_secs(60);
        // The second thread may yet be on its way to where it sleeps.
        let threads = loop {
            let threads = profiler.stacks().unwrap();
            let sleepy = threads.iter().find(|thread| thread.name.as_deref() == Some("sleepy"));
            if sleepy.is_some_and(|thread| !thread.is_active && thread.frames[0].function == "sleeper") {
                break threads;
            }
            assert!(Instant::now() < deadline, "{interpreter}: {threads:#?}");
        };
        assert_eq!(threads.len(), 2, "{interpreter}: {threads:#?}");
        let main = threads.iter().find(|thread| thread.id == Some(target.pid().into())).unwrap();
        assert_eq!(main.name.as_deref(), Some("MainThread"), "{interpreter}");
        let [.., called, oldest] = &main.frames[..] else { panic!("{interpreter}: {main:#?}") };
        assert_eq!((&*called.function, &*oldest.function), ("main", "<module>"), "{interpreter}: {threads:#?}");
        assert!(oldest.file.ends_with("shares.py") && oldest.line > called.line, "{interpreter}: {main:#?}");
    }
}

#[test]
fn a_recording_is_written_in_every_format() {
    for interpreter in chosen() {
        let target = Target::start(interpreter, "shares.py", &[]);
        let mut profiler = Profiler::attach(target.pid().cast_signed()).unwrap();
        let mut options = Options::default();
        options.rate = 200;
        let deadline = Instant::now() + Duration::from_secs(60);
        // On a busy machine half a second may be a few samples, and none of them the most likely one.
        let recording = loop {
            let recording = profiler.record(Duration::from_millis(500), &options).unwrap();
            let mut raw = Vec::new();
            recording.write(Format::Raw, &mut raw).unwrap();
            let raw = String::from_utf8(raw).unwrap();
            let is_in_heavy = |line: &str| {
                let calls = ["main", "work", "heavy"].map(|function| format!(";{function} (shares.py:"));
                line.starts_with("<module> (shares.py:") && calls.iter().all(|call| line.contains(call))
            };
            if raw.lines().any(is_in_heavy) {
                break recording;
            }
            assert!(Instant::now() < deadline, "{interpreter}: {raw}");
        };
        assert!(recording.samples() > 0, "{interpreter}");
        for format in Format::ALL {
            let mut bytes = Vec::new();
            recording.write(format, &mut bytes).unwrap();
            assert!(!bytes.is_empty(), "{interpreter}: {format:?}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_told_by_the_kind_of_error() {
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    let pid = ended.id().cast_signed();
    ended.wait().unwrap();
    assert!(matches!(Profiler::attach(pid), Err(Error::NoSuchProcess(_))));
    let mut other = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let error = Profiler::attach(other.id().cast_signed()).unwrap_err();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(matches!(error, Error::NotPython(_)), "{error}");
}
