//! Whether the kernel takes the samples of a recording.

use std::time::Duration;

use clap::error::ErrorKind;

use crate::cli::{Mode, RecordArgs, SamplerArg};
use crate::command::completions;
use crate::command::shared::standard_streams::print_note;
use crate::sampler::{HIGHEST_RATE, KernelSymbols, KernelUse, Unavailable, check_rights};

/// The rate where none is asked for.
const USUAL_RATE: u32 = 100;

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
    let only_read = what_is_only_read(arguments);
    let sampler = match (arguments.sampler.unwrap_or(SamplerArg::Reader), what_the_kernel_alone_does(arguments)) {
        (SamplerArg::Reader, Some(what)) => {
            let text = format!("{what} takes --sampler=kernel");
            completions::command().error(ErrorKind::ArgumentConflict, text).exit();
        }
        // To read what the kernel cannot sample would be something else than what was asked for.
        (SamplerArg::Auto, Some(_)) => SamplerArg::Kernel,
        (sampler, _) => sampler,
    };
    match (sampler, only_read) {
        (SamplerArg::Reader, _) | (SamplerArg::Auto, Some(_)) => Ok(KernelUse::Never),
        (SamplerArg::Kernel, Some(what)) => {
            anyhow::bail!("--sampler=kernel does not go with {what}: leave one of them out")
        }
        (SamplerArg::Kernel, None) => match check_rights().and_then(|()| check_symbols(arguments)) {
            Ok(()) => Ok(KernelUse::Always),
            Err(missing) => {
                anyhow::bail!("the kernel cannot take the samples: {missing}; --sampler=reader does without")
            }
        },
        (SamplerArg::Auto, None) => {
            if matches!(check_rights(), Err(Unavailable::Rights)) {
                print_note("pyspy reads the process from outside; as root it has the kernel sample, at less cost");
            }
            Ok(KernelUse::WherePossible)
        }
    }
}

/// What is asked for that only the kernel can do; the reader stops each thread for its registers.
fn what_the_kernel_alone_does(arguments: &RecordArgs) -> Option<&'static str> {
    let wanted = [
        (arguments.pause.native && arguments.pause.nonblocking, "--native with --nonblocking"),
        (arguments.kernel_frames, "--kernel-frames"),
    ];
    wanted.into_iter().find_map(|(is_wanted, what)| is_wanted.then_some(what))
}

/// Whether the kernel's functions have names, if they are wanted.
fn check_symbols(arguments: &RecordArgs) -> Result<(), Unavailable> {
    if arguments.kernel_frames { KernelSymbols::of_this_machine().map(drop) } else { Ok(()) }
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
        (arguments.rate != USUAL_RATE, "--rate: it is exact, and takes no samples"),
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

/// What is asked for that only the reader can do.
fn what_is_only_read(arguments: &RecordArgs) -> Option<&'static str> {
    let wanted = [
        (arguments.pause.blocking, "--blocking"),
        (arguments.tasks.is_some(), "--async"),
        (arguments.mode == Some(Mode::GilWait), "--mode=gil-wait"),
        (arguments.rate > HIGHEST_RATE, "a rate of more than 20000"),
    ];
    wanted.into_iter().find_map(|(is_wanted, what)| is_wanted.then_some(what))
}
