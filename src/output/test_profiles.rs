//! Profiles for the tests of writers.

use crate::profile::{
    Flags, Frame, FrameId, FrameKind, Keep, Process, ProcessRef, Profile, StackId, Thread, ThreadRef,
};

/// A frame of a Python function that begins in line 2, or in line 1 if `line` is before that.
pub(super) fn python(profile: &mut Profile, name: &str, file: &str, line: u32) -> FrameId {
    let short = file.rsplit('/').next().unwrap_or(file).to_owned();
    let frame = Frame {
        kind: FrameKind::Python,
        name: profile.intern(name),
        file: profile.intern(file),
        short_file: profile.intern(&short),
        module: profile.intern(short.trim_end_matches(".py")),
        line,
        first_line: line.clamp(1, 2),
        column: 5,
    };
    profile.frame(frame)
}

pub(super) fn stack(profile: &mut Profile, frames: &[FrameId]) -> StackId {
    frames.iter().fold(StackId::EMPTY, |stack, frame| profile.push(stack, *frame))
}

pub(super) fn process(profile: &mut Profile, pid: u32, parent_pid: Option<u32>, command: &str) -> ProcessRef {
    let command_line = profile.intern(command);
    profile.add_process(Process { pid, parent_pid, command_line, ..Process::default() })
}

pub(super) fn thread(profile: &mut Profile, process: ProcessRef, os_id: u64, name: Option<&str>) -> ThreadRef {
    let name = name.map(|name| profile.intern(name));
    profile.add_thread(Thread { process, os_id: Some(os_id), python_id: 0x7F00 + os_id, interpreter: 0, name })
}

/// A process with two threads and a child process, 100 samples a second, 10 s:
///
/// - `MainThread`: 6 s in `spin` (4 s line 5, 2 s line 4) called by `A.meth`; 4 s idle between them.
/// - `worker`: starts after 1 s, 8 s in `spin` line 5 called by `run`, 1 s in the library function `dumps`.
/// - the child's `MainThread`: 10 s of recursion, three deep and five deep by turns.
pub(super) fn usual(keep: Keep) -> Profile {
    let mut profile = Profile::new(keep);
    profile.metadata.command = "python3 prog.py --all".to_owned();
    profile.metadata.pid = 100;
    profile.metadata.start_unix_us = 1_700_000_000_000_000;
    profile.metadata.duration_us = 10_000_000;
    profile.metadata.rate_asked = 100.0;
    profile.metadata.rate_held = 99.9;
    let main = process(&mut profile, 100, Some(1), "python3 prog.py --all");
    let child = process(&mut profile, 101, Some(100), "python3 child.py");
    let main_thread = thread(&mut profile, main, 100, Some("MainThread"));
    let worker = thread(&mut profile, main, 102, Some("worker"));
    let child_thread = thread(&mut profile, child, 101, Some("MainThread"));

    let file = "/home/me/prog.py";
    let module = python(&mut profile, "<module>", file, 16);
    let meth = python(&mut profile, "A.meth", file, 8);
    let spin5 = python(&mut profile, "spin", file, 5);
    let spin4 = python(&mut profile, "spin", file, 4);
    let run = python(&mut profile, "Thread.run", "/usr/lib/python3.11/threading.py", 982);
    let dumps = python(&mut profile, "dumps", "/v/lib/python3.11/site-packages/simplejson/__init__.py", 12);
    let fib = python(&mut profile, "fib", "/home/me/child.py", 3);

    let main5 = stack(&mut profile, &[module, meth, spin5]);
    let main4 = stack(&mut profile, &[module, meth, spin4]);
    let run5 = stack(&mut profile, &[run, spin5]);
    let run_dumps = stack(&mut profile, &[run, dumps]);
    let fib3 = stack(&mut profile, &[fib; 3]);
    let fib5 = stack(&mut profile, &[fib; 5]);

    let active = Flags::ACTIVE;
    for tick in 1..=1_000 {
        let time = tick * 10_000;
        match tick {
            ..=400 => profile.add_sample(main_thread, main5, time, 10_000, active.with(Flags::GIL)),
            801.. => profile.add_sample(main_thread, main4, time, 10_000, active.with(Flags::GIL)),
            _ => {}
        }
        if tick > 100 {
            profile.add_sample(worker, if tick > 900 { run_dumps } else { run5 }, time, 10_000, active);
        }
        profile.add_sample(child_thread, if tick % 2 == 0 { fib5 } else { fib3 }, time, 10_000, active);
    }
    profile
}

/// Names that break careless writers.
pub(super) const HOSTILE: [&str; 16] = [
    "<script>alert('1')</script>",
    "a & b \"quoted\" 'single' ]]> <![CDATA[ -->",
    "semi;colon;;",
    "new\nline\r\nand\ttab",
    "nul\0byte",
    "\u{1b}[31mred\u{7}\u{9b}",
    "\u{202e}backwards\u{2066}",
    "\u{ffff}\u{fffe}\u{fdd0}\u{fffd}\u{2028}",
    "\\udc80 \\",
    "ends in a number 12 34",
    "# comment",
    "   ",
    "",
    "fn=(1) evil\ncalls=3",
    "🐍 Ünïcode 名前",
    "a_[k]",
];

/// One thread, each hostile name as function, file and thread; and a name of 100,000 characters. Every stack is 1 s.
pub(super) fn hostile(keep: Keep) -> Profile {
    let mut profile = Profile::new(keep);
    profile.metadata.command = HOSTILE.concat();
    profile.metadata.rate_asked = 100.0;
    let long = "x<é>".repeat(25_000);
    let process = process(&mut profile, 7, None, &HOSTILE.concat());
    let mut time = 0;
    for name in HOSTILE.iter().copied().chain([long.as_str()]) {
        let thread = thread(&mut profile, process, 7, Some(name));
        let outer = python(&mut profile, name, "/plain.py", 1);
        let inner = python(&mut profile, name, name, 2);
        let no_file = python(&mut profile, name, "", 0);
        for frames in [vec![outer, inner], vec![no_file], vec![]] {
            let stack = stack(&mut profile, &frames);
            time += 1_000_000;
            profile.add_sample(thread, stack, time, 1_000_000, Flags::ACTIVE);
        }
    }
    profile
}
