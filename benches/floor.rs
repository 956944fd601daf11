//! What the system itself takes for what a sampler cannot do without: a program that wakes up some times a second and
//! makes only the calls of a sample, through the same layer as pyspy. It is measured by `benches/peers/compare.py`, as
//! another tool beside a busy target; alone it has nothing to say.

use std::io::Write;
use std::time::{Duration, Instant};

use pyspy::internals::{Memory, Request};
use pyspy::internals::{OwnCpus, Process, sharpen_sleep};

/// Ranges of one read, and the bytes of each: what a sample of one thread reads at a depth of 20.
const RANGES: usize = 8;
const LENGTH: usize = 1024;
const USAGE: &str =
    "floor PID CPU RATE wake|read|stop: until it is killed; measured by benches/peers/compare.py --document\n";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Nothing: it sleeps again.
    Wake,
    /// One read of memory, one look at the state of the thread, and one at our own switches before and after.
    Read,
    /// The thread is stopped, read and let go.
    Stop,
}

struct Arguments {
    pid: i32,
    /// The CPU to run on.
    cpu: usize,
    /// Hz.
    rate: u32,
    work: Work,
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(Arguments { pid, cpu, rate, work }) = parse(&arguments) else {
        return std::io::stdout().write_all(USAGE.as_bytes());
    };
    let process = Process::open(pid).expect("a process that we may read");
    let memory = process.memory();
    let thread = u64::from(pid.unsigned_abs());
    let mut states = process.thread_states();
    let mappings = process.maps().expect("a process has mappings");
    let writable =
        mappings.iter().filter(|mapping| mapping.readable && mapping.writable && mapping.size() >= LENGTH as u64);
    let places: Vec<u64> = writable.map(|mapping| mapping.start).take(RANGES).collect();
    assert_eq!(places.len(), RANGES, "too few writable mappings");
    let mut own = OwnCpus::of_this_thread().expect("a system that tells CPUs");
    assert!(own.stay_on(cpu), "CPU {cpu} is not ours");
    sharpen_sleep();
    let period = Duration::from_secs(1) / rate;
    let mut buffers = vec![[0; LENGTH]; RANGES];
    let mut deadline = Instant::now();
    loop {
        deadline = (deadline + period).max(Instant::now());
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        if work == Work::Wake {
            continue;
        }
        let pause = (work == Work::Stop)
            .then(|| process.pause_running_thread(thread, &mut || false).expect("a thread that can be stopped"));
        if work == Work::Read {
            own.watch();
        }
        let mut requests: Vec<Request<'_>> =
            places.iter().zip(&mut buffers).map(|(place, buffer)| Request::new(*place, buffer)).collect();
        memory.read_many(&mut requests);
        drop(pause);
        if work == Work::Read {
            states.look(thread).expect("a thread that lives");
            own.has_kept_running();
        }
    }
}

fn parse(arguments: &[String]) -> Option<Arguments> {
    let [pid, cpu, rate, work] = arguments else { return None };
    let work = match work.as_str() {
        "wake" => Work::Wake,
        "read" => Work::Read,
        "stop" => Work::Stop,
        _ => return None,
    };
    let rate = rate.parse().ok().filter(|rate| *rate > 0)?;
    Some(Arguments { pid: pid.parse().ok()?, cpu: cpu.parse().ok()?, rate, work })
}
