//! Adding up weights along stacks: what each place in a tree took by itself and with all below it.

/// What a place in a tree took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    /// The place.
    pub id: u32,
    /// By itself, µs.
    pub own_us: u64,
    /// With all below it, µs.
    pub total_us: u64,
}

/// Buffers for adding up, kept from one time to the next.
#[derive(Debug, Default)]
pub(super) struct Adder {
    sums: Vec<(u64, u64)>,
    seen: Vec<u32>,
    round: u32,
    touched: Vec<u32>,
}

impl Adder {
    /// The sums of every place that has any weight, parents before their children. A tree has `count` places, whose
    /// numbers are higher than their parents'; 0 is the root, of which there is a sum too if there is anything.
    pub(super) fn add_up(
        &mut self,
        count: usize,
        parent: impl Fn(u32) -> u32,
        weights: impl Iterator<Item = (u32, u64)>,
    ) -> Vec<Sum> {
        self.sums.resize(count, (0, 0));
        self.seen.resize(count, 0);
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.seen.fill(0);
            self.round = 1;
        }
        self.touched.clear();
        for (id, weight) in weights {
            let mut at = id;
            while let Some(seen) = self.seen.get_mut(at as usize) {
                if *seen == self.round {
                    break;
                }
                *seen = self.round;
                self.sums[at as usize] = (0, 0);
                self.touched.push(at);
                if at == 0 {
                    break;
                }
                at = parent(at);
            }
            if let Some((own, _)) = self.sums.get_mut(id as usize) {
                *own = own.saturating_add(weight);
            }
        }
        if self.touched.len() > count / 8 {
            // Nearly everything: quicker gone through than sorted.
            self.touched.clear();
            let all = self.seen.iter().take(count).zip(0u32..);
            self.touched.extend(all.filter(|(seen, _)| **seen == self.round).map(|(_, id)| id));
        } else {
            self.touched.sort_unstable();
        }
        for id in self.touched.iter().rev() {
            let (own, below) = self.sums[*id as usize];
            let total = own.saturating_add(below);
            self.sums[*id as usize].1 = total;
            if *id != 0
                && let Some((_, above)) = self.sums.get_mut(parent(*id) as usize)
            {
                *above = above.saturating_add(total);
            }
        }
        self.touched
            .iter()
            .map(|id| {
                let (own_us, total_us) = self.sums[*id as usize];
                Sum { id: *id, own_us, total_us }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_go_up_to_the_root_once() {
        // 0 ─ 1 ─ 2
        //     └── 3 ─ 4      5 hangs below the root and has nothing.
        let parents = [0, 0, 1, 1, 3, 0];
        let mut adder = Adder::default();
        for _ in 0..3 {
            let sums = adder.add_up(6, |id| parents[id as usize], [(2, 5), (4, 7), (2, 1), (1, 2)].into_iter());
            let sums: Vec<_> = sums.iter().map(|sum| (sum.id, sum.own_us, sum.total_us)).collect();
            assert_eq!(sums, [(0, 0, 15), (1, 2, 15), (2, 6, 6), (3, 0, 7), (4, 7, 7)]);
        }
        assert_eq!(adder.add_up(6, |id| parents[id as usize], std::iter::empty()), []);
    }
}
