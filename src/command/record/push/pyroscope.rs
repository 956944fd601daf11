//! Profiles as Grafana Pyroscope takes them (`push.v1.PusherService/Push`): of each process a pprof file with labels.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;

use prost::Message;

use super::identity::Identities;
use crate::output::{Presentation, pprof, profile_value_name, sort_by};
use crate::profile::Profile;

/// The body of a request.
///
/// # Errors
/// None but those of the compressor.
pub(super) fn request(interval: &Profile, presentation: &Presentation, identities: &Identities) -> io::Result<Vec<u8>> {
    let name = match profile_value_name(interval) {
        // What the web page looks for.
        "cpu" => "process_cpu",
        other => other,
    };
    let parts = pprof::of_processes(interval, presentation)?;
    let series = parts.into_iter().map(|(reference, raw_profile)| {
        let process = interval.process(reference);
        let attributes = identities.attributes(process).into_iter();
        let own = [("__name__".to_owned(), name.to_owned()), ("pid".to_owned(), process.pid.to_string())];
        let mut labels: Vec<LabelPair> = own
            .into_iter()
            .chain(attributes)
            .map(|(name, value)| LabelPair { name: name.replace('.', "_"), value })
            .collect();
        sort_by(&mut labels, |one, other| one.name.cmp(&other.name));
        // What the user gave stands behind what we know, and replaces it.
        labels.reverse();
        labels.dedup_by(|one, other| one.name == other.name);
        labels.reverse();
        RawProfileSeries { labels, samples: vec![RawSample { raw_profile, id: random_id() }] }
    });
    Ok(PushRequest { series: series.collect() }.encode_to_vec())
}

/// A random UUID (version 4).
fn random_id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    let (high, low) = (random() & !0xF000 | 0x4000, random() & !(3 << 62) | 2 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xFFFF,
        high & 0xFFFF,
        low >> 48,
        low & 0xFFFF_FFFF_FFFF
    )
}

// The messages of push.proto, with the fields that are used here.

#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    series: Vec<RawProfileSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct RawProfileSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelPair>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<RawSample>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct RawSample {
    #[prost(bytes = "vec", tag = "1")]
    raw_profile: Vec<u8>,
    #[prost(string, tag = "2")]
    id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_uuids() {
        let (one, other) = (random_id(), random_id());
        assert_ne!(one, other);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{one}");
        assert!(one.as_bytes()[14] == b'4' && b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }
}
