//! Lines of instructions.
