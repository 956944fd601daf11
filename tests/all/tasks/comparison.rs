//! The fields of tasks, as pyspy reads them and as the program tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use serde_json::{Value, json};

use super::{dump_tasks, with_tasks};
use crate::target::{Target, print_note};

/// How many of the differences a test prints.
const PRINTED: usize = 60;
/// What a number of seconds that was rounded may be wrong by.
const ROUNDING: f64 = 0.006;

/// Whose tasks a program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    Asyncio,
    Trio,
}

impl Library {
    /// The list that its tasks are in.
    fn list(self) -> &'static str {
        match self {
            Self::Asyncio => "asyncio_tasks",
            Self::Trio => "trio_tasks",
        }
    }
}

/// What differs, of all programs of a test.
#[derive(Debug, Default)]
pub(super) struct Differences {
    found: Vec<String>,
    tasks: usize,
    programs: usize,
}

/// The tasks of one dump by their addresses.
type Tasks<'dump> = BTreeMap<u64, &'dump Value>;

impl Differences {
    /// Compares all fields of all tasks of a program that stands still: before it was asked, for then no name was made
    /// a text yet, and afterwards with the tasks that have ended.
    pub(super) fn compare(&mut self, what: &str, target: &mut Target, library: Library) {
        let clock = |target: &mut Target| -> f64 {
            target.send("clock");
            target.line().parse().expect("a time")
        };
        let before = clock(target);
        let pending = dump_tasks(target.pid(), &[]);
        target.send("tasks");
        let answer = target.line();
        let said: Value = serde_json::from_str(&answer).expect("JSON");
        let asked = said["now"].as_f64().expect("a time");
        let all = dump_tasks(target.pid(), &["--all-tasks"]);
        let after = clock(target);

        self.programs += 1;
        let said = said["tasks"].as_array().expect("a list");
        assert!(!said.is_empty(), "{what}: the program has no tasks");
        for (dump, times, with_done) in [(&pending, (before, asked), false), (&all, (asked, after), true)] {
            let said: Vec<&Value> = said.iter().filter(|task| with_done || task["state"] != "done").collect();
            let comparison = Comparison { library, times };
            let what = format!("{what}{}", if with_done { " --all-tasks" } else { "" });
            self.tasks += said.len();
            self.found.extend(comparison.differences(dump, &said).into_iter().map(|found| format!("{what}: {found}")));
        }
    }

    /// Fails with what differs, if anything does.
    #[track_caller]
    pub(super) fn assert_none(self) {
        let Self { found, tasks, programs } = self;
        let shown = found[..found.len().min(PRINTED)].join("\n");
        assert!(found.is_empty(), "{} differences in {tasks} tasks of {programs} programs:\n{shown}", found.len());
        print_note(&format!("0 differences in {tasks} tasks of {programs} programs"));
    }
}

/// One dump beside one answer.
struct Comparison {
    library: Library,
    /// The program's clock before and after the dump.
    times: (f64, f64),
}

impl Comparison {
    fn differences(&self, dump: &Value, said: &[&Value]) -> Vec<String> {
        let Some(list) = dump[self.library.list()].as_array() else {
            return vec![format!("no list {}", self.library.list())];
        };
        let mut found = Vec::new();
        let read: Tasks<'_> = list.iter().map(|task| (number(task, "id"), task)).collect();
        if read.len() != list.len() {
            found.push(format!("{} tasks are there twice", list.len() - read.len()));
        }
        let said: Tasks<'_> = said.iter().map(|task| (number(task, "id"), *task)).collect();
        for (id, task) in &read {
            if !said.contains_key(id) {
                found.push(format!("{}: there is no such task", describe(task)));
            }
        }
        for (id, task) in &said {
            match read.get(id) {
                None => found.push(format!("{}: missing", describe(task))),
                Some(read) => {
                    let differences = self.task(task, read);
                    found.extend(differences.into_iter().map(|field| format!("{}: {field}", describe(task))));
                }
            }
        }
        found
    }

    fn task(&self, said: &Value, read: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let mut same = |field: &str| {
            if said[field] != read[field] {
                found.push(format!("{field}: {} instead of {}", read[field], said[field]));
            }
        };
        for field in ["state", "thread_id", "os_thread_id", "interpreter", "group_of"] {
            same(field);
        }
        if self.library == Library::Asyncio {
            same("loop");
        }
        // What was compiled may be called by its type.
        let is_opaque = said["frames"].as_array().is_some_and(|frames| frames.len() == 1 && frames[0][1].is_null());
        if !is_opaque || !is_name(text(&read["coroutine"]), text(&said["coroutine_type"])) {
            same("coroutine");
        }
        // 3.7 has no names.
        if !said["name"].is_null() {
            same("name");
        }
        // The oracle against asyncio's own walk, where there is one.
        if said["graph_agrees"] == false {
            found.push("asyncio.capture_call_graph knows other frames than the oracle".to_owned());
        }
        found.extend(frames(said, read));
        found.extend(edges(said, read, "awaits", "may_await"));
        found.extend(edges(said, read, "awaited_by", "may_be_awaited_by"));
        found.extend(self.waits(said, read));
        found
    }

    fn waits(&self, said: &Value, read: &Value) -> Option<String> {
        let (said_waits, waits) = (&said["waits"], &read["waits"]);
        if said_waits.is_null() {
            // A task of trio that is ready is at a checkpoint.
            let wrong = said["state"] != "waiting" && !waits.is_null() && self.library == Library::Asyncio;
            return wrong.then(|| format!("waits: {waits} instead of null"));
        }
        let wrong = |expected: &dyn Debug| Some(format!("waits: {waits} instead of {expected:?}"));
        let kinds = said_waits["kinds"].as_array()?;
        if !kinds.contains(&waits["kind"]) || waits["text"].as_str().is_none_or(str::is_empty) {
            return wrong(kinds);
        }
        if said_waits["objects"].as_array().is_some_and(|objects| !objects.contains(&waits["object"])) {
            return wrong(&said_waits["objects"]);
        }
        let when = said_waits["when"].as_f64()?;
        let least_and_most = (when - self.times.1 - ROUNDING, when - self.times.0 + ROUNDING);
        let seconds = waits["seconds"].as_f64();
        if seconds.is_none_or(|seconds| seconds < least_and_most.0 || seconds > least_and_most.1) {
            return wrong(&least_and_most);
        }
        None
    }
}

fn number(task: &Value, field: &str) -> u64 {
    task[field].as_u64().unwrap_or_else(|| panic!("no number {field} in {task:#}"))
}

fn describe(task: &Value) -> String {
    format!("{} {} {:#x}", task["name"], task["coroutine"], number(task, "id"))
}

/// Name, file and line, newest first; what has no frame has a name only.
type Frame<'task> = (&'task str, Option<(&'task str, u64)>);

/// Whether a text is the name of a type: it may be in brackets, with its module before it and the object's own name
/// behind it.
fn is_name(found: &str, name: &str) -> bool {
    let found = found.trim_start_matches('<').trim_end_matches('>').split(' ').next().unwrap_or_default();
    found == name || found.strip_suffix(name).is_some_and(|module| module.ends_with('.'))
}

fn frames(said: &Value, read: &Value) -> Option<String> {
    let (expected, found) = (said_frames(said), read_frames(read));
    let same = |((name, place), (found_name, found_place)): (&Frame<'_>, &Frame<'_>)| {
        place == found_place && (name == found_name || place.is_none() && is_name(found_name, name))
    };
    if expected.len() == found.len() && expected.iter().zip(&found).all(same) {
        return None;
    }
    let (whole, wrong) = (expected.len(), found.len());
    match expected.iter().zip(&found).position(|pair| !same(pair)) {
        Some(at) => {
            Some(format!("frames ({wrong} instead of {whole}), at {at}: {:?} instead of {:?}", found[at], expected[at]))
        }
        None => Some(format!("frames: {found:?} instead of {expected:?}")),
    }
}

fn said_frames(task: &Value) -> Vec<Frame<'_>> {
    let frames = task["frames"].as_array().expect("a list");
    frames.iter().map(|frame| (text(&frame[0]), frame[1].as_str().zip(frame[2].as_u64()))).collect()
}

fn read_frames(task: &Value) -> Vec<Frame<'_>> {
    let frames = task["frames"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |frame: &Value| frame["line"].as_u64().filter(|line| *line > 0);
    frames.iter().map(|frame| (text(&frame["name"]), frame["filename"].as_str().zip(line(frame)))).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// What a field must have, and what it may have besides.
fn edges(said: &Value, read: &Value, field: &str, maybe: &str) -> Option<String> {
    let ids = |value: &Value| -> BTreeSet<u64> {
        value.as_array().into_iter().flatten().map(|id| id.as_u64().unwrap()).collect()
    };
    let (certain, maybe, found) = (ids(&said[field]), ids(&said[maybe]), ids(&read[field]));
    let wrong: Vec<u64> = found.iter().filter(|id| !certain.contains(id) && !maybe.contains(id)).copied().collect();
    let missing: Vec<u64> = certain.difference(&found).copied().collect();
    let twice = read[field].as_array().map_or(0, Vec::len) != found.len();
    let is_right = wrong.is_empty() && missing.is_empty() && !twice;
    (!is_right).then(|| format!("{field}: without {missing:x?}, with {wrong:x?}, twice: {twice}"))
}

/// What pyspy would print if it were right about everything.
fn as_read(said: &Value, now: f64) -> Value {
    let mut read = said.clone();
    let frame = |frame: &Value| json!({"name": frame[0], "filename": frame[1], "line": frame[2]});
    read["frames"] = said["frames"].as_array().into_iter().flatten().map(frame).collect();
    if !said["waits"].is_null() {
        let seconds = said["waits"]["when"].as_f64().map(|when| when - now);
        let (kind, object) = (&said["waits"]["kinds"][0], &said["waits"]["objects"][0]);
        read["waits"] = json!({"kind": kind, "object": object, "seconds": seconds, "text": "in something"});
    }
    read
}

/// The task with each of its fields made wrong, by the name of the field.
fn made_wrong(task: &Value) -> Vec<(String, Value)> {
    let mut wrong = Vec::new();
    let mut add = |what: &str, change: &dyn Fn(&mut Value)| {
        let mut changed = task.clone();
        change(&mut changed);
        wrong.push((what.to_owned(), changed));
    };
    for field in ["state", "coroutine"] {
        add(field, &|task| task[field] = json!("another"));
    }
    for field in ["thread_id", "os_thread_id", "interpreter", "group_of"] {
        add(field, &|task| task[field] = json!(task[field].as_u64().unwrap_or(7) + 1));
    }
    for field in ["awaits", "awaited_by"] {
        add(field, &|task| task[field].as_array_mut().unwrap().push(json!(1)));
        if task[field] != json!([]) {
            add(&format!("less {field}"), &|task| drop(task[field].as_array_mut().unwrap().pop()));
        }
    }
    if task["frames"] != json!([]) {
        add("fewer frames", &|task| drop(task["frames"].as_array_mut().unwrap().remove(0)));
    }
    add("more frames", &|task| task["frames"].as_array_mut().unwrap().push(json!({"name": "x"})));
    for at in 0..task["frames"].as_array().unwrap().len() {
        add("name", &|task| task["frames"][at]["name"] = json!("another"));
        // What has no frame has a name only.
        if let Some(line) = task["frames"][at]["line"].as_u64() {
            add("line", &|task| task["frames"][at]["line"] = json!(line + 1));
            add("file", &|task| task["frames"][at]["filename"] = json!("another.py"));
        }
    }
    if task["waits"]["kind"].is_string() {
        add("kind", &|task| task["waits"]["kind"] = json!("another"));
        add("waits", &|task| task["waits"] = Value::Null);
        add("text", &|task| task["waits"]["text"] = json!(""));
    }
    if task["waits"]["seconds"].is_number() {
        add("seconds", &|task| task["waits"]["seconds"] = json!(task["waits"]["seconds"].as_f64().unwrap() + 1.0));
    }
    wrong
}

#[test]
fn whatever_is_wrong_with_a_task_is_found() {
    for interpreter in with_tasks() {
        for (program, least) in [("shapes", 84), ("states", 8)] {
            let mut target = Target::start(interpreter, "tasks_asyncio.py", &[program]);
            target.send("tasks");
            let answer: Value = serde_json::from_str(&target.line()).unwrap();
            let now = answer["now"].as_f64().unwrap();
            let said: Vec<&Value> = answer["tasks"].as_array().unwrap().iter().collect();
            assert!(said.len() >= least, "{interpreter} {program}: {} tasks", said.len());
            let read: Vec<Value> = said.iter().map(|task| as_read(task, now)).collect();
            let comparison = Comparison { library: Library::Asyncio, times: (now, now) };
            let differences = |tasks: &[Value]| comparison.differences(&json!({"asyncio_tasks": tasks}), &said);
            assert_eq!(differences(&read), [""; 0], "{interpreter} {program}");

            assert_eq!(differences(&read[1..]).len(), 1, "{interpreter}: a task that is missing");
            for (task, read) in said.iter().zip(&read) {
                for (what, wrong) in made_wrong(read) {
                    let found = comparison.task(task, &wrong);
                    assert!(found.len() == 1, "{interpreter}: {what} of {read:#}: {found:?}");
                }
            }
        }
    }
}
