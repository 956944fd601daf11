//! What a recording wants of the kernel.

use std::time::Duration;

use crate::cli::{Mode, RecordArgs, SamplerArg};
use crate::command::shared::kernel_use::Wishes;
use crate::sampler::{KernelUse, check_rights};

/// What is wanted of the kernel.
///
/// # Errors
/// When it must take the samples, and cannot or does not know how.
pub(super) fn kernel_use(arguments: &RecordArgs) -> anyhow::Result<KernelUse> {
    if arguments.mode == Some(Mode::Offcpu) {
        return off_cpu_use(arguments);
    }
    if arguments.min_block.is_some() {
        anyhow::bail!("--min-block goes with --mode=offcpu only");
    }
    let only_read =
        [(arguments.tasks.is_some(), "--async"), (arguments.mode == Some(Mode::GilWait), "--mode=gil-wait")];
    let wishes = Wishes {
        sampler: arguments.sampler,
        default: SamplerArg::Auto,
        pause: arguments.pause,
        rate: arguments.rate(),
        kernel_frames: arguments.kernel_frames,
        only_read: only_read.into_iter().find_map(|(is_wanted, what)| is_wanted.then_some(what)),
    };
    wishes.kernel_use()
}

/// From how long a block on is recorded, where blocks are asked for.
pub(super) fn off_cpu(arguments: &RecordArgs) -> Option<Duration> {
    (arguments.mode == Some(Mode::Offcpu)).then(|| arguments.min_block.unwrap_or_default())
}

/// What is wanted of the kernel where blocks are recorded.
fn off_cpu_use(arguments: &RecordArgs) -> anyhow::Result<KernelUse> {
    let refused = [
        (arguments.sampler == Some(SamplerArg::Reader), "--sampler=reader: only the kernel sees threads fall asleep"),
        (arguments.pause.blocking, "--blocking: nothing is stopped for it"),
        (arguments.pause.native, "--native"),
        (arguments.kernel_frames, "--kernel-frames"),
        (arguments.tasks.is_some(), "--async"),
        (arguments.rate.is_some(), "--rate: it is exact, and takes no samples"),
    ];
    if let Some((_, what)) = refused.into_iter().find(|(is_asked, _)| *is_asked) {
        anyhow::bail!("--mode=offcpu does not go with {what}");
    }
    match check_rights() {
        Ok(()) => Ok(KernelUse::Always),
        Err(missing) => anyhow::bail!(
            "the kernel cannot tell when threads are blocked: {missing}; --waits samples without it what idle threads \
             wait in"
        ),
    }
}
