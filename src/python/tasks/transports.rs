//! The descriptors behind sockets, transports and streams, of asyncio's own loops and of uvloop.
//!
//! asyncio's transports have their socket in an attribute, those of TLS the transport below. Those of uvloop are
//! compiled: what they have is looked for among their fields, and a handle of libuv (`uv.h`, `uv/unix.h`) counts only
//! if it points back to its object.

use super::objects::{KnownTypes, TaskObjects};
use crate::python::object::ObjectReader;

/// Objects within each other that are followed, and of all that is found on the way.
const DEEPEST: usize = 6;
const MOST_OBJECTS: usize = 64;
/// Attributes that hold what a transport or stream sends by, and those that hold a descriptor.
const INNER: [&str; 9] = [
    "_sock",
    "_ssl_protocol",
    "_transport",
    "_RawSocketMixin__raw_socket",
    "_trio_socket",
    "fd",
    "raw",
    "socket",
    "transport_stream",
];
const DESCRIPTORS: [&str; 3] = ["_sock_fd", "_fileno", "_fd"];
/// Fields of one compiled object that are looked at.
const MOST_FIELDS: usize = 128;

/// The descriptor of a socket, or of what sends and receives by one.
pub(super) fn descriptor(types: TaskObjects<'_>, object: u64) -> Option<i32> {
    Search { types, seen: Vec::new() }.descriptor(object, 0)
}

impl KnownTypes {
    /// The descriptor of a socket or file, or of what sends and receives by one; a number is one.
    pub(crate) fn descriptor(&self, objects: ObjectReader<'_>, object: u64) -> Option<i32> {
        let types = self.reader(objects);
        match small_number(types, object) {
            Some(number) => Some(number).filter(|number| *number >= 0),
            None => descriptor(types, object),
        }
    }

    /// When the `uv_timer_t` at an address is due, in seconds of the system's monotonic clock. `None` where there is
    /// none whose `data` is this, and where it does not run.
    pub(crate) fn uv_timer_due(&self, objects: ObjectReader<'_>, address: u64, data: u64) -> Option<f64> {
        let types = self.reader(objects);
        let handle = UvHandle::at(types, address, data)?;
        let is_active = objects.int(address, UV_FLAGS).ok()? & UV_HANDLE_ACTIVE != 0;
        handle.due(types).filter(|_| is_active)
    }
}

/// The search for one descriptor.
struct Search<'read> {
    types: TaskObjects<'read>,
    seen: Vec<u64>,
}

impl Search<'_> {
    fn descriptor(&mut self, object: u64, depth: usize) -> Option<i32> {
        let types = self.types;
        if depth > DEEPEST || self.seen.len() >= MOST_OBJECTS || self.seen.contains(&object) {
            return None;
        }
        self.seen.push(object);
        let compiled = is_of_uvloop(types, object);
        if compiled && let Some(found) = UvHandle::of(types, object).and_then(|handle| handle.descriptor(types)) {
            return Some(found);
        }
        let told = || {
            let numbers = DESCRIPTORS.iter().filter_map(|name| small_number(types, types.member(object, name)?));
            numbers.into_iter().find(|number| *number >= 0)
        };
        if let Some(found) = socket_descriptor(types, object).or_else(told) {
            return Some(found);
        }
        let inner = INNER.iter().filter_map(|name| types.member(object, name));
        let mut inner: Vec<u64> = inner.filter(|inner| !types.is_none(*inner)).collect();
        if compiled {
            inner.extend(fields_of_uvloop(types, object));
        }
        inner.into_iter().find_map(|inner| self.descriptor(inner, depth + 1))
    }
}

/// `PySocketSockObject.sock_fd`, the first field (Modules/socketmodule.h).
pub(super) fn socket_descriptor(types: TaskObjects<'_>, socket: u64) -> Option<i32> {
    let objects = types.objects;
    let info = &types.known(socket).ok()?.info;
    let mut bases = objects.bases(info.address).ok()?.into_iter();
    let is_socket = bases.any(|base| objects.name_of_type(base).is_ok_and(|name| name == "_socket.socket"));
    let descriptor = objects.int(socket, objects.layout().object.head_size).ok()?;
    (is_socket && descriptor >= 0).then_some(descriptor)
}

/// A small `int`.
pub(super) fn small_number(types: TaskObjects<'_>, object: u64) -> Option<i32> {
    if types.known(object).ok()?.info.name != "int" {
        return None;
    }
    i32::try_from(types.objects.small_int(object).ok()??).ok()
}

/// Whether an object is of a type that uvloop has compiled.
pub(super) fn is_of_uvloop(types: TaskObjects<'_>, object: u64) -> bool {
    types.known(object).is_ok_and(|known| known.info.name.starts_with("uvloop.loop."))
}

/// The fields of a compiled object of uvloop's that are themselves transports, servers or sockets.
fn fields_of_uvloop(types: TaskObjects<'_>, object: u64) -> Vec<u64> {
    /// What has a descriptor itself or leads to one, by the end of the type's name.
    const LEADING: [&str; 5] = ["Transport", "Protocol", "PseudoSocket", "Server", "list"];
    let Ok(known) = types.known(object) else { return Vec::new() };
    let fields = types.fields(object, known.info.basic_size).unwrap_or_default();
    let leads = |field: &u64| {
        *field != object
            && types.known(*field).is_ok_and(|known| {
                let name = &known.info.name;
                let is_leading = LEADING.iter().any(|leading| name.ends_with(leading));
                is_leading && name.starts_with("uvloop.loop.") || socket_descriptor(types, *field).is_some()
            })
    };
    let found = fields.iter().copied().take(MOST_FIELDS);
    // A server has a list of those that listen.
    let listed = |field: u64| match types.known(field) {
        Ok(known) if known.info.name == "list" => {
            types.objects.list_items(field, 1).map(|(items, _)| items).unwrap_or_default()
        }
        _ => vec![field],
    };
    found.flat_map(listed).filter(leads).collect()
}

/// Whether a compiled function of uvloop's is about TLS: it has the protocol for that in a variable.
pub(super) fn has_tls_protocol(types: TaskObjects<'_>, variables: u64) -> bool {
    let Ok(known) = types.known(variables) else { return false };
    let fields = types.fields(variables, known.info.basic_size).unwrap_or_default();
    let is_protocol = |field: &u64| types.known(*field).is_ok_and(|known| known.short_name() == "SSLProtocol");
    fields.iter().take(MOST_FIELDS).any(is_protocol)
}

/// When a timer of uvloop's is due, in seconds of the system's monotonic clock. `timer` is what `call_later` has given.
pub(super) fn uv_timer_due(types: TaskObjects<'_>, timer: u64) -> Option<f64> {
    if !is_of_uvloop(types, timer) {
        return None;
    }
    let fields = types.fields(timer, types.known(timer).ok()?.info.basic_size).ok()?;
    fields.into_iter().take(MOST_FIELDS).find_map(|field| UvHandle::of(types, field)?.due(types))
}

/// A `uv_handle_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UvHandle {
    address: u64,
    /// `uv_handle_type`.
    kind: i32,
}

/// Fields of `uv_handle_t`, in bytes. It has 96, and what comes behind differs by its type.
const UV_LOOP: u64 = 8;
const UV_TYPE: u32 = 16;
const UV_FLAGS: u32 = 88;
/// One of these flags (uv-common.h).
const UV_HANDLE_ACTIVE: i32 = 4;
/// Where the descriptor is within a `uv__io_t`, and the `uv__io_t` in a `uv_stream_t`, a `uv_udp_t` and a `uv_poll_t`.
const UV_IO_DESCRIPTOR: u32 = 48;
const UV_STREAM_IO: u32 = 136;
const UV_UDP_IO: u32 = 128;
const UV_POLL_IO: u32 = 104;
/// `uv_timer_t.timeout`.
const UV_TIMEOUT: u64 = 128;

impl UvHandle {
    /// Of an object of uvloop's (`cdef class UVHandle`, uvloop/handles/handle.pxd); `None` where it has none.
    fn of(types: TaskObjects<'_>, object: u64) -> Option<Self> {
        if !is_of_uvloop(types, object) {
            return None;
        }
        // A table of methods is between the object's head and the first field.
        let address = types.second_field(object).ok().filter(|address| *address != 0)?;
        Self::at(types, address, object)
    }

    /// Of an address; `None` where what lies there does not say that it belongs to `data`.
    fn at(types: TaskObjects<'_>, address: u64, data: u64) -> Option<Self> {
        let memory = types.objects.memory();
        let is_its = memory.read_u64(address).ok()? == data;
        let event_loop = memory.read_u64(address.wrapping_add(UV_LOOP)).ok()?;
        let kind = types.objects.int(address, UV_TYPE).ok()?;
        (is_its && event_loop != 0).then_some(Self { address, kind })
    }

    fn descriptor(self, types: TaskObjects<'_>) -> Option<i32> {
        // `UV_NAMED_PIPE`, `UV_POLL`, `UV_TCP`, `UV_TTY`, `UV_UDP`.
        let io = match self.kind {
            7 | 12 | 14 => UV_STREAM_IO,
            8 => UV_POLL_IO,
            15 => UV_UDP_IO,
            _ => return None,
        };
        types.objects.int(self.address, io + UV_IO_DESCRIPTOR).ok().filter(|descriptor| *descriptor >= 0)
    }

    fn due(self, types: TaskObjects<'_>) -> Option<f64> {
        /// No clock has run for longer, in milliseconds.
        const LATEST: u64 = 1 << 50;
        // `UV_TIMER`.
        if self.kind != 13 {
            return None;
        }
        let timeout = types.objects.memory().read_u64(self.address.wrapping_add(UV_TIMEOUT)).ok()?;
        (timeout < LATEST).then_some(timeout as f64 / 1e3)
    }
}
