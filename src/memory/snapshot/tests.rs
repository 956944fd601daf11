use std::cell::{Cell, RefCell};

use super::*;
use crate::memory::{COMMON, Image};
use prefetch::LIFETIME;

/// An image that counts calls and can change between two requests of one call.
#[derive(Default)]
struct Changing {
    image: RefCell<Image>,
    calls: Cell<u32>,
    requests: Cell<u32>,
    /// After so many more requests, writes these bytes.
    changes: RefCell<Vec<(u32, u64, Vec<u8>)>>,
}

impl Changing {
    fn with(address: u64, bytes: Vec<u8>) -> Self {
        let memory = Self::default();
        memory.image.borrow_mut().map(address, bytes);
        memory
    }

    fn write(&self, address: u64, value: u64) {
        self.image.borrow_mut().patch(address, &value.to_ne_bytes());
    }

    fn serve(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.requests.set(self.requests.get() + 1);
        self.changes.borrow_mut().retain_mut(|(left, place, bytes)| {
            if *left == 0 {
                self.image.borrow_mut().patch(*place, bytes);
                return false;
            }
            *left -= 1;
            true
        });
        self.image.borrow().read(address, buffer)
    }
}

impl Memory for Changing {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.calls.set(self.calls.get() + 1);
        self.serve(address, buffer)
    }

    fn read_many(&self, requests: &mut [Request<'_>]) {
        self.calls.set(self.calls.get() + 1);
        for request in requests {
            request.complete = self.serve(request.address, request.buffer).is_ok();
        }
    }
}

/// Begins a sample in which all units are fetched in one way.
fn fetch(snapshot: &mut Snapshot<&Changing>, copies: Copies) {
    fetch_with(snapshot, &|_| copies);
}

fn fetch_with(snapshot: &mut Snapshot<&Changing>, copies_of: &dyn Fn(Unit) -> Copies) {
    let plan = ReadPlan { copies_of, leaves_out_the_same: false, is_stopped: false };
    snapshot.fetch_planned(&plan, &mut []);
}

/// Walks through words of unit 7 that its chain consists of.
fn walk(snapshot: &mut Snapshot<&Changing>, addresses: &[u64]) -> (Vec<u64>, Evidence) {
    walk_of(snapshot, 7, addresses)
}

fn walk_of(snapshot: &mut Snapshot<&Changing>, unit: Unit, addresses: &[u64]) -> (Vec<u64>, Evidence) {
    snapshot.start_walk(unit);
    snapshot.start_chain();
    let values = addresses.iter().map(|address| snapshot.word(*address).unwrap()).collect();
    snapshot.finish_walk();
    (values, snapshot.evidence_of(unit).unwrap())
}

fn sample(snapshot: &mut Snapshot<&Changing>, copies: Copies, addresses: &[u64]) -> (Vec<u64>, Evidence) {
    fetch(snapshot, copies);
    walk(snapshot, addresses)
}

#[test]
fn the_second_sample_is_one_call() {
    let memory = Changing::with(0x10000, vec![3; 0x4000]);
    let mut snapshot = Snapshot::new(&memory);
    let addresses = [0x10000, 0x10400, 0x12010, 0x13ff8];
    let (_, evidence) = sample(&mut snapshot, Copies::Two, &addresses);
    assert_eq!(evidence, Evidence { copies: CopiesFound::Single, is_as_before: false, has_missed: true });
    assert_eq!(snapshot.revalidate(&[7], &[]).units, [true]);
    for _ in 0..1000 {
        let calls = memory.calls.get();
        let (values, evidence) = sample(&mut snapshot, Copies::Two, &addresses);
        assert_eq!(values, [0x0303_0303_0303_0303; 4]);
        assert_eq!((evidence.copies, evidence.has_missed), (CopiesFound::Equal, false));
        assert_eq!(memory.calls.get(), calls + 1);
    }
}

#[test]
fn a_change_between_the_two_copies_is_seen() {
    let memory = Changing::with(0x10000, vec![0; 0x1000]);
    let mut snapshot = Snapshot::new(&memory);
    sample(&mut snapshot, Copies::Two, &[0x10000]);
    *memory.changes.borrow_mut() = vec![(1, 0x10000, vec![1; 8])];
    let (values, evidence) = sample(&mut snapshot, Copies::Two, &[0x10000]);
    assert_eq!((values[0], evidence.copies), (0, CopiesFound::Torn));
}

#[test]
fn one_copy_is_compared_with_the_previous_sample() {
    let memory = Changing::with(0x10000, vec![0; 0x1000]);
    let mut snapshot = Snapshot::new(&memory);
    sample(&mut snapshot, Copies::OneIfKnown, &[0x10000]);
    let (_, evidence) = sample(&mut snapshot, Copies::OneIfKnown, &[0x10000]);
    assert_eq!(evidence.copies, CopiesFound::Equal, "nothing to compare it with: two copies");
    let requests = memory.requests.get();
    let (_, evidence) = sample(&mut snapshot, Copies::OneIfKnown, &[0x10000]);
    assert_eq!(memory.requests.get(), requests + 1, "one range, one copy");
    assert_eq!((evidence.copies, evidence.is_as_before), (CopiesFound::Single, true));
    memory.write(0x10000, 5);
    let (values, evidence) = sample(&mut snapshot, Copies::OneIfKnown, &[0x10000]);
    assert_eq!((values[0], evidence.copies, evidence.is_as_before), (5, CopiesFound::Single, false));
    memory.write(0x10000, 6);
    assert_eq!(snapshot.revalidate(&[7], &[]).units, [false]);
}

#[test]
fn volatile_values_may_change() {
    let memory = Changing::with(0x10000, vec![0; 0x1000]);
    let mut snapshot = Snapshot::new(&memory);
    for round in 0..10 {
        memory.write(0x10008, round);
        fetch(&mut snapshot, Copies::OneIfKnown);
        snapshot.start_walk(7);
        snapshot.start_chain();
        assert_eq!(snapshot.word(0x10000), Ok(0));
        assert_eq!(snapshot.volatile_word(0x10008), Ok(round));
        snapshot.finish_walk();
        assert!(snapshot.evidence_of(7).unwrap().is_as_before || round < 2, "round {round}");
        assert_eq!(snapshot.revalidate(&[7], &[]).units, [true]);
    }
}

#[test]
fn what_is_no_longer_touched_is_forgotten() {
    let memory = Changing::with(0x10000, vec![0; 0x100_0000]);
    let mut snapshot = Snapshot::new(&memory);
    let wide: Vec<u64> = (0..1000).map(|index| 0x10000 + index * 0x2000).collect();
    sample(&mut snapshot, Copies::Two, &wide);
    for _ in 0..2 * LIFETIME {
        sample(&mut snapshot, Copies::Two, &[0x10000]);
    }
    let requests = memory.requests.get();
    sample(&mut snapshot, Copies::Two, &[0x10000]);
    assert!(memory.requests.get() - requests <= 2);
}

#[test]
fn an_unmapped_neighbour_does_not_spoil_a_read() {
    let memory = Changing::with(0x10020, vec![1; 0x40]);
    let mut snapshot = Snapshot::new(&memory);
    fetch(&mut snapshot, Copies::Two);
    snapshot.start_walk(7);
    snapshot.start_chain();
    assert_eq!(snapshot.half(0x10020), Ok(0x0101_0101));
    assert!(snapshot.word(0x1005c).is_err());
    assert!(snapshot.word(u64::MAX - 3).is_err());
    assert!(snapshot.word(u64::MAX).is_err());
    assert!(snapshot.word(0).is_err());
}

#[test]
fn ranges_are_compared_with_what_is_there_now() {
    let memory = Changing::with(0x10000, vec![1; 0x1000]);
    let mut snapshot = Snapshot::new(&memory);
    let ranges: [(u64, &[u8]); 4] = [(0x10000, &[1; 20]), (0x10100, &[1; 3]), (0x10100, &[2; 3]), (0x20000, &[1])];
    assert_eq!(snapshot.revalidate(&[], &ranges).ranges, [true, true, false, false]);
}

#[test]
fn a_deep_walk_through_neighbouring_pages_widens_its_reads() {
    let memory = Changing::with(0x10000, vec![0; 0x20_0000]);
    let mut snapshot = Snapshot::new(&memory);
    fetch(&mut snapshot, Copies::Two);
    snapshot.start_walk(7);
    snapshot.start_chain();
    for index in (0..0x20_0000 / 64).rev() {
        snapshot.word(0x10000 + index * 64).unwrap();
    }
    assert!(memory.calls.get() < 60, "{} calls for 512 pages", memory.calls.get());
}

#[test]
fn a_stopped_unit_is_read_anew_where_its_line_is_anothers() {
    let memory = Changing::with(0x10000, vec![0; 0x1000]);
    let mut snapshot = Snapshot::new(&memory);
    // The two share a line, and unit 7 was there first.
    let both = |snapshot: &mut Snapshot<&Changing>| {
        sample(snapshot, Copies::Two, &[0x10000]);
        walk_of(snapshot, 8, &[0x10008]).0[0]
    };
    both(&mut snapshot);
    assert_eq!(both(&mut snapshot), 0);
    memory.write(0x10008, 5);
    let mut last = [LastWord::new(0x10008), LastWord::new(0x90000)];
    snapshot.fetch_unit(8, true, &mut last);
    assert_eq!(last.map(|word| word.value), [Some(5), None]);
    let (values, evidence) = walk_of(&mut snapshot, 8, &[0x10008]);
    assert_eq!((values[0], evidence.has_missed), (5, false), "what is missing is read during the stop");
    snapshot.note_resumed();
    assert_eq!(both(&mut snapshot), 5);
}

#[test]
fn a_unit_that_is_left_out_is_not_fetched_and_comes_back() {
    let memory = Changing::with(0x10000, vec![0; 0x4000]);
    let mut snapshot = Snapshot::new(&memory);
    for _ in 0..3 {
        fetch(&mut snapshot, Copies::OneIfKnown);
        walk_of(&mut snapshot, 7, &[0x10000]);
        walk_of(&mut snapshot, 8, &[0x12000]);
    }
    let fetched = |snapshot: &mut Snapshot<&Changing>, left_out: Unit| {
        let requests = memory.requests.get();
        fetch_with(snapshot, &|unit| if unit == left_out { Copies::None } else { Copies::OneIfKnown });
        memory.requests.get() - requests
    };
    assert_eq!(fetched(&mut snapshot, COMMON), 2);
    walk(&mut snapshot, &[0x10000]);
    for _ in 0..10 {
        assert_eq!(fetched(&mut snapshot, 8), 1);
        assert!(walk(&mut snapshot, &[0x10000]).1.is_as_before);
        assert_eq!(snapshot.evidence_of(8), None, "it was not walked");
    }
    memory.write(0x12000, 5);
    // There is nothing to compare it with: twice.
    assert_eq!(fetched(&mut snapshot, COMMON), 3);
    let calls = memory.calls.get();
    let (values, evidence) = walk_of(&mut snapshot, 8, &[0x12000]);
    assert_eq!((values[0], evidence.copies, evidence.is_as_before), (5, CopiesFound::Equal, false));
    assert_eq!(memory.calls.get(), calls);
}

#[test]
fn the_units_left_out_are_asked_for_again_only_where_they_have_changed() {
    let memory = Changing::with(0x10000, vec![0; 0x4000]);
    let mut snapshot = Snapshot::new(&memory);
    for _ in 0..2 {
        fetch(&mut snapshot, Copies::Two);
        walk_of(&mut snapshot, 7, &[0x10000]);
        walk_of(&mut snapshot, 8, &[0x12000]);
    }
    let asked = RefCell::new(Vec::new());
    let copies_of = |unit: Unit| {
        asked.borrow_mut().push(unit);
        asked.borrow_mut().retain(|unit| *unit != COMMON);
        if unit == 8 { Copies::None } else { Copies::Two }
    };
    for (leaves_out_the_same, expected) in [(false, vec![7, 8]), (true, vec![7]), (false, vec![7, 8])] {
        asked.borrow_mut().clear();
        snapshot.fetch_planned(&ReadPlan { copies_of: &copies_of, leaves_out_the_same, is_stopped: false }, &mut []);
        walk_of(&mut snapshot, 7, &[0x10000]);
        assert_eq!(*asked.borrow(), expected);
    }
}

#[test]
fn two_copies_in_the_span_of_another_unit_prove_nothing_together_with_our_own() {
    let memory = Changing::with(0x10000, vec![0; 0x4000]);
    let mut snapshot = Snapshot::new(&memory);
    // Unit 8 has a value in a line that was unit 7's first.
    let both = |snapshot: &mut Snapshot<&Changing>| {
        sample(snapshot, Copies::Two, &[0x10000]);
        walk_of(snapshot, 8, &[0x10008, 0x12000])
    };
    both(&mut snapshot);
    both(&mut snapshot);
    // Both copies of the first, then a change of it, then both copies of the second with a value that goes with it.
    memory.write(0x10008, 1);
    memory.write(0x12000, 1);
    *memory.changes.borrow_mut() = vec![(2, 0x10008, 2u64.to_ne_bytes().to_vec())];
    let (values, evidence) = both(&mut snapshot);
    assert_eq!((values, evidence.copies), (vec![1, 1], CopiesFound::Single));
    assert_eq!(snapshot.revalidate(&[8], &[]).units, [false]);
}

/// Reads the head at `head` and the word that it points to.
fn follow(snapshot: &mut Snapshot<&Changing>, head: u64) -> (u64, u64, CopiesFound) {
    fetch(snapshot, Copies::Two);
    snapshot.start_walk(7);
    let first = snapshot.word(head).unwrap();
    snapshot.start_chain();
    let value = snapshot.word(first).unwrap();
    snapshot.finish_walk();
    (first, value, snapshot.evidence_of(7).unwrap().copies)
}

/// A head at 0x10000 that has pointed to both of two chains, which are fetched together.
fn head_and_chains() -> Changing {
    let memory = Changing::with(0x10000, vec![0; 0x4000]);
    for chain in [0x12000, 0x12040] {
        memory.write(chain, chain + 1);
    }
    memory
}

#[test]
fn a_head_that_moves_all_the_time_does_not_spoil_a_chain_that_stands_still() {
    let memory = head_and_chains();
    let mut snapshot = Snapshot::new(&memory);
    for (round, chain) in [0x12000, 0x12040].into_iter().cycle().take(100).enumerate() {
        memory.write(0x10000, chain);
        let (calls, requests) = (memory.calls.get(), memory.requests.get());
        let (first, value, copies) = follow(&mut snapshot, 0x10000);
        assert_eq!((first, value), (chain, chain + 1));
        if round > 2 {
            assert_eq!(copies, CopiesFound::Equal, "round {round}");
            // The chain, the head, the chain.
            assert_eq!((memory.calls.get() - calls, memory.requests.get() - requests), (1, 3));
        }
    }
}

#[test]
fn the_head_is_read_between_the_copies_of_the_chain() {
    let memory = head_and_chains();
    let mut snapshot = Snapshot::new(&memory);
    for chain in [0x12000, 0x12040].into_iter().cycle().take(8) {
        memory.write(0x10000, chain);
        follow(&mut snapshot, 0x10000);
    }
    // After the first copy of the chain, and before the head is read.
    memory.write(0x10000, 0x12000);
    *memory.changes.borrow_mut() = vec![(1, 0x10000, 0x12040u64.to_ne_bytes().to_vec())];
    assert_eq!(follow(&mut snapshot, 0x10000), (0x12040, 0x12041, CopiesFound::Equal));
    // The chain changes after the head was read.
    *memory.changes.borrow_mut() = vec![(2, 0x12040, vec![9; 8])];
    assert_eq!(follow(&mut snapshot, 0x10000), (0x12040, 0x12041, CopiesFound::Torn));
}

#[test]
fn a_second_look_is_for_the_head_too() {
    let memory = head_and_chains();
    let mut snapshot = Snapshot::new(&memory);
    memory.write(0x10000, 0x12000);
    follow(&mut snapshot, 0x10000);
    assert_eq!(snapshot.revalidate(&[7], &[]).units, [true]);
    // What is found by way of the head may be gone when that has moved on, though the chain looks as before.
    memory.write(0x10000, 0x13000);
    assert_eq!(snapshot.revalidate(&[7], &[]).units, [false]);
}

#[test]
fn what_was_read_after_the_rest_is_told() {
    let memory = Changing::with(0x1000, vec![0; 0x3000]);
    let mut snapshot = Snapshot::new(&memory);
    for _ in 0..3 {
        sample(&mut snapshot, Copies::One, &[0x1000, 0x3000]);
    }
    let requests = memory.requests.take();
    let (_, evidence) = sample(&mut snapshot, Copies::One, &[0x1000, 0x3000]);
    assert_eq!((evidence.has_missed, memory.requests.take()), (false, 2), "{requests}");
    assert!(sample(&mut snapshot, Copies::One, &[0x1000, 0x3000, 0x2800]).1.has_missed);
    // While nothing changes it makes no difference.
    let plan = ReadPlan { copies_of: &|_| Copies::Two, leaves_out_the_same: false, is_stopped: true };
    snapshot.fetch_planned(&plan, &mut []);
    memory.requests.take();
    assert!(!walk(&mut snapshot, &[0x1000, 0x3000, 0x1800]).1.has_missed);
    assert_eq!(memory.requests.take(), 1);
}

#[test]
fn the_last_word_is_read_after_everything_else() {
    let memory = Changing::with(0x1000, vec![0; 0x3000]);
    let mut snapshot = Snapshot::new(&memory);
    sample(&mut snapshot, Copies::One, &[0x1000, 0x3000]);
    let plan = ReadPlan { copies_of: &|_| Copies::One, leaves_out_the_same: true, is_stopped: false };
    memory.changes.borrow_mut().push((2, 0x1800, 5_u64.to_ne_bytes().to_vec()));
    let mut last = [LastWord::new(0x1800)];
    snapshot.fetch_planned(&plan, &mut last);
    assert_eq!(last[0].value, Some(5), "it lies between the two, and comes after them");
    let mut last = [LastWord::new(0x9000)];
    snapshot.fetch_planned(&plan, &mut last);
    assert_eq!(last[0].value, None, "unmapped");
    assert!(!walk(&mut snapshot, &[0x1000, 0x3000]).1.has_missed);
}
