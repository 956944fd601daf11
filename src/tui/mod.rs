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
pub(crate) mod index;
pub(crate) mod key_bindings;
pub(crate) mod layout;
mod memory_limit;
mod mouse;
mod names;
mod navigate;
pub(crate) mod plain;
mod rows;
mod sideways;
pub(crate) mod state;
mod sums;
mod typing;
mod update;
mod view;
pub(crate) mod window;

pub(crate) use event::{Effect, Event};
pub(crate) use state::{Settings, State};
pub(crate) use update::update;
pub(crate) use view::draw;

#[cfg(test)]
mod tests;
