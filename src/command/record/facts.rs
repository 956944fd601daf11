//! What the summary says of the GIL and of the garbage collector.

use crate::output::printable;
use crate::profile::{FunctionTime, GcFacts, GilFacts, Metadata};

/// Of fewer waiting threads, on average, nothing is said; nor of a smaller part of the time.
const WORTH_A_LINE: f64 = 0.01;

/// The lines that there is something to say for.
pub(super) fn lines(metadata: &Metadata) -> Vec<String> {
    gil_line(&metadata.gil).into_iter().chain(gc_line(&metadata.gc)).collect()
}

/// Who holds the GIL, where threads wait for it.
fn gil_line(gil: &GilFacts) -> Option<String> {
    let waiters = gil.waiters();
    if waiters < WORTH_A_LINE {
        return None;
    }
    let mut line = format!("GIL: held {:.0} %, waited for by {waiters:.1} threads on average", gil.held() * 100.0);
    let released = gil.released_us as f64 / gil.observed_us.max(1) as f64;
    if released >= WORTH_A_LINE {
        line.push_str(&format!("; {released:.1} threads ran C code without it"));
    }
    if let Some(longest) = gil.holders.first() {
        let share = longest.time_us as f64 * 100.0 / gil.observed_us.max(1) as f64;
        line.push_str(&format!("; longest holder {} {share:.0} %", function(longest)));
    }
    Some(line)
}

/// How long the garbage collector ran, where it did.
fn gc_line(gc: &GcFacts) -> Option<String> {
    let share = gc.time_us as f64 / gc.observed_us.max(1) as f64;
    if share < WORTH_A_LINE {
        return None;
    }
    let about = if gc.is_exact { "" } else { "at least " };
    let mut line = format!(
        "GC: {:.0} % of the time, {about}{} collections, the longest {:.0} ms",
        share * 100.0,
        gc.collections,
        gc.longest_us as f64 / 1e3,
    );
    if let Some(most) = gc.below.first() {
        line.push_str(&format!("; most below {}", function(most)));
    }
    Some(line)
}

fn function(time: &FunctionTime) -> String {
    format!("{} ({}:{})", printable(&time.name), printable(&time.file), time.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(name: &str, line: u32, time_us: u64) -> FunctionTime {
        FunctionTime { name: name.to_owned(), file: "app.py".to_owned(), line, time_us }
    }

    #[test]
    fn a_gil_that_threads_wait_for_has_a_line() {
        let mut metadata = Metadata::default();
        assert!(lines(&metadata).is_empty());
        metadata.gil = GilFacts {
            observed_us: 1_000_000,
            held_us: 990_000,
            waited_us: 1_040_000,
            released_us: 0,
            holders: vec![time("cpu", 9, 610_000), time("other", 20, 380_000)],
        };
        let expected = "GIL: held 99 %, waited for by 1.0 threads on average; longest holder cpu (app.py:9) 61 %";
        assert_eq!(lines(&metadata), [expected]);
        metadata.gil.released_us = 500_000;
        assert!(lines(&metadata)[0].contains("; 0.5 threads ran C code without it; longest holder"));
        metadata.gil.waited_us = 9_000;
        assert!(lines(&metadata).is_empty(), "nobody waits");
    }

    #[test]
    fn a_collector_that_takes_time_has_a_line() {
        let gc = GcFacts {
            time_us: 710_000,
            observed_us: 1_000_000,
            collections: 26,
            is_exact: true,
            longest_us: 44_000,
            below: vec![time("churn", 7, 700_000)],
        };
        let mut metadata = Metadata { gc, ..Metadata::default() };
        let expected = "GC: 71 % of the time, 26 collections, the longest 44 ms; most below churn (app.py:7)";
        assert_eq!(lines(&metadata), [expected]);
        metadata.gc.is_exact = false;
        assert!(lines(&metadata)[0].contains("at least 26 collections"));
        metadata.gc.time_us = 9_000;
        assert!(lines(&metadata).is_empty());
    }
}
