//! What the names of control groups tell of who runs a process: a container, a pod, a service of systemd.

/// Digits of a container's id.
const CONTAINER_ID_LENGTH: usize = 64;
/// So many of them tell a container apart, as `docker ps` and `crictl ps` show them.
const SHORT_ID_LENGTH: usize = 12;
/// Characters of a pod's id.
const POD_ID_LENGTH: usize = 36;

/// The id of the container that control groups are of: 64 hex digits, of Docker, containerd, CRI-O and Podman alike.
pub(crate) fn container_of(groups: &str) -> Option<String> {
    let mut ids = groups.split(|c: char| !c.is_ascii_alphanumeric());
    let is_id = |text: &&str| text.len() == CONTAINER_ID_LENGTH && text.chars().all(|c| c.is_ascii_hexdigit());
    ids.rfind(is_id).map(str::to_owned)
}

/// The id of the pod that control groups are of, as Kubernetes writes it: `pod` and a UUID, whose `-` are `_` where
/// systemd keeps the groups.
pub(crate) fn pod_of(groups: &str) -> Option<String> {
    groups.match_indices("pod").find_map(|(at, word)| {
        let id = groups.get(at + word.len()..at + word.len() + POD_ID_LENGTH)?.replace('_', "-");
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        let is_id = lengths == [8, 4, 4, 4, 12] && id.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
        is_id.then_some(id)
    })
}

/// How [`supervisor_of`] begins where a container runs the process.
const CONTAINER: &str = "container ";

/// Whether it is a container that runs a process, by what [`supervisor_of`] says.
pub(crate) fn is_container(supervisor: &str) -> bool {
    supervisor.starts_with(CONTAINER)
}

/// Who runs a process that has these control groups, in few words: `container 0123456789ab`, or `gunicorn.service` of
/// systemd; nobody, for one that a user has started by hand.
pub(crate) fn supervisor_of(groups: &str) -> Option<String> {
    if let Some(id) = container_of(groups) {
        return Some(format!("{CONTAINER}{}", id.get(..SHORT_ID_LENGTH)?));
    }
    let mut names = groups.lines().flat_map(|line| line.split('/'));
    // `user@1000.service` is what all that a user starts by hand runs below.
    names.rfind(|name| name.ends_with(".service") && !name.starts_with("user@")).map(str::to_owned)
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
            assert_eq!(supervisor_of(&groups).unwrap(), "container 0123456789ab");
        }
        for groups in [format!("0::/system.slice/docker-{id}.scope\n"), format!("0::/docker/{id}\n")] {
            assert_eq!((container_of(&groups), pod_of(&groups)), (Some(id.clone()), None), "{groups}");
        }
        for groups in ["0::/\n", "", "0::/user.slice/podman-pause-12.scope\n", "0::/pod", "0::/pod€€€€€€€€€€€€€"]
        {
            assert_eq!((container_of(groups), pod_of(groups)), (None, None), "{groups}");
        }
    }

    #[test]
    fn services_supervise_and_sessions_do_not() {
        for (groups, expected) in [
            ("0::/system.slice/gunicorn.service\n", Some("gunicorn.service")),
            ("0::/system.slice/system-worker.slice/worker@3.service\n", Some("worker@3.service")),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/bot.service\n", Some("bot.service")),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-u7.scope\n", None),
            ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(supervisor_of(groups).as_deref(), expected, "{groups}");
        }
    }
}
