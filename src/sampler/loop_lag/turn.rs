//! In which turn the loop of a thread is.

use super::{LoopLags, LoopLibrary, Watched};
use crate::memory::PageCache;
use crate::process::SystemCall;
use crate::python::object::ObjectReader;
use crate::python::tasks::{EvLoop, EventletHub, FrameVariable, TurnFunction, UvLoop, UvTurn, trio_clock_offset};
use crate::sampler::moment::{MomentFrame, MomentThread};
use crate::sampler::process_sampler::ProcessSampler;

/// What a loop does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Turn {
    /// It waits in its selector, or is about to.
    InSelector,
    /// It has not been there since this time, in seconds of the system's monotonic clock.
    Busy(f64),
    /// It is between the two, or cannot be read at this moment.
    Unknown,
}

impl Turn {
    /// Of a loop that is not in its selector.
    fn since(time: Option<f64>, now: f64) -> Self {
        time.filter(|since| (0.0..=now).contains(since)).map_or(Self::Unknown, Self::Busy)
    }
}

impl LoopLags {
    /// Whose loop a thread runs and in which turn it is; `None` where it runs none, as far as can be seen.
    pub(super) fn turn(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        frames: &[MomentFrame],
        now: f64,
    ) -> Option<(LoopLibrary, Turn)> {
        let of_loop = frames.iter().enumerate().find_map(|(index, frame)| {
            let class = self.class(sampler, frame);
            Some((index, class.turn?, class.offsets.clone()))
        });
        let memory = sampler.process().memory();
        let layout = &sampler.runtime().layout;
        let objects = ObjectReader::new(&memory, layout);
        let variable =
            |frame: &MomentFrame, offset: u64| FrameVariable { frame: frame.address, code: frame.code_address, offset };
        let Some((index, function, offsets)) = of_loop else {
            return self.turn_without_frame(sampler, thread, frames.len(), now);
        };
        let frame = &frames[index];
        let newer = index.checked_sub(1).map(|index| self.class(sampler, &frames[index]).name.clone());
        let newer = newer.as_deref().map(|name| name.rsplit('.').next().unwrap_or_default());
        let number =
            |offset: u64, float_type: &mut Option<u64>| variable(frame, offset).number(&memory, objects, float_type);
        match function {
            TurnFunction::Asyncio if newer == Some("select") => Some((LoopLibrary::Asyncio, Turn::InSelector)),
            TurnFunction::Asyncio => {
                let time = offsets.first().and_then(|offset| number(*offset, &mut self.float_type));
                Some((LoopLibrary::Asyncio, Turn::since(time, now)))
            }
            TurnFunction::TrioSelector => Some((LoopLibrary::Trio, Turn::InSelector)),
            TurnFunction::Trio => {
                let [time, runner, _] = offsets[..] else { return None };
                let runner = variable(frame, runner).object(&memory, objects)?;
                let ahead = self.trio_clock(sampler, thread, runner);
                let time = number(time, &mut self.float_type).zip(ahead).map(|(time, ahead)| time - ahead);
                Some((LoopLibrary::Trio, Turn::since(time, now)))
            }
            TurnFunction::Gevent => {
                let key = thread.stack.address;
                if !self.hubs.libev.contains_key(&key)
                    && !self.hubs.libuv.contains_key(&key)
                    && let Some(event_loop) =
                        offsets.first().and_then(|offset| variable(frame, *offset).object(&memory, objects))
                {
                    self.learn_gevent_loop(sampler, key, event_loop, now);
                }
                if let Some((uv_loop, _)) = self.hubs.libuv.get(&key).copied() {
                    return Some((LoopLibrary::Gevent, self.uv_turn(sampler, thread, frames.len(), uv_loop, now)));
                }
                let event_loop = self.hubs.libev.get(&key)?;
                let turn = match index {
                    0 => Turn::InSelector,
                    _ => Turn::since(event_loop.time(&memory), now),
                };
                Some((LoopLibrary::Gevent, turn))
            }
            TurnFunction::Eventlet => {
                let (key, run) = (thread.stack.address, (frame.address, frame.code_address));
                if !self.hubs.eventlet.get(&key).is_some_and(|hub| hub.is_of(run.0, run.1)) {
                    self.hubs.eventlet.insert(key, EventletHub::of(objects, run.0, run.1, &offsets)?);
                }
                // `wait` polls itself or in `do_poll`.
                let is_named = |lags: &mut Self, frame: &MomentFrame, name: &str| {
                    lags.class(sampler, frame).name.rsplit('.').next() == Some(name)
                };
                let is_polling = index == 1 && is_named(self, &frames[0], "wait")
                    || frames[..index].iter().any(|frame| is_named(self, frame, "do_poll"));
                let turn = match (index.checked_sub(1), thread.active) {
                    (Some(_), false) if is_polling => Turn::InSelector,
                    // It has called something itself, without a greenlet.
                    (Some(called), _) if !is_polling => {
                        let called = (frames[called].address, frames[called].code_address);
                        let (hubs, float_type) = (&mut self.hubs.eventlet, &mut self.float_type);
                        let hub = hubs.get_mut(&key)?;
                        Turn::since(hub.since_in(called, objects, float_type, now), now)
                    }
                    _ => Turn::Unknown,
                };
                Some((LoopLibrary::Eventlet, turn))
            }
        }
    }

    /// How far the clock of a runner of trio is ahead of the system's, s; for each runner it is read once.
    fn trio_clock(&mut self, sampler: &ProcessSampler, thread: &MomentThread, runner: u64) -> Option<f64> {
        let known = self.watched.get(&thread.stack.address).and_then(|watched| watched.runner);
        let ahead = match known {
            Some((known, ahead)) if known == runner => Some(ahead),
            _ => {
                let memory = sampler.process().memory();
                let pages = PageCache::new(&memory);
                trio_clock_offset(ObjectReader::new(&pages, &sampler.runtime().layout), runner)
            }
        };
        if let (Some(watched), Some(ahead)) = (self.watched.get_mut(&thread.stack.address), ahead) {
            watched.runner = Some((runner, ahead));
        }
        ahead
    }

    /// Finds out on what a loop object of gevent's is built.
    fn learn_gevent_loop(&mut self, sampler: &ProcessSampler, key: u64, event_loop: u64, now: f64) {
        if let Some(found) = EvLoop::of(&sampler.process().memory(), event_loop, now) {
            self.hubs.libev.insert(key, found);
        } else if let Some(found) = self.gevent_uv_loop(sampler, event_loop) {
            self.hubs.libuv.insert(key, (found, event_loop));
        }
    }

    fn gevent_uv_loop(&self, sampler: &ProcessSampler, event_loop: u64) -> Option<UvLoop> {
        let pages = PageCache::new(sampler.process().memory());
        UvLoop::of_gevent(ObjectReader::new(&pages, &sampler.runtime().layout), event_loop)
    }

    /// Of loops that have no frame on their thread's stack: uvloop's, and gevent's while a greenlet runs.
    fn turn_without_frame(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        frames: usize,
        now: f64,
    ) -> Option<(LoopLibrary, Turn)> {
        let stack = &thread.stack;
        let uv_loop = self.uv_loops.get(&stack.innermost).or_else(|| self.uv_loops.get(&stack.address));
        if let Some(uv_loop) = uv_loop.copied() {
            return Some((LoopLibrary::Uvloop, self.uv_turn(sampler, thread, frames, uv_loop, now)));
        }
        if let Some((uv_loop, event_loop)) = self.hubs.libuv.get(&stack.address).copied() {
            if self.gevent_uv_loop(sampler, event_loop) == Some(uv_loop) {
                return Some((LoopLibrary::Gevent, self.uv_turn(sampler, thread, frames, uv_loop, now)));
            }
            // It was destroyed.
            self.hubs.libuv.remove(&stack.address);
            return None;
        }
        let memory = sampler.process().memory();
        if let Some(hub) = self.hubs.eventlet.get_mut(&stack.address) {
            let objects = ObjectReader::new(&memory, &sampler.runtime().layout);
            if hub.may_run(objects) {
                let since = hub.busy_since(objects, &mut self.float_type, !thread.is_unmoved, now);
                return Some((LoopLibrary::Eventlet, Turn::since(since, now)));
            }
            self.hubs.eventlet.remove(&stack.address);
        }
        let event_loop = self.hubs.libev.get(&stack.address)?;
        let Some(time) = event_loop.time(&sampler.process().memory()) else {
            // The loop was destroyed.
            self.hubs.libev.remove(&stack.address);
            return None;
        };
        Some((LoopLibrary::Gevent, Turn::since(Some(time), now)))
    }

    fn uv_turn(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        frames: usize,
        uv_loop: UvLoop,
        now: f64,
    ) -> Turn {
        let Some(turn) = uv_loop.turn(&sampler.process().memory()) else { return Turn::Unknown };
        let call = match thread.os_id {
            Some(os_id) if !thread.active => sampler.process().system_call(os_id),
            _ => None,
        };
        let Some(watched) = self.watched.get_mut(&thread.stack.address) else {
            let is_polling = call.is_some_and(|call| polls(call, turn.descriptor));
            return if is_polling { Turn::InSelector } else { Turn::Unknown };
        };
        watched.uv_turn(turn, call, frames, now)
    }
}

impl Watched {
    /// What uvloop's loop does that says this of its turn, in a thread with so many frames in this system call.
    fn uv_turn(&mut self, turn: UvTurn, call: Option<SystemCall>, frames: usize, now: f64) -> Turn {
        let before = self.uv_before.replace(turn);
        match call {
            Some(call) if polls(call, turn.descriptor) => {
                self.uv_in_selector = Some(turn);
                return Turn::InSelector;
            }
            // It has been woken, and has not noted the time yet.
            _ if self.uv_in_selector == Some(turn) => return Turn::InSelector,
            _ => {}
        }
        // That the time was noted after the poll is sure where something was called since, or nothing moves.
        let has_called = self.idle_frames.is_some_and(|idle| frames > idle) || call.is_some();
        let is_same_turn = before.is_some_and(|before| before.polls == turn.polls);
        if !has_called && before != Some(turn) {
            return Turn::Unknown;
        }
        // Whoever asks for the time makes the loop note a later one within the same turn.
        let time = match self.since {
            Some(since) if is_same_turn && turn.polls != 0 => since.min(turn.time),
            _ => turn.time,
        };
        Turn::since(Some(time), now)
    }
}

/// Whether a call waits for what the epoll behind a descriptor watches.
fn polls(call: SystemCall, descriptor: i32) -> bool {
    let is_of_epoll = matches!(call.name(), Some("epoll_wait" | "epoll_pwait" | "epoll_pwait2"));
    is_of_epoll && call.arguments[0] == u64::from(descriptor.cast_unsigned())
}
