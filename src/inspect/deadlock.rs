//! Threads that wait for each other in a ring.

use crate::python::blocked::Blocked;

/// Rings of threads each of which waits for the next, by their indices. `idents` and `blocked` have an entry for each
/// thread: its `threading.get_ident()`, and what it waits for.
pub(super) fn deadlocks(idents: &[u64], blocked: &[Option<Blocked>]) -> Vec<Vec<usize>> {
    let next = |index: usize| match blocked.get(index)? {
        Some(Blocked::Object(wait)) => {
            let holder = wait.holder?;
            idents.iter().position(|ident| *ident == holder)
        }
        _ => None,
    };
    let mut seen = vec![false; idents.len()];
    let mut rings = Vec::new();
    for start in 0..idents.len() {
        let mut path = Vec::new();
        let mut at = Some(start);
        while let Some(index) = at {
            if let Some(place) = path.iter().position(|visited| *visited == index) {
                rings.push(path.split_off(place));
                break;
            }
            if std::mem::replace(&mut seen[index], true) {
                break;
            }
            path.push(index);
            at = next(index);
        }
    }
    rings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::blocked::Wait;

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
}
