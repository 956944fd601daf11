//! Who is sampled, and when: from a process to a profile. Knows nothing of formats and of terminals.

mod attach;
mod builder;
mod clock;
mod filter;
mod kernel_names;
mod live;
mod members;
mod moment;
mod native;

mod post_mortem;
mod recorder;
mod rest;
mod settle;
mod short_names;
mod spy;
mod threads;

pub use attach::{AttachError, Attached, Finder, PATIENCE_RUNNING, PATIENCE_STARTED};
pub use builder::command_line;
pub use clock::Clock;
pub use filter::Filter;
pub use live::{Inspection, LiveOptions, LiveRequest, LiveThread, LiveWindow, watch};
pub use moment::{Assurance, Moment, MomentFrame, MomentThread, Pausing, SampleError};
pub use native::{Native, NativeMoment};
pub use post_mortem::{PostMortem, PostMortemError};
pub use recorder::{Ending, Progress, RecordOptions, Recorded, Watch, record, why_not_pausable};
pub use short_names::ShortNames;
pub use spy::{Spy, Trouble};
