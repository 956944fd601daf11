//! `dump --core`: cores of real interpreters, made by `gcore` and by the kernel, show what the living process showed.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::target::{Target, pyspy, run};

/// How long a core may take to be written.
const CORE_LIMIT: Duration = Duration::from_secs(120);

fn skip(reason: &str) {
    writeln!(std::io::stderr(), "skipped: {reason}").unwrap();
}

/// The parts of a dump that a core must show as the process did.
fn stacks(json: &str) -> Vec<Value> {
    let threads: Value = serde_json::from_str(json).unwrap();
    let keep = |thread: &Value| {
        let frames: Vec<Value> = thread["frames"]
            .as_array()
            .unwrap()
            .iter()
            .map(|frame| serde_json::json!([frame["name"], frame["filename"], frame["short_filename"], frame["line"]]))
            .collect();
        serde_json::json!({
            "pid": thread["pid"], "id": thread["thread_id"], "os": thread["os_thread_id"],
            "name": thread["thread_name"], "active": thread["active"], "gil": thread["owns_gil"], "frames": frames,
        })
    };
    threads.as_array().unwrap().iter().map(keep).collect()
}

fn live_stacks(target: &Target) -> Vec<Value> {
    // A thread that was told to wait may not have arrived there yet.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = stacks(pyspy(&["dump", "--json", "--pid", &target.pid().to_string()]).success());
        if found.len() == 3 && found.iter().all(|thread| thread["active"] == false) {
            return found;
        }
        assert!(Instant::now() < deadline, "the threads do not come to rest: {found:#?}");
    }
}

fn core_stacks(core: &Path) -> Vec<Value> {
    stacks(pyspy(&["dump".as_ref(), "--json".as_ref(), "--core".as_ref(), core.as_os_str()]).success())
}

/// The core file of a process that goes on; none, which is said, where there is no gcore.
pub(crate) fn gcore(target: &Target, folder: &Path) -> Option<PathBuf> {
    let mut command = Command::new("gcore");
    command.arg("-o").arg(folder.join("core")).arg(target.pid().to_string());
    match run(&mut command, CORE_LIMIT) {
        Ok(ran) if ran.status.success() => Some(folder.join(format!("core.{}", target.pid()))),
        Ok(ran) => {
            skip(&format!("gcore failed: {}", ran.stderr.trim()));
            None
        }
        Err(error) => {
            skip(&format!("gcore {error}"));
            None
        }
    }
}

#[test]
fn cores_of_gcore_show_what_the_process_showed() {
    for interpreter in Interpreter::all() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::start(interpreter, "dies.py", &[folder.path().to_str().unwrap()]);
        let live = live_stacks(&target);
        let Some(core) = gcore(&target, folder.path()) else { return };
        drop(target);
        let from_core = core_stacks(&core);
        assert_eq!(from_core, live, "{interpreter}");
        assert!(from_core[2]["frames"].as_array().unwrap().len() > 40, "{interpreter}");
        assert_eq!(from_core[0]["name"], "MainThread", "{interpreter}");
    }
}

#[test]
fn cores_of_the_kernel_show_what_the_process_showed() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.contains(['|', '/', '%']) || !pattern.starts_with("core") {
        return skip(&format!("the kernel writes cores to {:?}, where this test does not look", pattern.trim()));
    }
    for interpreter in Interpreter::all() {
        let folder = tempfile::tempdir().unwrap();
        let mut target = Target::start(interpreter, "dies.py", &[folder.path().to_str().unwrap()]);
        let live = live_stacks(&target);
        target.send("die");
        let process = PathBuf::from(format!("/proc/{}/stat", target.pid()));
        let deadline = Instant::now() + CORE_LIMIT;
        // A zombie has written its core.
        while !fs::read_to_string(&process).unwrap().rsplit(')').next().unwrap().trim_start().starts_with('Z') {
            assert!(Instant::now() < deadline, "{interpreter} does not die");
            std::thread::yield_now();
        }
        let Some(core) = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path()).next() else {
            return skip("the kernel wrote no core; see `ulimit -c`");
        };
        let without_activity = |mut threads: Vec<Value>| {
            // The one that died holds the GIL now.
            for thread in &mut threads {
                thread["active"] = Value::Null;
                thread["gil"] = Value::Null;
            }
            threads
        };
        let from_core = core_stacks(&core);
        assert_eq!(from_core[1..], live[1..], "{interpreter}");
        assert_eq!(without_activity(from_core), without_activity(live), "{interpreter}");
        let text = pyspy(&["dump".as_ref(), "--core".as_ref(), core.as_os_str()]);
        assert!(text.success().contains("SIGABRT"), "{interpreter}: {text:#?}");
        assert!(text.success().contains("dies.py"), "{interpreter}: {text:#?}");
    }
}

#[test]
fn compressed_cut_and_foreign_cores_are_read_or_named() {
    let interpreter = Interpreter::all().last().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = Target::start(interpreter, "dies.py", &[folder.path().to_str().unwrap()]);
    let live = live_stacks(&target);
    let Some(core) = gcore(&target, folder.path()) else { return };
    drop(target);
    let bytes = fs::read(&core).unwrap();

    // What compresses it is told by its content.
    let gzip = folder.path().join("with-gzip");
    let mut encoder = flate2::write::GzEncoder::new(File::create(&gzip).unwrap(), flate2::Compression::fast());
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap();
    assert_eq!(core_stacks(&gzip), live);
    let zstd = folder.path().join("with-zstd");
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    ruzstd::encoding::compress(bytes.as_slice(), File::create(&zstd).unwrap(), level);
    assert_eq!(core_stacks(&zstd), live);

    let refused = |name: &str, bytes: &[u8], status: i32, reason: &str| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let ran = pyspy(&["dump".as_ref(), "--core".as_ref(), path.as_os_str()]);
        assert!(ran.failure().contains(reason), "{name}: {ran:#?}");
        assert_eq!(ran.status.code(), Some(status), "{name}: {ran:#?}");
    };
    refused("half", &bytes[..bytes.len() / 2], 10, "cut off");
    refused("header", &bytes[..100], 10, "cut off");
    refused("start", &bytes[..20], 10, "ends in the ELF header");
    refused("empty", &[], 10, "empty");
    refused("text", b"this is no core file at all, but a text", 10, "not in the ELF format");
    let mut program = Vec::new();
    File::open(&interpreter.path).unwrap().read_to_end(&mut program).unwrap();
    refused("program", &program, 10, "executable");
    let half = fs::read(&gzip).unwrap();
    refused("gzip-half", &half[..half.len() / 2], 10, "cannot decompress");
    refused("lz4", &[4, 0x22, 0x4d, 0x18, 0, 0, 0, 0], 10, "lz4");
    let mut foreign = bytes[..64].to_vec();
    foreign[18] = 2;
    refused("sparc", &foreign, 10, "neither x86-64 nor aarch64");

    // Binaries that are not there, and how to say where they are.
    let empty = folder.path().join("empty root");
    fs::create_dir(&empty).unwrap();
    let args = |root: &Path| {
        ["dump", "--json", "--core", core.to_str().unwrap(), "--root", root.to_str().unwrap()].map(str::to_owned)
    };
    let ran = pyspy(&args(&empty));
    assert!(ran.failure().contains("not here"), "{ran:#?}");
    assert!(ran.failure().contains("--exe"), "{ran:#?}");
    assert_eq!(ran.status.code(), Some(10));
    assert_eq!(stacks(pyspy(&args(Path::new("/"))).success()).len(), live.len());

    // A core of another program.
    let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
    let mut command = Command::new("gcore");
    command.arg("-o").arg(folder.path().join("sleep")).arg(sleeper.id().to_string());
    run(&mut command, CORE_LIMIT).unwrap();
    let path = folder.path().join(format!("sleep.{}", sleeper.id()));
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let ran = pyspy(&["dump".as_ref(), "--core".as_ref(), path.as_os_str()]);
    assert!(ran.failure().contains("no Python"), "{ran:#?}");
    assert_eq!(ran.status.code(), Some(5));
}

#[test]
fn any_damage_to_the_headers_and_notes_of_a_core_is_survived() {
    let interpreter = Interpreter::all().last().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = Target::start(interpreter, "dies.py", &[folder.path().to_str().unwrap()]);
    let Some(core) = gcore(&target, folder.path()) else { return };
    drop(target);
    let whole = fs::read(&core).unwrap();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |limit: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 16) as usize % limit
    };
    let path = folder.path().join("damaged");
    for round in 0..40 {
        let mut bytes = whole.clone();
        // Half of the rounds the headers, half of them the notes at the end.
        let (start, length) = if round % 2 == 0 { (16, 4000) } else { (whole.len() - 40_000, 40_000) };
        for _ in 0..=random(30) {
            bytes[start + random(length)] = random(256) as u8;
        }
        fs::write(&path, &bytes).unwrap();
        let ran = pyspy(&["dump".as_ref(), "--core".as_ref(), path.as_os_str()]);
        assert!(ran.status.code().is_some_and(|code| code != 101), "round {round}: {ran:#?}");
    }
}
