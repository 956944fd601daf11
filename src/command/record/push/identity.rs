//! Who a process is, for a server that has the profiles of many: its service, its host, its container.

use std::collections::HashMap;

use crate::cli::PushArgs;
use crate::command::naming::{host_name, program_name};
use crate::output::printable;
use crate::process::Process;
use crate::profile::{Process as ProfileProcess, Profile};

/// Digits of a container's id.
const CONTAINER_ID_LENGTH: usize = 64;
/// Characters of a pod's id.
const POD_ID_LENGTH: usize = 36;

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

/// The id of the container that control groups are of: 64 hex digits, of Docker, containerd, CRI-O and Podman alike.
fn container_of(groups: &str) -> Option<String> {
    let mut ids = groups.split(|c: char| !c.is_ascii_alphanumeric());
    let is_id = |text: &&str| text.len() == CONTAINER_ID_LENGTH && text.chars().all(|c| c.is_ascii_hexdigit());
    ids.rfind(is_id).map(str::to_owned)
}

/// The id of the pod that control groups are of, as Kubernetes writes it: `pod` and a UUID, whose `-` are `_` where
/// systemd keeps the groups.
fn pod_of(groups: &str) -> Option<String> {
    groups.match_indices("pod").find_map(|(at, word)| {
        let id = groups.get(at + word.len()..at + word.len() + POD_ID_LENGTH)?.replace('_', "-");
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        let is_id = lengths == [8, 4, 4, 4, 12] && id.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
        is_id.then_some(id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_pods_are_known_by_their_control_groups() {
        let id = "0123456789abcdef".repeat(4);
        let pod = "8f3c1e9a-0b1c-4d2e-9f00-112233445566";
        let of_systemd = format!(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-{id}.scope\n",
            pod.replace('-', "_")
        );
        let of_cgroupfs = format!("12:cpu:/kubepods/besteffort/pod{pod}/{id}\n1:name=systemd:/x\n");
        for groups in [of_systemd, of_cgroupfs] {
            assert_eq!((container_of(&groups), pod_of(&groups)), (Some(id.clone()), Some(pod.to_owned())), "{groups}");
        }
        for groups in [format!("0::/system.slice/docker-{id}.scope\n"), format!("0::/docker/{id}\n")] {
            assert_eq!((container_of(&groups), pod_of(&groups)), (Some(id.clone()), None), "{groups}");
        }
        for groups in ["0::/\n", "", "0::/user.slice/podman-pause-12.scope\n", "0::/pod", "0::/pod€€€€€€€€€€€€€"]
        {
            assert_eq!((container_of(groups), pod_of(groups)), (None, None), "{groups}");
        }
    }
}
