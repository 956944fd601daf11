//! What greenlets say of themselves, once it is proven that they are some.

use std::collections::HashMap;

use super::kept_stack::KeptStack;
use super::shape::{BODY_SIZE, Body, ObjectShape, Offset, Shape};
use super::types::{GreenletType, full_name};
use super::{Greenlet, GreenletError, GreenletKind, GreenletState, GreenletTypes};
use crate::memory::{ReadError, Request};
use crate::python::layout::OwnLine;
use crate::python::object::ObjectReader;
use crate::python::stack::Stacks;

/// So many objects are read together.
const AT_ONCE: usize = 512;
/// More than the part of an object that is read first, in bytes.
const LARGEST_HEAD: usize = 64;
/// Pages end where this divides the address, at the least.
const PAGE: u64 = 4096;
/// The upper end of the addresses of programs.
const END_OF_ADDRESSES: u64 = 1 << 56;
/// As many parents are followed to a main greenlet.
const MOST_PARENTS: usize = 1024;
/// Frames of all greenlets together that are read: each takes some hundred bytes until it is shown.
const MOST_FRAMES_OF_ALL: usize = 100_000;
/// How much of a name is read, in characters.
const NAME_LIMIT: usize = 1024;

/// An object that says that it is a greenlet, and where its data are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// The object.
    pub(super) greenlet: u64,
    /// Its type.
    type_object: u64,
    /// What has its data.
    data: u64,
}

/// What the data of a greenlet mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    start: u64,
    stop: u64,
    copy: u64,
    saved: u64,
    top_frame: u64,
    /// The caller of the newest frame where it is cut off, else 0.
    caller: u64,
    run: u64,
    /// 0 of a main greenlet, and where there is none.
    parent: u64,
    /// 0 where it is not told.
    main: u64,
    /// Of a main greenlet where it is told.
    thread_state: u64,
    /// Whether it is a main greenlet.
    is_main: bool,
}

/// What a main greenlet tells of its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ThreadOf {
    /// Nothing.
    Unknown,
    /// It has ended.
    Ended,
    /// The greenlet that it runs.
    Runs(u64),
}

impl Fields {
    /// Whether it has its newest frame: from the time that it begins to be left on until it has all of the thread
    /// again. While greenlets are switched, the thread's frames are those of another than the one that is called the
    /// current one.
    pub(super) fn is_being_switched(&self) -> bool {
        self.top_frame != 0
    }

    /// What a body says.
    pub(super) fn of(body: &Body, shape: &Shape) -> Self {
        let optional = |offset: Option<Offset>| offset.map_or(0, |offset| body.word(offset));
        let stop = body.word(shape.stack + 8);
        // One whose thread has ended has no stack any more.
        let is_main = shape.main_table.map_or(stop == u64::MAX, |table| body.word(0) == table);
        let unless_main = |word: u64| if is_main { 0 } else { word };
        Self {
            start: body.word(shape.stack),
            stop,
            copy: body.word(shape.stack + 16),
            saved: body.word(shape.stack + 24),
            top_frame: body.word(shape.top_frame),
            caller: optional(shape.caller),
            run: unless_main(body.word(shape.run)),
            parent: unless_main(body.word(shape.parent)),
            main: unless_main(optional(shape.main)),
            thread_state: if is_main { optional(shape.thread_state) } else { 0 },
            is_main,
        }
    }
}

impl GreenletTypes {
    /// Reads those of `candidates` that are greenlets, in their order. Their frames are said to be run by the
    /// interpreter with the index `interpreter`.
    ///
    /// # Errors
    /// When what says that it is a greenlet is mostly not as one of a known release.
    pub(crate) fn read(
        &self,
        objects: ObjectReader<'_>,
        candidates: &[u64],
        interpreter: usize,
    ) -> Result<Vec<Greenlet>, GreenletError> {
        let heads = self.read_heads(objects, candidates);
        let mut found = read_bodies(objects, &heads, None);
        found.retain(|(head, body)| self.shape == ObjectShape::Direct || body.has_word(head.greenlet));
        let identified = found.len();
        let refusal = |inconsistent: usize| GreenletError::UnknownShape {
            greenlet: self.version,
            python: objects.layout().version,
            identified,
            inconsistent,
        };
        let Some(shape) = self.find_shape(objects, &found) else {
            // A thread that lives has a main greenlet, and that says so in the end of its stack; all greenlets of
            // threads that have ended are finished.
            let may_live = found.iter().any(|(_, body)| body.has_word(u64::MAX));
            return if may_live { Err(refusal(identified)) } else { Ok(Vec::new()) };
        };
        // What merely refers to a greenlet is none.
        found.retain(|(head, body)| shape.own.is_none_or(|own| body.word(own) == head.greenlet));
        let known: HashMap<u64, Fields> =
            found.iter().map(|(head, body)| (head.greenlet, Fields::of(body, &shape))).collect();
        let mut reading = Reading::new(self, objects, known, &shape);
        let before = found.len();
        found.retain(|(head, _)| reading.is_consistent(head.greenlet));
        let inconsistent = before - found.len();
        // In a program that runs some may just change; of the oldest releases nothing else tells what is a greenlet.
        if !reading.is_direct && inconsistent > found.len() {
            return Err(refusal(inconsistent));
        }
        let proven: Vec<Head> = found.into_iter().map(|(head, _)| head).collect();
        let proven_fields: HashMap<u64, Fields> =
            proven.iter().map(|head| (head.greenlet, reading.known[&head.greenlet])).collect();
        reading.known = proven_fields;
        Ok(reading.describe_all(&proven, interpreter))
    }

    /// The heads of those candidates that look like greenlets.
    pub(super) fn read_heads(&self, objects: ObjectReader<'_>, candidates: &[u64]) -> Vec<Head> {
        let layout = &objects.layout().object;
        let (pointer, length) = match self.shape {
            ObjectShape::Direct => (None, layout.head_size as usize),
            ObjectShape::Pointer(offset) => (Some(offset as usize), offset as usize + 8),
        };
        let length = length.min(LARGEST_HEAD);
        let mut buffer = [0; AT_ONCE * LARGEST_HEAD];
        let mut heads = Vec::new();
        for some in candidates.chunks(AT_ONCE) {
            let parts = some.iter().zip(buffer.chunks_exact_mut(length));
            let mut requests: Vec<Request<'_>> = parts.map(|(address, part)| Request::new(*address, part)).collect();
            objects.memory().read_many(&mut requests);
            for request in requests.iter().filter(|request| request.complete) {
                let word = |offset: usize| {
                    let bytes = request.buffer.get(offset..).and_then(|bytes| bytes.first_chunk());
                    bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
                };
                let type_object = word(layout.ob_type as usize);
                let data = pointer.map_or(request.address, word);
                let is_plausible = data != 0 && data.is_multiple_of(8) && data < END_OF_ADDRESSES;
                // `ob_refcnt` comes first, with flags in its upper half (3.14+). Without a GIL there is no one count.
                let is_alive = objects.layout().free_threaded || word(0) & 0xFFFF_FFFF != 0;
                if is_plausible && is_alive && self.get(type_object).is_some() {
                    heads.push(Head { greenlet: request.address, type_object, data });
                }
            }
        }
        heads
    }

    /// The shape of all, as the first main greenlet shows it whose thread lives.
    pub(super) fn find_shape(&self, objects: ObjectReader<'_>, found: &[(Head, Body)]) -> Option<Shape> {
        if self.shape == ObjectShape::Direct {
            return Some(Shape::direct());
        }
        found.iter().find_map(|(head, body)| {
            let is_state = |state: u64| objects.pointer(state, 0) == Ok(head.greenlet);
            Shape::learn(objects.layout(), head.greenlet, body, is_state)
        })
    }
}

/// The data of some greenlets, no more than `shape` says that there are.
pub(super) fn read_bodies(objects: ObjectReader<'_>, heads: &[Head], shape: Option<&Shape>) -> Vec<(Head, Body)> {
    let size = shape.map_or(BODY_SIZE, |shape| BODY_SIZE.min(shape.parent as usize + 8));
    let mut found: Vec<(Head, Body)> = heads.iter().map(|head| (*head, Body([0; BODY_SIZE]))).collect();
    for some in found.chunks_mut(AT_ONCE) {
        let mut requests = Vec::new();
        for (head, Body(bytes)) in &mut *some {
            // It may end before as much as is read, but then not before its page does.
            let in_page = usize::try_from(PAGE - head.data % PAGE).unwrap_or(0).min(size);
            let (first, second) = bytes[..size].split_at_mut(in_page);
            requests.push(Request::new(head.data, first));
            if !second.is_empty() {
                requests.push(Request::new(head.data.wrapping_add(in_page as u64), second));
            }
        }
        objects.memory().read_many(&mut requests);
        for request in requests {
            if !request.complete {
                request.buffer.fill(0);
            }
        }
    }
    found
}

/// One reading of greenlets of a process.
pub(super) struct Reading<'target> {
    types: &'target GreenletTypes,
    objects: ObjectReader<'target>,
    /// What those say that were read.
    pub(super) known: HashMap<u64, Fields>,
    is_direct: bool,
    /// `PyFrame_Type`, once an object was seen to be of it.
    frame_type: Option<u64>,
}

impl<'target> Reading<'target> {
    /// Of greenlets that say this.
    pub(super) fn new(
        types: &'target GreenletTypes,
        objects: ObjectReader<'target>,
        known: HashMap<u64, Fields>,
        shape: &Shape,
    ) -> Self {
        Self { types, objects, known, is_direct: shape.own.is_none(), frame_type: None }
    }

    /// Whether what a greenlet says goes together.
    fn is_consistent(&mut self, greenlet: u64) -> bool {
        let Some(fields) = self.known.get(&greenlet).copied() else { return false };
        if fields.top_frame != 0 && !self.is_frame(fields.top_frame) {
            return false;
        }
        if fields.is_main {
            return self.is_direct || self.thread_of(greenlet) != ThreadOf::Unknown;
        }
        // Nothing else tells that an object of the old kind is one; and it always has a parent.
        let has_parent = if fields.parent == 0 { !self.is_direct } else { self.is_greenlet(fields.parent) };
        has_parent
            && (fields.start == 0 || fields.start < fields.stop)
            && (fields.main == 0 || self.is_greenlet(fields.main))
    }

    fn is_greenlet(&self, object: u64) -> bool {
        let is_of_type = |found: u64| self.types.get(found).is_some();
        self.known.contains_key(&object) || self.objects.type_of(object).is_ok_and(is_of_type)
    }

    fn is_frame(&mut self, object: u64) -> bool {
        let Ok(found) = self.objects.type_of(object) else { return false };
        if self.frame_type.is_none() && self.objects.name_of_type(found).is_ok_and(|name| name == "frame") {
            self.frame_type = Some(found);
        }
        self.frame_type == Some(found)
    }

    fn thread_of(&self, main: u64) -> ThreadOf {
        let Some(fields) = self.known.get(&main).filter(|fields| fields.is_main) else { return ThreadOf::Unknown };
        if self.is_direct {
            return ThreadOf::Unknown;
        }
        match (fields.thread_state, self.objects.pointers(fields.thread_state, 2).as_deref()) {
            (0, _) => ThreadOf::Ended,
            (_, Ok([of, current])) if *of == main => ThreadOf::Runs(*current),
            _ => ThreadOf::Unknown,
        }
    }

    /// The main greenlet of a greenlet's thread: a greenlet that has begun knows it, any other would be run by the
    /// thread of its parent.
    fn main_of(&self, greenlet: u64) -> Option<u64> {
        let mut next = greenlet;
        for _ in 0..MOST_PARENTS {
            let fields = self.known.get(&next)?;
            if fields.is_main {
                return Some(next);
            }
            next = if fields.main == 0 { fields.parent } else { fields.main };
        }
        None
    }

    fn state_of(&self, greenlet: u64, fields: &Fields, main: Option<u64>) -> GreenletState {
        let thread = main.map_or(ThreadOf::Unknown, |main| self.thread_of(main));
        if thread == ThreadOf::Ended && (fields.is_main || fields.main != 0) {
            // One that has begun knows its main greenlet. What greenlet cannot end with its thread it makes look new.
            return GreenletState::Finished;
        }
        match (fields.start, fields.stop, thread) {
            (0, 0, _) => GreenletState::New,
            (0, ..) => GreenletState::Finished,
            (_, _, ThreadOf::Runs(current)) if current == greenlet => GreenletState::Running,
            (_, _, ThreadOf::Unknown) if fields.top_frame == 0 && fields.saved == 0 => GreenletState::Running,
            _ => GreenletState::Paused,
        }
    }

    /// What these say, as far as they are known.
    pub(super) fn describe_all(&self, heads: &[Head], interpreter: usize) -> Vec<Greenlet> {
        let mut stacks = Stacks::default();
        let mut frames_left = MOST_FRAMES_OF_ALL;
        let mut hub_codes = HashMap::new();
        let mut described = Vec::with_capacity(heads.len());
        for head in heads {
            let (Some(fields), Some(of)) = (self.known.get(&head.greenlet), self.types.get(head.type_object)) else {
                continue;
            };
            let mut greenlet = self.describe(head.greenlet, fields, of);
            if greenlet.state == GreenletState::Paused {
                let kept = KeptStack::new(self.objects.memory(), fields.start, fields.saved, fields.copy);
                for first in [self.newest_frame(fields).unwrap_or(0), fields.caller] {
                    if greenlet.frames.len() > 1 {
                        // Not cut off after all.
                        break;
                    }
                    stacks.frames.clear();
                    let (range, is_cut) = stacks.add_chain(&mut &kept, self.objects.layout(), first, interpreter);
                    let frames = stacks.frames.get(range).unwrap_or_default();
                    let (frames, left_out) = frames.split_at(frames.len().min(frames_left));
                    frames_left -= frames.len();
                    greenlet.frames.extend(frames);
                    greenlet.is_truncated |= is_cut || !left_out.is_empty();
                }
            }
            if let (GreenletKind::Ordinary, Some(oldest)) = (greenlet.kind, greenlet.frames.last()) {
                let is_hub = hub_codes.entry(oldest.code).or_insert_with(|| is_hub_code(self.objects, oldest.code));
                if *is_hub {
                    greenlet.kind = GreenletKind::Hub;
                }
            }
            described.push(greenlet);
        }
        described
    }

    fn describe(&self, address: u64, fields: &Fields, of: &GreenletType) -> Greenlet {
        let main = self.main_of(address);
        let state = self.state_of(address, fields, main);
        let run = Some(fields.run).filter(|run| *run != 0 && state == GreenletState::New);
        let is_hub = of.is_hub || run.is_some_and(|run| is_hub_method(self.objects, run));
        // gevent's greenlets keep their function to themselves.
        let run_of_gevent = || self.objects.instance_attribute(address, "_run").ok().flatten();
        let run = if run.is_none() && state == GreenletState::New { run_of_gevent() } else { run };
        Greenlet {
            address,
            type_name: of.name.clone(),
            kind: match (fields.is_main, is_hub) {
                (true, _) => GreenletKind::Main,
                (false, true) => GreenletKind::Hub,
                (false, false) => GreenletKind::Ordinary,
            },
            state,
            frames: Vec::new(),
            is_truncated: false,
            parent: Some(fields.parent).filter(|parent| *parent != 0),
            main,
            // A main greenlet that was never left says 1.
            stack_start: Some(fields.start).filter(|start| *start > 1),
            thread_state: Some(fields.thread_state).filter(|state| *state != 0),
            run,
            run_name: run.and_then(|run| callable_name(self.objects, run).ok()),
        }
    }

    /// The newest frame as threads have them: from 3.11 on the frame object leads to it.
    fn newest_frame(&self, fields: &Fields) -> Result<u64, ReadError> {
        match self.objects.layout().frame.own_line {
            OwnLine::InObject { frame, .. } if fields.top_frame != 0 => self.objects.pointer(fields.top_frame, frame),
            OwnLine::InObject { .. } | OwnLine::InFrame { .. } => Ok(fields.top_frame),
        }
    }
}

/// The qualified name of a function or method; of anything else that of its type.
fn callable_name(objects: ObjectReader<'_>, callable: u64) -> Result<String, ReadError> {
    let layout = objects.layout();
    let head = layout.object.head_size;
    let info = objects.type_info(objects.type_of(callable)?)?;
    match info.name.as_str() {
        // `func_qualname` (funcobject.h, cpython/funcobject.h).
        "function" => {
            let index = if layout.version.feature() < (3, 10) { 11 } else { 3 };
            Ok(objects.text(objects.pointer(callable, head + 8 * index)?, NAME_LIMIT)?.text)
        }
        // `im_func` (cpython/classobject.h), which is mostly a function; no chain of methods is followed.
        "method" => {
            let function = objects.pointer(callable, head)?;
            if objects.type_name(function)? == "function" {
                return callable_name(objects, function);
            }
            full_name(objects, &info)
        }
        _ => full_name(objects, &info),
    }
}

/// Whether it is a method of one of eventlet's hubs.
fn is_hub_method(objects: ObjectReader<'_>, callable: u64) -> bool {
    let module = || {
        if objects.type_name(callable)? != "method" {
            return Ok(None);
        }
        let own = objects.pointer(callable, objects.layout().object.head_size + 8)?;
        objects.type_module(&objects.type_info(objects.type_of(own)?)?)
    };
    let module: Result<Option<String>, ReadError> = module();
    module.is_ok_and(|module| module.is_some_and(|module| module.starts_with("eventlet.hubs.")))
}

/// Whether a code object is that of the loop of one of eventlet's hubs: what the oldest frame of such a hub runs.
pub(super) fn is_hub_code(objects: ObjectReader<'_>, code: u64) -> bool {
    let layout = &objects.layout().code;
    let is = |offset: u32, holds: &dyn Fn(&str) -> bool| {
        let text = objects.pointer(code, offset).ok().and_then(|text| objects.text_or_none(text, NAME_LIMIT));
        text.is_some_and(|text| holds(&text))
    };
    objects.is_code(code)
        && is(layout.name, &|name| name == "run")
        && is(layout.filename, &|path| path.contains("/eventlet/hubs/"))
}
