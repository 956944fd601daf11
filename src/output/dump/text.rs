//! The dump for a reader.

mod tasks;
mod threads;

use std::io::{self, Write};

use console::{Style, measure_text_width};

use self::threads::{asleep_text, names, numbers, wait_texts};
use super::alike::thread_groups;
use super::fold::fold;
use super::line_limit::LineLimit;
use super::{FrameDump, ProcessDump, SourceLines, TaskDump, TasksDump, ThreadDump, VariableDump};
use crate::output::place::{Origin, origin_of_file};
use crate::output::text::printable;

/// How the text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TextOptions {
    /// Whole paths.
    pub full_file_names: bool,
    /// The oldest frame first, as Python prints stacks.
    pub reverse: bool,
    /// With colours.
    pub colour: bool,
    /// Tasks are written one after the other, not as a tree.
    pub flat_tasks: bool,
    /// Frames of event loops are written out.
    pub full_stacks: bool,
    /// Of many variables of a frame only the first are written.
    pub few_variables: bool,
    /// Characters of a line that has a variable, where there is a screen that it should fit on.
    pub columns: Option<usize>,
    /// Lines are as long as what is in them.
    pub long_lines: bool,
}

/// Characters of a line, at most, unless long ones are asked for.
const LONGEST_LINE: usize = 2000;
/// Characters of a value, however little is left of the screen's width.
const LEAST_OF_VALUE: usize = 20;
/// Where only the first variables of a frame are wanted: so many of the program's own functions.
const FEW_OF_APPLICATION: usize = 12;
/// So many of functions of libraries.
const FEW_OF_LIBRARY: usize = 4;

struct Styles {
    thread: Style,
    name: Style,
    file: Style,
    warning: Style,
    dim: Style,
}

impl Styles {
    fn new(colour: bool) -> Self {
        let style = || Style::new().force_styling(colour);
        Self {
            thread: style().bold(),
            name: style().green(),
            file: style().cyan(),
            warning: style().red().bold(),
            dim: style().dim(),
        }
    }
}

/// Writes some tasks for a reader.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write_tasks(
    tasks: &TasksDump,
    is_wanted: &dyn Fn(&TaskDump) -> bool,
    options: TextOptions,
    writer: &mut dyn Write,
) -> io::Result<()> {
    Text { options, styles: Styles::new(options.colour), writer }.write_some_tasks(tasks, is_wanted)
}

/// Writes the dumps for a reader, one process after the other.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write_text(dumps: &[ProcessDump], options: TextOptions, writer: &mut dyn Write) -> io::Result<()> {
    let limit = if options.long_lines { usize::MAX } else { LONGEST_LINE };
    let mut writer = LineLimit::new(writer, limit);
    let mut text = Text { options, styles: Styles::new(options.colour), writer: &mut writer };
    for (index, dump) in dumps.iter().enumerate() {
        if index > 0 {
            writeln!(text.writer)?;
        }
        text.write_process(dump)?;
    }
    Ok(())
}

struct Text<'writer> {
    options: TextOptions,
    styles: Styles,
    writer: &'writer mut dyn Write,
}

impl Text<'_> {
    fn write_process(&mut self, dump: &ProcessDump) -> io::Result<()> {
        let info = &dump.info;
        let heading = format!("Process {}: {}", info.pid, printable(&info.command_line));
        writeln!(self.writer, "{}", self.styles.thread.apply_to(heading))?;
        if let Some(parent) = &info.parent {
            writeln!(self.writer, "Parent {}: {}", parent.pid, printable(&parent.command_line))?;
        }
        if let Some(reason) = &info.unreadable {
            return writeln!(self.writer, "Not read: {}", printable(reason));
        }
        writeln!(self.writer, "Python v{} ({})", info.python_version, printable(&info.executable))?;
        if let Some(signal) = &info.ended_by {
            writeln!(self.writer, "Ended by {signal}")?;
        }
        let groups = thread_groups(dump);
        self.write_thread_summary(dump, groups.first().map_or(&[], Vec::as_slice))?;
        let is_shown = |place: &usize| dump.threads.get(*place).is_some_and(|thread| !thread.left_out);
        for ring in dump.deadlocks.iter().filter(|ring| ring.iter().any(is_shown)) {
            writeln!(self.writer)?;
            self.write_deadlock(dump, ring)?;
        }
        self.write_task_rings(dump)?;
        for group in groups {
            let threads: Vec<&ThreadDump> = group.iter().filter_map(|place| dump.threads.get(*place)).collect();
            let Some(first) = threads.first() else { continue };
            writeln!(self.writer)?;
            self.write_threads(dump, &threads, first)?;
            self.write_tasks_of(dump, first)?;
        }
        self.write_other_tasks(dump)
    }

    fn write_deadlock(&mut self, dump: &ProcessDump, ring: &[usize]) -> io::Result<()> {
        let heading = match ring.len() {
            1 => "Deadlock: a thread waits for itself".to_owned(),
            count => format!("Deadlock: {count} threads wait for each other"),
        };
        writeln!(self.writer, "{}", self.styles.warning.apply_to(heading))?;
        for thread in ring.iter().filter_map(|index| dump.threads.get(*index)) {
            let what = wait_text(thread).unwrap_or_default();
            writeln!(self.writer, "    Thread {} {what}", holder_text(number(thread), thread.thread_name.as_deref()))?;
        }
        Ok(())
    }

    /// Threads that are alike; `thread` is the first of them.
    fn write_threads(&mut self, dump: &ProcessDump, alike: &[&ThreadDump], thread: &ThreadDump) -> io::Result<()> {
        let has_variables = thread.frames.iter().any(|frame| frame.locals.is_some());
        let count = match alike.len() {
            1 => String::new(),
            count if has_variables => format!(", {count} alike, variables of the first"),
            count => format!(", {count} alike"),
        };
        let heading = format!("{} ({}{count})", numbers(alike), state(thread));
        let name = names(alike);
        let event_loop = Self::loop_heading(dump, thread);
        writeln!(self.writer, "{}{name}{event_loop}", self.styles.thread.apply_to(heading))?;
        self.write_task_summary(dump, thread)?;
        if let Some(exception) = &thread.exception {
            let message = exception.message.as_ref().map(|message| format!(": {}", printable(message)));
            let verb = if exception.handled { "handles" } else { "has raised" };
            let text = format!("{verb} {}{}", printable(&exception.type_name), message.unwrap_or_default());
            writeln!(self.writer, "  {}", self.styles.warning.apply_to(text))?;
        }
        if thread.frames.is_empty() && !thread.gone {
            writeln!(self.writer, "  {}", self.styles.dim.apply_to("runs no Python code"))?;
        }
        if let Some(mut text) = wait_texts(alike) {
            text.extend(asleep_text(alike));
            let style = if thread.deadlocked { &self.styles.warning } else { &self.styles.dim };
            writeln!(self.writer, "  {}", style.apply_to(text))?;
        }
        let mut groups = fold(&thread.frames);
        if self.options.reverse {
            groups.reverse();
        }
        let folds_loop = !event_loop.is_empty() && !self.options.full_stacks;
        let mut loop_frames = 0;
        for group in groups {
            let frames = &thread.frames[group.first..group.first + group.length];
            if folds_loop && frames.iter().all(|frame| frame.of_event_loop) {
                loop_frames += group.length * group.times;
                continue;
            }
            self.write_loop_frames(std::mem::take(&mut loop_frames))?;

            let mut frames: Vec<&FrameDump> = frames.iter().collect();
            if self.options.reverse {
                frames.reverse();
            }
            for frame in &frames {
                self.write_frame(frame, "    ")?;
            }
            if group.times > 1 {
                let frames = if group.length == 1 { "this frame" } else { &format!("these {} frames", group.length) };
                let text = format!("… {frames} {} times in all", group.times);
                writeln!(self.writer, "    {}", self.styles.dim.apply_to(text))?;
            }
        }
        self.write_loop_frames(loop_frames)
    }

    /// In the place of frames of an event loop.
    fn write_loop_frames(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let frames = if count == 1 { "frame" } else { "frames" };
        let text = format!("… {count} {frames} of the event loop");
        writeln!(self.writer, "    {}", self.styles.dim.apply_to(text))
    }

    fn write_frame(&mut self, frame: &FrameDump, margin: &str) -> io::Result<()> {
        let file = match &frame.short_filename {
            Some(short) if !self.options.full_file_names => short,
            _ => &frame.filename,
        };
        let place = match frame.line {
            0 => printable(file).into_owned(),
            line => format!("{}:{line}", printable(file)),
        };
        let (name, place) = (self.styles.name.apply_to(printable(&frame.name)), self.styles.file.apply_to(place));
        let moved = if frame.moved { self.styles.warning.apply_to("  ← moved").to_string() } else { String::new() };
        if file.is_empty() {
            writeln!(self.writer, "{margin}{name}{moved}")?;
        } else {
            writeln!(self.writer, "{margin}{name} ({place}){moved}")?;
        }
        if let Some(source) = &frame.source {
            self.write_source(source, margin)?;
        }
        if let Some(variables) = &frame.locals {
            let limit = match origin_of_file(&frame.filename) {
                _ if !self.options.few_variables => usize::MAX,
                Origin::Application => FEW_OF_APPLICATION,
                _ => FEW_OF_LIBRARY,
            };
            let shown = &variables[..variables.len().min(limit)];
            self.variables(margin, "Arguments", shown.iter().filter(|variable| variable.arg))?;
            self.variables(margin, "Locals", shown.iter().filter(|variable| !variable.arg))?;
            if shown.len() < variables.len() {
                let text = format!("… {} more, which -ll shows", variables.len() - shown.len());
                writeln!(self.writer, "{margin}        {}", self.styles.dim.apply_to(text))?;
            }
        }
        Ok(())
    }

    fn write_source(&mut self, source: &SourceLines, margin: &str) -> io::Result<()> {
        let width = source.lines.last().map_or(0, |line| line.number.to_string().len());
        for line in &source.lines {
            let mark = if line.current { '>' } else { ' ' };
            let text = format!("{mark} {:>width$} | {}", line.number, line.shown());
            let style = if line.current { &Style::new() } else { &self.styles.dim };
            writeln!(self.writer, "{margin}  {}", style.apply_to(text.trim_end()))?;
            if let Some(underline) = line.underline() {
                let text = format!("  {:>width$} | {underline}", "");
                writeln!(self.writer, "{margin}  {}", self.styles.warning.apply_to(text))?;
            }
        }
        Ok(())
    }

    fn variables<'dump>(
        &mut self,
        margin: &str,
        heading: &str,
        variables: impl Iterator<Item = &'dump VariableDump>,
    ) -> io::Result<()> {
        let variables: Vec<_> = variables.map(|variable| (printable(&variable.name), variable)).collect();
        if variables.is_empty() {
            return Ok(());
        }
        writeln!(self.writer, "{margin}    {heading}:")?;
        let width = variables.iter().map(|(name, _)| measure_text_width(name)).max().unwrap_or(0).min(24);
        for (name, variable) in &variables {
            let value = variable.repr.as_deref().unwrap_or("<unreadable>");
            let padding = " ".repeat(width.saturating_sub(measure_text_width(name)));
            let before = measure_text_width(margin) + 8 + measure_text_width(name) + padding.len() + 2;
            let value = printable(value);
            let value = match self.options.columns {
                Some(columns) => console::truncate_str(&value, columns.saturating_sub(before).max(LEAST_OF_VALUE), "…"),
                None => value,
            };
            let name = self.styles.name.apply_to(name);
            writeln!(self.writer, "{margin}        {name}: {padding}{value}")?;
        }
        Ok(())
    }
}

fn number(thread: &ThreadDump) -> String {
    thread.os_thread_id.map_or_else(|| format!("{:#X}", thread.thread_id), |id| id.to_string())
}

fn holder_text(number: String, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{number} \"{}\"", printable(name)),
        None => number,
    }
}

fn state(thread: &ThreadDump) -> String {
    // Of a thread whose kernel thread cannot be told it is not known whether it runs.
    let mut state = match (thread.active, thread.os_thread_id) {
        _ if thread.gone => String::from("gone, as after a fork"),
        _ if thread.takes_gil => String::from("taking the GIL"),
        (true, _) => String::from("active"),
        (false, Some(_)) => String::from("idle"),
        (false, None) => String::from("unknown"),
    };
    if thread.owns_gil && !thread.takes_gil {
        state.push_str("+gil");
    }
    if thread.collecting_garbage {
        state.push_str("+gc");
    }
    if thread.native {
        state.push_str(", native");
    }
    if thread.interpreter != 0 {
        state.push_str(&format!(", interpreter {}", thread.interpreter));
    }
    state
}

/// What a thread waits for, as a part of a sentence: the object of Python's, or else the system call.
pub(crate) fn wait_text(thread: &ThreadDump) -> Option<String> {
    if thread.waits_for_gil {
        return Some("waits for the GIL".to_owned());
    }
    if thread.waits_for_world {
        return Some("waits for a thread that has stopped the world".to_owned());
    }
    let call = thread.waits_in.as_deref().map(printable);
    let Some(wait) = &thread.waits_for else { return Some(format!("waits in {}", call?)) };
    let holder = match (wait.holder_os_thread_id, wait.holder_thread_id) {
        (Some(id), _) => Some(id.to_string()),
        (None, id) => id.map(|id| format!("{id:#X}")),
    };
    let holder = holder.map(|number| holder_text(number, wait.holder_name.as_deref()));
    let joins = wait.operation == "Thread.join";
    let mut text = format!("waits in {}", printable(&wait.operation));
    match holder {
        Some(holder) if joins => text.push_str(&format!(" for thread {holder} to end")),
        Some(holder) => text.push_str(&format!(" ({:#x}), held by thread {holder}", wait.object)),
        None => text.push_str(&format!(" ({:#x})", wait.object)),
    }
    if let Some(call) = call.filter(|call| call != "futex") {
        text.push_str(&format!(", in {call}"));
    }
    Some(text)
}
