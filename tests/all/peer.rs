//! The scripts of py-spy's users: the same flags give the same lines.

use std::collections::HashMap;
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::running::chosen;
use crate::target::{Target, alone_on_this_machine, print_note, pyspy, run};

/// py-spy, if it is here: `PYSPY_TEST_PEER`, or `py-spy` on PATH.
fn peer() -> Option<PathBuf> {
    let named = env::var_os("PYSPY_TEST_PEER").map(PathBuf::from);
    let found = named.or_else(|| {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).map(|folder| folder.join("py-spy")).find(|file| file.is_file())
    });
    if found.is_none() {
        print_note("skipped: no py-spy to compare with (PYSPY_TEST_PEER or PATH)");
    }
    found
}

/// Stacks with their counts.
fn counts(raw: &str) -> HashMap<String, u64> {
    let parse = |line: &str| {
        let (stack, count) = line.rsplit_once(' ')?;
        Some((stack.to_owned(), count.parse().ok()?))
    };
    raw.lines().map(|line| parse(line).unwrap_or_else(|| panic!("not a line of collapsed stacks: {line}"))).collect()
}

#[test]
fn raw_lines_are_those_of_py_spy() {
    let Some(peer) = peer() else { return };
    let _alone = alone_on_this_machine();
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours.txt"), folder.path().join("theirs.txt"));
    let flags: [&[&str]; 6] = [
        &["-F"],
        &["-F", "-t"],
        &["-F", "-s", "-t"],
        &["-s", "--nolineno"],
        &["-F", "--full-filenames"],
        &["-F", "-i"],
    ];
    let mut compared = 0;
    // py-spy knows no 3.15.
    for interpreter in chosen().filter(|found| found.feature() < (3, 14)) {
        let target = Target::start(interpreter, "workers.py", &[]);
        let pid = target.pid().to_string();
        for flags in flags {
            let mut args = vec!["record", "-d", "1", "-r", "100", "-f", "raw", "-p", &pid, "-o"];
            let mut command = Command::new(&peer);
            command.args(&args).arg(&theirs).args(flags);
            run(&mut command, Duration::from_secs(60)).unwrap().success();
            args.push(ours.to_str().unwrap());
            args.extend(flags);
            pyspy(&args).success();
            let [ours, theirs] = [&ours, &theirs].map(|path| counts(&std::fs::read_to_string(path).unwrap()));
            for (one, other, who) in [(&ours, &theirs, "py-spy"), (&theirs, &ours, "pyspy")] {
                // What is there for a moment is seen by one and not by the other.
                let missing: Vec<_> =
                    one.iter().filter(|(stack, count)| **count > 15 && !other.contains_key(*stack)).collect();
                assert!(
                    missing.is_empty(),
                    "{interpreter} {flags:?}: {who} lacks {missing:#?}\nours {ours:#?}\ntheirs {theirs:#?}"
                );
            }
            compared += 1;
        }
    }
    assert!(compared > 0, "no interpreter that both read");
}
