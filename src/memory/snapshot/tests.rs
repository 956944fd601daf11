use std::cell::{Cell, RefCell};

use super::*;
use crate::memory::Image;

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

fn sample(snapshot: &mut Snapshot<&Changing>, addresses: &[u64]) -> (Vec<u64>, Verdict) {
    snapshot.begin(false);
    snapshot.start_unit(7);
    snapshot.start_chain();
    let values = addresses.iter().map(|address| snapshot.word(*address).unwrap()).collect();
    (values, snapshot.finish_unit())
}

#[test]
fn the_second_sample_is_one_call() {
    let memory = Changing::with(0x10000, vec![3; 0x4000]);
    let mut snapshot = Snapshot::new(&memory);
    let addresses = [0x10000, 0x10400, 0x12010, 0x13ff8];
    assert_eq!(sample(&mut snapshot, &addresses).1, Verdict::Open);
    assert_eq!(snapshot.verify(&[7], &[]), (vec![Verdict::Proven], vec![]));
    for _ in 0..1000 {
        let calls = memory.calls.get();
        assert_eq!(sample(&mut snapshot, &addresses), (vec![0x0303_0303_0303_0303; 4], Verdict::Proven));
        assert_eq!(memory.calls.get(), calls + 1);
    }
}

#[test]
fn a_change_between_the_two_copies_is_seen() {
    let memory = Changing::with(0x10000, vec![0; 0x1000]);
    let mut snapshot = Snapshot::new(&memory);
    sample(&mut snapshot, &[0x10000]);
    *memory.changes.borrow_mut() = vec![(1, 0x10000, vec![1; 8])];
    let (values, verdict) = sample(&mut snapshot, &[0x10000]);
    assert_eq!((values[0], verdict), (0, Verdict::Moved));
}

#[test]
fn a_unit_at_rest_is_read_once_and_a_change_is_still_noticed() {
    let memory = Changing::with(0x10000, vec![0; 0x1000]);
    let mut snapshot = Snapshot::new(&memory);
    for _ in 0..2 * RESTLESS {
        sample(&mut snapshot, &[0x10000]);
    }
    let requests = memory.requests.get();
    assert_eq!(sample(&mut snapshot, &[0x10000]).1, Verdict::Proven);
    assert_eq!(memory.requests.get(), requests + 1, "one range, one copy");
    memory.write(0x10000, 5);
    assert_eq!(sample(&mut snapshot, &[0x10000]), (vec![5], Verdict::Open));
    memory.write(0x10000, 6);
    assert_eq!(snapshot.verify(&[7], &[]).0, [Verdict::Moved]);
    assert_eq!(sample(&mut snapshot, &[0x10000]), (vec![6], Verdict::Proven), "restless again: two copies");
}

#[test]
fn volatile_values_may_change() {
    let memory = Changing::with(0x10000, vec![0; 0x1000]);
    let mut snapshot = Snapshot::new(&memory);
    for round in 0..10 {
        memory.write(0x10008, round);
        snapshot.begin(false);
        snapshot.start_unit(7);
        snapshot.start_chain();
        assert_eq!(snapshot.word(0x10000), Ok(0));
        assert_eq!(snapshot.volatile_word(0x10008), Ok(round));
        let verdict = snapshot.finish_unit();
        assert!(verdict == Verdict::Proven || round == 0, "{verdict:?} in round {round}");
    }
}

#[test]
fn what_is_no_longer_touched_is_forgotten() {
    let memory = Changing::with(0x10000, vec![0; 0x100_0000]);
    let mut snapshot = Snapshot::new(&memory);
    let wide: Vec<u64> = (0..1000).map(|index| 0x10000 + index * 0x2000).collect();
    sample(&mut snapshot, &wide);
    for _ in 0..2 * LIFETIME_FOR_TEST {
        sample(&mut snapshot, &[0x10000]);
    }
    let requests = memory.requests.get();
    sample(&mut snapshot, &[0x10000]);
    assert!(memory.requests.get() - requests <= 2);
}

const LIFETIME_FOR_TEST: u32 = layout::LIFETIME;

#[test]
fn an_unmapped_neighbour_does_not_spoil_a_read() {
    let memory = Changing::with(0x10020, vec![1; 0x40]);
    let mut snapshot = Snapshot::new(&memory);
    snapshot.begin(false);
    snapshot.start_unit(7);
    snapshot.start_chain();
    assert_eq!(snapshot.half(0x10020), Ok(0x0101_0101));
    assert!(snapshot.word(0x1005c).is_err());
    assert!(snapshot.word(u64::MAX - 3).is_err());
    assert!(snapshot.word(u64::MAX).is_err());
    assert!(snapshot.word(0).is_err());
}

#[test]
fn evidence_is_compared_with_what_is_there_now() {
    let memory = Changing::with(0x10000, vec![1; 0x1000]);
    let mut snapshot = Snapshot::new(&memory);
    let held = snapshot.verify(&[], &[(0x10000, &[1; 20]), (0x10100, &[1; 3]), (0x10100, &[2; 3]), (0x20000, &[1])]).1;
    assert_eq!(held, [true, true, false, false]);
}

#[test]
fn a_deep_walk_through_neighbouring_pages_widens_its_reads() {
    let memory = Changing::with(0x10000, vec![0; 0x20_0000]);
    let mut snapshot = Snapshot::new(&memory);
    snapshot.begin(false);
    snapshot.start_unit(7);
    snapshot.start_chain();
    for index in (0..0x20_0000 / 64).rev() {
        snapshot.word(0x10000 + index * 64).unwrap();
    }
    assert!(memory.calls.get() < 60, "{} calls for 512 pages", memory.calls.get());
}

#[test]
fn a_held_unit_is_read_anew_where_its_line_is_anothers() {
    let memory = Changing::with(0x10000, vec![0; 0x1000]);
    let mut snapshot = Snapshot::new(&memory);
    // The two share a line, and unit 7 was there first.
    let both = |snapshot: &mut Snapshot<&Changing>| {
        sample(snapshot, &[0x10000]);
        snapshot.start_unit(8);
        snapshot.start_chain();
        let value = snapshot.word(0x10008).unwrap();
        snapshot.finish_unit();
        value
    };
    both(&mut snapshot);
    assert_eq!(both(&mut snapshot), 0);
    memory.write(0x10008, 5);
    snapshot.begin_frozen_unit(8, &[]);
    snapshot.start_unit(8);
    snapshot.start_chain();
    assert_eq!(snapshot.word(0x10008).unwrap(), 5);
    assert_eq!(snapshot.finish_unit(), Verdict::Proven);
    snapshot.thaw();
    assert_eq!(both(&mut snapshot), 5);
}

#[test]
fn a_unit_that_rests_is_not_fetched_and_comes_back() {
    let memory = Changing::with(0x10000, vec![0; 0x4000]);
    let mut snapshot = Snapshot::new(&memory);
    let walk = |snapshot: &mut Snapshot<&Changing>, unit: Unit, address: u64| {
        snapshot.start_unit(unit);
        snapshot.start_chain();
        (snapshot.word(address).unwrap(), snapshot.finish_unit())
    };
    for _ in 0..2 * RESTLESS {
        snapshot.begin(false);
        walk(&mut snapshot, 7, 0x10000);
        walk(&mut snapshot, 8, 0x12000);
    }
    let fetched = |snapshot: &mut Snapshot<&Changing>| {
        let requests = memory.requests.get();
        snapshot.begin(false);
        memory.requests.get() - requests
    };
    assert_eq!(fetched(&mut snapshot), 2);
    walk(&mut snapshot, 7, 0x10000);
    snapshot.rest([8].into_iter());
    for _ in 0..10 {
        assert_eq!(fetched(&mut snapshot), 1);
        assert_eq!(walk(&mut snapshot, 7, 0x10000), (0, Verdict::Proven));
    }
    memory.write(0x12000, 5);
    snapshot.rest(std::iter::empty());
    // There is nothing to compare it with: twice.
    assert_eq!(fetched(&mut snapshot), 3);
    assert_eq!(walk(&mut snapshot, 7, 0x10000), (0, Verdict::Proven));
    let calls = memory.calls.get();
    assert_eq!(walk(&mut snapshot, 8, 0x12000), (5, Verdict::Proven));
    assert_eq!(memory.calls.get(), calls);
}

#[test]
fn two_copies_in_the_span_of_another_unit_prove_nothing_together_with_our_own() {
    let memory = Changing::with(0x10000, vec![0; 0x4000]);
    let mut snapshot = Snapshot::new(&memory);
    // Unit 8 has a value in a line that was unit 7's first.
    let walk = |snapshot: &mut Snapshot<&Changing>| {
        snapshot.begin(false);
        snapshot.start_unit(7);
        snapshot.start_chain();
        snapshot.word(0x10000).unwrap();
        snapshot.finish_unit();
        snapshot.start_unit(8);
        snapshot.start_chain();
        let values = (snapshot.word(0x10008).unwrap(), snapshot.word(0x12000).unwrap());
        (values, snapshot.finish_unit())
    };
    walk(&mut snapshot);
    walk(&mut snapshot);
    // Both copies of the first, then a change of it, then both copies of the second with a value that goes with the change.
    memory.write(0x10008, 1);
    memory.write(0x12000, 1);
    *memory.changes.borrow_mut() = vec![(2, 0x10008, 2u64.to_ne_bytes().to_vec())];
    assert_eq!(walk(&mut snapshot), ((1, 1), Verdict::Open));
    assert_eq!(snapshot.verify(&[8], &[]).0, [Verdict::Moved]);
}

/// Reads the head at `head` and the word that it points to.
fn follow(snapshot: &mut Snapshot<&Changing>, head: u64) -> (u64, u64, Verdict) {
    snapshot.begin(false);
    snapshot.start_unit(7);
    let first = snapshot.word(head).unwrap();
    snapshot.start_chain();
    let value = snapshot.word(first).unwrap();
    (first, value, snapshot.finish_unit())
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
        let (first, value, verdict) = follow(&mut snapshot, 0x10000);
        assert_eq!((first, value), (chain, chain + 1));
        if round > 2 {
            assert_eq!(verdict, Verdict::Proven, "round {round}");
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
    assert_eq!(follow(&mut snapshot, 0x10000), (0x12040, 0x12041, Verdict::Proven));
    // The chain changes after the head was read.
    *memory.changes.borrow_mut() = vec![(2, 0x12040, vec![9; 8])];
    assert_eq!(follow(&mut snapshot, 0x10000), (0x12040, 0x12041, Verdict::Moved));
}

#[test]
fn a_second_look_is_for_the_head_too() {
    let memory = head_and_chains();
    let mut snapshot = Snapshot::new(&memory);
    for chain in [0x12000, 0x12040] {
        memory.write(0x10000, chain);
        // What is found by way of the head may be gone when that has moved on, though the chain looks as before.
        if follow(&mut snapshot, 0x10000).2 == Verdict::Open {
            memory.write(0x10000, 0x13000);
            assert_eq!(snapshot.verify(&[7], &[]).0, [Verdict::Moved]);
        }
    }
}

#[test]
fn a_unit_that_moves_all_the_time_is_not_believed_and_asks_to_be_held() {
    let memory = head_and_chains();
    let mut snapshot = Snapshot::new(&memory);
    memory.write(0x10000, 0x12000);
    for _ in 0..4 {
        follow(&mut snapshot, 0x10000);
    }
    // The chain changes after its first copy, which happens in every read.
    let mut round = 0;
    while !snapshot.is_unsteady(7) {
        round += 1;
        *memory.changes.borrow_mut() = vec![(1, 0x12000, vec![round; 8])];
        assert_eq!(follow(&mut snapshot, 0x10000).2, Verdict::Moved);
    }
    assert_eq!(round, 1, "one that is new is on trial");
    memory.changes.take();
    let mut held = 0;
    while snapshot.is_unsteady(7) {
        if snapshot.needs_hold(7) {
            held += 1;
            if held % 2 == 0 {
                assert_eq!(follow(&mut snapshot, 0x10000).2, Verdict::Open, "it was read once");
                assert_eq!(snapshot.verify(&[7], &[]).0, [Verdict::Moved], "another look proves nothing");
                continue;
            }
            snapshot.hold(&[7]);
            assert_eq!(follow(&mut snapshot, 0x10000).2, Verdict::Proven);
            snapshot.hold(&[]);
        } else {
            assert_ne!(follow(&mut snapshot, 0x10000).2, Verdict::Open, "equal; believed only after the last");
        }
        assert!(held < 100);
    }
    assert!(held > 10, "{held}");
    assert_eq!(follow(&mut snapshot, 0x10000).2, Verdict::Proven);
}

#[test]
fn a_held_unit_is_proven_only_as_far_as_it_was_fetched() {
    let memory = head_and_chains();
    let mut snapshot = Snapshot::new(&memory);
    for chain in [0x12000, 0x12040] {
        memory.write(0x10000, chain);
        follow(&mut snapshot, 0x10000);
    }
    snapshot.hold(&[7]);
    assert_eq!(follow(&mut snapshot, 0x10000).2, Verdict::Proven);
    // A chain that no span covers is read when the hold is over.
    memory.write(0x10000, 0x13000);
    assert_eq!(follow(&mut snapshot, 0x10000).2, Verdict::Moved);
}

#[test]
fn a_unit_presumed_still_is_read_once_and_left_to_the_caller_to_prove() {
    let memory = Changing::with(0x1000, vec![0; 0x3000]);
    let mut snapshot = Snapshot::new(&memory);
    let addresses = [0x1000, 0x3000];
    for value in 0..3 {
        memory.write(0x3000, value);
        sample(&mut snapshot, &addresses);
    }
    let requests = memory.requests.take();
    sample(&mut snapshot, &addresses);
    assert_eq!(memory.requests.take(), 4, "{requests}");
    snapshot.presume_still(Some(7));
    for value in 10..20 {
        memory.write(0x3000, value);
        assert_eq!(sample(&mut snapshot, &addresses), (vec![0, value], Verdict::Proven));
        assert_eq!(memory.requests.take(), 2);
        assert!(!snapshot.has_missed(7));
    }
    assert_eq!(sample(&mut snapshot, &[0x1000, 0x3000, 0x2800]).1, Verdict::Proven);
    assert!(snapshot.has_missed(7), "one value was read later");
    // Afterwards it is what it was.
    snapshot.presume_still(None);
    sample(&mut snapshot, &addresses);
    memory.requests.take();
    memory.changes.borrow_mut().push((3, 0x3000, vec![1; 8]));
    assert_eq!(sample(&mut snapshot, &addresses).1, Verdict::Moved);
}

#[test]
fn the_last_word_is_read_after_everything_else() {
    let memory = Changing::with(0x1000, vec![0; 0x3000]);
    let mut snapshot = Snapshot::new(&memory);
    let addresses = [0x1000, 0x3000];
    sample(&mut snapshot, &addresses);
    assert_eq!(snapshot.last_word(), None);
    snapshot.read_last(Some(0x1800));
    snapshot.presume_still(Some(7));
    memory.changes.borrow_mut().push((2, 0x1800, 5_u32.to_ne_bytes().to_vec()));
    assert_eq!(sample(&mut snapshot, &addresses), (vec![0, 0], Verdict::Proven));
    assert_eq!(snapshot.last_word(), Some(5), "it lies between the two, and comes after them");
    snapshot.read_last(Some(0x9000));
    assert_eq!(sample(&mut snapshot, &addresses), (vec![0, 0], Verdict::Proven));
    assert_eq!(snapshot.last_word(), None, "unmapped");
    assert!(!snapshot.has_missed(7));
}

#[test]
fn a_loop_as_long_as_the_way_from_copy_to_copy_is_found_out() {
    let memory = Changing::with(0x10000, vec![0; 0x20000]);
    let mut snapshot = Snapshot::new(&memory);
    let chain: Vec<u64> = (0..8).map(|place| 0x12000 + place * 0x1000).collect();
    let mut rounds = 0;
    while !snapshot.is_unsteady(7) {
        rounds += 1;
        assert!(rounds < 100, "its copies were equal each time");
        if rounds > 2 {
            // One of the values changes after its first copy, and back when as many ranges have been read as there are.
            let change = |after, value: u64| (after, chain[2], value.to_ne_bytes().to_vec());
            *memory.changes.borrow_mut() = vec![change(4, 1), change(10, 0)];
        }
        sample(&mut snapshot, &chain);
        memory.changes.take();
        memory.write(chain[2], 0);
    }
}

#[test]
fn a_unit_is_on_probation_when_it_is_new_or_was_fast() {
    let memory = head_and_chains();
    let mut snapshot = Snapshot::new(&memory);
    memory.write(0x10000, 0x12000);
    follow(&mut snapshot, 0x10000);
    let passed = |snapshot: &mut Snapshot<&Changing>| {
        let mut passed = 0;
        while snapshot.is_on_probation(7) {
            snapshot.has_passed(7);
            passed += 1;
        }
        passed
    };
    let long = passed(&mut snapshot);
    assert!(long > 8, "{long}");
    // It has slept, as it was.
    snapshot.calm(7);
    assert_eq!(passed(&mut snapshot), 0);
    // It was too fast, and has slept since.
    while !snapshot.is_unsteady(7) {
        let value = memory.calls.get() as u8;
        *memory.changes.borrow_mut() = vec![(1, 0x12000, vec![value; 8])];
        follow(&mut snapshot, 0x10000);
    }
    snapshot.calm(7);
    assert_eq!(passed(&mut snapshot), long);
    // It was too fast, and has been slow in some reads since.
    while !snapshot.is_unsteady(7) {
        let value = memory.calls.get() as u8;
        *memory.changes.borrow_mut() = vec![(1, 0x12000, vec![value; 8])];
        follow(&mut snapshot, 0x10000);
    }
    memory.changes.take();
    while snapshot.is_unsteady(7) {
        follow(&mut snapshot, 0x10000);
    }
    assert_eq!(passed(&mut snapshot), long);
    snapshot.judge_anew(7);
    snapshot.trust(7);
    assert_eq!(passed(&mut snapshot), 0);
    snapshot.judge_anew(7);
    assert_eq!(passed(&mut snapshot), long);
}
