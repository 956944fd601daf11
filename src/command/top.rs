//! `pyspy top`: the live view. One thread samples and owns the target's reader, one waits for keys, one reads what a started program
//! writes; this one takes what they send, and draws.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, BufWriter, IsTerminal, PipeReader, Read, Write};
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use ratatui::crossterm::event::{self, Event as Input};

use super::output_file::OutputFile;
use super::screen::Screen;
use super::{dump, native, note, pausing};
use crate::cli::TopArgs;
use crate::output::dump::{TextOptions, ThreadDump, write_text};
use crate::output::{Format, Presentation, printable};
use crate::process::{Process, ProcessUsage, SpawnedProgram};
use crate::profile::{Flags, Profile, TextId, ThreadRef};
use crate::sampler::{
    AttachError, Ending, Finder, LiveOptions, LiveRequest, LiveWindow, PATIENCE_RUNNING, PATIENCE_STARTED, Pausing,
    Spy, watch, why_not_pausable,
};
use crate::tui::state::{Facts, ThreadNow, Usage, Window};
use crate::tui::{Effect, Event, Settings, State, plain, update};

/// A program that does not end on SIGTERM is killed after so long.
const GRACE: Duration = Duration::from_secs(5);
/// How long the exit status of a started program is waited for once its process is gone.
const STATUS_WAIT: Duration = Duration::from_secs(2);
/// Messages that may wait.
const MESSAGES: usize = 256;
/// What the target writes is shown at most so often.
const OUTPUT_EVERY: Duration = Duration::from_millis(100);
/// What the target has written and nobody has taken yet is kept up to so many bytes.
const OUTPUT_BYTES: usize = 1 << 20;
/// Longer source files are cut.
const SOURCE_BYTES: u64 = 4 << 20;

/// Runs `pyspy top`.
///
/// # Errors
/// When there is no terminal or nothing can be sampled.
pub fn run(arguments: &TopArgs) -> anyhow::Result<ExitCode> {
    let draws = !arguments.once && !arguments.json;
    if draws && !io::stdout().is_terminal() {
        bail!(
            "standard output is not a terminal; `pyspy top --once` prints one window as text, --json a line for each"
        );
    }
    let (sender, messages) = sync_channel(MESSAGES);
    let signals = Signals::watch(&sender)?;
    let mut target = Target::take(arguments, &sender, draws)?;
    let result = run_target(arguments, &mut target, &sender, &messages, &signals);
    if let Some(program) = &mut target.program
        && let Err(error) = program.end(GRACE)
    {
        log::warn!("cannot learn how process {} ended: {error}", program.pid());
    }
    result?;
    Ok(match signals.first() {
        Some(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        None => ExitCode::SUCCESS,
    })
}

/// What the other threads tell.
enum Message {
    Input(Input),
    Window(Box<LiveWindow>),
    Ended(Ending),
    /// There is something in [`Captured`].
    Output,
    Dump(String),
    Signal(i32),
    /// No more input will come.
    InputFailed(io::Error),
}

/// Signals that end us, and the one that says that we were stopped.
#[derive(Default)]
struct Signals {
    stop: Arc<AtomicBool>,
    first: Arc<Mutex<Option<i32>>>,
}

impl Signals {
    fn watch(sender: &SyncSender<Message>) -> anyhow::Result<Self> {
        let signals = Self::default();
        #[cfg(unix)]
        {
            use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM};
            let (stop, first, sender) = (Arc::clone(&signals.stop), Arc::clone(&signals.first), sender.clone());
            let mut received = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP, SIGCONT])
                .context("cannot take over signals")?;
            std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
                for signal in received.forever() {
                    if signal != SIGCONT {
                        lock(&first).get_or_insert(signal);
                        stop.store(true, Ordering::Relaxed);
                    }
                    if sender.send(Message::Signal(signal)).is_err() {
                        return;
                    }
                }
            })?;
        }
        #[cfg(not(unix))]
        let _ = sender;
        Ok(signals)
    }

    fn first(&self) -> Option<i32> {
        *lock(&self.first)
    }
}

/// What the target has written and nobody has taken yet.
type Captured = Arc<Mutex<Vec<u8>>>;

/// What is looked at: processes that were there, or one that we started.
struct Target {
    processes: Vec<Process>,
    program: Option<SpawnedProgram>,
    captured: Captured,
}

impl Target {
    fn take(arguments: &TopArgs, sender: &SyncSender<Message>, draws: bool) -> anyhow::Result<Self> {
        let captured = Captured::default();
        if !arguments.pid.is_empty() {
            let processes = arguments.pid.iter().map(|pid| Process::open(*pid)).collect::<Result<_, _>>()?;
            return Ok(Self { processes, program: None, captured });
        }
        let (name, rest) = arguments.program.split_first().context("there is neither a pid nor a program")?;
        let (program, pipe) = SpawnedProgram::start_captured(name, rest)?;
        let (sender, shared) = (sender.clone(), Arc::clone(&captured));
        std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            if draws {
                capture(pipe, &shared, &sender);
            } else {
                // Standard output is for our own.
                pass_on(pipe);
            }
        })?;
        let process = Process::observe(program.pid())?;
        Ok(Self { processes: vec![process], program: Some(program), captured })
    }

    /// Waits until each process shows its interpreter; `false` when `cancelled` said to stop waiting.
    fn wait_for_python(&mut self, finder: &mut Finder, cancelled: &dyn Fn() -> bool) -> anyhow::Result<bool> {
        let started = self.program.is_some();
        let patience = if started { PATIENCE_STARTED } else { PATIENCE_RUNNING };
        for process in &self.processes {
            match finder.attach(process, started, patience, cancelled) {
                Ok(attached) if attached.runtime.layout.tentative => {
                    let version = attached.runtime.layout.version;
                    note(&format!(
                        "Python {version} is newer than what this pyspy knows; trusting the interpreter's own offsets"
                    ));
                }
                Ok(_) => {}
                Err(_) if cancelled() => return Ok(false),
                Err(error @ AttachError::Exited { .. }) if started => {
                    let program = self.program.as_mut();
                    let status = program.and_then(|program| program.wait_at_most(STATUS_WAIT).ok().flatten());
                    let how = status.map(|status| format!(" ({status})")).unwrap_or_default();
                    let written = take_captured(&self.captured).unwrap_or_default();
                    let written = written.lines().last().map(|line| format!(": {}", printable(line)));
                    let context = format!("the program ended too soon{how}{}", written.unwrap_or_default());
                    return Err(anyhow::Error::new(error).context(context));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// How the process has ended, in words.
    fn how_it_ended(&mut self, ending: &Ending) -> String {
        match ending {
            Ending::Lost(reason) => format!("nothing to sample any more: {}", printable(reason)),
            _ => match self.program.as_mut().and_then(|program| program.wait_at_most(STATUS_WAIT).ok().flatten()) {
                Some(status) => format!("target exited, {}", status_text(status)),
                None => "target exited".to_owned(),
            },
        }
    }
}

fn status_text(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("killed by signal {signal}");
    }
    status.code().map_or_else(|| status.to_string(), |code| format!("status {code}"))
}

fn capture(mut pipe: PipeReader, captured: &Captured, sender: &SyncSender<Message>) {
    let mut bytes = [0; 16 << 10];
    while let Ok(length @ 1..) = pipe.read(&mut bytes) {
        let mut kept = lock(captured);
        kept.extend_from_slice(bytes.get(..length).unwrap_or_default());
        let excess = kept.len().saturating_sub(OUTPUT_BYTES);
        kept.drain(..excess);
        drop(kept);
        // When many messages wait, one of them will do.
        if let Err(TrySendError::Disconnected(_)) = sender.try_send(Message::Output) {
            // Whoever looked on is gone; the program is not to be held up.
            pass_on(pipe);
            return;
        }
    }
}

fn pass_on(mut pipe: PipeReader) {
    if let Err(error) = io::copy(&mut pipe, &mut io::stderr()) {
        log::debug!("cannot pass on what the program writes: {error}");
        let _ = io::copy(&mut pipe, &mut io::sink());
    }
}

/// Takes out the text that is complete, up to the last whole character.
fn take_captured(captured: &Captured) -> Option<String> {
    let mut kept = lock(captured);
    let cut = match str::from_utf8(&kept) {
        Ok(_) => kept.len(),
        // The end of the bytes within a character; anything else is no text and will never be.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => kept.len(),
    };
    let bytes: Vec<u8> = kept.drain(..cut).collect();
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

fn run_target(
    arguments: &TopArgs,
    target: &mut Target,
    sender: &SyncSender<Message>,
    messages: &Receiver<Message>,
    signals: &Signals,
) -> anyhow::Result<()> {
    let mut finder = Finder::new();
    let cancelled = || signals.stop.load(Ordering::Relaxed);
    // With children wanted, the processes themselves need not be Python's.
    if !arguments.subprocesses && !target.wait_for_python(&mut finder, &cancelled)? {
        return Ok(());
    }
    let mut pausing = pausing(arguments.pause, Pausing::Adaptive);
    let mut trouble = None;
    if pausing != Pausing::Never
        && let Some(reason) = target.processes.iter().find_map(why_not_pausable)
    {
        trouble = Some(reason);
        pausing = Pausing::Never;
    }
    let options = LiveOptions {
        rate: arguments.rate,
        pausing,
        every: arguments.delay,
        patience: if arguments.subprocesses { Duration::MAX } else { PATIENCE_STARTED },
        subprocesses: arguments.subprocesses,
        adopt: target.program.is_some(),
        native: native(arguments.pause)?,
    };
    let sampling = Sampling::start(target.processes.clone(), finder, options, sender)?;
    let meter = Meter::new(&target.processes, trouble)?;
    let result = if arguments.once || arguments.json {
        print_windows(arguments, &sampling, meter, messages)
    } else {
        Live { sampling: &sampling, target, messages, meter, pausing }.run(arguments, sender)
    };
    sampling.stop();
    result
}

/// The thread that samples.
struct Sampling {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    /// A window was sent and is not taken yet.
    in_flight: Arc<AtomicBool>,
    requests: Sender<LiveRequest>,
    answers: SyncSender<Message>,
}

impl Sampling {
    fn start(
        processes: Vec<Process>,
        mut finder: Finder,
        options: LiveOptions,
        sender: &SyncSender<Message>,
    ) -> io::Result<Self> {
        let (requests, asked) = channel();
        let (stop, in_flight) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (their_stop, their_flight, their_sender) = (Arc::clone(&stop), Arc::clone(&in_flight), sender.clone());
        let thread = std::thread::Builder::new().name("sampler".to_owned()).spawn(move || {
            let mut deliver = |window: Box<LiveWindow>| {
                if their_flight.swap(true, Ordering::AcqRel) {
                    return Err(window);
                }
                match their_sender.try_send(Message::Window(window)) {
                    Ok(()) => Ok(()),
                    Err(
                        TrySendError::Full(Message::Window(window))
                        | TrySendError::Disconnected(Message::Window(window)),
                    ) => {
                        their_flight.store(false, Ordering::Release);
                        Err(window)
                    }
                    Err(_) => Ok(()),
                }
            };
            let (ending, left) = watch(processes, &mut finder, &options, &asked, &their_stop, &mut deliver);
            // Nothing is held up any more by waiting until somebody takes these.
            for window in left {
                let _ = their_sender.send(Message::Window(window));
            }
            let _ = their_sender.send(Message::Ended(ending));
        })?;
        Ok(Self { thread, stop, in_flight, requests, answers: sender.clone() })
    }

    /// Ends sampling. Its thread is gone when this returns, unless it waits for an interpreter or for us.
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // While it waits to send the last windows nothing is read or held; then it may be left alone.
        let deadline = Instant::now() + Duration::from_secs(1);
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn ask(&self, request: LiveRequest) {
        // When sampling is over, there is nobody to ask.
        let _ = self.requests.send(request);
    }

    /// Has all threads, or those of one process, or one (by its ident and interpreter), dumped between two samples.
    fn dump(&self, pausing: Pausing, full_file_names: bool, pid: Option<u32>, only: Option<(u64, u64)>) {
        let answers = self.answers.clone();
        let pausing = if pausing == Pausing::Never { Pausing::Never } else { Pausing::Blocking };
        self.ask(LiveRequest::Inspect(Box::new(move |spies| {
            let wanted = spies.iter_mut().filter(|spy| pid.is_none_or(|pid| pid == spy.process().pid().unsigned_abs()));
            let texts: Vec<String> = wanted
                .map(|spy| {
                    dump_text(spy, pausing, full_file_names, only).unwrap_or_else(|error| format!("{error:#}\n"))
                })
                .collect();
            let text = texts.join("\n");
            // Sampling does not wait; who cannot take the answer presses the key again.
            let _ = answers.try_send(Message::Dump(text));
        })));
    }
}

/// What the threads of a process are doing, or one of them (by its ident and interpreter).
fn dump_text(
    spy: &mut Spy,
    pausing: Pausing,
    full_file_names: bool,
    only: Option<(u64, u64)>,
) -> anyhow::Result<String> {
    let mut dumped = dump::dump_spy(spy, pausing, 1, false)?;
    if let Some((ident, interpreter)) = only {
        let is_it = |thread: &ThreadDump| {
            thread.thread_id == ident && u64::try_from(thread.interpreter).unwrap_or(0) == interpreter
        };
        dumped.threads.retain(is_it);
        dumped.deadlocks.clear();
    }
    let mut text = Vec::new();
    write_text(&[dumped], TextOptions { full_file_names, ..TextOptions::default() }, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Measures what the processes and we ourselves use.
struct Meter {
    /// By pid, with what it had used at the last look.
    processes: HashMap<u32, (Process, Option<ProcessUsage>)>,
    ourselves: Option<Process>,
    our_usage: Option<ProcessUsage>,
    measured_at: Instant,
    first: Process,
    trouble: Option<String>,
}

impl Meter {
    fn new(processes: &[Process], trouble: Option<String>) -> anyhow::Result<Self> {
        let ourselves = i32::try_from(std::process::id()).ok().and_then(|pid| Process::observe(pid).ok());
        let our_usage = ourselves.as_ref().and_then(|process| process.usage().ok());
        let known =
            processes.iter().map(|process| (process.pid().unsigned_abs(), (process.clone(), process.usage().ok())));
        Ok(Self {
            processes: known.collect(),
            ourselves,
            our_usage,
            measured_at: Instant::now(),
            first: processes.first().context("there is no process")?.clone(),
            trouble,
        })
    }

    /// What each process uses, and our own CPU in percent, since the last call.
    fn measure(&mut self, profile: &[crate::profile::Process]) -> (Vec<Usage>, Option<f64>) {
        let now = Instant::now();
        let passed = (now - self.measured_at).as_secs_f64().max(1e-3);
        self.measured_at = now;
        let share = |usage: ProcessUsage, before: ProcessUsage| {
            usage.cpu.saturating_sub(before.cpu).as_secs_f64() * 100.0 / passed
        };
        for process in profile.iter().filter(|process| process.end_us.is_none()) {
            if let Entry::Vacant(vacant) = self.processes.entry(process.pid)
                && let Ok(opened) = Process::observe(process.pid.cast_signed())
            {
                vacant.insert((opened, None));
            }
        }
        let mut usages = Vec::new();
        self.processes.retain(|pid, (process, before)| {
            let Ok(usage) = process.usage() else { return !process.has_exited() };
            let cpu = before.map(|before| share(usage, before));
            *before = Some(usage);
            usages.push(Usage { pid: *pid, cpu, resident_bytes: usage.resident_bytes });
            true
        });
        let ours = self.ourselves.as_ref().and_then(|process| process.usage().ok());
        let own_cpu = ours.zip(self.our_usage).map(|(now, before)| share(now, before));
        self.our_usage = ours;
        (usages, own_cpu)
    }

    /// A window as the view takes it.
    fn window(&mut self, window: LiveWindow) -> Window {
        let (processes, own_cpu) = self.measure(&window.delta.processes);
        let cpu: f64 = processes.iter().filter_map(|usage| usage.cpu).sum();
        let resident: u64 = processes.iter().map(|usage| usage.resident_bytes).sum();
        let share = |part: u64| part as f64 * 100.0 / (window.wall_us.max(1)) as f64;
        let facts = Facts {
            gil: share(window.gil_us),
            active: share(window.active_us),
            gc: share(window.gc_us),
            cpu: (!processes.is_empty()).then_some(cpu),
            own_cpu,
            resident_bytes: (!processes.is_empty()).then_some(resident),
            processes,
            uptime: self.first.start_time().and_then(|start| SystemTime::now().duration_since(start).ok()),
            rate_asked: window.rate,
            rate_held: window.ticks as f64 * 1e6 / (window.length_us.max(1)) as f64,
            missed: window.missed,
            stopped: share(window.stopped_us),
            running: window.threads.iter().filter(|thread| thread.flags.contains(Flags::ACTIVE)).count(),
            threads: window.threads.len(),
            trouble: window.trouble.or_else(|| self.trouble.clone()),
        };
        let threads = window.threads.into_iter();
        let threads = threads.map(|now| ThreadNow { thread: now.thread, stack: now.stack, flags: now.flags }).collect();
        Window { delta: window.delta, wall_us: window.wall_us, facts, threads }
    }
}

fn settings(arguments: &TopArgs, has_output: bool) -> Settings {
    Settings {
        rate: arguments.rate,
        colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        full_file_names: arguments.full_filenames,
        gil_only: arguments.gil,
        idle: arguments.idle,
        has_output,
    }
}

/// `--once` and `--json`.
fn print_windows(
    arguments: &TopArgs,
    sampling: &Sampling,
    mut meter: Meter,
    messages: &Receiver<Message>,
) -> anyhow::Result<()> {
    let mut state = State::new(settings(arguments, false), (80, 24));
    let mut writer = BufWriter::new(io::stdout().lock());
    while let Ok(message) = messages.recv() {
        match message {
            Message::Window(window) => {
                sampling.in_flight.store(false, Ordering::Release);
                update(&mut state, Event::Window(Box::new(meter.window(*window))));
                if arguments.json {
                    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                    plain::write_json(&mut state, now.as_secs_f64(), &mut writer)?;
                } else {
                    plain::write_text(&mut state, &mut writer)?;
                }
                writer.flush()?;
                if arguments.once {
                    return Ok(());
                }
            }
            Message::Ended(Ending::Lost(reason)) => bail!("{}", printable(&reason)),
            Message::Ended(_) if arguments.once && state.windows == 0 => bail!("the process exited before a sample"),
            Message::Ended(_) => return Ok(()),
            #[cfg(unix)]
            Message::Signal(signal) if signal == signal_hook::consts::SIGCONT => {}
            Message::Signal(_) => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

/// The view on a terminal.
struct Live<'run> {
    sampling: &'run Sampling,
    target: &'run mut Target,
    messages: &'run Receiver<Message>,
    meter: Meter,
    pausing: Pausing,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Quit,
}

impl Live<'_> {
    fn run(mut self, arguments: &TopArgs, sender: &SyncSender<Message>) -> anyhow::Result<()> {
        let mut screen = Screen::take().context("cannot take over the terminal")?;
        let mut state = State::new(settings(arguments, self.target.program.is_some()), screen.size()?);
        wait_for_input(sender)?;
        screen.draw(&state)?;
        let mut drawn = Instant::now();
        let mut output_waits = false;
        loop {
            let limit = if output_waits { OUTPUT_EVERY.saturating_sub(drawn.elapsed()) } else { Duration::MAX };
            let first = match self.messages.recv_timeout(limit.min(Duration::from_secs(3600))) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            // What waits is drawn once.
            let mut draw_now = first.is_none();
            for message in first.into_iter().chain(self.messages.try_iter().take(MESSAGES)) {
                if matches!(message, Message::Output) {
                    output_waits = true;
                    continue;
                }
                draw_now = true;
                if self.handle(message, &mut state, &mut screen)? == Next::Quit {
                    return Ok(());
                }
            }
            if draw_now {
                output_waits = false;
                if let Some(text) = take_captured(&self.target.captured) {
                    update(&mut state, Event::Output(text));
                }
                screen.draw(&state)?;
                drawn = Instant::now();
            }
        }
    }

    fn handle(&mut self, message: Message, state: &mut State, screen: &mut Screen) -> anyhow::Result<Next> {
        let event = match message {
            Message::Input(input) => Event::Input(input),
            Message::Window(window) => {
                self.sampling.in_flight.store(false, Ordering::Release);
                Event::Window(Box::new(self.meter.window(*window)))
            }
            Message::Ended(ending) => Event::Ended(self.target.how_it_ended(&ending)),
            Message::Dump(text) => Event::Dump(text),
            Message::Output => return Ok(Next::GoOn),
            #[cfg(unix)]
            Message::Signal(signal) if signal == signal_hook::consts::SIGCONT => {
                // Whoever had the terminal meanwhile may have left it in another state.
                screen.enter()?;
                state.size = screen.size()?;
                return Ok(Next::GoOn);
            }
            Message::Signal(_) => return Ok(Next::Quit),
            Message::InputFailed(error) => return Err(error).context("cannot read keys from the terminal"),
        };
        for effect in update(state, event) {
            if self.carry_out(effect, state, screen)? == Next::Quit {
                return Ok(Next::Quit);
            }
        }
        Ok(Next::GoOn)
    }

    fn carry_out(&mut self, effect: Effect, state: &mut State, screen: &mut Screen) -> anyhow::Result<Next> {
        match effect {
            Effect::Quit => return Ok(Next::Quit),
            Effect::Rate(rate) => self.sampling.ask(LiveRequest::Rate(rate)),
            Effect::Redraw => screen.redraw()?,
            Effect::Source(file) => {
                let source = self.source(state, file);
                update(state, Event::Source(file, source));
            }
            Effect::Dump(process, thread) => {
                if let Some(ended) = &state.ended {
                    let notice = format!("{ended}: there is nothing to dump");
                    update(state, Event::Notice(notice));
                } else {
                    let only = thread.map(|thread| ident(&state.profile, thread));
                    let pid = process.map(|process| state.profile.process(process).pid);
                    self.sampling.dump(self.pausing, state.full_file_names, pid, only);
                }
            }
            Effect::Write(path) => {
                let notice = match write(state, Path::new(&path)) {
                    Ok(()) => format!("wrote {}", printable(&path)),
                    Err(error) => printable(&format!("{error:#}")).into_owned(),
                };
                update(state, Event::Notice(notice));
            }
            Effect::Suspend => self.suspend(state, screen)?,
        }
        Ok(Next::GoOn)
    }

    /// A source file as the target finds it.
    fn source(&self, state: &State, file: TextId) -> Option<Vec<String>> {
        let path = Path::new(state.profile.text(file));
        let file = self.target.processes.iter().find_map(|process| process.open_in_root(path).ok());
        let mut bytes = Vec::new();
        file?.take(SOURCE_BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }

    /// Stops ourselves as Ctrl-Z does, the target not held and the terminal given back.
    #[cfg(unix)]
    fn suspend(&self, state: &mut State, screen: &mut Screen) -> anyhow::Result<()> {
        screen.leave();
        let (done, stopped) = channel();
        // Done by the thread that samples, so that it cannot hold the target meanwhile.
        self.sampling.ask(LiveRequest::Inspect(Box::new(move |_| {
            let _ = done.send(nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP));
        })));
        if stopped.recv().is_err() {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
        }
        screen.enter()?;
        state.size = screen.size()?;
        Ok(())
    }

    #[cfg(not(unix))]
    fn suspend(&self, _state: &mut State, _screen: &mut Screen) -> anyhow::Result<()> {
        Ok(())
    }
}

/// What tells a thread from all others in the interpreter: its ident and its interpreter.
fn ident(profile: &Profile, thread: ThreadRef) -> (u64, u64) {
    let thread = profile.thread(thread);
    (thread.python_id, thread.interpreter)
}

/// Writes what is shown to a file whose name tells the format.
fn write(state: &State, path: &Path) -> anyhow::Result<()> {
    let Some(format) = Format::from_suffix(&path.to_string_lossy()) else {
        let endings: Vec<String> =
            Format::ALL.iter().map(|format| format!(".{}", format.default_extension())).collect();
        bail!("the name must tell the format: {}", endings.join(", "));
    };
    let mut profile = state.profile.filtered(|_| false);
    for total in state.shown().all.iter().filter(|total| state.wants(total)) {
        profile.add_total(*total);
    }
    let first = profile.processes().next().map(|(_, process)| process.clone()).unwrap_or_default();
    let command = profile.text(first.command_line).to_owned();
    let metadata = &mut profile.metadata;
    metadata.command = command;
    metadata.pid = first.pid;
    metadata.duration_us = state.shown().all_us;
    metadata.rate_asked = f64::from(state.facts.rate_asked);
    metadata.rate_held = state.facts.rate_held;
    metadata.filters.gil_only = state.gil_only;
    metadata.filters.idle = state.idle;
    let presentation = Presentation {
        full_file_names: state.full_file_names,
        threads: state.per_thread,
        processes: profile.processes().count() > 1,
        ..Presentation::default()
    };
    OutputFile::create(path)?
        .finish(|writer| format.write(&profile, &presentation, &path.to_string_lossy(), writer))?;
    Ok(())
}

fn wait_for_input(sender: &SyncSender<Message>) -> io::Result<()> {
    let sender = sender.clone();
    std::thread::Builder::new().name("input".to_owned()).spawn(move || {
        loop {
            let (message, is_last) = match event::read() {
                Ok(input) => (Message::Input(input), false),
                Err(error) => (Message::InputFailed(error), true),
            };
            if sender.send(message).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
