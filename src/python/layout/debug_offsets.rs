//! 3.13 and later: offsets from the target itself.
