//! Waits for a process to hang: conditions over looks at its threads, a few a second.
//!
//! [`ProcessWatch`] takes in one look after the other and gives [`Event`]s. It remembers of each thread where it stands
//! and since when ([`tracks`]), knows the places where threads rest ([`rest`]), and asks the conditions.
//!
//! Limits: writes nothing, starts nothing, stops nothing. What is told of an event is read by `inspect` afterwards.

mod conditions;
mod event;
mod look;
mod pace;
mod process_watch;
mod rest;
mod tracks;

pub(crate) use conditions::{CallCondition, Conditions, CpuCondition};
pub(crate) use event::{Cause, Event};
pub(crate) use process_watch::ProcessWatch;
