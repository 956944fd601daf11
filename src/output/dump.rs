//! What every thread of a process is doing, as text and as JSON (py-spy's schema: a list of threads).

use std::io::{self, Write};

use serde::Serialize;

use super::text::printable;

/// A process at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessDump {
    /// Its number.
    pub pid: i32,
    /// Its arguments joined by spaces.
    pub command_line: String,
    /// The version of its CPython.
    pub python_version: String,
    /// The program that it runs.
    pub executable: String,
    /// The signal that ended it, for a process of the past.
    pub ended_by: Option<String>,
    /// Its threads, interpreter by interpreter, the main one first.
    pub threads: Vec<ThreadDump>,
}

/// A thread at one moment. The order of the fields and their names are py-spy's.
#[derive(Debug, Clone, Serialize)]
pub struct ThreadDump {
    /// The process.
    pub pid: i32,
    /// `threading.get_ident()`.
    pub thread_id: u64,
    /// Its name in Python.
    pub thread_name: Option<String>,
    /// The system's id of it.
    pub os_thread_id: Option<u64>,
    /// It runs or wants to.
    pub active: bool,
    /// It holds the GIL.
    pub owns_gil: bool,
    /// It runs the garbage collector.
    pub collecting_garbage: bool,
    /// The id of its interpreter; 0 is the main one.
    pub interpreter: i64,
    /// Newest first.
    pub frames: Vec<FrameDump>,
}

/// A frame at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct FrameDump {
    /// The function.
    pub name: String,
    /// Its file.
    pub filename: String,
    /// The library, for native code.
    pub module: Option<String>,
    /// Its file from the package on.
    pub short_filename: Option<String>,
    /// The current line; 0 when there is none.
    pub line: u32,
    /// Variables, when asked for.
    pub locals: Option<Vec<()>>,
}

/// Writes the dump for a reader.
///
/// # Errors
/// When `writer` fails.
pub fn write_text(dump: &ProcessDump, full_file_names: bool, writer: &mut dyn Write) -> io::Result<()> {
    writeln!(writer, "Process {}: {}", dump.pid, printable(&dump.command_line))?;
    writeln!(writer, "Python v{} ({})", dump.python_version, printable(&dump.executable))?;
    if let Some(signal) = &dump.ended_by {
        writeln!(writer, "Ended by {signal}")?;
    }
    for thread in &dump.threads {
        writeln!(writer)?;
        let mut state = String::from(if thread.active { "active" } else { "idle" });
        if thread.owns_gil {
            state.push_str("+gil");
        }
        if thread.collecting_garbage {
            state.push_str("+gc");
        }
        if thread.interpreter != 0 {
            state.push_str(&format!(", interpreter {}", thread.interpreter));
        }
        let number = thread.os_thread_id.map_or_else(|| format!("{:#X}", thread.thread_id), |id| id.to_string());
        write!(writer, "Thread {number} ({state})")?;
        match &thread.thread_name {
            Some(name) => writeln!(writer, ": \"{}\"", printable(name))?,
            None => writeln!(writer)?,
        }
        for frame in &thread.frames {
            let file = match &frame.short_filename {
                Some(short) if !full_file_names => short,
                _ => &frame.filename,
            };
            write!(writer, "    {} ({}", printable(&frame.name), printable(file))?;
            match frame.line {
                0 => writeln!(writer, ")")?,
                line => writeln!(writer, ":{line})")?,
            }
        }
    }
    Ok(())
}

/// Writes the dump for a program: a list of threads.
///
/// # Errors
/// When `writer` fails.
pub fn write_json(dump: &ProcessDump, writer: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *writer, &dump.threads)?;
    writeln!(writer)
}
