//! Tasks as the interpreters themselves describe them, in every version that is installed.

use std::cell::RefCell;
use std::collections::HashMap;

use super::Link;
use super::awaitable::Follower;
use super::layout::{TaskLayout, TaskLayoutError};
use super::objects::TaskObjects;
use super::task::{FutureReader, FutureState};
use super::transports::{descriptor, uv_timer_due};
use crate::memory::Image;
use crate::python::code::CodeTable;
use crate::python::object::ObjectReader;
use crate::python::test_support::{Interpreter, Random, Target};

/// Shows tasks with what Python says of them: state, name, future, coroutine, and the lines of its chain.
const PRELUDE: &str = r#"
import asyncio, gc, inspect, types
def inner_of(object):
    for name in ('cr_await', 'gi_yieldfrom', 'ag_await'):
        if hasattr(object, name): return getattr(object, name)
    if isinstance(object, asyncio.Future): return None
    kinds = ('coroutine', 'generator', 'async_generator', 'coroutine_wrapper', 'async_generator_asend',
             'async_generator_athrow', 'anext_awaitable')
    found = [o for o in gc.get_referents(object) if type(o).__name__ in kinds]
    return found[0] if found else None
def chain_of(object):
    lines = []
    while object is not None:
        for name in ('cr_frame', 'gi_frame', 'ag_frame'):
            frame = getattr(object, name, None)
            if frame is not None: lines.append('%s:%d' % (frame.f_code.co_name, frame.f_lineno))
        object = inner_of(object)
    return ','.join(reversed(lines))
def show_task(name, task):
    coroutine = task.get_coro() if hasattr(task, 'get_coro') else task._coro
    future = task._fut_waiter
    get_name = getattr(task, 'get_name', None)
    show(name, task, '|'.join([
        task._state, get_name() if get_name else '', str(id(future) if future is not None else 0),
        coroutine.__qualname__, str(bool(getattr(task, '_must_cancel', False))), chain_of(coroutine)]))
def run(*coroutines):
    async def main():
        tasks = [asyncio.ensure_future(c) if not isinstance(c, asyncio.Task) else c for c in coroutines]
        await asyncio.sleep(0.01)
        for index, task in enumerate(tasks): show_task('task %d' % index, task)
        wait()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main())
async def sleeper(): await asyncio.sleep(1000)
"#;

/// The interpreters that have asyncio.
fn interpreters() -> Vec<Interpreter> {
    Interpreter::all().into_iter().filter(|interpreter| interpreter.version >= (3, 7)).collect()
}

/// What is read of a task that a program has shown, in the words of the program, and what the program says.
fn read_shown(target: &Target) -> Vec<(String, String)> {
    let objects = ObjectReader::new(target.memory(), &target.layout);
    let known = RefCell::new(HashMap::new());
    let types = TaskObjects::new(objects, &known);
    let mut codes = CodeTable::new();
    codes.begin_sample(None);
    let shown = target.all_shown().iter().filter(|shown| shown.name.starts_with("task"));
    let read = shown.map(|shown| {
        let type_address = objects.type_of(shown.address).unwrap();
        let size = objects
            .bases(type_address)
            .unwrap()
            .into_iter()
            .find(|base| objects.name_of_type(*base).unwrap() == "_asyncio.Task")
            .map(|base| objects.type_info(base).unwrap().basic_size);
        let layout = size.map(|size| TaskLayout::of(&target.layout, size).unwrap());
        let futures = FutureReader { types, layout };
        let fields = futures.task(shown.address).unwrap().unwrap();
        let state = match fields.state {
            FutureState::Pending => "PENDING",
            FutureState::Done => "FINISHED",
        };
        let chain = Follower::new(types, &mut codes).follow(fields.coroutine, Some(fields.waiter));
        assert!(!chain.is_truncated, "{} {}", target.interpreter, shown.name);
        let frames = chain.links.iter().filter_map(|link| match link {
            Link::Frame(frame) => {
                let name = codes.get(frame.place.code).name.rsplit('.').next().unwrap().to_owned();
                Some(format!("{name}:{}", frame.place.line))
            }
            Link::Compiled(_) | Link::Opaque(..) => None,
        });
        let text = [
            state.to_owned(),
            fields.name.clone().unwrap_or_default(),
            fields.waiter.to_string(),
            futures.coroutine_name(fields.coroutine).unwrap(),
            if fields.must_cancel { "True" } else { "False" }.to_owned(),
            frames.collect::<Vec<_>>().join(","),
        ];
        (text.join("|"), shown.text.clone())
    });
    read.collect()
}

fn compare(program: &str, expected: usize, is_supported: &dyn Fn(&Interpreter) -> bool) {
    for interpreter in interpreters().iter().filter(|interpreter| is_supported(interpreter)) {
        let target = Target::start(interpreter, &format!("{PRELUDE}{program}"));
        let compared = read_shown(&target);
        assert_eq!(compared.len(), expected, "{interpreter}");
        for (read, shown) in compared {
            assert_eq!(read, shown, "{interpreter}");
        }
    }
}

#[test]
fn tasks_are_what_the_interpreter_says_of_them() {
    let program = r#"
async def generator():
    for index in range(5):
        await asyncio.sleep(500)
        yield index
async def consumer():
    async for item in generator(): pass
class Wrapped:
    def __await__(self): return sleeper().__await__()
async def wrapped(): await Wrapped()
@types.coroutine
def old_style():
    yield from sleeper().__await__()
async def of_old_style(): await old_style()
async def of_future(): await asyncio.get_event_loop().create_future()
async def ended(): return 5
async def closing():
    g = generator()
    try:
        async for item in g: pass
    except asyncio.CancelledError:
        await g.aclose()
def named():
    task = asyncio.ensure_future(sleeper())
    if hasattr(task, 'set_name'): task.set_name('a name')
    return task
async def with_queue(): await asyncio.Queue().get()
async def nested(depth):
    if depth: await nested(depth - 1)
    else: await asyncio.sleep(77)
loop = asyncio.new_event_loop()
async def start():
    tasks = [asyncio.ensure_future(c) for c in (sleeper(), consumer(), wrapped(), of_old_style(), of_future(), ended(),
             with_queue(), nested(40))]
    tasks.append(named())
    await asyncio.sleep(0.01)
    fresh = asyncio.ensure_future(sleeper())
    cancelled = asyncio.ensure_future(sleeper())
    cancelled.cancel()
    for index, task in enumerate(tasks + [fresh, cancelled, asyncio.ensure_future(closing())]):
        show_task('task %d' % index, task)
    wait()
loop.run_until_complete(start())
"#;
    compare(program, 12, &|_| true);
}

#[test]
fn tasks_written_in_python_and_subclasses_are_read_too() {
    let program = r#"
class Own(asyncio.Task):
    __slots__ = ()
class WithDict(asyncio.Task):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.more = 1
loop = asyncio.new_event_loop()
async def start():
    pure = asyncio.tasks._PyTask
    tasks = [make(sleeper(), loop=loop) for make in (pure, Own, WithDict, type('Pure', (pure,), {}))]
    waiting = pure(asyncio.wait_for(tasks[0], 500), loop=loop)
    await asyncio.sleep(0.01)
    cancelled = pure(sleeper(), loop=loop)
    cancelled.cancel()
    for index, task in enumerate(tasks + [waiting, cancelled]): show_task('task %d' % index, task)
    wait()
loop.run_until_complete(start())
"#;
    compare(program, 6, &|_| true);
}

#[test]
fn an_asynchronous_next_with_a_default_is_followed() {
    let program = r#"
async def generator():
    await asyncio.sleep(500)
    yield 1
async def first(): await anext(generator(), None)
run(first())
"#;
    compare(program, 1, &|interpreter| interpreter.version >= (3, 10));
}

#[test]
fn descriptors_are_found_behind_transports_and_nowhere_else() {
    let program = r#"
import socket
class Holder:
    def __init__(self, **values): self.__dict__.update(values)
class Slots:
    __slots__ = ('_sock',)
slots = Slots()
slots._sock = sock = socket.socket()
closed = socket.socket()
closed.close()
ring = Holder()
ring._transport = Holder(_sock=Holder(_transport=ring), _ssl_protocol=ring)
deep = Holder(_sock=sock)
for _ in range(20): deep = Holder(_transport=deep)
for name, holder, number in [
    ('socket', sock, sock.fileno()), ('slots', slots, sock.fileno()), ('closed', closed, None),
    ('tls', Holder(_ssl_protocol=Holder(_transport=Holder(_sock=sock))), sock.fileno()),
    ('pipe', Holder(_sock=None, _fileno=7), 7), ('negative', Holder(_fileno=-1), None), ('ring', ring, None),
    ('deep', deep, None), ('nothing', None, None), ('text', Holder(_fileno='7', _sock='7'), None),
]:
    show(name, holder, 'None' if number is None else 'Some(%d)' % number)
wait()
"#;
    for interpreter in interpreters() {
        let target = Target::start(&interpreter, program);
        let objects = ObjectReader::new(target.memory(), &target.layout);
        let known = RefCell::new(HashMap::new());
        let types = TaskObjects::new(objects, &known);
        assert_eq!(target.all_shown().len(), 10, "{interpreter}");
        for shown in target.all_shown() {
            let found = format!("{:?}", descriptor(types, shown.address));
            assert_eq!(found, shown.text, "{interpreter}: {}", shown.name);
        }
    }
}

#[test]
fn a_task_of_another_size_is_refused() {
    for interpreter in interpreters() {
        let target = Target::start(&interpreter, "");
        let refused = TaskLayout::of(&target.layout, 1000);
        assert!(matches!(refused, Err(TaskLayoutError::Size { found: 1000, .. })), "{interpreter}: {refused:?}");
    }
}

#[test]
fn scribbled_memory_ends_a_chain() {
    let interpreter = interpreters().pop().unwrap();
    let target = Target::start(&interpreter, "");
    let mut random = Random::new(7);
    for _ in 0..200 {
        // Everything points somewhere into the same pages.
        let words: Vec<u8> =
            (0..1024).flat_map(|_| (0x10_0000 + 8 * (random.below(1024) as u64)).to_ne_bytes()).collect();
        let mut image = Image::new();
        image.map(0x10_0000, words);
        let objects = ObjectReader::new(&image, &target.layout);
        let known = RefCell::new(HashMap::new());
        let types = TaskObjects::new(objects, &known);
        let mut codes = CodeTable::new();
        codes.begin_sample(None);
        let chain = Follower::new(types, &mut codes).follow(0x10_0000 + 8 * random.below(1024) as u64, None);
        assert!(chain.links.len() <= 256);
        descriptor(types, 0x10_0000 + 8 * random.below(1024) as u64);
        uv_timer_due(types, 0x10_0000 + 8 * random.below(1024) as u64);
    }
}
