//! Who is sampled, and when.

mod clock;

pub use clock::Clock;
