//! The one-line `stat` files of `/proc`, and single fields of the `status` files.
//!
//! The line is `pid (name) state ppid …` (proc(5)). The name is the target's own choice and may hold spaces and
//! brackets, so fields are counted from behind the *last* closing bracket.

use crate::process::ThreadActivity;

/// More than any `stat` line: 52 numbers of up to 20 digits and a name of up to 64 characters.
pub(crate) const STAT_LINE_LIMIT: usize = 1536;

/// The fields of a `stat` line that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatLine {
    pub(crate) activity: ThreadActivity,
    pub(crate) parent: i32,
    /// The process group.
    pub(crate) group: i32,
    pub(crate) user_ticks: u64,
    pub(crate) system_ticks: u64,
    /// How many threads the process has; at least 1 until it is a zombie.
    pub(crate) threads: u64,
    /// When it was started, in clock ticks since the machine was.
    pub(crate) start_ticks: u64,
    /// Memory that is there for the process, in pages.
    pub(crate) resident_pages: u64,
}

impl StatLine {
    /// Takes a line apart; allocates nothing. `None` for what is no such line.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = fields(line)?;
        // The numbers are those of proc(5), where the state is field 3.
        let activity = ThreadActivity::from_letter(*fields.next()?.first()?);
        let parent = number(fields.next()?)?;
        let group = number(fields.next()?)?;
        let user_ticks = number(fields.nth(14 - 6)?)?;
        let system_ticks = number(fields.next()?)?;
        let threads = number(fields.nth(20 - 16)?)?;
        let start_ticks = number(fields.nth(22 - 21)?)?;
        let resident_pages = number(fields.nth(24 - 23)?)?;
        Some(Self { activity, parent, group, user_ticks, system_ticks, threads, start_ticks, resident_pages })
    }
}

/// The exit code of a `stat` line (field 52, as `waitpid` has it), shown to those who may trace the process; only of a
/// zombie.
pub(crate) fn exit_code(line: &[u8]) -> Option<i32> {
    let mut fields = fields(line)?;
    if ThreadActivity::from_letter(*fields.next()?.first()?) != ThreadActivity::Zombie {
        return None;
    }
    number(fields.nth(52 - 4)?)
}

/// Where the first stack of the program begins, which lies below what the kernel has put there for it (field 28), of a
/// `stat` line; shown to those who may trace the process.
pub(crate) fn stack_start(line: &[u8]) -> Option<u64> {
    number(fields(line)?.nth(28 - 3)?).filter(|start| *start != 0)
}

/// How the scheduler treats a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scheduling {
    /// From -20, which is the best, to 19.
    pub(crate) nice: i32,
    /// The CPU that it is on or was on last.
    pub(crate) cpu: usize,
    /// `SCHED_OTHER` and its kin (sched(7)).
    pub(crate) policy: i32,
}

impl Scheduling {
    /// Takes a `stat` line apart; `None` for what is no such line.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = fields(line)?;
        let nice = number(fields.nth(19 - 3)?)?;
        let cpu = number(fields.nth(39 - 20)?)?;
        let policy = number(fields.nth(41 - 40)?)?;
        Some(Self { nice, cpu, policy })
    }
}

/// The fields of a `stat` line from the state on, which is field 3 of proc(5).
fn fields(line: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let fields = line.get(name_end + 1..)?;
    Some(fields.split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty()))
}

/// The text of one field of a `status` file, without the spaces around it. `name` is with its colon: `TracerPid:`.
pub(crate) fn status_field<'status>(status: &'status [u8], name: &str) -> Option<&'status str> {
    let line = status.split(|byte| *byte == b'\n').find(|line| line.starts_with(name.as_bytes()))?;
    Some(str::from_utf8(line.get(name.len()..)?).ok()?.trim())
}

fn number<N: std::str::FromStr>(field: &[u8]) -> Option<N> {
    str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "S 7 42 42 0 -1 4194304 100 0 0 0 11 22 0 0 20 0 3 0 987654 1000 10 18446744073709551615 1 1 0";

    #[test]
    fn fields_are_counted_from_the_last_bracket() {
        let hostile = format!("42 (a) R 1 2 3 (b) ) {TAIL}\n");
        let line = StatLine::parse(hostile.as_bytes()).unwrap();
        assert_eq!(
            line,
            StatLine {
                activity: ThreadActivity::Sleeping,
                parent: 7,
                group: 42,
                user_ticks: 11,
                system_ticks: 22,
                threads: 3,
                start_ticks: 987_654,
                resident_pages: 10,
            }
        );
    }

    #[test]
    fn the_exit_code_is_that_of_a_zombie() {
        let line = |state: &str| {
            let numbers: Vec<String> = (4..=52).map(|field| (field * 256).to_string()).collect();
            format!("42 (a) Z 1) {state} {}\n", numbers.join(" "))
        };
        assert_eq!(exit_code(line("Z").as_bytes()), Some(52 * 256));
        assert_eq!(exit_code(line("S").as_bytes()), None);
        assert_eq!(exit_code(format!("42 (name) Z {}", &TAIL[2..]).as_bytes()), None, "an older kernel's line");
    }

    #[test]
    fn the_scheduling_is_taken_from_behind_the_name() {
        let numbers: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let line = format!("42 (a) R 1 2) R {}\n", numbers.join(" "));
        assert_eq!(Scheduling::parse(line.as_bytes()), Some(Scheduling { nice: 19, cpu: 39, policy: 41 }));
        assert_eq!(Scheduling::parse(format!("42 (name) {TAIL}").as_bytes()), None);
    }

    #[test]
    fn every_cut_line_is_refused_or_read_without_panic() {
        let whole = format!("42 (name) {TAIL}");
        for length in 0..whole.len() {
            let _ = StatLine::parse(&whole.as_bytes()[..length]);
        }
        assert_eq!(StatLine::parse(b""), None);
        assert_eq!(StatLine::parse(b"42 (name)"), None);
    }

    #[test]
    fn a_status_field_is_found_by_its_whole_name_at_the_start_of_a_line() {
        let status = b"Name:\tNSpid:\nPid:\t5\nNSpid:\t5\t1\n";
        assert_eq!(status_field(status, "NSpid:"), Some("5\t1"));
        assert_eq!(status_field(status, "TracerPid:"), None);
    }
}
