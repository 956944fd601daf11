//! Numbers for damage, here and in the tests of [`crate::native`].

/// A xorshift generator: the same damage in every run.
pub(crate) struct Dice(u64);

impl Dice {
    /// Before its first throw.
    pub(crate) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}
