//! Who is sampled, and when: from a process to a profile. Knows nothing of formats and of terminals.

mod attach;
mod builder;
mod cells;
mod clock;
mod consistency;
mod cpu_time;
mod filter;
mod identity;
mod kernel_names;
mod live;
mod looks;
mod members;
mod moment;
mod native;
mod post_mortem;
mod process_sampler;
mod recorder;
mod short_names;
mod thread_names;
mod threads;
mod title;
mod unobserved;
mod unread;

pub use attach::{AttachError, Attached, Finder, PATIENCE_RUNNING, PATIENCE_STARTED};
pub use cells::Cells;
pub use clock::Clock;
pub use cpu_time::Unsampled;
pub use filter::Filter;
pub use live::{Inspection, LiveOptions, LiveRequest, LiveThread, LiveWindow, watch};
pub use members::Roots;
pub use moment::{
    Assurance, Moment, MomentFrame, MomentThread, NativeMoment, NativeThread, Pausing, SampleError,
    entered_interpreter, interpreter_name,
};
pub use native::Native;
pub use post_mortem::{PostMortem, PostMortemError};
pub use process_sampler::{ProcessSampler, Trouble};
pub use recorder::{Ending, Progress, RecordOptions, Recorded, Watch, record, why_not_pausable};
pub use short_names::ShortNames;
pub use title::{command_line, title, whole_command_line};
pub use unread::name as process_name;
