//! Google's pprof: gzipped protobuf (`profile.proto`), for `go tool pprof` and everything that reads its files.
//!
//! Two values a sample: how many samples, and the nanoseconds that they stand for, called `cpu` where idle threads are
//! left out, else `wall`. Process and thread are labels, so
//! `-tagfocus` and `-tagroot` select by them.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::string_table::StringTable;
use super::value_name;
use crate::output::Presentation;
use crate::output::functions::Functions;
use crate::output::heading::subtitle;
use crate::output::place::{PlaceId, Places, thread_name};
use crate::output::text::printable;
use crate::profile::{ProcessRef, Profile, ThreadRef, Total};

/// Writes `profile` for pprof.
///
/// # Errors
/// When `writer` fails.
pub fn write(profile: &Profile, presentation: &Presentation, writer: impl Write) -> io::Result<()> {
    let places = Places::new(profile, presentation);
    let functions = Functions::new(&places);
    let mut part = Part::new(profile, &places, &functions, writer);
    for total in profile.totals() {
        part.put_sample(total)?;
    }
    part.used = vec![true; places.all().len()];
    let comment = [printable(&profile.metadata.command).into_owned(), subtitle(profile)];
    part.finish(value_name(profile), &comment).map(drop)
}

/// What each process with samples did, as a file of its own.
///
/// # Errors
/// None but those of the compressor.
pub(crate) fn of_processes(profile: &Profile, presentation: &Presentation) -> io::Result<Vec<(ProcessRef, Vec<u8>)>> {
    let places = Places::new(profile, presentation);
    let functions = Functions::new(&places);
    let mut by_process: BTreeMap<ProcessRef, Vec<&Total>> = BTreeMap::new();
    for total in profile.totals() {
        by_process.entry(profile.thread(total.thread).process).or_default().push(total);
    }
    // One after the other, as each has a compressor.
    let written = by_process.into_iter().map(|(process, totals)| {
        let mut part = Part::new(profile, &places, &functions, Vec::new());
        let mut samples: u64 = 0;
        for total in totals {
            part.put_sample(total)?;
            samples = samples.saturating_add(total.samples);
        }
        let command = printable(profile.text(profile.process(process).command_line)).into_owned();
        Ok((process, part.finish(value_name(profile), &[command, format!("{samples} samples")])?))
    });
    written.collect()
}

/// A file as it grows. Protobuf messages that follow one another are one message with the repeated fields joined: so
/// nothing but the texts is held.
struct Part<'profile, W: Write> {
    profile: &'profile Profile,
    places: &'profile Places<'profile>,
    functions: &'profile Functions<'profile>,
    texts: StringTable,
    labels: HashMap<ThreadRef, Vec<Label>>,
    /// Which places samples have.
    used: Vec<bool>,
    stack: Vec<PlaceId>,
    writer: GzEncoder<W>,
}

impl<'profile, W: Write> Part<'profile, W> {
    fn new(
        profile: &'profile Profile,
        places: &'profile Places<'profile>,
        functions: &'profile Functions<'profile>,
        writer: W,
    ) -> Self {
        Self {
            profile,
            places,
            functions,
            texts: StringTable::default(),
            labels: HashMap::new(),
            used: vec![false; places.all().len()],
            stack: vec![],
            writer: GzEncoder::new(writer, Compression::default()),
        }
    }

    fn put_sample(&mut self, total: &Total) -> io::Result<()> {
        let (profile, texts) = (self.profile, &mut self.texts);
        let label = self.labels.entry(total.thread).or_insert_with(|| thread_labels(profile, total.thread, texts));
        let label = label.clone();
        self.places.stack(total.thread, total.stack, &mut self.stack);
        self.stack.iter().for_each(|place| self.used[*place] = true);
        let location_id = self.stack.iter().rev().map(|place| *place as u64 + 1).collect();
        let value = vec![clamped(total.samples), clamped(total.weight_us.saturating_mul(1000))];
        let sample = Sample { location_id, value, label };
        put(&mut self.writer, &File { sample: vec![sample], ..File::default() })
    }

    /// Puts down what the samples have named. Their times are values of the type `value`.
    fn finish(mut self, value: &str, comment: &[String]) -> io::Result<W> {
        let mut is_function_used = vec![false; self.functions.all.len()];
        for (at, place) in self.places.all().iter().enumerate().filter(|(at, _)| self.used[*at]) {
            let function = self.functions.function_of(at);
            is_function_used[function] = true;
            let line = Line {
                function_id: function as u64 + 1,
                line: i64::from(place.line.unwrap_or(0)),
                column: i64::from(place.column),
            };
            let location = Location { id: at as u64 + 1, line: vec![line] };
            put(&mut self.writer, &File { location: vec![location], ..File::default() })?;
        }
        let texts = &mut self.texts;
        for (at, function) in self.functions.all.iter().enumerate().filter(|(at, _)| is_function_used[*at]) {
            // Without a system name, pprof takes the name as it is; else it would cut `<module>` away as a template's
            // parameter.
            let function = Function {
                id: at as u64 + 1,
                name: position(texts, function.name),
                filename: position(texts, function.file),
                start_line: i64::from(function.first_line),
            };
            put(&mut self.writer, &File { function: vec![function], ..File::default() })?;
        }
        let metadata = &self.profile.metadata;
        let time = ValueType { kind: position(texts, value), unit: position(texts, "nanoseconds") };
        let count = ValueType { kind: position(texts, "samples"), unit: position(texts, "count") };
        let mut rest = File {
            sample_type: vec![count, time.clone()],
            time_nanos: clamped(metadata.start_unix_us.saturating_mul(1000)),
            duration_nanos: clamped(metadata.duration_us.saturating_mul(1000)),
            default_sample_type: time.kind,
            period_type: Some(time),
            period: (metadata.interval_us() * 1e3) as i64,
            comment: comment.iter().map(|text| position(texts, text)).collect(),
            ..File::default()
        };
        rest.string_table = self.texts.all;
        put(&mut self.writer, &rest)?;
        let mut writer = self.writer.finish()?;
        writer.flush()?;
        Ok(writer)
    }
}

fn thread_labels(profile: &Profile, id: ThreadRef, texts: &mut StringTable) -> Vec<Label> {
    let thread = profile.thread(id);
    let process = profile.process(thread.process);
    let number =
        |key: &str, num: u64, texts: &mut StringTable| Label { key: position(texts, key), num: clamped(num), str: 0 };
    let mut labels = vec![
        number("pid", u64::from(process.pid), texts),
        number("thread_id", thread.os_id.unwrap_or(thread.python_id), texts),
    ];
    labels.push(Label { key: position(texts, "thread"), str: position(texts, &thread_name(profile, thread)), num: 0 });
    if thread.interpreter != 0 {
        labels.push(number("interpreter", thread.interpreter, texts));
    }
    labels
}

fn put(writer: &mut impl Write, message: &File) -> io::Result<()> {
    writer.write_all(&message.encode_to_vec())
}

fn clamped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The position of a text as the messages have it.
fn position(texts: &mut StringTable, text: &str) -> i64 {
    clamped(texts.intern(text) as u64)
}

// The messages of profile.proto, with the fields that are used here. Numbers that name texts are positions in the
// string table.

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    /// Innermost first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
    #[prost(int64, tag = "3")]
    num: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
    #[prost(int64, tag = "3")]
    column: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
    #[prost(int64, tag = "5")]
    start_line: i64,
}
