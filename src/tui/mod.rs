//! The live view of `top`: [`State`] is what it holds, [`update()`] changes it by what happens, [`draw()`] puts it on the screen.
//!
//! Limits: knows the profile and nothing of how samples are made; opens no file and reads no terminal. What must be done outside is
//! asked for by [`Effect`].

mod detail;
mod fit;
mod flame;
pub mod index;
pub mod keys;
pub mod layout;
mod names;
pub mod plain;
mod room;
pub mod rows;
mod sideways;
pub mod state;
mod sums;
pub(in crate::tui) mod update;
mod view;
pub mod window;

pub use flame::Block;
pub use state::{Settings, State};
pub use update::{Effect, Event, update};
pub use view::draw;

#[cfg(test)]
mod tests;
