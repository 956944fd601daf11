//! The thread that samples and owns the target's readers.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, SyncSender, TrySendError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Message;
use crate::command::dump::{self, SampledDump};
use crate::inspect::{Details, TasksWanted};
use crate::output::dump::{TaskDump, TextOptions, ThreadDump, write_tasks, write_text};
use crate::sampler::{
    Finder, LiveOptions, LiveRequest, LiveWindow, Pausing, ProcessSampler, Roots, watch, why_not_pausable,
};
use crate::tui::window::TaskGroup;

/// Between two looks for what has ended that a program left behind, when nothing is sampled any more.
const COLLECT_EVERY: Duration = Duration::from_millis(100);

/// The thread that samples.
pub(super) struct Sampling {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    /// A window was sent and is not taken yet.
    pub(super) in_flight: Arc<AtomicBool>,
    requests: Sender<LiveRequest>,
    answers: SyncSender<Message>,
}

/// What tells a thread from all others of its process.
#[derive(Debug, Clone, Copy)]
pub(super) struct OneThread {
    /// `threading.get_ident()`; 0 of a thread without a thread state.
    pub(super) python_id: u64,
    /// The id of its interpreter.
    pub(super) interpreter: u64,
    /// The system's id of it.
    pub(super) os_id: Option<u64>,
}

impl OneThread {
    fn matches(self, thread: &ThreadDump) -> bool {
        match self.python_id {
            0 => self.os_id == thread.os_thread_id,
            ident => ident == thread.thread_id && u64::try_from(thread.interpreter).unwrap_or(0) == self.interpreter,
        }
    }
}

impl Sampling {
    pub(super) fn start(
        roots: Roots,
        mut finder: Finder,
        options: LiveOptions,
        sender: &SyncSender<Message>,
    ) -> io::Result<Self> {
        let (requests, asked) = channel();
        let (stop, in_flight) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (their_stop, their_flight, their_sender) = (Arc::clone(&stop), Arc::clone(&in_flight), sender.clone());
        let orphans = roots.orphans.clone();
        let thread = std::thread::Builder::new().name("sampler".to_owned()).spawn(move || {
            let mut deliver = |window: Box<LiveWindow>| {
                if their_flight.swap(true, Ordering::AcqRel) {
                    return Err(window);
                }
                match their_sender.try_send(Message::Window(window)) {
                    Ok(()) => Ok(()),
                    Err(
                        TrySendError::Full(Message::Window(window))
                        | TrySendError::Disconnected(Message::Window(window)),
                    ) => {
                        their_flight.store(false, Ordering::Release);
                        Err(window)
                    }
                    Err(_) => Ok(()),
                }
            };
            let (ending, left) = watch(roots, &mut finder, &options, &asked, &their_stop, &mut deliver);
            // Nothing is held up any more by waiting until somebody takes these.
            for window in left {
                let _ = their_sender.send(Message::Window(Box::new(window)));
            }
            let _ = their_sender.send(Message::Ended(ending));
            // The last view stays; what the program has left behind may end meanwhile, and is ours to collect.
            while let Some(orphans) = &orphans
                && !their_stop.load(Ordering::Relaxed)
            {
                orphans.living();
                std::thread::sleep(COLLECT_EVERY);
            }
        })?;
        Ok(Self { thread, stop, in_flight, requests, answers: sender.clone() })
    }

    /// Ends sampling. Its thread is gone when this returns, unless it waits for an interpreter or for us.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // While it waits to send the last windows nothing is read or held; then it may be left alone.
        let deadline = Instant::now() + Duration::from_secs(1);
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(super) fn send_request(&self, request: LiveRequest) {
        // When sampling is over, there is nobody to ask.
        let _ = self.requests.send(request);
    }

    /// Has the tasks of a group dumped between two samples.
    pub(super) fn request_task(&self, pausing: Pausing, full_file_names: bool, group: TaskGroup) {
        let answers = self.answers.clone();
        let pausing = if pausing == Pausing::Never { Pausing::Never } else { Pausing::Blocking };
        self.send_request(LiveRequest::Inspect(Box::new(move |samplers| {
            let of_process = samplers.iter_mut().find(|sampler| sampler.process().pid().unsigned_abs() == group.pid);
            let Some(sampler) = of_process else { return };
            let text = tasks_text(sampler, pausing, full_file_names, &group);
            let _ = answers.try_send(Message::Dump(text.unwrap_or_else(|error| format!("{error:#}\n"))));
        })));
    }

    /// Has all threads, or those of one process, or one, dumped between two samples.
    pub(super) fn request_dump(
        &self,
        pausing: Pausing,
        full_file_names: bool,
        pid: Option<u32>,
        only: Option<OneThread>,
    ) {
        let answers = self.answers.clone();
        let pausing = if pausing == Pausing::Never { Pausing::Never } else { Pausing::Blocking };
        self.send_request(LiveRequest::Inspect(Box::new(move |samplers| {
            let wanted = samplers
                .iter_mut()
                .filter(|sampler| pid.is_none_or(|pid| pid == sampler.process().pid().unsigned_abs()));
            let texts: Vec<String> = wanted
                .map(|sampler| {
                    dump_text(sampler, pausing, full_file_names, only).unwrap_or_else(|error| format!("{error:#}\n"))
                })
                .collect();
            let text = texts.join("\n");
            // Sampling does not wait; who cannot take the answer presses the key again.
            let _ = answers.try_send(Message::Dump(text));
        })));
    }
}

/// The tasks of a group, alike ones as one, with the variables of the first.
fn tasks_text(
    sampler: &mut ProcessSampler,
    pausing: Pausing,
    full_file_names: bool,
    group: &TaskGroup,
) -> anyhow::Result<String> {
    let details = Details { variables: 1, tasks: TasksWanted::Pending, ..Details::default() };
    let SampledDump { dump, .. } = dump::dump_sampled(sampler, pausing, details)?;
    let is_wanted = |task: &TaskDump| task.kind == group.kind && task.coroutine == group.coroutine;
    let Some(tasks) = dump.tasks.filter(|tasks| tasks.tasks.iter().any(is_wanted)) else {
        return Ok("There is no such task any more.\n".to_owned());
    };
    let mut text = Vec::new();
    let options = TextOptions { full_file_names, flat_tasks: true, ..TextOptions::default() };
    write_tasks(&tasks, &is_wanted, options, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What the threads of a process are doing, or one of them.
fn dump_text(
    sampler: &mut ProcessSampler,
    pausing: Pausing,
    full_file_names: bool,
    only: Option<OneThread>,
) -> anyhow::Result<String> {
    let pausing = if why_not_pausable(sampler.process()).is_some() { Pausing::Never } else { pausing };
    let SampledDump { mut dump, lost_threads, .. } =
        dump::dump_sampled(sampler, pausing, Details { variables: 1, sleep: true, ..Details::default() })?;
    if let Some(only) = only {
        let is_it = |thread: &ThreadDump| only.matches(thread);
        dump.threads.retain(is_it);
        dump.deadlocks.clear();
    }
    let mut text = Vec::new();
    write_text(&[dump], TextOptions { full_file_names, ..TextOptions::default() }, &mut text)?;
    if lost_threads > 0 && only.is_none() {
        writeln!(text, "({})", dump::lost_threads(lost_threads))?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}
