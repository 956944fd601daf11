//! What the parts of a sample cost, each alone and on data of our own: the walk over an image of memory, line tables,
//! interning, writers.
//!
//! `cargo bench` runs them; whole programs beside each other are compared by `benches/peers/compare.py`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pyspy::internals::LineTable;
use pyspy::internals::Runtime;
use pyspy::internals::Stacks;
use pyspy::internals::Version;
use pyspy::internals::layout::{FrameEntry, InstructionPosition, Layout, LineTableFormat, up_to_3_12};
use pyspy::internals::{Copies, Image, ReadPlan, Snapshot};
use pyspy::internals::{Flags, Frame, Keep, Profile, ProfileProcess as Process, Thread};
use pyspy::internals::{Presentation, flamegraph, pprof, raw, speedscope};

const RUNTIME: u64 = 0x10_0000;
const INTERPRETER: u64 = 0x20_0000;
const THREADS: u64 = 0x30_0000;
const STACKS: u64 = 0x1000_0000;
/// Between the stacks of two threads.
const STACK: u64 = 0x10_0000;
const CODE: u64 = 0x4000_0000;
/// Bytes of a frame with some locals.
const FRAME: u64 = 160;

/// The memory of a process of 3.11 with `threads` threads of `depth` frames.
fn image(layout: &Layout, threads: u64, depth: u64) -> Image {
    let mut image = Image::new();
    let put = |image: &mut Image, address: u64, value: u64| image.patch(address, &value.to_ne_bytes());
    let at = |base: u64, offset: u32| base + u64::from(offset);
    let zeros = |length: u64| vec![0; usize::try_from(length).expect("a length of ours")];
    image.map(STACKS, zeros(threads * STACK));
    image.map(THREADS, zeros((threads + 1) * 1024));
    image.map(INTERPRETER, vec![0; 4096]);
    image.map(RUNTIME, vec![0; 4096]);
    put(&mut image, RUNTIME, INTERPRETER);
    put(&mut image, at(INTERPRETER, layout.interpreter.threads_head), THREADS);
    let FrameEntry::ThroughCFrame { cframe, current_frame } = layout.thread.frame else {
        panic!("3.11 reaches its frames through a _PyCFrame");
    };
    let InstructionPosition::Pointer { offset: instruction } = layout.frame.position else {
        panic!("3.11 keeps a pointer to its instruction");
    };
    for thread in 0..threads {
        let (state, stack) = (THREADS + thread * 1024, STACKS + thread * STACK);
        let next = if thread + 1 < threads { state + 1024 } else { 0 };
        put(&mut image, at(state, layout.thread.next), next);
        put(&mut image, at(state, layout.thread.interp), INTERPRETER);
        put(&mut image, at(state, layout.thread.thread_id), thread + 1);
        put(&mut image, at(state, cframe), state + 512);
        put(&mut image, state + 512 + u64::from(current_frame), stack + (depth - 1) * FRAME);
        for level in 0..depth {
            let (frame, code) = (stack + level * FRAME, CODE + level * 1024);
            let previous = if level == 0 { 0 } else { frame - FRAME };
            put(&mut image, at(frame, layout.frame.previous), previous);
            put(&mut image, at(frame, layout.frame.code), code);
            put(&mut image, at(frame, instruction), code + 200);
        }
    }
    image
}

fn walking(criterion: &mut Criterion) {
    let layout = up_to_3_12::layout(Version::new(3, 11, 7)).expect("3.11 is known");
    let runtime = Runtime {
        layout,
        interpreters_head: RUNTIME,
        current_thread: None,
        collecting: None,
        gil_statics: Default::default(),
    };
    let mut group = criterion.benchmark_group("walk");
    for (threads, depth) in [(1, 5), (1, 20), (1, 100), (1, 1000), (16, 20), (200, 20)] {
        let mut snapshot = Snapshot::new(image(&runtime.layout, threads, depth));
        let mut stacks = Stacks::default();
        group.throughput(Throughput::Elements(threads * depth));
        group.bench_function(BenchmarkId::from_parameter(format!("{threads} threads, {depth} deep")), |bencher| {
            bencher.iter(|| {
                let plan = ReadPlan { copies_of: &|_| Copies::Two, leaves_out_the_same: true, is_stopped: false };
                snapshot.fetch_planned(&plan, &mut []);
                stacks.walk(&mut snapshot, &runtime).expect("the image is whole");
                black_box(stacks.frames.len())
            });
        });
        assert_eq!(stacks.frames.len() as u64, threads * depth);
    }
    group.finish();
}

/// A location table of 3.11 (Objects/locations.md): `entries` instructions of two bytes, each one line below the last.
fn locations(entries: usize) -> Vec<u8> {
    // Code 11 is "one line on", for one code unit, with a column and an end column.
    (0..entries).flat_map(|_| [0x80 | 11 << 3, 4, 9]).collect()
}

fn line_tables(criterion: &mut Criterion) {
    let table = locations(400);
    let mut group = criterion.benchmark_group("line table");
    group.bench_function("decode 400 entries", |bencher| {
        bencher.iter(|| LineTable::decode(LineTableFormat::Locations, black_box(&table), 1, None));
    });
    let lines = LineTable::decode(LineTableFormat::Locations, &table, 1, None);
    assert_eq!(lines.line_of(2 * 399), Some(401));
    group.bench_function("look up", |bencher| bencher.iter(|| lines.line_of(black_box(555))));
    group.finish();
}

/// A profile of `stacks` stacks of 20 frames, of 5,000 functions.
fn profile(stacks: u32) -> Profile {
    let mut profile = Profile::new(Keep::default());
    let process = profile.add_process(Process { pid: 1, ..Process::default() });
    let name = Some(profile.intern("MainThread"));
    let thread = profile.add_thread(Thread { process, os_id: Some(1), python_id: 1, interpreter: 0, name });
    for number in 0..stacks {
        let mut stack = pyspy::internals::StackId::EMPTY;
        for level in 0..20 {
            let function =
                if level < 15 { level } else { number.wrapping_mul(2_654_435_761).wrapping_add(level) % 5000 };
            let name = profile.intern(&format!("function_{function}"));
            let file = profile.intern(&format!("package/module_{}.py", function % 50));
            let frame = Frame { name, file, short_file: file, line: 10 + function, first_line: 1, ..Frame::default() };
            let frame = profile.frame(frame);
            stack = profile.push(stack, frame);
        }
        profile.add_sample(thread, stack, u64::from(number) * 1000, 1000, Flags::ACTIVE);
    }
    profile.metadata.rate_asked = 1000.0;
    profile.metadata.duration_us = u64::from(stacks) * 1000;
    profile
}

fn interning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("intern");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("1,000 new stacks", |bencher| bencher.iter(|| profile(black_box(1000))));
    let mut known = profile(1000);
    let stacks: Vec<Vec<_>> = known.totals().iter().map(|total| known.frames_of(total.stack).collect()).collect();
    group.bench_function("1,000 known stacks", |bencher| {
        bencher.iter(|| {
            for frames in &stacks {
                let mut stack = pyspy::internals::StackId::EMPTY;
                for frame in frames.iter().rev() {
                    stack = known.push(stack, *frame);
                }
                black_box(stack);
            }
        });
    });
    group.finish();
}

fn writing(criterion: &mut Criterion) {
    let profile = profile(10_000);
    let presentation = Presentation::default();
    let mut group = criterion.benchmark_group("write 10,000 stacks");
    group.sample_size(10);
    let mut bench = |name: &str, write: &dyn Fn(&mut Vec<u8>) -> std::io::Result<()>| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut bytes = Vec::new();
                write(&mut bytes).expect("a vector takes all");
                bytes.len()
            });
        });
    };
    bench("raw", &|bytes| raw::write(&profile, &presentation, bytes));
    bench("flamegraph", &|bytes| flamegraph::write(&profile, &presentation, bytes));
    bench("speedscope", &|bytes| speedscope::write(&profile, &presentation, bytes));
    bench("pprof", &|bytes| pprof::write(&profile, &presentation, bytes));
    group.finish();
}

criterion_group!(parts, walking, line_tables, interning, writing);
criterion_main!(parts);
