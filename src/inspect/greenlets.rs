//! Greenlets as facts: with names and words, and the thread that each belongs to.

use std::collections::HashMap;

use super::describe::{Describer, Files};
use super::findings::FoundGreenlet;
use super::process::{InspectedTask, InspectedTaskWait, TaskLibrary};
use super::tasks::sleep_words;
use crate::python::greenlets::{Greenlet, GreenletKind, GreenletState, own_function};
use crate::python::tasks::{Link, WaitKind};
use crate::sampler::{MomentThread, thread_of_stack};

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
            let outermost = own_function(codes, frames_read).map(|code| code.name.clone());
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
                wait: self.wait_of_greenlet(greenlet.address),
                awaits: Vec::new(),
                awaited_by: Vec::new(),
                group_of: None,
                held_by: Vec::new(),
            }
        });
        described.collect()
    }

    /// What a greenlet that is put aside waits in.
    fn wait_of_greenlet(&self, greenlet: u64) -> Option<InspectedTaskWait> {
        let wait = self.findings.tasks.greenlet_waits.get(&greenlet)?;
        /// A loop may have noted the time a little later than a sleep began, s.
        const LATE: f64 = 1.0;
        let seconds = wait.until.zip(self.loop_time).map(|(until, now)| until - now);
        // No sleep ends later than it was to be long.
        let seconds = seconds.filter(|seconds| wait.duration.is_none_or(|duration| *seconds <= duration + LATE));
        let mut text = match wait.kind {
            WaitKind::Sleep => sleep_words(seconds, wait.duration),
            _ => format!("waits in {}", wait.operation),
        };
        self.add_details(&mut text, wait);
        let is_shared = wait.waiters.is_some_and(|waiters| waiters > 1);
        let kind = wait.kind.name();
        Some(InspectedTaskWait { kind, text, object: wait.object, seconds, thread: None, is_shared })
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

    /// The threads of main greenlets: what one of its greenlets has on the stack lies in that thread's stack.
    fn threads_of_greenlets(&self, greenlets: &[FoundGreenlet]) -> HashMap<u64, &MomentThread> {
        let mut found = HashMap::new();
        for (greenlet, _) in greenlets {
            let Some((main, place)) = greenlet.main.zip(greenlet.stack_start) else { continue };
            if let Some(thread) = thread_of_stack(&self.moment.threads, self.mappings, place) {
                found.entry(main).or_insert(thread);
            }
        }
        found
    }
}
