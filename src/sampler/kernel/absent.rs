//! What there is of it elsewhere: nothing.

use std::time::Duration;

use super::layout::{frame_is_entry, numbers};
use super::support::Unavailable;
use super::{BlockState, CodeNews, Contents, KernelTask, Woken};
use crate::process::{Process, Registers, ThreadId};
use crate::python::layout::Layout;
use crate::python::runtime::Runtime;

/// There is never one.
#[derive(Debug)]
pub(in crate::sampler) enum Source {}

impl Source {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub(in crate::sampler) fn open(layout: &Layout, task: KernelTask) -> Result<Self, Unavailable> {
        let numbers = numbers(layout)?;
        log::debug!("{numbers:?} {} {task:?} {}", frame_is_entry(layout), Contents::MOST_STACK);
        Err(Unavailable::System)
    }

    /// Not reached.
    ///
    /// # Errors
    /// Never.
    pub(in crate::sampler) fn add_process(&mut self, _: &Process, _: &Runtime, _: u64) -> Result<u64, Unavailable> {
        match *self {}
    }

    /// Not reached.
    pub(in crate::sampler) fn keep_only(&mut self, _: impl Fn(u32) -> bool) {
        match *self {}
    }

    /// Not reached.
    pub(in crate::sampler) fn empty_ring(&mut self, _: &mut dyn FnMut(&[u8])) {
        match *self {}
    }

    /// Not reached.
    pub(in crate::sampler) fn tell_of_codes(&mut self, _: u32, _: &[CodeNews]) {
        match *self {}
    }

    /// Not reached.
    pub(in crate::sampler) fn counted_ns(&self) -> u64 {
        match *self {}
    }

    /// Not reached.
    pub(in crate::sampler) fn missed(&self, _: u64, _: u64) -> u64 {
        match *self {}
    }

    /// Not reached.
    pub(in crate::sampler) fn block_state(&self, _: u32, _: u32) -> BlockState {
        match *self {}
    }

    /// Not reached.
    pub(in crate::sampler) fn registers_asleep(&self, _: u32, _: ThreadId) -> Option<Registers> {
        match *self {}
    }

    /// Not reached.
    pub(in crate::sampler) fn dropped(&self) -> u64 {
        match *self {}
    }
}

/// Waits.
#[derive(Debug)]
pub(in crate::sampler) struct RingWaits;

impl RingWaits {
    /// For nothing.
    pub(in crate::sampler) fn new() -> Self {
        Self
    }

    /// Not reached.
    pub(in crate::sampler) fn add(&self, source: &Source) {
        match *source {}
    }

    /// Waits so long.
    pub(in crate::sampler) fn wait(&self, _: Option<&Process>, limit: Duration) -> Woken {
        std::thread::sleep(limit);
        Woken::default()
    }
}
