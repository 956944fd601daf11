//! Chains in the target's memory that never end.

/// Notices a chain that comes back to itself, in constant space (Brent's algorithm).
#[derive(Debug, Default)]
pub(super) struct CycleWatch {
    marked: u64,
    steps: u64,
    limit: u64,
}

impl CycleWatch {
    /// Whether `address`, the next of the chain, was there before.
    pub(super) fn comes_again(&mut self, address: u64) -> bool {
        if address == self.marked {
            return true;
        }
        self.steps += 1;
        if self.steps >= self.limit {
            self.marked = address;
            self.limit = (self.limit * 2).max(8);
            self.steps = 0;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_noticed_wherever_it_begins() {
        for (tail, length) in [(0, 1), (0, 2), (5, 3), (100, 7), (1, 1000)] {
            let mut watch = CycleWatch::default();
            let mut address = 1;
            let mut steps = 0;
            while !watch.comes_again(address) {
                address = if address == tail + length { tail + 1 } else { address + 1 };
                steps += 1;
                assert!(steps < 10_000, "tail {tail}, length {length}");
            }
        }
    }

    #[test]
    fn a_long_chain_is_no_cycle() {
        let mut watch = CycleWatch::default();
        assert!((1..100_000).all(|address| !watch.comes_again(address)));
    }
}
