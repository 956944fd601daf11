//! Several interpreters in one process.

use crate::dump::{dump, frames};
use crate::interpreters::Interpreter;
use crate::recording::Recording;
use crate::target::Target;

#[test]
fn threads_of_every_interpreter_are_shown_with_its_id() {
    for interpreter in Interpreter::all().iter().filter(|interpreter| interpreter.feature() >= (3, 12)) {
        let mut target = Target::start(interpreter, "subinterpreters.py", &[]);
        let ids: Vec<i64> = target.line().split(' ').map(|id| id.parse().unwrap()).collect();
        let threads = dump(target.pid(), &[]);
        let of = |id: i64| threads.iter().filter(move |thread| thread["interpreter"] == id);
        let order: Vec<i64> = threads.iter().map(|thread| thread["interpreter"].as_i64().unwrap()).collect();
        assert!(order.is_sorted() && order[0] == 0, "{interpreter}: the main one comes first: {order:?}");

        let main = of(0).find(|thread| thread["thread_name"] == "MainThread").expect("the main thread");
        assert_eq!(main["os_thread_id"], target.pid(), "{interpreter}");
        assert_eq!(frames(main).last().unwrap().0, "<module>", "{interpreter}");
        for (number, id) in ids.iter().enumerate() {
            let inner: Vec<_> = of(*id).filter(|thread| frames(thread)[0].0 == "in_sub").collect();
            let [inner] = inner.as_slice() else { panic!("{interpreter}: {inner:#?} in interpreter {id}") };
            // The same thread is in the main interpreter, waiting for what it runs in the other.
            let name = format!("runs {number}");
            let outer = of(0).find(|thread| thread["thread_name"] == name.as_str()).expect("the thread that runs it");
            assert_eq!(frames(outer)[0].0, "runs", "{interpreter}: {outer:#}");
            // 3.12 runs it with the thread state of whoever made the interpreter, and with that one's id.
            let expected = if interpreter.feature() == (3, 12) { main } else { outer };
            assert_eq!(inner["os_thread_id"], expected["os_thread_id"], "{interpreter}");
        }
        let recording = Recording::of(target.pid(), &["-d", "0.3", "--idle", "--threads"]);
        assert!(recording.count(|names| names.contains(&"in_sub")) >= 40, "{interpreter}: {recording:#?}");
        assert!(recording.count(|names| names.contains(&"<module>")) >= 20, "{interpreter}: {recording:#?}");
    }
}
