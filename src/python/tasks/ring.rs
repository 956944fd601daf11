//! Tasks that wait for each other in a ring.

/// Rings of tasks each of which waits for the next, each task in one ring at most. `next` has for each task those that
/// must all do something before it goes on.
pub(super) fn rings(next: &[Vec<usize>]) -> Vec<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        Unseen,
        OnPath,
        Done,
    }
    let mut marks = vec![Mark::Unseen; next.len()];
    let mut rings = Vec::new();
    for start in 0..next.len() {
        if marks[start] != Mark::Unseen {
            continue;
        }
        // A path, and for each of its tasks how many of the next ones were tried.
        let mut path = vec![(start, 0)];
        marks[start] = Mark::OnPath;
        while let Some((task, tried)) = path.last_mut() {
            let Some(following) = next[*task].get(*tried).copied() else {
                marks[*task] = Mark::Done;
                path.pop();
                continue;
            };
            *tried += 1;
            match marks.get(following) {
                Some(Mark::Unseen) => {
                    marks[following] = Mark::OnPath;
                    path.push((following, 0));
                }
                Some(Mark::OnPath) => {
                    let place = path.iter().position(|(task, _)| *task == following).unwrap_or(0);
                    let ring: Vec<usize> = path[place..].iter().map(|(task, _)| *task).collect();
                    // A task of an earlier ring that leads into this one again adds nothing.
                    if !rings.iter().flatten().any(|task| ring.contains(task)) {
                        rings.push(ring);
                    }
                }
                Some(Mark::Done) | None => {}
            }
        }
    }
    rings
}

#[cfg(test)]
mod tests {
    use super::rings;

    #[test]
    fn rings_are_found_in_any_graph() {
        assert_eq!(rings(&[vec![1], vec![2], vec![1], vec![3], vec![0, 9]]), [vec![1, 2], vec![3]]);
        assert_eq!(rings(&[vec![1, 2], vec![3], vec![3], vec![]]), Vec::<Vec<usize>>::new());
        assert_eq!(rings(&[vec![3], vec![0], vec![1], vec![1, 2]]).len(), 1);
        assert!(rings(&[]).is_empty());
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let mut next: Vec<Vec<usize>> = (1..=100_000).map(|index| vec![index]).collect();
        next.push(vec![99_999]);
        assert_eq!(rings(&next), [vec![99_999, 100_000]]);
    }
}
