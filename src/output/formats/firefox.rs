//! The processed profile format of <https://profiler.firefox.com>.
//!
//! Weights are milliseconds. A sample stands at the begin of its time and lasts to the next one; where a thread was
//! idle, a sample without a stack ends it. The format as the crate writes it has no source lines: they are in the
//! names.

use std::io::{self, BufWriter, Write};
use std::time::{Duration, UNIX_EPOCH};

use fxprof_processed_profile as firefox;
use fxprof_processed_profile::{
    CategoryColor, CategoryHandle, CategoryPairHandle, CpuDelta, FrameFlags, FrameInfo, MarkerFieldFlags,
    MarkerFieldFormat, SamplingInterval, StackHandle, StaticSchemaMarker, StaticSchemaMarkerField, StringHandle,
    ThreadHandle, Timestamp, WeightType,
};

use crate::output::collections::{self, collections};
use crate::output::heading::title;
use crate::output::place::{Origin, PlaceId, Places, process_label, sampled_threads, thread_name};
use crate::output::runs::runs;
use crate::output::{Presentation, printable};
use crate::profile::{Flags, Profile, StackId, ThreadRef};

/// Writes `profile` for the Firefox Profiler. It should have its timeline.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write(profile: &Profile, presentation: &Presentation, writer: impl Write) -> io::Result<()> {
    let places = Places::new(profile, presentation);
    let metadata = &profile.metadata;
    let start = UNIX_EPOCH + Duration::from_micros(metadata.start_unix_us);
    let interval = SamplingInterval::from_nanos((metadata.interval_us() * 1e3) as u64);
    let mut out = firefox::Profile::new(&title(profile), start.into(), interval);
    if !metadata.platform.is_empty() {
        out.set_os_name(&metadata.platform);
    }
    let categories = Categories::new(&mut out);

    let mut processes = vec![None; profile.processes().count()];
    let mut main_threads = vec![None; processes.len()];
    for id in sampled_threads(profile) {
        let thread = profile.thread(id);
        let process = profile.process(thread.process);
        let slot = &mut processes[thread.process.number() as usize];
        let is_first = slot.is_none();
        let handle = *slot.get_or_insert_with(|| {
            let handle = out.add_process(&process_label(profile, process), process.pid, at(process.start_us));
            if let Some(end_us) = process.end_us {
                out.set_process_end_time(handle, at(end_us));
            }
            handle
        });
        let first = runs(profile, id).next().map_or(0, |run| run.start_us);
        let number = thread.os_id.unwrap_or(thread.python_id) as u32;
        let is_main = thread.os_id.map_or(is_first, |id| id == u64::from(process.pid)) && thread.interpreter == 0;
        let out_thread = out.add_thread(handle, number, at(first), is_main);
        main_threads[thread.process.number() as usize].get_or_insert(out_thread);
        out.set_thread_name(out_thread, &thread_name(profile, thread));
        out.set_thread_samples_weight_type(out_thread, WeightType::TracingMs);
        let end_us = write_thread(profile, &places, &categories, &mut out, id, out_thread);
        out.set_thread_end_time(out_thread, at(end_us));
    }
    write_counters(profile, &processes, &mut out);
    write_collections(profile, &main_threads, &categories, &mut out);
    let mut writer = BufWriter::new(writer);
    serde_json::to_writer(&mut writer, &out)?;
    writer.flush()
}

/// Writes what was counted; the format has changes.
fn write_counters(profile: &Profile, processes: &[Option<firefox::ProcessHandle>], out: &mut firefox::Profile) {
    for counter in profile.counters() {
        let Some(Some(process)) = processes.get(counter.process.number() as usize) else { continue };
        let name = printable(profile.text(counter.name)).into_owned();
        let handle = out.add_counter(*process, &name, "Tasks", "how many tasks of event loops there are");
        let mut before = 0;
        for (time_us, value) in &counter.points {
            out.add_counter_sample(handle, at(*time_us), *value as f64 - before as f64, 0);
            before = *value;
        }
    }
}

/// Writes when garbage was collected, as markers of the first thread of each process.
fn write_collections(
    profile: &Profile,
    threads: &[Option<ThreadHandle>],
    categories: &Categories,
    out: &mut firefox::Profile,
) {
    for collection in collections(profile) {
        let Some(Some(thread)) = threads.get(collection.process.number() as usize) else { continue };
        let name = out.intern_string(&collections::name(&collection));
        let collected = collection.collected.map_or_else(|| "?".to_owned(), |count| count.to_string());
        let marker = GcMarker { name, collected: out.intern_string(&collected), category: categories.gc };
        let timing = firefox::MarkerTiming::Interval(at(collection.start_us), at(collection.end_us));
        out.add_marker(*thread, timing, marker);
    }
}

/// A run of the garbage collector.
struct GcMarker {
    name: StringHandle,
    /// How many objects it has freed, or a question mark.
    collected: StringHandle,
    category: CategoryHandle,
}

impl StaticSchemaMarker for GcMarker {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "GC";
    const CHART_LABEL: Option<&'static str> = Some("{marker.name}");
    const TOOLTIP_LABEL: Option<&'static str> = Some("{marker.name}");
    const TABLE_LABEL: Option<&'static str> = Some("{marker.name}, {marker.data.collected} collected");
    const FIELDS: &'static [StaticSchemaMarkerField] = &[StaticSchemaMarkerField {
        key: "collected",
        label: "Objects collected",
        format: MarkerFieldFormat::String,
        flags: MarkerFieldFlags::empty(),
    }];

    fn name(&self, _profile: &mut firefox::Profile) -> StringHandle {
        self.name
    }

    fn category(&self, _profile: &mut firefox::Profile) -> CategoryHandle {
        self.category
    }

    fn string_field_value(&self, _field_index: u32) -> StringHandle {
        self.collected
    }

    fn number_field_value(&self, _field_index: u32) -> f64 {
        // There is none of that kind.
        f64::NAN
    }
}

/// Writes the samples of a thread; gives the end of the last one.
fn write_thread(
    profile: &Profile,
    places: &Places<'_>,
    categories: &Categories,
    out: &mut firefox::Profile,
    thread: ThreadRef,
    out_thread: ThreadHandle,
) -> u64 {
    let mut stacks = Stacks { known: std::collections::HashMap::new(), frames: std::collections::HashMap::new() };
    let mut end_us = 0;
    // What the thread computed since the last sample, and what is left over of a weight that is no whole millisecond.
    let mut computed_us = 0;
    let mut rest_us = 0;
    let gap_us = profile.metadata.joinable_gap_us();
    for run in runs(profile, thread) {
        if run.start_us.saturating_sub(end_us) > gap_us && end_us > 0 {
            out.add_sample(out_thread, at(end_us), None, CpuDelta::from_micros(computed_us), 0);
            computed_us = 0;
        }
        let stack = stacks.get(profile, places, categories, out, out_thread, run.stack);
        let weight_us = run.weight_us.saturating_add(rest_us);
        rest_us = weight_us % 1000;
        let weight = i32::try_from(weight_us / 1000).unwrap_or(i32::MAX);
        out.add_sample(out_thread, at(run.start_us), stack, CpuDelta::from_micros(computed_us), weight);
        computed_us = if run.flags.contains(Flags::ACTIVE) { run.weight_us } else { 0 };
        end_us = run.end_us();
    }
    out.add_sample(out_thread, at(end_us), None, CpuDelta::from_micros(computed_us), 0);
    end_us
}

/// The stacks and frames of one thread that were handed over.
struct Stacks {
    known: std::collections::HashMap<StackId, StackHandle>,
    frames: std::collections::HashMap<PlaceId, firefox::FrameHandle>,
}

impl Stacks {
    fn get(
        &mut self,
        profile: &Profile,
        places: &Places<'_>,
        categories: &Categories,
        out: &mut firefox::Profile,
        thread: ThreadHandle,
        stack: StackId,
    ) -> Option<StackHandle> {
        let mut missing = vec![];
        let mut handle = None;
        let mut at = stack;
        while let Some((parent, frame)) = profile.pop(at) {
            if let Some(known) = self.known.get(&at) {
                handle = Some(*known);
                break;
            }
            missing.push((at, places.frame(frame)));
            at = parent;
        }
        for (stack, place) in missing.into_iter().rev() {
            let frame = *self.frames.entry(place).or_insert_with(|| {
                let place = places.get(place);
                let label = out.intern_string(&place.label());
                let category_pair = categories.of(place.origin);
                out.intern_frame(
                    thread,
                    FrameInfo { frame: firefox::Frame::Label(label), category_pair, flags: FrameFlags::empty() },
                )
            });
            let child = out.intern_stack(thread, handle, frame);
            self.known.insert(stack, child);
            handle = Some(child);
        }
        handle
    }
}

struct Categories {
    application: CategoryPairHandle,
    package: CategoryPairHandle,
    standard_library: CategoryPairHandle,
    native: CategoryPairHandle,
    kernel: CategoryPairHandle,
    gc: CategoryHandle,
    waiting: CategoryPairHandle,
}

impl Categories {
    fn new(out: &mut firefox::Profile) -> Self {
        Self {
            application: out.add_category("Application", CategoryColor::Orange).into(),
            package: out.add_category("Packages", CategoryColor::Blue).into(),
            standard_library: out.add_category("Standard library", CategoryColor::Green).into(),
            native: out.add_category("Native", CategoryColor::Purple).into(),
            kernel: out.add_category("Kernel", CategoryColor::Brown).into(),
            gc: out.add_category("Garbage collector", CategoryColor::Red),
            waiting: out.add_category("Waiting", CategoryColor::LightBlue).into(),
        }
    }

    fn of(&self, origin: Origin) -> CategoryPairHandle {
        match origin {
            Origin::Application | Origin::Marker => self.application,
            Origin::Package => self.package,
            Origin::StandardLibrary => self.standard_library,
            Origin::Native => self.native,
            Origin::Kernel => self.kernel,
            Origin::Gc => self.gc.into(),
            Origin::Wait => self.waiting,
        }
    }
}

fn at(time_us: u64) -> Timestamp {
    Timestamp::from_nanos_since_reference(time_us.saturating_mul(1000))
}
