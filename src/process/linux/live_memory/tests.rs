use super::*;
use crate::process::Mapping;
use crate::process::ThreadActivity;
use crate::process::linux::testing::{Target, forbid_process_vm_readv, wait_until};

/// A Python process with a buffer of known bytes; its memory and the buffer's address.
fn target_with_buffer(length: usize) -> (Target, LiveMemory, u64) {
    let mut target = Target::python(&format!(
        "
import ctypes
block = ctypes.create_string_buffer(bytes(i % 251 for i in range({length})))
ready()
say(str(ctypes.addressof(block)))
sys.stdin.readline()"
    ));
    let address = target.line().parse().unwrap();
    let memory = target.process().memory();
    (target, memory, address)
}

fn expected(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(|place| u8::try_from(place % 251).unwrap()).collect()
}

fn read_all<M: Memory>(memory: &M, wanted: &[(u64, usize)]) -> Vec<Option<Vec<u8>>> {
    let mut buffers: Vec<Vec<u8>> = wanted.iter().map(|(_, length)| vec![0; *length]).collect();
    let mut requests: Vec<Request<'_>> =
        wanted.iter().zip(&mut buffers).map(|((address, _), buffer)| Request::new(*address, buffer)).collect();
    memory.read_many(&mut requests);
    let complete: Vec<bool> = requests.iter().map(|request| request.complete).collect();
    buffers.into_iter().zip(complete).map(|(buffer, complete)| complete.then_some(buffer)).collect()
}

fn check_mixed_batch(memory: &LiveMemory, address: u64) {
    // Unmapped ones first, last, next to each other; empty ones; ones of the kernel's half; one that runs over the
    // end of all.
    let wanted = [
        (0, 8),
        (address, 16),
        (8, 1),
        (u64::MAX - 3, 8),
        (0xffff_8000_0000_0000, 64),
        (address + 100, 400),
        (address + 7, 0),
        (0x0001_0000_0000_0000, 4),
        (address + 4000, 1000),
        (1 << 62, 4),
        (address + 1, 1),
        (0, 8),
    ];
    let found = read_all(memory, &wanted);
    let complete: Vec<usize> = (0..wanted.len()).filter(|index| found[*index].is_some()).collect();
    assert_eq!(complete, [1, 5, 6, 8, 10]);
    assert_eq!(found[1], Some(expected(0..16)));
    assert_eq!(found[5], Some(expected(100..500)));
    assert_eq!(found[8], Some(expected(4000..5000)));
    assert_eq!(found[10], Some(expected(1..2)));
}

#[test]
fn requests_that_fail_do_not_cost_the_others() {
    let (_target, memory, address) = target_with_buffer(8192);
    check_mixed_batch(&memory, address);
    let statistics = memory.statistics();
    assert_eq!((statistics.ranges, statistics.failures), (12, 7));
    assert!(statistics.calls <= 12, "{statistics:?}");
}

#[test]
fn many_requests_take_one_call_per_1024() {
    let (_target, memory, address) = target_with_buffer(4096);
    let wanted: Vec<(u64, usize)> = (0..2500).map(|index| (address + index, 8)).collect();
    let found = read_all(&memory, &wanted);
    for (index, bytes) in found.into_iter().enumerate() {
        assert_eq!(bytes, Some(expected(index..index + 8)));
    }
    let statistics = memory.statistics();
    assert_eq!((statistics.calls, statistics.bytes, statistics.failures), (3, 20_000, 0));
}

#[test]
fn the_lists_of_ranges_are_kept_from_call_to_call() {
    let (_target, memory, address) = target_with_buffer(4096);
    let wanted: Vec<(u64, usize)> = (0..500).map(|index| (address + index, 8)).collect();
    read_all(&memory, &wanted);
    let place = memory.ranges.borrow().local.as_ptr();
    for length in [1, 500, 20, 499] {
        read_all(&memory, &wanted[..length]);
        assert_eq!(memory.ranges.borrow().local.as_ptr(), place);
    }
}

#[test]
fn a_range_that_runs_into_a_hole_is_not_complete() {
    let (target, memory, _) = target_with_buffer(1);
    let maps = target.process().maps().unwrap();
    let next_is_hole = |pair: &[Mapping]| pair[0].readable && pair[0].inode != 0 && pair[0].end < pair[1].start;
    let mapping = &maps.windows(2).find(|pair| next_is_hole(pair)).unwrap()[0];
    // Pages past the end of the file fault as well, so take the first page, and the last byte before the hole by
    // its failure alone.
    assert!(memory.read_u64(mapping.start).is_ok());
    let mut buffer = vec![0; usize::try_from(mapping.size()).unwrap() + 4096];
    assert_eq!(memory.read(mapping.start, &mut buffer).unwrap_err().failure, ReadFailure::Unmapped);
    let found = read_all(&memory, &[(mapping.start, buffer.len()), (mapping.start, 8)]);
    assert_eq!((found[0].is_some(), found[1].is_some()), (false, true));
}

#[test]
fn a_process_that_has_exited_is_gone() {
    let (mut target, memory, address) = target_with_buffer(64);
    assert!(memory.read_u64(address).is_ok());
    target.end();
    assert_eq!(memory.read_u64(address).unwrap_err().failure, ReadFailure::Gone);
    assert_eq!(read_all(&memory, &[(address, 8), (address, 8)]), [None, None]);
    assert_eq!(memory.clone().read_u64(address).unwrap_err().failure, ReadFailure::Gone);
}

#[test]
fn memory_is_read_through_the_file_where_the_call_is_forbidden() {
    let (mut target, memory, address) = target_with_buffer(8192);
    let sandboxed = std::thread::spawn(move || {
        forbid_process_vm_readv();
        check_mixed_batch(&memory, address);
        assert!(memory.reads_through_file());
        assert_eq!(memory.read_u64(0).unwrap_err().failure, ReadFailure::Unmapped);
        assert_eq!(memory.read_bytes(address, 100, 100).unwrap(), expected(0..100));
        memory
    });
    let memory = sandboxed.join().unwrap();
    target.end();
    assert_eq!(memory.read_u64(address).unwrap_err().failure, ReadFailure::Gone);
}

#[test]
fn the_file_is_opened_anew_after_an_exec() {
    let mut target =
        Target::python("ready(); sys.stdin.readline(); os.execvp('sh', ['sh', '-c', 'echo executed; read line'])");
    let process = target.process();
    let memory = process.memory();
    let before = process.image_identity().unwrap();
    *memory.way.borrow_mut() = Way::File(memory.open_file().unwrap());
    assert!(before.is_still_in(&memory));
    target.tell("go");
    assert_eq!(target.line(), "executed");
    assert!(!before.is_still_in(&memory));
    let after = process.image_identity().unwrap();
    assert!(after.is_still_in(&memory));
    assert!(memory.reads_through_file());
}

#[test]
fn memory_is_read_when_only_the_first_thread_has_exited() {
    let mut target = Target::python(&format!(
        "
import ctypes
block = ctypes.create_string_buffer(b'still here')
def other():
    ready()
    say(str(ctypes.addressof(block)))
    sys.stdin.readline()
threading.Thread(target=other).start()
ctypes.CDLL(None).syscall({}, 0)",
        libc::SYS_exit
    ));
    let address = target.line().parse().unwrap();
    let handle = target.handle();
    wait_until("the first thread exits", || handle.stat_line().unwrap().activity == ThreadActivity::Zombie);
    let process = target.process();
    assert!(!process.has_exited());
    assert_eq!(&process.memory().read_array::<10>(address).unwrap(), b"still here");
    assert!(!process.maps().unwrap().is_empty());
    assert!(process.executable().unwrap().to_string_lossy().contains("python"));
    assert!(process.image_identity().unwrap().is_still_in(&process.memory()));
    let mapping = process.maps().unwrap().into_iter().find(|mapping| mapping.path.is_some()).unwrap();
    assert!(process.open_mapping(&mapping).is_ok());
    // The exited first thread counts as gone, the other is held.
    assert_eq!(process.pause_all().unwrap().len(), 1);
}
