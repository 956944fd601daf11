//! What can be read without recording: which processes there are, what they are doing now.

use serde_json::json;

use super::Service;
use crate::cli::Status;
use crate::command::dump::{dump_sampled, lost_threads};
use crate::command::shared::arguments::pausing;
use crate::command::shared::failure;
use crate::http::{Request, Response};
use crate::inspect::{Details, TasksWanted};
use crate::output::dump::{TextOptions, write_text};
use crate::output::{escape_markup, printable, write_safe_json};
use crate::process::Process;
use crate::sampler::{Finder, PATIENCE_RUNNING, Pausing, ProcessSampler, command_line, why_not_pausable};

/// `/debug/pprof/`: what can be asked for, for a reader.
pub(super) fn index(service: &Service) -> Response {
    let (pythons, denied) = service.targets.pythons(&mut Finder::new());
    let mut rows = String::new();
    for python in &pythons {
        let (pid, version) = (python.process.pid(), python.version);
        let command = escape_markup(&printable(&command_line(&python.process)));
        rows.push_str(&format!(
            "<tr><td>{pid}<td>{version}<td><a href=\"/debug/pprof/profile?seconds=10&amp;pid={pid}\">profile</a>\
             <td><a href=\"/dump?pid={pid}\">dump</a><td><code>{command}</code>\n"
        ));
    }
    let denied = match denied {
        0 => String::new(),
        count => format!("<p>{count} more may not be read.\n"),
    };
    let page = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>pyspy</title>\n<h1>pyspy</h1>\n\
         <p><a href=\"/debug/pprof/profile?seconds=10\">profile</a> of all for <code>go tool pprof</code>, \
         <a href=\"/dump\">dump</a>, <a href=\"/processes\">processes</a>, <a href=\"/metrics\">metrics</a>\n\
         <table>\n<tr><th>pid<th>Python<th><th><th>command\n{rows}</table>\n{denied}"
    );
    Response::done("text/html; charset=utf-8", page.into_bytes())
        .with_header("Content-Security-Policy", "default-src 'none'".to_owned())
}

/// `/processes`: the same as JSON.
pub(super) fn processes(service: &Service) -> Response {
    let (pythons, _) = service.targets.pythons(&mut Finder::new());
    let all = pythons.iter().map(|python| {
        json!({
            "pid": python.process.pid(),
            "parent_pid": python.process.parent().ok(),
            "command_line": command_line(&python.process),
            "executable": python.process.executable().ok().map(|path| path.display().to_string()),
            "user": python.process.user(),
            "threads": python.process.threads().ok().map(|threads| threads.len()),
            "python_version": python.version.to_string(),
            "busy": service.busy.has(&python.process),
        })
    });
    let mut body = Vec::new();
    match write_safe_json(&all.collect::<Vec<_>>(), true, &mut body) {
        Ok(()) => Response::done("application/json", body),
        Err(error) => Response::error(500, &error.to_string()),
    }
}

/// `/dump`: what all threads are doing, as `pyspy dump` prints it.
pub(super) fn dump(service: &Service, request: &Request) -> Response {
    let mut finder = Finder::new();
    let processes = match service.asked_for(request, &mut finder) {
        Ok(processes) => processes,
        Err(response) => return response,
    };
    let mut body = Vec::new();
    for process in &processes {
        let Ok(_held) = service.busy.hold(std::slice::from_ref(process)) else {
            return Response::error(409, &format!("process {} is being read for another request", process.pid()));
        };
        let written = dump_process(service, &mut finder, process, &mut body);
        match written {
            Ok(()) => {}
            Err(error) if processes.len() == 1 => return error_response(&error),
            // One of several has ended meanwhile.
            Err(error) => body.extend_from_slice(format!("{}\n", printable(&format!("{error:#}"))).as_bytes()),
        }
    }
    Response::done("text/plain; charset=utf-8", body)
}

fn dump_process(service: &Service, finder: &mut Finder, process: &Process, body: &mut Vec<u8>) -> anyhow::Result<()> {
    let attached = finder.attach(process, None, PATIENCE_RUNNING, &|| false)?;
    let mut sampler = ProcessSampler::new(process.clone(), attached);
    if service.pause.native {
        sampler.read_native(true);
    }
    if service.pause.native_threads {
        sampler.read_native_threads();
    }
    let is_pausable = why_not_pausable(process).is_none();
    let pausing = if is_pausable { pausing(service.pause, Pausing::Blocking) } else { Pausing::Never };
    let details = Details { tasks: TasksWanted::Pending, sleep: true, ..Details::default() };
    let dumped = dump_sampled(&mut sampler, pausing, details)?;
    let options = TextOptions {
        full_file_names: false,
        reverse: false,
        colour: false,
        flat_tasks: false,
        full_stacks: false,
        few_variables: false,
        columns: None,
        long_lines: false,
    };
    write_text(std::slice::from_ref(&dumped.dump), options, &mut *body)?;
    if dumped.lost_threads > 0 {
        body.extend_from_slice(format!("{}\n", lost_threads(dumped.lost_threads)).as_bytes());
    }
    Ok(())
}

/// What a request is answered that failed for this reason.
pub(super) fn error_response(error: &anyhow::Error) -> Response {
    let status = match failure::status(error) {
        Status::NoProcess | Status::Exited => 404,
        Status::Permission => 403,
        Status::NotPython | Status::Unsupported => 422,
        _ => 500,
    };
    let advice = failure::advice(error).into_iter().map(|sentence| format!("\n{sentence}"));
    Response::error(status, &printable_lines(&format!("{error:#}{}", advice.collect::<String>())))
}

fn printable_lines(text: &str) -> String {
    text.lines().map(|line| printable(line).into_owned()).collect::<Vec<_>>().join("\n")
}
