//! Who is sampled, and when: from a process to a profile. Knows nothing of formats and of terminals.

mod async_stacks;
mod attach;
mod blocked_threads;
mod builder;
mod clock;
mod consistency;
mod cpu_time;
mod event_loops;
mod filter;
mod fork_count;
mod gc_facts;
mod gil_facts;
#[cfg(test)]
mod gil_tests;
mod glances;
mod greenlets;
mod interpreter_search;
mod interpreter_sums;
mod intervals;
mod kernel;
mod kernel_member;
mod last_seen;
mod live;
mod loop_lag;
mod machine_processes;
mod members;
mod memory_bounds;
mod moment;
mod native;
mod native_thread_names;
mod new_processes;
mod notebook_cells;
mod observe;
mod os_thread_evidence;
mod os_threads;
mod post_mortem;
mod process_sampler;
mod reader_retries;
mod record_options;
mod recorder;
mod sections;
mod short_names;
mod task_groups;
mod task_looks;
mod thread_names;
mod title;
mod unobserved;
mod unread;
mod wait_words;

pub(crate) use async_stacks::TasksShown;
pub(crate) use attach::{AttachError, Finder, PATIENCE_RUNNING, PATIENCE_STARTED};
pub(crate) use blocked_threads::OffCpuSums;
pub(crate) use cpu_time::Unsampled;
pub(crate) use filter::Filter;
pub(crate) use glances::Glance;
pub(crate) use greenlets::{MOST_SCANNED, object_mappings, object_ranges, thread_of_stack};
pub(crate) use kernel::{KernelSymbols, Unavailable, check_rights};
pub(crate) use live::{LiveOptions, LiveRequest, LiveTasks, LiveWindow, watch};
#[cfg(test)]
pub(crate) use loop_lag::LoopLibrary;
pub(crate) use loop_lag::{LoopBlocker, LoopLag, LoopLags};
pub(crate) use members::Roots;
pub(crate) use moment::{
    Assurance, Moment, MomentFrame, MomentThread, NativeThread, Pausing, SampleError, entered_interpreter,
    interpreter_name,
};
pub(crate) use native::Native;
pub(crate) use notebook_cells::Cells;
pub(crate) use observe::{ObserveOptions, Observed, Observer, Recent, observe};
pub(crate) use post_mortem::{PostMortem, PostMortemError};
pub(crate) use process_sampler::ProcessSampler;
pub(crate) use record_options::{FramesShown, Intervals, KernelUse, NativeWanted, ProcessOptions, RecordOptions};
pub(crate) use recorder::{Ending, HIGHEST_RATE, Progress, Recorded, record, record_in_intervals, why_not_pausable};
pub(crate) use sections::{ASYNCIO_SECTION, core_section_address, section_address};
pub(crate) use short_names::ShortNames;
pub(crate) use task_looks::frames_that;
pub(crate) use title::{command_line, title, whole_command_line};
pub(crate) use unread::name as process_name;
pub(crate) use wait_words::thread_view;
