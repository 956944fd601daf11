use super::*;
use crate::output::{Format, Presentation, no_source, test_profiles};
use crate::profile::{Flags, Keep, StackId, Sum};

const TIMED: Keep = Keep { timeline: true, journal: false };

fn render(profile: &Profile) -> Vec<Vec<u8>> {
    let presentation = Presentation { threads: true, processes: true, columns: true, ..Presentation::default() };
    Format::ALL
        .into_iter()
        .filter(|format| *format != Format::Pyspy)
        .map(|format| {
            let mut bytes = vec![];
            format.write(profile, &presentation, &no_source, "", &mut bytes).unwrap();
            bytes
        })
        .collect()
}

#[test]
fn a_recording_renders_as_the_profile_that_it_was_made_from() {
    for keep in [TIMED, Keep::default()] {
        for profile in [test_profiles::usual(keep), test_profiles::hostile(keep)] {
            let mut bytes = vec![];
            write(&profile, &mut bytes).unwrap();
            let recording = read(bytes.as_slice()).unwrap();
            assert!(recording.is_complete);
            assert_eq!(recording.profile.metadata, profile.metadata);
            assert_eq!(recording.profile.has_timeline(), profile.has_timeline());
            assert!(render(&recording.profile) == render(&profile));
        }
    }
}

/// A recording made in ten steps, and where each chunk ends.
fn streamed() -> (Vec<u8>, Vec<usize>) {
    let mut profile = Profile::new(Keep { timeline: false, journal: true });
    profile.metadata.rate_asked = 100.0;
    let process = test_profiles::process(&mut profile, 9, None, "python3");
    let thread = test_profiles::thread(&mut profile, process, 9, None);
    let mut recording = RecordingWriter::new(vec![]).unwrap();
    let mut ends = vec![];
    for second in 0..10u32 {
        let frame = test_profiles::python(&mut profile, &format!("second_{second}"), "/a.py", second + 1);
        let stack = test_profiles::stack(&mut profile, &[frame]);
        for tick in 1..=100 {
            profile.add_sample(thread, stack, u64::from(second) * 1_000_000 + tick * 10_000, 10_000, Flags::ACTIVE);
        }
        profile.set_thread_name(thread, &format!("name {second}"));
        recording.append(&mut profile).unwrap();
        ends.push(recording.writer.len());
    }
    let bytes = recording.finish(&mut profile).unwrap();
    ends.push(bytes.len());
    (bytes, ends)
}

#[test]
fn a_streamed_recording_is_whole_and_knows_late_names() {
    let (bytes, ends) = streamed();
    let recording = read(bytes.as_slice()).unwrap();
    assert!(recording.is_complete && ends.len() == 11);
    let profile = recording.profile;
    assert_eq!(profile.sum(), Sum { samples: 1_000, weight_us: 10_000_000 });
    let (id, thread) = profile.threads().next().unwrap();
    assert_eq!(profile.text(thread.name.unwrap()), "name 9");
    assert_eq!(profile.timeline(id).count(), 10);
    assert_eq!(profile.timeline(id).last().unwrap().end_us(), 10_000_000);
}

#[test]
fn a_recording_cut_off_anywhere_is_read_up_to_the_last_whole_chunk() {
    let (bytes, ends) = streamed();
    for cut in 0..bytes.len() {
        let result = read(&bytes[..cut]);
        if cut < 10 {
            assert!(matches!(result, Err(RecordingError::NotARecording)));
            continue;
        }
        let recording = result.unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count().min(10) as u64;
        assert!(!recording.is_complete);
        assert_eq!(recording.profile.sum().samples, whole * 100, "cut at {cut}");
        assert_eq!(recording.profile.metadata.duration_us, whole * 1_000_000);
    }
}

#[test]
fn a_damaged_recording_never_panics_and_keeps_what_was_before() {
    let (bytes, ends) = streamed();
    for at in 10..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        let recording = read(damaged.as_slice()).unwrap();
        let before = ends.iter().filter(|end| **end <= at).count().min(10) as u64;
        assert!(recording.profile.sum().samples >= before * 100, "damaged at {at}");
    }
}

/// Bodies with a good checksum and nonsense inside, as a hostile file would have.
#[test]
fn nonsense_in_good_chunks_never_panics() {
    let mut parts = vec![0];
    let profile = test_profiles::usual(TIMED);
    let mut writer = RecordingWriter::new(vec![]).unwrap();
    put_text(&mut parts, "{}");
    writer.put_tables(&mut parts, &profile);
    put_changed(&mut parts, &mut writer.processes, profile.processes().map(|(_, process)| process), put_process);
    put_changed(&mut parts, &mut writer.threads, profile.threads().map(|(_, thread)| thread), put_thread);
    let runs: Vec<Run> = profile.threads().flat_map(|(thread, _)| profile.timeline(thread)).take(20).collect();
    put_runs(&mut parts, &runs);
    for at in 0..parts.len() {
        for value in [0, 0x7F, 0xFF, parts[at] ^ 1, parts[at].wrapping_add(1)] {
            let mut bad = parts.clone();
            bad[at] = value;
            let mut encoder = DeflateEncoder::new(vec![], Compression::none());
            encoder.write_all(&bad).unwrap();
            let body = encoder.finish().unwrap();
            let mut crc = Crc::new();
            crc.update(&body);
            let mut file = [MAGIC.as_slice(), &VERSION.to_le_bytes(), CHUNK].concat();
            file.extend_from_slice(&(body.len() as u32).to_le_bytes());
            file.extend_from_slice(&crc.sum().to_le_bytes());
            file.extend_from_slice(&body);
            let recording = read(file.as_slice()).unwrap();
            if at % 97 == 0 {
                render(&recording.profile);
            }
        }
    }
}

#[test]
fn other_files_are_refused_with_a_reason() {
    assert_eq!(read(b"main;f 12\n".as_slice()).unwrap_err().to_string(), "not a pyspy recording");
    let newer = read(b"PYSPYREC\x07\x00".as_slice()).unwrap_err();
    assert_eq!(newer.to_string(), "recording of version 7, but only those up to 2 are known");
}

#[test]
fn a_recording_is_small() {
    let mut profile = Profile::new(Keep { timeline: false, journal: true });
    let process = test_profiles::process(&mut profile, 9, None, "python3");
    let thread = test_profiles::thread(&mut profile, process, 9, None);
    let frames: Vec<_> = (1..500).map(|line| test_profiles::python(&mut profile, "f", "/a.py", line)).collect();
    let mut recording = RecordingWriter::new(vec![]).unwrap();
    for second in 0..60u64 {
        for tick in 0..100u64 {
            let at = (second * 100 + tick) as usize;
            let stack = test_profiles::stack(&mut profile, &[frames[at * 7 % 20], frames[at * 31 % 499]]);
            let late = at as u64 * 37 % 500;
            profile.add_sample(thread, stack, second * 1_000_000 + tick * 10_000 + late, 10_000, Flags::ACTIVE);
        }
        recording.append(&mut profile).unwrap();
    }
    let bytes = recording.finish(&mut profile).unwrap();
    assert!(bytes.len() < 6_000 * 12, "{} bytes for 6,000 samples", bytes.len());
    assert_eq!(read(bytes.as_slice()).unwrap().profile.sum().samples, 6_000);
    assert_ne!(profile.push(StackId::EMPTY, frames[0]), StackId::EMPTY);
}

#[test]
fn a_small_file_does_not_become_gigabytes() {
    const COUNT: u64 = 20 << 20;
    let mut parts = vec![0];
    put_text(&mut parts, &serde_json::to_string(&crate::profile::Metadata::default()).unwrap());
    // Empty texts, a byte each.
    put_varint(&mut parts, COUNT);
    parts.resize(parts.len() + COUNT as usize, 0);
    let mut encoder = DeflateEncoder::new(vec![], Compression::default());
    encoder.write_all(&parts).unwrap();
    let body = encoder.finish().unwrap();
    let mut crc = Crc::new();
    crc.update(&body);
    let mut file = MAGIC.to_vec();
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(CHUNK);
    file.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
    file.extend_from_slice(&crc.sum().to_le_bytes());
    file.extend_from_slice(&body);
    assert!(file.len() < 100_000);
    // Of what makes no sense the beginning is kept, as of a file that was cut off.
    assert!(!read(file.as_slice()).unwrap().is_complete);
}
