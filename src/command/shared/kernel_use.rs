//! Whether the kernel takes the samples of threads that run.

use clap::error::ErrorKind;

use super::standard_streams::print_note;
use crate::cli::{PauseArgs, SamplerArg};
use crate::sampler::{HIGHEST_RATE, KernelSymbols, KernelUse, Unavailable, check_rights};

/// What is asked for that matters to who takes the samples.
pub(in crate::command) struct Wishes {
    /// Who is to take them; `None` where nobody was named.
    pub(in crate::command) sampler: Option<SamplerArg>,
    /// Who takes them then.
    pub(in crate::command) default: SamplerArg,
    /// When the process is stopped.
    pub(in crate::command) pause: PauseArgs,
    /// Samples a second.
    pub(in crate::command) rate: u32,
    /// The kernel's own functions are wanted.
    pub(in crate::command) kernel_frames: bool,
    /// Something else that only the reader can do.
    pub(in crate::command) only_read: Option<&'static str>,
}

impl Wishes {
    /// What is wanted of the kernel.
    ///
    /// # Errors
    /// When it must take the samples, and cannot or does not know how.
    pub(in crate::command) fn kernel_use(&self) -> anyhow::Result<KernelUse> {
        let sampler = match (self.sampler.unwrap_or(self.default), self.what_the_kernel_alone_does()) {
            (SamplerArg::Reader, Some(what)) => {
                let text = format!("{what} takes --sampler=kernel");
                crate::cli::command(|argument| argument).error(ErrorKind::ArgumentConflict, text).exit();
            }
            // To read what the kernel cannot sample would be something else than what was asked for.
            (SamplerArg::Auto, Some(_)) => SamplerArg::Kernel,
            (sampler, _) => sampler,
        };
        match (sampler, self.what_is_only_read()) {
            (SamplerArg::Reader, _) | (SamplerArg::Auto, Some(_)) => Ok(KernelUse::Never),
            (SamplerArg::Kernel, Some(what)) => {
                anyhow::bail!("--sampler=kernel does not go with {what}: leave one of them out")
            }
            (SamplerArg::Kernel, None) => match check_rights().and_then(|()| self.check_symbols()) {
                Ok(()) => Ok(KernelUse::Always),
                Err(missing) => {
                    anyhow::bail!("the kernel cannot take the samples: {missing}; --sampler=reader does without")
                }
            },
            (SamplerArg::Auto, None) => {
                if self.sampler.is_some() && matches!(check_rights(), Err(Unavailable::Rights)) {
                    print_note("pyspy reads the process from outside; as root it has the kernel sample, at less cost");
                }
                Ok(KernelUse::WherePossible)
            }
        }
    }

    /// What is asked for that only the kernel can do; the reader stops each thread for its registers.
    fn what_the_kernel_alone_does(&self) -> Option<&'static str> {
        let wanted = [
            (self.pause.native && self.pause.nonblocking, "--native with --nonblocking"),
            (self.kernel_frames, "--kernel-frames"),
        ];
        wanted.into_iter().find_map(|(is_wanted, what)| is_wanted.then_some(what))
    }

    /// Whether the kernel's functions have names, if they are wanted.
    fn check_symbols(&self) -> Result<(), Unavailable> {
        if self.kernel_frames { KernelSymbols::of_this_machine().map(drop) } else { Ok(()) }
    }

    /// What is asked for that only the reader can do.
    fn what_is_only_read(&self) -> Option<&'static str> {
        let wanted = [(self.pause.blocking, "--blocking"), (self.rate > HIGHEST_RATE, "a rate of more than 20000")];
        self.only_read.or_else(|| wanted.into_iter().find_map(|(is_wanted, what)| is_wanted.then_some(what)))
    }
}
