//! The live view of `top`: [`State`] is what it holds, [`update()`] changes it by what happens, [`draw()`] puts it on
//! the screen.
//!
//! Limits: knows the profile and nothing of how samples are made; opens no file and reads no terminal. What must be
//! done outside is asked for by [`Effect`].

mod condense;
mod detail;
mod event;
mod fit;
mod flame;
pub mod index;
pub mod keys;
pub mod layout;
mod mouse;
mod names;
mod navigate;
pub mod plain;
mod room;
mod rows;
mod sideways;
pub mod state;
mod sums;
mod typing;
mod update;
mod view;
pub mod window;

pub use event::{Effect, Event};
pub use state::{Settings, State};
pub use update::update;
pub use view::draw;

#[cfg(test)]
mod tests;
