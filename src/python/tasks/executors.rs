//! Functions that threads run for tasks: `run_in_executor` and `to_thread`, and anyio's `to_thread.run_sync`.
//!
//! The thread has the future of what it runs in a variable, the task waits for the same one or for one that is joined
//! to it; so it is known which thread it is.

use std::collections::HashMap;

use super::Task;
use super::objects::TaskObjects;
use super::task::FutureReader;
use super::trio::RunFrame;
use super::wait::{ExecutorWork, TaskWait, WaitKind, WaitReader, cells_of};
use crate::python::code::CodeTable;

/// Whether a function, by its name with or without class and its file, is the one that has in a variable what its
/// thread runs.
pub(crate) fn is_worker_function(name: &str, file: &str) -> bool {
    let mut parts = file.rsplit(['/', '\\']);
    let (file, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_known = matches!((folder, file), ("futures", "thread.py") | ("_backends", "_asyncio.py"));
    is_known && name.rsplit('.').next() == Some("run")
}

/// Says of the tasks that wait for a function which thread runs it. `workers` are frames of [`is_worker_function`].
pub(super) fn find_workers(types: TaskObjects<'_>, codes: &CodeTable, workers: &[RunFrame], tasks: &mut [Task]) {
    let is_waiting = |task: &&mut Task| task.wait.as_ref().is_some_and(|wait| wait.kind == WaitKind::Executor);
    let mut waiting = tasks.iter_mut().filter(is_waiting).peekable();
    if waiting.peek().is_none() {
        return;
    }
    let futures = FutureReader { types, layout: None };
    let waits = WaitReader { futures, codes };
    let run_by = |worker: &RunFrame| {
        // `_WorkItem.run` has the future in an attribute, anyio's `WorkerThread.run` in a variable.
        let item = waits.variable(&worker.frame, "self").and_then(|item| types.member(item, "future"));
        Some((waits.variable(&worker.frame, "future").or(item)?, worker.thread))
    };
    let running: HashMap<u64, u64> = workers.iter().filter_map(run_by).collect();
    for task in waiting {
        let Some(wait) = &mut task.wait else { continue };
        let Some(future) = wait.object else { continue };
        if let Some(thread) = running.get(&future) {
            wait.work = Some(ExecutorWork::RunBy(*thread));
        } else if state_of(types, future).as_deref() == Some("PENDING") {
            wait.work = Some(ExecutorWork::Queued);
        }
    }
}

/// A wait for a `concurrent.futures.Future` that `wrap_future` has joined to the one that the task waits for: by a
/// function that has both in its cells (`_call_check_cancel`, asyncio/futures.py).
pub(super) fn executor_wait(waits: WaitReader<'_>, future: u64) -> Option<TaskWait> {
    let types = waits.types();
    let of_executor = |callback: &u64| waits.function_name(*callback).as_deref() == Some("_call_check_cancel");
    let callback = waits.futures.callbacks(future).into_iter().find(of_executor)?;
    let mut cells = cells_of(types, callback).into_iter();
    let joined = cells.find(|cell| state_of(types, *cell).is_some() && *cell != future);
    Some(TaskWait { object: Some(joined.unwrap_or(future)), ..TaskWait::new(WaitKind::Executor) })
}

/// `concurrent.futures.Future._state`.
fn state_of(types: TaskObjects<'_>, future: u64) -> Option<String> {
    let module = types.objects.type_module(&types.known(future).ok()?.info).ok()??;
    if module != "concurrent.futures._base" {
        return None;
    }
    types.objects.text_or_none(types.attribute(future, "_state")?, 16)
}

#[cfg(test)]
mod tests {
    use super::is_worker_function;

    #[test]
    fn functions_of_worker_threads_are_known_by_name_and_file() {
        assert!(is_worker_function("run", "/usr/lib/python3.9/concurrent/futures/thread.py"));
        assert!(is_worker_function("_WorkItem.run", "C:\\Lib\\concurrent\\futures\\thread.py"));
        assert!(is_worker_function("WorkerThread.run", "/x/anyio/_backends/_asyncio.py"));
        assert!(!is_worker_function("_worker", "/usr/lib/python3.9/concurrent/futures/thread.py"));
        assert!(!is_worker_function("run", "/srv/thread.py"));
    }
}
