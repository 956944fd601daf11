//! Who a process is, for a server that has the profiles of many: its service, its host, its container.

use std::collections::HashMap;

use crate::cli::PushArgs;
use crate::command::shared::program_names::{host_name, program_name};
use crate::output::printable;
use crate::process::{Process, container_of, pod_of};
use crate::profile::{Process as ProfileProcess, Profile};

/// What is known of the processes of a recording.
pub(super) struct Identities {
    service: Option<String>,
    labels: Vec<(String, String)>,
    host: String,
    /// By pid, with when each was started.
    known: HashMap<u32, (u64, Identity)>,
}

/// What a process itself tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Identity {
    /// `OTEL_SERVICE_NAME` of its environment.
    service: Option<String>,
    program: String,
    executable: Option<String>,
    container: Option<String>,
    pod: Option<String>,
}

impl Identities {
    pub(super) fn new(arguments: &PushArgs) -> Self {
        Self {
            service: arguments.service.clone(),
            labels: arguments.label.clone(),
            host: host_name(),
            known: HashMap::new(),
        }
    }

    /// Looks at the processes of an interval, each once; those that are gone and were never looked at have what the
    /// profile says.
    pub(super) fn look(&mut self, interval: &Profile) {
        let pids: Vec<u32> = interval.processes().map(|(_, process)| process.pid).collect();
        self.known.retain(|pid, _| pids.contains(pid));
        for (_, process) in interval.processes() {
            let living = Process::observe(process.pid.cast_signed()).ok();
            let start = living.as_ref().map(Process::start_ticks);
            if self.known.get(&process.pid).is_some_and(|(known, _)| start.is_none_or(|start| start == *known)) {
                continue;
            }
            let program = program_name(interval.text(process.command_line));
            let identity = living.map(|process| Identity::of(&process)).unwrap_or_default();
            self.known.insert(process.pid, (start.unwrap_or_default(), Identity { program, ..identity }));
        }
    }

    /// Its attributes, named as OpenTelemetry's conventions do, and the labels that the user gave.
    pub(super) fn attributes(&self, process: &ProfileProcess) -> Vec<(String, String)> {
        let nothing = Identity::default();
        let identity = self.known.get(&process.pid).map_or(&nothing, |(_, identity)| identity);
        let service = self.service.as_ref().or(identity.service.as_ref()).unwrap_or(&identity.program);
        let service = if service.is_empty() { "python" } else { service };
        let optional = [
            ("process.executable.name", &identity.executable),
            ("container.id", &identity.container),
            ("k8s.pod.uid", &identity.pod),
        ];
        let optional = optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        [("service.name".to_owned(), service.to_owned()), ("host.name".to_owned(), self.host.clone())]
            .into_iter()
            .chain(optional)
            .chain(self.labels.iter().cloned())
            .collect()
    }
}

impl Identity {
    fn of(process: &Process) -> Self {
        let groups = process.control_groups().unwrap_or_default();
        let executable = process.executable().ok();
        let name = executable.as_deref().and_then(|path| path.file_name());
        let service = process.environment_variable("OTEL_SERVICE_NAME");
        Self {
            service: service.map(|name| printable(&name).into_owned()).filter(|name| !name.is_empty()),
            program: String::new(),
            executable: name.map(|name| printable(&name.to_string_lossy()).into_owned()),
            container: container_of(&groups),
            pod: pod_of(&groups),
        }
    }
}
