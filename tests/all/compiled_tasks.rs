//! Coroutines that Cython or mypyc has compiled, in tasks and in logical stacks.
//!
//! `tests/targets/compiled_coroutines.py` is compiled for each interpreter of which the headers are there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::async_stacks::{recorded, weight_of};
use crate::interpreters::Interpreter;
use crate::packages::package;
use crate::target::{Target, print_note, pyspy, run};

/// Who compiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compiler {
    Cython,
    Mypyc,
}

impl Compiler {
    /// What a function is called that it has compiled.
    fn name(self, qualname: &str) -> String {
        match self {
            Self::Cython => qualname.to_owned(),
            Self::Mypyc => format!("<compiled.{qualname}>"),
        }
    }
}

/// The folder of Python.h.
fn headers(interpreter: &Interpreter) -> Option<PathBuf> {
    let (major, minor) = interpreter.feature();
    let prefix = fs::canonicalize(&interpreter.path).ok()?.parent()?.parent()?.join("include");
    let build = if interpreter.free_threaded { "t" } else { "" };
    let folder = prefix.join(format!("python{major}.{minor}{build}"));
    folder.join("Python.h").exists().then_some(folder)
}

/// The module as the compiler gets it.
fn source(compiler: Compiler) -> String {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets");
    let text = fs::read_to_string(targets.join("compiled_coroutines.py")).unwrap();
    match compiler {
        Compiler::Cython => text,
        Compiler::Mypyc => text.split("# mypyc has no").next().unwrap().to_owned(),
    }
}

/// The folder of the compiler for an interpreter, where it is there.
fn installed(compiler: Compiler, interpreter: &Interpreter) -> Option<PathBuf> {
    if compiler == Compiler::Mypyc {
        return package(interpreter, "mypy").pop();
    }
    // What Cython writes is for all versions, so each version of it is only where it translates.
    let version = match (interpreter.feature(), interpreter.free_threaded) {
        ((3, ..=9), _) => "cython-0.29.37",
        ((3, ..=11), _) => "cython-3.0.12",
        ((3, 12), _) => "cython-3.1.8",
        ((3, ..=14), false) => "cython-3.2.9",
        _ => "cython-3.3.1",
    };
    package(translator()?, "cython").into_iter().find(|folder| folder.ends_with(version))
}

/// The interpreter by which Cython translates.
fn translator() -> Option<&'static Interpreter> {
    Interpreter::all().iter().find(|interpreter| !package(interpreter, "cython").is_empty())
}

/// What Cython makes of the module; each version of it does so once.
fn translated(from: &Path) -> Option<String> {
    static TRANSLATED: Mutex<BTreeMap<PathBuf, Option<String>>> = Mutex::new(BTreeMap::new());
    let mut translated = TRANSLATED.lock().unwrap();
    let translate = || {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("compiled.py"), source(Compiler::Cython)).unwrap();
        let mut command = Command::new(&translator()?.path);
        command.args(["-m", "cython", "-3", "compiled.py"]).current_dir(&folder).env("PYTHONPATH", from);
        let ran = run(&mut command, Duration::from_secs(300)).ok()?;
        ran.status.success().then(|| fs::read_to_string(folder.path().join("compiled.c")).ok()).flatten()
    };
    translated.entry(from.to_owned()).or_insert_with(translate).clone()
}

/// Compiles the module into `folder` by the compiler that was installed to `from`; `None` where that cannot be done.
fn compile(compiler: Compiler, interpreter: &Interpreter, from: &Path, folder: &Path) -> Option<()> {
    let headers = headers(interpreter)?;
    let above = headers.parent()?;
    let mut command = match compiler {
        Compiler::Cython => {
            fs::write(folder.join("compiled.c"), translated(from)?).unwrap();
            let mut command = Command::new("cc");
            command.args(["-O0", "-w", "-fPIC", "-shared", "-o", "compiled.so", "compiled.c"]);
            command.arg("-I").arg(&headers).arg("-I").arg(above);
            command
        }
        Compiler::Mypyc => {
            fs::write(folder.join("compiled.py"), source(compiler)).unwrap();
            let mut command = Command::new(&interpreter.path);
            command.args(["-m", "mypyc", "compiled.py"]).env("PYTHONPATH", from).env("MYPYC_OPT_LEVEL", "0");
            command.env("CFLAGS", format!("-O0 -I{} -I{}", headers.display(), above.display()));
            command
        }
    };
    let ran = run(command.current_dir(folder), Duration::from_secs(300)).ok()?;
    // Or else that is imported.
    let _ = fs::remove_file(folder.join("compiled.py"));
    // Free-threaded builds may not look for what mypyc calls it.
    let is_module = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "so");
    let made = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).find(is_module)?;
    fs::rename(made, folder.join("compiled.so")).unwrap();
    ran.status.success().then_some(())
}

/// Starts `compiled_tasks.py` with the module compiled, for each interpreter for which that can be done.
fn for_each(
    compiler: Compiler,
    argument: &str,
    is_wanted: &dyn Fn(&Interpreter) -> bool,
    check: &dyn Fn(&str, Target),
) {
    let (mut tested, mut skipped) = (Vec::new(), Vec::new());
    let with_tasks = Interpreter::all().iter().filter(|interpreter| interpreter.feature() >= (3, 8));
    for interpreter in with_tasks.filter(|interpreter| is_wanted(interpreter)) {
        let version = interpreter.name.split(' ').next().unwrap_or_default();
        let folder = tempfile::tempdir().unwrap();
        let from = installed(compiler, interpreter)
            .filter(|from| compile(compiler, interpreter, from, folder.path()).is_some());
        let Some(from) = from else {
            skipped.push(version);
            continue;
        };
        let mut command = Command::new(&interpreter.path);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/compiled_tasks.py")).arg(argument);
        // What is written on standard error, that the module wants a GIL.
        command.env("PYTHONWARNINGS", "ignore");
        let trio = package(interpreter, "trio").pop();
        let paths = [folder.path(), &from].into_iter().chain(trio.as_deref());
        command.env("PYTHONPATH", std::env::join_paths(paths).unwrap());
        let what = format!("{version} {}", from.file_name().unwrap().to_str().unwrap());
        check(&what, Target::start_command(command, &what));
        tested.push(what);
    }
    if !skipped.is_empty() {
        let how = "tests/packages/fetch brings compilers; the headers of Python and a C compiler must be there";
        print_note(&format!("skipped: {} ({how}); tested: {}", skipped.join(", "), tested.join(", ")));
    }
}

/// The tasks of a dump by their coroutines, with the names of their frames, outermost first.
fn chains(target: &Target, list: &str) -> Vec<(String, Value, Vec<String>)> {
    let ran = pyspy(&["dump", "--json", "--tasks=tree", "--pid", &target.pid().to_string()]);
    let dump: Value = serde_json::from_str(ran.success()).unwrap();
    let tasks = dump[list].as_array().unwrap().iter().map(|task| {
        let frames = task["frames"].as_array().unwrap().iter().rev();
        let names = frames.map(|frame| frame["name"].as_str().unwrap().to_owned()).collect();
        (task["coroutine"].as_str().unwrap().to_owned(), task.clone(), names)
    });
    tasks.collect()
}

fn check_chains(compiler: Compiler, what: &str, target: &Target) {
    let tasks = chains(target, "asyncio_tasks");
    let awaits = compiler.name("awaits");
    let sleeps = compiler.name("sleeps");
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let mut expected = vec![
        of(&["over_compiled", &awaits, "plain_leaf", "sleep"]),
        of(&["over_method", &compiler.name("Session.fetch"), &sleeps, "sleep"]),
        of(&["over_classmethod", &compiler.name("Session.begin"), &sleeps, "sleep"]),
        of(&["over_derived", &compiler.name("Derived.fetch"), &sleeps, "sleep"]),
        of(&[&awaits, "over_compiled", &awaits, "plain_leaf", "sleep"]),
        of(&[&compiler.name("keeps"), &awaits]),
        of(&[&sleeps, "sleep"]),
    ];
    if compiler == Compiler::Cython {
        expected.push(of(&["iterates", "yields", "sleep"]));
        // Of a function that has not run mypyc does not tell that.
        let new = tasks.iter().filter(|(_, task, names)| task["state"] == "new" && *names == ["sleeps"]);
        assert_eq!(new.count(), 1, "{what}: {tasks:#?}");
    }
    for chain in expected {
        let found = tasks.iter().filter(|(_, _, names)| *names == chain).count();
        assert_eq!(found, 1, "{what}: {chain:?} in {tasks:#?}");
    }
    // Its inner function has another name in each version.
    let encloses = compiler.name("encloses");
    let enclosing = tasks.iter().find(|(_, _, names)| *names.first().unwrap() == encloses);
    let (_, task, names) = enclosing.unwrap_or_else(|| panic!("{what}: {tasks:#?}"));
    assert_eq!(names[2..], [sleeps.as_str(), "sleep"], "{what}: {tasks:#?}");
    assert!(names[1].contains("inner"), "{what}: {names:?}");
    assert_eq!(task["waits"]["kind"], "sleep", "{what}: {task:#?}");
    // Whose method it is, is known where an object of the class is there: that is so in the outer of these two.
    let inherited = tasks.iter().find(|(.., names)| names[0] == "over_inherited").unwrap();
    assert_eq!(inherited.2[1], compiler.name("Session.encloses"), "{what}: {tasks:#?}");
    assert_eq!(inherited.2[3..], [sleeps.as_str(), "sleep"], "{what}: {tasks:#?}");
    for (_, task, _) in &tasks {
        let files = task["frames"].as_array().unwrap().iter().map(|frame| frame["filename"].as_str().unwrap());
        let are_told = files.filter(|file| file.ends_with("compiled.py")).count();
        let names = task["frames"].as_array().unwrap().iter().map(|frame| frame["name"].as_str().unwrap());
        let own = [
            "awaits",
            "sleeps",
            "keeps",
            "encloses",
            "iterates",
            "yields",
            "Session.fetch",
            "Session.begin",
            "Session.encloses",
            "Derived.fetch",
        ];
        // 0.29 makes no code for inner functions.
        let of_cython = names.filter(|name| own.contains(name) || name.ends_with(".inner")).count();
        assert_eq!(are_told, if compiler == Compiler::Cython { of_cython } else { 0 }, "{what}: {task:#?}");
    }
    // `keeps` waits for the task that it has made.
    let keeps = tasks.iter().find(|(_, _, names)| names.first() == Some(&compiler.name("keeps"))).unwrap();
    assert_eq!(keeps.1["waits"]["kind"], "task", "{what}: {:#?}", keeps.1);
    assert_eq!(keeps.1["awaits"].as_array().map(Vec::len), Some(1), "{what}: {:#?}", keeps.1);
}

#[test]
fn coroutines_of_cython_stand_in_their_tasks() {
    let check = |what: &str, target: Target| check_chains(Compiler::Cython, what, &target);
    for_each(Compiler::Cython, "waits", &|_| true, &check);
}

#[test]
fn coroutines_of_mypyc_stand_in_their_tasks() {
    let check = |what: &str, target: Target| check_chains(Compiler::Mypyc, what, &target);
    for_each(Compiler::Mypyc, "waits", &|_| true, &check);
}

#[test]
fn compiled_coroutines_stand_in_tasks_of_trio() {
    for compiler in [Compiler::Cython, Compiler::Mypyc] {
        let has_trio = |interpreter: &Interpreter| !package(interpreter, "trio").is_empty();
        for_each(compiler, "trio", &has_trio, &|what, target| {
            let tasks = chains(&target, "trio_tasks");
            let awaits = compiler.name("awaits");
            let inner = ["over_compiled_in_trio", &awaits, "trio_leaf"].map(str::to_owned);
            // Code has a qualified name from 3.11 on.
            let without_class = |name: &String| match *name == awaits {
                true => name.clone(),
                false => name.rsplit('.').next().unwrap_or_default().to_owned(),
            };
            let of_program = |names: &[String]| -> Vec<String> {
                names.iter().map(without_class).filter(|name| inner.contains(name)).collect()
            };
            for expected in [inner.to_vec(), [&[awaits.clone()][..], &inner].concat()] {
                let found = tasks.iter().find(|(.., names)| of_program(names) == expected);
                let (_, task, names) = found.unwrap_or_else(|| panic!("{what}: {expected:?} in {tasks:#?}"));
                assert!(names.iter().any(|name| name.ends_with("async_yield")), "{what}: {names:?}");
                assert_eq!(task["truncated"], false, "{what}: {task:#?}");
                assert_eq!(task["waits"]["kind"], "sleep", "{what}: {task:#?}");
            }
        });
    }
}

#[test]
fn coroutines_of_cython_stand_in_logical_stacks() {
    // One of each way to keep the current task.
    let is_wanted = |interpreter: &Interpreter| [(3, 8), (3, 12), (3, 15)].contains(&interpreter.feature());
    for_each(Compiler::Cython, "runs", &is_wanted, &|what, target| {
        let (stacks, _) = recorded(&target, &["--async=all"]);
        for frames in [
            &["task awaits", "awaits", "busy_leaf", "burn"][..],
            &["task compiled_loop", "compiled_loop", "task computes", "computes"],
            &["task awaits", "awaits", "task plain_leaf", "plain_leaf", "sleep", "sleeps"],
        ] {
            assert!(weight_of(&stacks, frames) > 0, "{what}: {frames:?} in {stacks:#?}");
        }
    });
}
