//! The greenlet that a thread runs now, and those that go on when it ends.
//!
//! From greenlet 2.0 on the main greenlet of a thread leads to it. Before, nothing but a variable of the module does.

use std::collections::HashMap;

use super::read::{Fields, Head, Reading, read_bodies};
use super::shape::{ObjectShape, Shape};
use super::{Greenlet, GreenletKind, GreenletTypes};
use crate::python::object::ObjectReader;

/// Greenlets above a greenlet, at most.
const MOST_PARENTS: usize = 64;

/// Where greenlets of a process have what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GreenletShape(Shape);

/// What leads to the greenlet that a thread runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunningGreenlet {
    /// The `ThreadState` of greenlet.
    pub(crate) thread_state: u64,
    /// The main greenlet.
    pub(crate) main: u64,
}

impl GreenletTypes {
    /// Learned from greenlets of which one is the main one of a thread that lives; `None` before greenlet 2.0.
    pub(crate) fn learn_shape(&self, objects: ObjectReader<'_>, greenlets: &[u64]) -> Option<GreenletShape> {
        if self.shape == ObjectShape::Direct {
            return None;
        }
        let heads = self.read_heads(objects, greenlets);
        self.find_shape(objects, &read_bodies(objects, &heads, None)).map(GreenletShape)
    }

    /// The greenlet that a thread runs, then its parents, up to the main greenlet or a hub. `None` where these do not
    /// make sense, are not of that thread any more, or while it switches from one to the other.
    pub(crate) fn running(
        &self,
        objects: ObjectReader<'_>,
        GreenletShape(shape): GreenletShape,
        of: RunningGreenlet,
    ) -> Option<Vec<Greenlet>> {
        let of_thread = objects.pointers(of.thread_state, 2).ok()?;
        let [main, current] = *of_thread.as_slice() else { return None };
        if main != of.main {
            return None;
        }
        let mut reading = Reading::new(self, objects, HashMap::new(), &shape);
        // The main greenlet tells the state of each.
        self.read_one(objects, &shape, main, &mut reading)?;
        let mut found: Vec<Greenlet> = Vec::new();
        let mut next = current;
        loop {
            let head = self.read_one(objects, &shape, next, &mut reading)?;
            if found.is_empty() && reading.known.get(&next).is_none_or(Fields::is_being_switched) {
                return None;
            }
            let greenlet = reading.describe_all(&[head], 0).pop()?;
            let (kind, parent) = (greenlet.kind, greenlet.parent);
            found.push(greenlet);
            match parent {
                Some(parent) if kind == GreenletKind::Ordinary && found.len() < MOST_PARENTS => next = parent,
                _ => return Some(found),
            }
        }
    }

    fn read_one(
        &self,
        objects: ObjectReader<'_>,
        shape: &Shape,
        greenlet: u64,
        reading: &mut Reading<'_>,
    ) -> Option<Head> {
        let heads = self.read_heads(objects, &[greenlet]);
        let (head, body) = read_bodies(objects, &heads, Some(shape)).into_iter().next()?;
        if shape.own.is_some_and(|own| body.word(own) != greenlet) {
            return None;
        }
        reading.known.insert(greenlet, Fields::of(&body, shape));
        Some(head)
    }
}
