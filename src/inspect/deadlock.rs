//! Threads that wait for each other in a ring.

use std::collections::HashMap;

use crate::python::lock_waits::Blocked;

/// Rings of threads each of which waits for the next, by their indices. `idents` and `blocked` have an entry for each
/// thread: its `threading.get_ident()`, and what it waits for.
pub(super) fn deadlocks(idents: &[u64], blocked: &[Option<Blocked>]) -> Vec<Vec<usize>> {
    let places: HashMap<u64, usize> = idents.iter().enumerate().rev().map(|(place, ident)| (*ident, place)).collect();
    let next = |index: usize| match blocked.get(index)? {
        Some(Blocked::Object(wait)) => places.get(&wait.holder?).copied(),
        _ => None,
    };
    // For each thread the path on which it was seen, and its place on that path.
    let mut seen: Vec<Option<(usize, usize)>> = vec![None; idents.len()];
    let mut rings = Vec::new();
    for start in 0..idents.len() {
        let mut path = Vec::new();
        let mut at = Some(start);
        while let Some(index) = at {
            if let Some((path_start, place)) = seen[index] {
                if path_start == start {
                    rings.push(path.split_off(place));
                }
                break;
            }
            seen[index] = Some((start, path.len()));
            path.push(index);
            at = next(index);
        }
    }
    rings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::lock_waits::Wait;

    fn waits_for(holder: u64) -> Option<Blocked> {
        let operation = "RLock.acquire".to_owned();
        Some(Blocked::Object(Wait { operation, object: 0, holder: Some(holder), joined: None }))
    }

    #[test]
    fn rings_are_found_and_what_leads_into_them_is_not_part_of_them() {
        let idents: Vec<u64> = (10..16).collect();
        // 0 → 1 → 2 → 1; 3 → 3; 4 → 0; 5 waits for nobody.
        let blocked = [waits_for(11), waits_for(12), waits_for(11), waits_for(13), waits_for(10), waits_for(99)];
        assert_eq!(deadlocks(&idents, &blocked), [vec![1, 2], vec![3]]);
        assert!(deadlocks(&idents, &[const { None }; 6]).is_empty());
        assert!(deadlocks(&[], &[]).is_empty());
    }

    #[test]
    fn a_long_queue_before_a_large_ring_is_gone_through_once() {
        const COUNT: usize = 1 << 18;
        // The upper half is a ring, which the lower half leads into.
        let next = |index: usize| if index + 1 < COUNT { index + 1 } else { COUNT / 2 };
        let idents: Vec<u64> = (0..COUNT as u64).collect();
        let blocked: Vec<_> = (0..COUNT).map(|index| waits_for(next(index) as u64)).collect();
        let started = std::time::Instant::now();
        assert_eq!(deadlocks(&idents, &blocked), [(COUNT / 2..COUNT).collect::<Vec<_>>()]);
        // Comparing each with each would take minutes.
        assert!(started.elapsed() < std::time::Duration::from_secs(20));
    }
}
