//! The options in groups, as `--help` prints them; `-h` leaves out what is rarely needed.

use clap::{Arg, Command, CommandFactory};

use super::Cli;

/// The heading of what `-h` leaves out.
const RARELY_NEEDED: &str = "Rarely needed";

/// The heading of what goes with `--push`, which `-h` leaves out too.
const OF_PUSH: &str = "With --push";

/// A heading and the options below it, in this order.
type Group = (&'static str, &'static [&'static str]);

const OF_RECORD: [Group; 7] = [
    ("What to record", &["pid", "name", "subprocesses", "all", "duration"]),
    ("Where to", &["output", "format", "open", "push"]),
    ("How", &["rate", "idle", "waits", "native", "tasks"]),
    ("Filters", &["gil", "mode", "thread", "main_thread", "below", "include", "exclude"]),
    ("What is shown", &["function", "nolineno", "threads", "full_filenames", "upward", "no_gc_frames"]),
    (
        RARELY_NEEDED,
        &[
            "sampler",
            "kernel_frames",
            "min_block",
            "blocking",
            "nonblocking",
            "native_threads",
            "columns",
            "merge",
            "every",
            "exit_status",
            "keep",
            "control_fd",
        ],
    ),
    (OF_PUSH, &["label", "service", "header_file", "ca_file"]),
];

const OF_TOP: [Group; 4] = [
    ("What to look at", &["pid", "name", "subprocesses", "all"]),
    ("How", &["rate", "idle", "native", "gil", "below"]),
    ("What is shown", &["delay", "once", "json", "full_filenames"]),
    (RARELY_NEEDED, &["sampler", "blocking", "nonblocking", "native_threads"]),
];

const OF_DUMP: [Group; 3] = [
    ("What to look at", &["pid", "name", "subprocesses", "all", "core", "thread", "main_thread"]),
    (
        "What is shown",
        &["locals", "show_secrets", "source", "no_source", "native", "tasks", "json", "reverse", "full_filenames"],
    ),
    (RARELY_NEEDED, &["blocking", "nonblocking", "native_threads", "exe", "root", "all_tasks", "full_stacks"]),
];

const OF_SERVE: [Group; 4] = [
    ("What to serve", &["pid", "name", "subprocesses"]),
    ("Where", &["listen", "token"]),
    ("How", &["rate", "native"]),
    (RARELY_NEEDED, &["blocking", "nonblocking", "native_threads"]),
];

/// The command line with its options in groups. `of_pid` is added to the options that take a process's number.
pub(crate) fn command(of_pid: fn(Arg) -> Arg) -> Command {
    let groups: [(&str, &[Group]); 4] =
        [("record", &OF_RECORD), ("top", &OF_TOP), ("dump", &OF_DUMP), ("serve", &OF_SERVE)];
    let whole = Cli::command().mut_subcommand("watch", |command| command.mut_arg("pid", of_pid));
    groups.into_iter().fold(whole, |whole, (name, groups)| {
        whole.mut_subcommand(name, |mut command| {
            if name != "record" {
                // There nobody but the reader takes samples, which it stops threads for.
                command = command.mut_arg("native", |arg| arg.conflicts_with("nonblocking"));
            }
            for (heading, names) in groups {
                for name in *names {
                    command = command.mut_arg(name, |arg| {
                        let arg =
                            arg.help_heading(*heading).hide_short_help([RARELY_NEEDED, OF_PUSH].contains(heading));
                        if *name == "pid" { of_pid(arg) } else { arg }
                    });
                }
            }
            command
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_option_has_a_group() {
        let mut command = command(|arg| arg);
        command.build();
        command.clone().debug_assert();
        for name in ["record", "top", "dump", "watch", "serve"] {
            let subcommand = command.find_subcommand(name).unwrap();
            for arg in subcommand.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set()) {
                let name = arg.get_id().as_str();
                assert!(arg.get_help_heading().is_some() || name == "help", "{name} of {subcommand}");
            }
        }
    }

    #[test]
    fn what_is_rarely_needed_is_in_the_long_help_only() {
        let mut command = command(|arg| arg);
        let record = command.find_subcommand_mut("record").unwrap();
        let (short, long) = (record.render_help().to_string(), record.render_long_help().to_string());
        assert!(!short.contains("--nonblocking") && long.contains("--nonblocking"), "{short}");
        let places: Vec<usize> =
            OF_RECORD.iter().map(|(heading, _)| long.find(&format!("\n{heading}:")).unwrap()).collect();
        assert!(places.is_sorted(), "{long}");
        assert!(long.contains("how many were taken (`Hz held`)") && !short.contains("`Hz held`"), "{long}");
        assert!(short.lines().count() < 70, "{} lines:\n{short}", short.lines().count());
    }
}
