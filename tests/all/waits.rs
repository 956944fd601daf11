//! `record --waits`: what idle threads wait in, as `dump` says it.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use crate::interpreters::Interpreter;
use crate::recording::Recording;
use crate::target::Target;

/// The leaves of the threads of a recording, by name: the words for what each waits in, where it waited all the time.
fn leaf<'read>(recording: &'read Recording, thread: &str) -> Option<&'read str> {
    let mut stacks = recording.stacks.iter().filter(|(stack, _)| stack[0].ends_with(&format!(": {thread}")));
    let leaf = stacks.next().and_then(|(stack, _)| stack.last());
    leaf.filter(|_| stacks.next().is_none()).map(String::as_str)
}

#[test]
fn what_an_idle_thread_waits_in_is_its_leaf() {
    let features = [(2, 7), (3, 8), (3, 11), (3, 13), (3, 15)];
    for interpreter in Interpreter::all().iter().filter(|interpreter| features.contains(&interpreter.feature())) {
        let mut target = Target::start(interpreter, "waits.py", &[]);
        let (peer, child, server, pipe) = (target.line(), target.line(), target.line(), target.line());
        let deadline = Instant::now() + Duration::from_secs(60);
        let record = || Recording::of(target.pid(), &["-d", "0.3", "--waits", "--threads"]);
        let is_settled = |recording: &Recording| {
            leaf(recording, "ring 1") == Some("waits in RLock.acquire, held by ring 2")
                && leaf(recording, "child").is_some()
                && leaf(recording, "taker").is_some()
                && leaf(recording, "joiner").is_some()
                && leaf(recording, "recv").is_some()
                && leaf(recording, "read").is_some()
        };
        let recording = loop {
            let recording = record();
            if is_settled(&recording) {
                break recording;
            }
            assert!(Instant::now() < deadline, "{interpreter}: the threads do not come to rest: {recording:#?}");
        };
        let leaf = |thread: &str| leaf(&recording, thread).unwrap_or_default();
        assert_eq!(leaf("taker"), "waits in Lock.acquire, held by holder", "{interpreter}");
        assert_eq!(leaf("joiner"), "waits in Thread.join for joined to end", "{interpreter}");
        assert_eq!(leaf("queue"), "waits in Queue.get", "{interpreter}");
        assert_eq!(leaf("child"), format!("waits in wait4 pid {child}"), "{interpreter}");
        assert_eq!(leaf("read"), format!("waits in read fd {pipe} (pipe)"), "{interpreter}");
        let recv = leaf("recv");
        assert!(recv.starts_with(&format!("waits in recvfrom fd {server} (tcp 127.0.0.1:")), "{interpreter}: {recv}");
        assert!(recv.ends_with(&format!(" → {peer})")), "{interpreter}: {recv}");
        let sleep = leaf("joined");
        assert!(sleep.contains("nanosleep") || sleep.contains("select"), "{interpreter}: {sleep}");
    }
}

#[test]
fn a_thread_that_waits_elsewhere_has_another_leaf() {
    let interpreter = Interpreter::all().last().unwrap();
    let target = Target::start(interpreter, "turns.py", &[]);
    let recording = Recording::of(target.pid(), &["-d", "0.5", "--waits"]);
    let waits = recording.stacks.iter().filter(|(stack, _)| stack.last().is_some_and(|leaf| leaf.starts_with("waits")));
    assert!(waits.count() > 0, "{recording:#?}");
    // What runs has no such leaf.
    let target = Target::start(interpreter, "busy.py", &["5"]);
    let recording = Recording::of(target.pid(), &["-d", "0.3", "--waits"]);
    let busy = recording.count(|names| !names.last().is_some_and(|leaf| leaf.starts_with("waits")));
    assert!(busy > 0, "{recording:#?}");
}
