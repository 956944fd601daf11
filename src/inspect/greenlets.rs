//! Greenlets as facts: where to look for them, and which thread each belongs to.

use std::collections::HashMap;
use std::ops::Range;

use super::describe::{Describer, Files};
use super::findings::FoundGreenlet;
use super::process::{InspectedTask, InspectedTaskWait, TaskLibrary};
use crate::process::Mapping;
use crate::python::greenlets::{Greenlet, GreenletKind, GreenletState};
use crate::python::tasks::{Link, TaskFrame, WaitKind};
use crate::sampler::MomentThread;

/// The most memory that is searched, in bytes.
pub(super) const MOST_SCANNED: u64 = 4 << 30;

/// Where objects may lie: memory that can be written and has no file behind it. The main thread's stack is no such
/// place.
pub(super) fn object_ranges(mappings: &[Mapping]) -> Vec<Range<u64>> {
    let holds_objects = |mapping: &&Mapping| {
        let is_stack = mapping.label.as_deref().is_some_and(|label| label.starts_with("[stack"));
        mapping.readable && mapping.writable && mapping.path.is_none() && !is_stack
    };
    mappings.iter().filter(holds_objects).map(|mapping| mapping.start..mapping.end).collect()
}

impl Describer<'_> {
    /// Greenlets, with their main greenlet in the place of an event loop.
    pub(super) fn greenlets(
        &self,
        greenlets: &[FoundGreenlet],
        first_place: usize,
        files: &mut Files<'_>,
    ) -> Vec<InspectedTask> {
        let threads = self.threads_of_greenlets(greenlets);
        // That of a thread that has no other says nothing: whatever has imported greenlet has one.
        let is_alone = |greenlet: &Greenlet| {
            let is_main = greenlet.kind == GreenletKind::Main && greenlet.state == GreenletState::Running;
            let others = greenlets.iter().filter(|(other, _)| other.main == Some(greenlet.address));
            is_main && others.count() <= 1
        };
        let shown = greenlets.iter().enumerate().filter(|(_, (greenlet, _))| !is_alone(greenlet));
        let described = shown.map(|(index, (greenlet, frames_read))| {
            let thread = greenlet.main.and_then(|main| threads.get(&main).copied());
            let links: Vec<Link> = frames_read.iter().map(|frame| Link::Frame(*frame)).collect();
            let codes = &self.findings.tasks.codes;
            let frames = self.frames_of(&links, None, first_place + index, files);
            let outermost = links.last().and_then(|link| match link {
                Link::Frame(frame) => Some(codes.get(frame.place.code).name.clone()),
                Link::Opaque(_) => None,
            });
            InspectedTask {
                library: TaskLibrary::Greenlet,
                id: greenlet.address,
                name: match greenlet.kind {
                    GreenletKind::Main => Some("main greenlet".to_owned()),
                    GreenletKind::Hub => Some("hub".to_owned()),
                    GreenletKind::Ordinary => self.is_running_hub(greenlet, thread).then(|| "hub".to_owned()),
                },
                state: match greenlet.state {
                    GreenletState::New => "new",
                    GreenletState::Paused => "paused",
                    GreenletState::Running => "running",
                    GreenletState::Finished => "finished",
                },
                coroutine: outermost
                    .or_else(|| greenlet.run_name.clone().filter(|name| name != "NoneType"))
                    .unwrap_or_else(|| greenlet.type_name.clone()),
                event_loop: greenlet.main.unwrap_or(0),
                python_id: thread.map(|thread| thread.stack.thread_id),
                os_id: thread.and_then(|thread| thread.os_id),
                interpreter: thread.map_or(0, |thread| thread.interpreter.id),
                frames,
                is_truncated: greenlet.is_truncated,
                wait: if greenlet.state == GreenletState::Paused { self.wait_of_greenlet(frames_read) } else { None },
                awaits: Vec::new(),
                awaited_by: Vec::new(),
                group_of: None,
                held_by: Vec::new(),
            }
        });
        described.collect()
    }

    /// What a greenlet that is put aside waits in: the outermost function of gevent or eventlet that it is in. Where
    /// those are compiled, as gevent's locks, queues and events are, no frame tells.
    fn wait_of_greenlet(&self, frames: &[TaskFrame]) -> Option<InspectedTaskWait> {
        let codes = &self.findings.tasks.codes;
        let code = |frame: &TaskFrame| codes.get(frame.place.code);
        let is_of_library = |frame: &&TaskFrame| {
            let mut folders = code(frame).filename.rsplit(['/', '\\']).skip(1).take(2);
            folders.any(|folder| folder == "gevent" || folder == "eventlet")
        };
        let code = code(frames.iter().take_while(is_of_library).last()?);
        let name = code.name.rsplit('.').next().unwrap_or_default();
        let kind = match code.filename.rsplit(['/', '\\']).next().unwrap_or_default() {
            "hub.py" | "greenthread.py" if name == "sleep" => WaitKind::Sleep,
            // The loop itself, and what only leads there.
            "hub.py" => return None,
            "lock.py" | "thread.py" => WaitKind::Lock,
            "_semaphore.py" | "semaphore.py" => WaitKind::Semaphore,
            "queue.py" => WaitKind::Queue,
            "event.py" => WaitKind::Event,
            "greenlet.py" | "pool.py" | "greenthread.py" | "greenpool.py" => WaitKind::Task,
            "threadpool.py" | "tpool.py" => WaitKind::Executor,
            "subprocess.py" => WaitKind::Process,
            file if file.contains("socket") || file.contains("ssl") || file == "base.py" || file == "select.py" => {
                WaitKind::Socket
            }
            _ => WaitKind::Other,
        };
        let text = match kind {
            WaitKind::Sleep => "sleeps".to_owned(),
            _ => format!("waits in {}", code.name),
        };
        Some(InspectedTaskWait { kind: kind.name(), text, object: None, seconds: None, is_shared: false })
    }

    /// Whether a greenlet is a hub of eventlet that runs: the oldest frame of its thread is that of the hub's loop.
    fn is_running_hub(&self, greenlet: &Greenlet, thread: Option<&MomentThread>) -> bool {
        let oldest = thread.and_then(|thread| self.moment.frames_of(thread).last());
        greenlet.state == GreenletState::Running
            && oldest.is_some_and(|frame| {
                let code = self.codes.get(frame.code);
                code.filename.contains("/eventlet/hubs/") && code.name.rsplit('.').next() == Some("run")
            })
    }

    /// The threads of main greenlets: what one of its greenlets has on the stack lies in that thread's stack, as does
    /// its `pthread_t`, but for the main thread.
    fn threads_of_greenlets(&self, greenlets: &[FoundGreenlet]) -> HashMap<u64, &MomentThread> {
        let threads = &self.moment.threads;
        let mut found = HashMap::new();
        for (greenlet, _) in greenlets {
            let Some((main, place)) = greenlet.main.zip(greenlet.stack_start) else { continue };
            let Some(mapping) = self.mappings.iter().find(|mapping| mapping.contains(place)) else { continue };
            let of_stack = threads.iter().find(|thread| mapping.contains(thread.stack.thread_id));
            // That of the main thread lies elsewhere; its thread state is the first of the main interpreter.
            let thread = of_stack.or(threads.first());
            if let Some(thread) = thread {
                found.entry(main).or_insert(thread);
            }
        }
        found
    }
}
