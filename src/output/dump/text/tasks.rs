//! The tasks of a dump for a reader.

use std::io;

use super::Text;
use crate::output::dump::fold::fold;
use crate::output::dump::task_tree::{TaskNode, flat, tree};
use crate::output::dump::tasks::{TaskDump, TaskKind, TasksDump};
use crate::output::dump::{FrameDump, ProcessDump, ThreadDump};
use crate::output::place::is_of_program;
use crate::output::sort::sort_by_key;
use crate::output::text::printable;

/// Groups of tasks that are written of one thread; JSON has all.
const MOST_GROUPS: usize = 300;
/// Names that are written of tasks that are alike.
const NAMES_SHOWN: usize = 3;
/// With fewer tasks there is no summary.
const LEAST_SUMMARISED: usize = 5;
/// What so many do is told apart in it, and so much of that is written.
const MOST_SUMMARISED: usize = 1000;
const SUMMARY_PARTS: usize = 4;

/// What stands before the lines of a task.
#[derive(Clone)]
struct Margins {
    /// Before its first line.
    first: String,
    /// Before the others, and all that is below.
    rest: String,
}

/// Tasks that do the same, as the summary of a thread counts them.
struct Alike {
    what: String,
    count: usize,
    /// Where in the program, if all of them are there.
    place: Option<String>,
    waits_for_tasks: bool,
}

impl Alike {
    fn text(&self) -> String {
        match &self.place {
            Some(place) if self.count > 1 => format!("{} {}, in {place}", self.count, self.what),
            _ => format!("{} {}", self.count, self.what),
        }
    }
}

impl Text<'_> {
    /// The rings of a process's tasks.
    pub(super) fn write_task_rings(&mut self, dump: &ProcessDump) -> io::Result<()> {
        let Some(tasks) = &dump.tasks else { return Ok(()) };
        for ring in &tasks.rings {
            let heading = match ring.len() {
                1 => "Deadlock: a task waits for itself".to_owned(),
                count => format!("Deadlock: {count} tasks wait for each other"),
            };
            writeln!(self.writer)?;
            writeln!(self.writer, "{}", self.styles.warning.apply_to(heading))?;
            for (index, place) in ring.iter().enumerate() {
                let Some(task) = tasks.tasks.get(*place) else { continue };
                let next = ring.get(index + 1).or(ring.first()).and_then(|next| tasks.tasks.get(*next));
                let what = task.waits.as_ref().map_or("waits", |waits| &waits.text);
                let holds = next.is_some_and(|next| task.held_by.contains(&next.id));
                let relation = if holds { ", held by" } else { ":" };
                let next = next.map(label).unwrap_or_default();
                writeln!(self.writer, "    Task {} {}{relation} {next}", label(task), printable(what))?;
            }
        }
        Ok(())
    }

    /// What a thread's heading says of its loop.
    pub(super) fn loop_heading(dump: &ProcessDump, thread: &ThreadDump) -> String {
        let Some(tasks) = &dump.tasks else { return String::new() };
        let of_thread: Vec<u64> = loops_of(tasks, thread);
        if of_thread.is_empty() {
            return String::new();
        }
        let of_loop = tasks.tasks.iter().filter(|task| of_thread.contains(&task.event_loop));
        let (greenlets, tasks): (Vec<&TaskDump>, Vec<&TaskDump>) =
            of_loop.partition(|task| task.kind == TaskKind::Greenlet);
        let counted = |count: usize, one: &str| match count {
            0 => String::new(),
            1 => format!("1 {one}"),
            count => format!("{count} {one}s"),
        };
        match (tasks.len(), greenlets.len()) {
            (_, 0) => format!(
                ", event loop, {}",
                if tasks.is_empty() { "0 tasks".to_owned() } else { counted(tasks.len(), "task") }
            ),
            (0, count) => format!(", {}", counted(count, "greenlet")),
            (tasks, count) => format!(", event loop, {}, {}", counted(tasks, "task"), counted(count, "greenlet")),
        }
    }

    /// What the tasks of a thread's loop are doing, the most of them first, where there are so many that the first
    /// screen does not show it.
    pub(super) fn write_task_summary(&mut self, dump: &ProcessDump, thread: &ThreadDump) -> io::Result<()> {
        let Some(tasks) = &dump.tasks else { return Ok(()) };
        let of_thread = loops_of(tasks, thread);
        let mut groups: Vec<Alike> = Vec::new();
        let of_loop = tasks.tasks.iter().filter(|task| of_thread.contains(&task.event_loop) && task.state != "done");
        let mut total = 0;
        for task in of_loop {
            total += 1;
            let what = doing(tasks, task);
            let place = self.place_in_program(task);
            if let Some(group) = groups.iter_mut().find(|group| group.what == what) {
                group.count += 1;
                group.place = group.place.take().filter(|known| Some(known) == place.as_ref());
            } else if groups.len() < MOST_SUMMARISED {
                groups.push(Alike { what, count: 1, place, waits_for_tasks: !task.awaits.is_empty() });
            }
        }
        if total < LEAST_SUMMARISED {
            return Ok(());
        }
        // Those that wait for others of them say the least.
        sort_by_key(&mut groups, |group| (group.waits_for_tasks, std::cmp::Reverse(group.count)));
        let (shown, not_shown) = groups.split_at(groups.len().min(SUMMARY_PARTS));
        let mut parts: Vec<String> = shown.iter().map(Alike::text).collect();
        let for_others = not_shown.iter().filter(|group| group.waits_for_tasks).map(|group| group.count).sum::<usize>();
        if for_others > 0 {
            parts.push(format!("{for_others} wait for other tasks"));
        }
        let left = total - for_others - shown.iter().map(|group| group.count).sum::<usize>();
        if left > 0 {
            parts.push(format!("{left} do something else"));
        }
        writeln!(self.writer, "  {}", self.styles.dim.apply_to(parts.join("; ")))
    }

    /// The innermost function of a task that is the program's own, if the innermost of all is not named already:
    /// `name (file:1)`.
    fn place_in_program(&self, task: &TaskDump) -> Option<String> {
        let is_named = task.waits.as_ref().is_none_or(|waits| waits.kind == "future");
        let frame = task.frames.iter().skip(usize::from(is_named)).find(|frame| is_of_program(&frame.filename))?;
        let file = frame.short_filename.as_ref().filter(|_| !self.options.full_file_names).unwrap_or(&frame.filename);
        Some(format!("{} ({}:{})", printable(&frame.name), printable(file), frame.line))
    }

    /// The tasks of the loop that a thread runs.
    pub(super) fn write_tasks_of(&mut self, dump: &ProcessDump, thread: &ThreadDump) -> io::Result<()> {
        let Some(tasks) = &dump.tasks else { return Ok(()) };
        let of_thread = loops_of(tasks, thread);
        let is_of_thread = |task: &TaskDump| of_thread.contains(&task.event_loop);
        self.write_some_tasks(tasks, &is_of_thread)
    }

    /// The tasks of loops that no thread runs, and what there is to say of all.
    pub(super) fn write_other_tasks(&mut self, dump: &ProcessDump) -> io::Result<()> {
        let Some(tasks) = &dump.tasks else { return Ok(()) };
        let is_running = |task: &TaskDump| {
            let thread = tasks.loops.iter().find(|(event_loop, _)| *event_loop == task.event_loop);
            thread.is_some_and(|(_, thread)| dump.threads.iter().any(|known| known.thread_id == *thread))
        };
        let others = tasks.tasks.iter().filter(|task| !is_running(task)).count();
        if others > 0 {
            let heading = match others {
                1 => "A task or greenlet that no thread runs".to_owned(),
                count => format!("{count} tasks or greenlets that no thread runs"),
            };
            writeln!(self.writer)?;
            writeln!(self.writer, "{}", self.styles.thread.apply_to(heading))?;
            self.write_some_tasks(tasks, &|task| !is_running(task))?;
        }
        let refused = tasks.refused.iter().map(|reason| printable(reason).into_owned());
        let unreadable = (tasks.unreadable > 0).then(|| format!("{} tasks could not be read", tasks.unreadable));
        let cut = tasks.is_cut.then(|| "there are more tasks than are read".to_owned());
        for note in refused.chain(unreadable).chain(cut) {
            writeln!(self.writer)?;
            writeln!(self.writer, "{}", self.styles.dim.apply_to(note))?;
        }
        Ok(())
    }

    pub(super) fn write_some_tasks(
        &mut self,
        tasks: &TasksDump,
        is_wanted: &dyn Fn(&TaskDump) -> bool,
    ) -> io::Result<()> {
        let all = tasks.tasks.iter().enumerate();
        let places: Vec<usize> = all.filter(|(_, task)| is_wanted(task)).map(|(place, _)| place).collect();
        let mut nodes = match self.options.flat_tasks {
            true => flat(&tasks.tasks, &places),
            false => tree(&tasks.tasks, &places),
        };
        // What has ended comes last.
        sort_by_key(&mut nodes, |node| is_done(tasks, node));
        let margins = Margins { first: "  ".to_owned(), rest: "  ".to_owned() };
        let mut left = MOST_GROUPS;
        for node in &nodes {
            self.write_node(tasks, node, &margins, &mut left)?;
        }
        if left == 0 {
            let text = "… more tasks, which --json shows";
            writeln!(self.writer, "  {}", self.styles.dim.apply_to(text))?;
        }
        Ok(())
    }

    fn write_node(
        &mut self,
        tasks: &TasksDump,
        node: &TaskNode,
        margins: &Margins,
        left: &mut usize,
    ) -> io::Result<()> {
        let Some(task) = node.tasks.first().and_then(|place| tasks.tasks.get(*place)) else { return Ok(()) };
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        let Margins { first, rest } = margins;
        let alike = if node.tasks.len() > 1 { format!(", {} alike", node.tasks.len()) } else { String::new() };
        let group = if node.is_group { ", in the group" } else { "" };
        let heading = format!("{} ({}{group}{alike})", names(tasks, node), task.state);
        let coroutine = self.styles.name.apply_to(printable(&task.coroutine));
        writeln!(self.writer, "{first}{}: {coroutine}", self.styles.thread.apply_to(heading))?;
        let below = !node.children.is_empty();
        let margin = if below { format!("{rest}│ ") } else { format!("{rest}  ") };
        if let Some(text) = wait_text(tasks, node, task) {
            writeln!(self.writer, "{margin}{}", self.styles.dim.apply_to(text))?;
        }
        for place in node.elsewhere.iter().take(NAMES_SHOWN) {
            let other = tasks.tasks.get(*place).map(label).unwrap_or_default();
            writeln!(self.writer, "{margin}→ {other} (shown elsewhere)")?;
        }
        if let more @ 1.. = node.elsewhere.len().saturating_sub(NAMES_SHOWN) {
            writeln!(self.writer, "{margin}→ {more} more (shown elsewhere)")?;
        }
        self.write_task_frames(task, &format!("{margin}  "))?;
        for (index, child) in node.children.iter().enumerate() {
            let is_last = index + 1 == node.children.len();
            let margins = Margins {
                first: format!("{rest}{}", if is_last { "└─ " } else { "├─ " }),
                rest: format!("{rest}{}", if is_last { "   " } else { "│  " }),
            };
            self.write_node(tasks, child, &margins, left)?;
        }
        Ok(())
    }

    /// The frames, the outermost first, so that what is waited for comes below what waits.
    fn write_task_frames(&mut self, task: &TaskDump, margin: &str) -> io::Result<()> {
        if task.truncated {
            writeln!(
                self.writer,
                "{margin}{}",
                self.styles.dim.apply_to("… what it has called cannot be read to its end")
            )?;
        }
        let frames: Vec<FrameDump> = task.frames.iter().rev().cloned().collect();
        for group in fold(&frames) {
            for frame in &frames[group.first..group.first + group.length] {
                self.write_frame(frame, margin)?;
            }
            if group.times > 1 {
                let text = format!("… {} times in all", group.times);
                writeln!(self.writer, "{margin}{}", self.styles.dim.apply_to(text))?;
            }
        }
        Ok(())
    }
}

/// The loops that a thread runs.
pub(super) fn loops_of(tasks: &TasksDump, thread: &ThreadDump) -> Vec<u64> {
    let loops = tasks.loops.iter().filter(|(_, of_thread)| *of_thread == thread.thread_id && !thread.native);
    loops.map(|(event_loop, _)| *event_loop).collect()
}

/// What a task is doing, as the end of a sentence about several.
fn doing(tasks: &TasksDump, task: &TaskDump) -> String {
    let Some(waits) = &task.waits else {
        return match (task.kind, task.frames.first()) {
            (TaskKind::Greenlet, Some(frame)) => format!("{} in {}", task.state, printable(&frame.name)),
            _ => task.state.to_owned(),
        };
    };
    if waits.kind == "sleep" {
        return "sleep".to_owned();
    }
    if waits.thread_id.is_some() {
        return "wait for a function that a thread runs".to_owned();
    }
    if let ("future", Some(frame)) = (waits.kind, task.frames.first()) {
        return format!("wait in {} for a callback", printable(&frame.name));
    }
    // Which object it is matters where others have to do with it; how many do, the count says.
    let text = waits.text.split(", as ").next().unwrap_or_default();
    let text = if waits.is_shared { text } else { text.split(" (0x").next().unwrap_or_default() };
    let mut text = printable(&text.replacen("waits", "wait", 1)).into_owned();
    if let Some(holders) = holders(tasks, task) {
        text.push_str(&holders);
    }
    text
}

fn is_done(tasks: &TasksDump, node: &TaskNode) -> bool {
    node.tasks.first().and_then(|place| tasks.tasks.get(*place)).is_some_and(|task| task.state == "done")
}

/// The names of the tasks of a node, some of them where there are many.
fn names(tasks: &TasksDump, node: &TaskNode) -> String {
    // trio's tasks have the names of their functions.
    let mut names: Vec<String> = node.tasks.iter().filter_map(|place| tasks.tasks.get(*place)).map(name).collect();
    names.dedup();
    match &names[..] {
        [.., last] if names.len() > NAMES_SHOWN => format!("{}, … {last}", names[..NAMES_SHOWN - 1].join(", ")),
        _ => names.join(", "),
    }
}

fn name(task: &TaskDump) -> String {
    match (&task.name, task.kind) {
        (Some(name), _) => printable(name).into_owned(),
        (None, TaskKind::Greenlet) => format!("greenlet {:#x}", task.id),
        (None, _) => format!("task {:#x}", task.id),
    }
}

/// A task in a sentence.
fn label(task: &TaskDump) -> String {
    match &task.name {
        Some(name) => format!("\"{}\"", printable(name)),
        None => format!("{:#x} ({})", task.id, printable(&task.coroutine)),
    }
}

/// What the tasks of a node wait in.
fn wait_text(tasks: &TasksDump, node: &TaskNode, task: &TaskDump) -> Option<String> {
    let waits = task.waits.as_ref()?;
    let mut text = printable(&waits.text).into_owned();
    // Of those that sleep, each wakes at a time of its own.
    let others = node.tasks.iter().filter_map(|place| tasks.tasks.get(*place)?.waits.as_ref()?.seconds);
    let (least, most) = others.fold((f64::MAX, f64::MIN), |(least, most), next| (least.min(next), most.max(next)));
    if waits.seconds.is_some() && most - least >= 0.1 {
        text = format!("sleep, wake in {:.1} to {most:.1} s", least.max(0.0));
    }
    if waits.thread_id.is_some() && node.tasks.len() > 1 {
        text = format!("wait for functions that {} threads run", node.tasks.len());
    }
    if let Some(holders) = holders(tasks, task) {
        text.push_str(&holders);
    }
    Some(text)
}

/// Who holds what a task waits for.
fn holders(tasks: &TasksDump, task: &TaskDump) -> Option<String> {
    let known: Vec<&TaskDump> = task.places.held_by.iter().filter_map(|place| tasks.tasks.get(*place)).collect();
    let (first, count) = (known.first()?, known.len());
    // Where tasks are called by what they do, the names would all be the same.
    if count > 1 && first.name.is_some() && known.iter().all(|other| other.name == first.name) {
        return Some(format!(", held by {count} called {}", label(first)));
    }
    let mut text = format!(
        ", held by {}",
        known.iter().take(NAMES_SHOWN).map(|holder| label(holder)).collect::<Vec<_>>().join(", ")
    );
    if count > NAMES_SHOWN {
        text.push_str(&format!(" and {} more", count - NAMES_SHOWN));
    }
    Some(text)
}
