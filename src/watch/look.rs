//! One look at a process, as the conditions need it.

use std::hash::{BuildHasher, Hash, Hasher};

use super::rest::{Place, Role, Sleep, rests};
use super::tracks::{Standing, ThreadTrack};
use crate::process::Process;
use crate::sampler::{Moment, MomentFrame, MomentThread, Observed, ProcessSampler};

/// A thread at one look.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThreadLook<'look> {
    /// What the sampler knows of it.
    pub thread: &'look MomentThread,
    /// Where it stands, as a number: equal for equal frames at equal instructions.
    pub place: u64,
    /// It is the first thread of the process.
    pub is_first: bool,
    /// Which one it is.
    pub role: Role,
}

/// The threads of a process at one look.
pub(super) fn threads<'look>(moment: &'look Moment, process: &Process) -> Vec<ThreadLook<'look>> {
    let first = u64::from(process.pid().unsigned_abs());
    let several = moment.threads.iter().filter(|thread| moment.has_stack(thread)).count() > 1;
    let hasher = foldhash::fast::FixedState::default();
    let living = moment.threads.iter().filter(|thread| thread.exists);
    let looks = living.map(|thread| {
        let mut place = hasher.build_hasher();
        for frame in moment.frames_of(thread) {
            (frame.address, frame.code_address, frame.offset).hash(&mut place);
        }
        let is_first = thread.os_id == Some(first);
        let role = match (is_first, several) {
            (_, false) => Role::Only,
            (true, true) => Role::First,
            (false, true) => Role::Other,
        };
        ThreadLook { thread, place: place.finish(), is_first, role }
    });
    looks.collect()
}

/// What a thread that sleeps is doing. It also rests when the function is one of those that `is_rest` names.
pub(super) fn standing(
    observed: &Observed<'_>,
    look: &ThreadLook<'_>,
    is_rest: &mut dyn FnMut(&str, &str) -> bool,
) -> Standing {
    let sampler: &ProcessSampler = observed.sampler;
    let codes = sampler.codes();
    let frames = observed.moment.frames_of(look.thread);
    let places = frames.iter().map(|frame| {
        let code = codes.get(frame.code);
        let name = code.name.rsplit_once('.').map_or(code.name.as_str(), |(_, name)| name);
        Place { name, file: &code.filename }
    });
    let places: Vec<Place<'_>> = places.collect();
    let call = look.thread.os_id.and_then(|os_id| sampler.process().system_call(os_id));
    let sleep =
        call.and_then(|call| Some(Sleep { call: call.name()?, first: call.arguments[0], second: call.arguments[1] }));
    let is_named = |frame: &MomentFrame| {
        let code = codes.get(frame.code);
        is_rest(&code.name, &code.filename)
    };
    match sleep {
        _ if rests(&places, sleep, look.role) || frames.iter().any(is_named) => Standing::Rests,
        // Where the system does not tell, it may be.
        Some(Sleep { call: "futex", .. }) | None => Standing::AtLock,
        _ => Standing::Elsewhere,
    }
}

/// Whether the track of a thread does not know yet what it is doing.
pub(super) fn needs_standing(look: &ThreadLook<'_>, track: &ThreadTrack) -> bool {
    !(look.thread.active || look.thread.is_unmoved && track.is_at(look.place))
}
