//! How much a recording may hold, whatever its targets do: at the bounds code that was read is forgotten and read again
//! where it is met, and of the profile the heaviest stays.

use std::collections::HashSet;
use std::time::Duration;

use super::recorder::Recorder;
use crate::process::{hand_back_free_memory, memory_is_short};
use crate::profile::{Needed, Room};

/// Of one process, what its code objects take, in bytes. Programs of a million lines stay below.
const MOST_CODE: usize = 32 << 20;
/// What a profile without the order of samples may take, in bytes.
const MOST_PROFILE: usize = 64 << 20;
/// What is kept of a profile that has become larger, at most,
const CONDENSED: Room = Room { stacks: 100_000, totals: 100_000 };
/// and what that may take, in bytes: half of the bound, so that it is not reached again at once.
const MOST_CONDENSED: usize = MOST_PROFILE / 2;

impl Recorder<'_> {
    /// Forgets what is known of the code of a process that makes it without end. To be called before a sample: what was
    /// said of code by number means nothing any more.
    pub(super) fn bound_codes(&mut self) {
        for member in &mut self.members {
            if member.sampler.as_ref().is_none_or(|sampler| sampler.code_bytes() <= MOST_CODE) {
                continue;
            }
            member.put_waiting(&mut self.profile, &self.options.filter, Duration::ZERO);
            let (Some(sampler), Some(builder)) = (&mut member.sampler, &mut member.builder) else { continue };
            log::debug!("process {}: forgetting {} bytes of code", member.process.pid(), sampler.code_bytes());
            sampler.forget_codes();
            builder.forget_codes();
            member.moment.clear();
            member.forget_left();
            hand_back_free_memory();
        }
    }

    /// Joins what took the least where the profile has become too large and has no order in time that would be lost.
    /// Only where nobody follows the profile by its numbers.
    pub(super) fn bound_profile(&mut self) {
        let keeps_order = self.options.keep.timeline || self.options.keep.journal;
        if keeps_order || self.profile.size_bytes() <= MOST_PROFILE {
            return;
        }
        self.put_waiting(Duration::ZERO);
        let builders = self.members.iter().filter_map(|member| Some((member.builder.as_ref()?, &member.moment)));
        let threads: HashSet<_> = builders.flat_map(|(builder, moment)| builder.threads_of(moment)).collect();
        let needed = Needed { threads, frames: self.sums.frames(), ..Needed::default() };
        let mut room = CONDENSED;
        let (condensed, by) = loop {
            let (condensed, by) = self.profile.condensed(room, &needed);
            // Few stacks may take that much, where names are long.
            if condensed.size_bytes() <= MOST_CONDENSED || room.stacks == 0 {
                break (condensed, by);
            }
            let (stacks, totals) = (condensed.table_sizes().stacks, condensed.totals().len());
            room = Room { stacks: room.stacks.min(stacks) / 2, totals: room.totals.min(totals) / 2 };
        };
        let before = self.profile.size_bytes();
        log::debug!("profile: {before} bytes condensed to {}", condensed.size_bytes());
        self.profile = condensed;
        self.sums.renumber(&by);
        for member in &mut self.members {
            if let Some(builder) = &mut member.builder {
                builder.renumber(&by, &member.moment);
            }
        }
        hand_back_free_memory();
        self.report.note_once(format!(
            "the profile grew over {} MiB: what took the least was joined to `<rarely seen>`, threads that have ended \
             to one",
            MOST_PROFILE >> 20
        ));
    }

    /// Why it must end for want of memory, if so.
    pub(super) fn out_of_memory(&self) -> Option<String> {
        memory_is_short().then(|| "there is no more memory for it (RLIMIT_AS, or the machine's)".to_owned())
    }
}
