//! OpenTelemetry's profiles (OTLP), as protobuf or as JSON: what a collector's file and HTTP receivers take. The signal
//! is alpha; its messages may change.
//!
//! Each process is a resource with two profiles, as each has values of one type: the time, and how many samples. A
//! sample is one stack of one thread, whose id and name are its attributes.

mod messages;

use std::collections::HashMap;
use std::io::{self, Write};

use prost::Message;

use self::messages::{
    AnyValue, Dictionary, Function, KeyValue, KeyValueAndUnit, Line, Link, Location, Mapping, ProfilesData, Resource,
    ResourceProfiles, Sample, Scope, ScopeProfiles, Stack, Value, ValueType,
};
use super::string_table::StringTable;
use super::value_name;
use crate::output::Presentation;
use crate::output::functions::Functions;
use crate::output::place::{Origin, PlaceId, Places, thread_name};
use crate::output::text::printable;
use crate::profile::{Process, ProcessRef, Profile, StackId, ThreadRef};

/// An attribute of a process, as OpenTelemetry's conventions name it, and its value.
pub(crate) type Attribute = (String, String);

/// Writes `profile` as protobuf, or as one line of JSON.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write(
    profile: &Profile,
    presentation: &Presentation,
    is_json: bool,
    mut writer: impl Write,
) -> io::Result<()> {
    let service = |process: &Process| {
        let name = profile.text(process.command_line).split_whitespace().next().map(file_name);
        vec![("service.name".to_owned(), printable(name.unwrap_or("python")).into_owned())]
    };
    let data = data(profile, presentation, &service);
    if is_json {
        serde_json::to_writer(&mut writer, &data)?;
        writer.write_all(b"\n")?;
    } else {
        writer.write_all(&data.encode_to_vec())?;
    }
    writer.flush()
}

/// The body of an export request; `more` gives further attributes of a process, its service's name among them.
pub(crate) fn request(
    profile: &Profile,
    presentation: &Presentation,
    more: &dyn Fn(&Process) -> Vec<Attribute>,
) -> Vec<u8> {
    data(profile, presentation, more).encode_to_vec()
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn data(profile: &Profile, presentation: &Presentation, more: &dyn Fn(&Process) -> Vec<Attribute>) -> ProfilesData {
    let places = Places::new(profile, presentation);
    let mut tables = Tables::new(&places);
    let mut samples: HashMap<ProcessRef, [Vec<Sample>; 2]> = HashMap::new();
    for total in profile.totals() {
        let stack_index = tables.stack(&places, total.thread, total.stack);
        let attribute_indices = tables.thread_attributes(profile, total.thread);
        let sample = |value: u64| Sample {
            stack_index,
            attribute_indices: attribute_indices.clone(),
            values: vec![i64::try_from(value).unwrap_or(i64::MAX)],
        };
        let [times, counts] = samples.entry(profile.thread(total.thread).process).or_default();
        times.push(sample(total.weight_us.saturating_mul(1000)));
        counts.push(sample(total.samples));
    }
    let time = tables.value_type(value_name(profile), "nanoseconds");
    let count = tables.value_type("samples", "count");
    let metadata = &profile.metadata;
    let of_samples = |sample_type: &ValueType, samples| messages::Profile {
        sample_type: Some(sample_type.clone()),
        samples,
        time_unix_nano: metadata.start_unix_us.saturating_mul(1000),
        duration_nano: metadata.duration_us.saturating_mul(1000),
        period_type: Some(time.clone()),
        period: (metadata.interval_us() * 1e3) as i64,
    };
    let scope = Scope { name: "pyspy".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let resource_profiles = profile.processes().filter_map(|(id, process)| {
        let [times, counts] = samples.remove(&id)?;
        let profiles = vec![of_samples(&time, times), of_samples(&count, counts)];
        Some(ResourceProfiles {
            resource: Some(Resource { attributes: process_attributes(profile, process, more(process)) }),
            scope_profiles: vec![ScopeProfiles { scope: Some(scope.clone()), profiles }],
        })
    });
    ProfilesData { resource_profiles: resource_profiles.collect(), dictionary: Some(tables.into_dictionary()) }
}

fn process_attributes(profile: &Profile, process: &Process, more: Vec<Attribute>) -> Vec<KeyValue> {
    let value = |key: &str, value| KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) };
    let text = |key: &str, text: &str| (!text.is_empty()).then(|| value(key, Value::Text(text.to_owned())));
    let command = printable(profile.text(process.command_line)).into_owned();
    let more = more.into_iter().filter_map(|(key, of_it)| text(&key, &of_it));
    more.chain([value("process.pid", Value::Number(i64::from(process.pid)))])
        .chain(process.parent_pid.map(|pid| value("process.parent_pid", Value::Number(i64::from(pid)))))
        .chain(text("process.command_line", &command))
        .chain(text("process.runtime.name", "cpython"))
        .chain(text("process.runtime.version", profile.text(process.python_version)))
        .collect()
}

/// The tables as they grow.
struct Tables {
    texts: StringTable,
    locations: Vec<Location>,
    functions: Vec<Function>,
    attributes: Vec<KeyValueAndUnit>,
    attribute_positions: HashMap<(i32, AttributeValue), i32>,
    stacks: Vec<Stack>,
    stack_positions: HashMap<Vec<PlaceId>, i32>,
    of_threads: HashMap<ThreadRef, Vec<i32>>,
}

/// What tells attributes of one key apart.
#[derive(Clone, PartialEq, Eq, Hash)]
enum AttributeValue {
    Text(String),
    Number(i64),
}

impl Tables {
    fn new(places: &Places<'_>) -> Self {
        let mut tables = Self {
            texts: StringTable::default(),
            locations: vec![Location::default()],
            functions: vec![Function::default()],
            attributes: vec![KeyValueAndUnit::default()],
            attribute_positions: HashMap::new(),
            stacks: vec![Stack::default()],
            stack_positions: HashMap::new(),
            of_threads: HashMap::new(),
        };
        let functions = Functions::new(places);
        for function in &functions.all {
            let (name, file) = (tables.text(function.name), tables.text(function.file));
            let start_line = i64::from(function.first_line);
            tables.functions.push(Function { name_strindex: name, filename_strindex: file, start_line });
        }
        for (at, place) in places.all().iter().enumerate() {
            let line = Line {
                function_index: index(functions.function_of(at) + 1),
                line: i64::from(place.line.unwrap_or(0)),
                column: i64::from(place.column),
            };
            let kind = match place.origin {
                Origin::Native => Some("native"),
                Origin::Kernel => Some("kernel"),
                Origin::Marker | Origin::Wait | Origin::Gc => None,
                Origin::Application | Origin::Package | Origin::StandardLibrary => Some("cpython"),
            };
            let kind = kind.map(|kind| tables.attribute("profile.frame.type", AttributeValue::Text(kind.to_owned())));
            let location = Location { lines: vec![line], attribute_indices: kind.into_iter().collect() };
            tables.locations.push(location);
        }
        tables
    }

    fn text(&mut self, text: &str) -> i32 {
        index(self.texts.intern(text))
    }

    fn value_type(&mut self, kind: &str, unit: &str) -> ValueType {
        ValueType { type_strindex: self.text(kind), unit_strindex: self.text(unit) }
    }

    fn attribute(&mut self, key: &str, value: AttributeValue) -> i32 {
        let key_strindex = self.text(key);
        let Self { attributes, attribute_positions, .. } = self;
        *attribute_positions.entry((key_strindex, value)).or_insert_with_key(|(_, value)| {
            let value = match value {
                AttributeValue::Text(text) => Value::Text(text.clone()),
                AttributeValue::Number(number) => Value::Number(*number),
            };
            attributes.push(KeyValueAndUnit { key_strindex, value: Some(AnyValue { value: Some(value) }) });
            index(attributes.len() - 1)
        })
    }

    fn thread_attributes(&mut self, profile: &Profile, id: ThreadRef) -> Vec<i32> {
        if let Some(known) = self.of_threads.get(&id) {
            return known.clone();
        }
        let thread = profile.thread(id);
        let number = i64::try_from(thread.os_id.unwrap_or(thread.python_id)).unwrap_or(i64::MAX);
        let attributes = vec![
            self.attribute("thread.id", AttributeValue::Number(number)),
            self.attribute("thread.name", AttributeValue::Text(thread_name(profile, thread))),
        ];
        self.of_threads.insert(id, attributes.clone());
        attributes
    }

    fn stack(&mut self, places: &Places<'_>, thread: ThreadRef, stack: StackId) -> i32 {
        let mut shown = vec![];
        places.stack(thread, stack, &mut shown);
        let Self { stacks, stack_positions, .. } = self;
        *stack_positions.entry(shown).or_insert_with_key(|shown| {
            let location_indices = shown.iter().rev().map(|place| index(place + 1)).collect();
            stacks.push(Stack { location_indices });
            index(stacks.len() - 1)
        })
    }

    fn into_dictionary(self) -> Dictionary {
        Dictionary {
            mapping_table: vec![Mapping::default()],
            location_table: self.locations,
            function_table: self.functions,
            link_table: vec![Link::default()],
            string_table: self.texts.all,
            attribute_table: self.attributes,
            stack_table: self.stacks,
        }
    }
}

/// A position as the messages have it. Tables of a profile are capped far below the limit, so nothing is lost.
fn index(position: usize) -> i32 {
    i32::try_from(position).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_profiles;
    use crate::profile::Keep;

    #[test]
    fn json_and_protobuf_say_the_same_and_stacks_are_there_once() {
        let profile = test_profiles::usual(Keep::default());
        let mut bytes = vec![];
        write(&profile, &Presentation::default(), false, &mut bytes).unwrap();
        let read = ProfilesData::decode(bytes.as_slice()).unwrap();
        let mut json = vec![];
        write(&profile, &Presentation::default(), true, &mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let tables = read.dictionary.unwrap();
        // Five stacks and the zero value; four functions with two lines of one, and the zero value.
        assert_eq!((tables.stack_table.len(), tables.location_table.len()), (7, 8));
        assert_eq!(json["dictionary"]["stackTable"].as_array().unwrap().len(), 7);
        assert_eq!(json["dictionary"]["locationTable"][1]["lines"][0]["line"], "16");
        let [main, child] = &read.resource_profiles[..] else { panic!("{} processes", read.resource_profiles.len()) };
        let sum = |process: &ResourceProfiles, profile: usize| -> i64 {
            process.scope_profiles[0].profiles[profile].samples.iter().flat_map(|sample| &sample.values).sum()
        };
        assert_eq!((sum(main, 0), sum(main, 1)), (15_000_000_000, 1500));
        assert_eq!((sum(child, 0), sum(child, 1)), (10_000_000_000, 1000));
        assert_eq!(json["resourceProfiles"][1]["resource"]["attributes"][0]["value"]["stringValue"], "python3");
        assert_eq!(json["resourceProfiles"][1]["scopeProfiles"][0]["profiles"][0]["period"], "10000000");
    }
}
