//! Values of live interpreters of every version, compared with what those say themselves.

mod arrays;
mod secrets;
mod threads;

use super::*;
use crate::memory::Image;
use crate::python::test_support::{Interpreter, Random, Target, some_layouts};

const EVERYTHING: Limits = Limits { length: 10_000_000, items: 100_000, depth: 40, secrets: true };

/// Every value that the program shows must be written as the interpreter wrote it.
fn compare(program: &str) {
    compare_in(Interpreter::all(), program);
}

fn compare_in(interpreters: Vec<Interpreter>, program: &str) {
    let mut wrong = Vec::new();
    for interpreter in interpreters {
        let target = Target::start(&interpreter, program);
        let printer = Printer::new(ObjectReader::new(target.memory(), &target.layout));
        for shown in target.all_shown() {
            let found = printer.repr(shown.address, &EVERYTHING);
            if found != shown.text {
                wrong.push(format!("{:?} {}: {found}\n     not {}", interpreter.version, shown.name, shown.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn all_values_together_have_a_bound() {
    let Some(interpreter) = Interpreter::all().into_iter().next() else { return };
    let target = Target::start(&interpreter, "show('long', 'x' * 3000000)");
    let printer = Printer::new(ObjectReader::new(target.memory(), &target.layout));
    let shown = target.all_shown();
    let lengths: Vec<usize> = (0..4).map(|_| printer.repr(shown[0].address, &EVERYTHING).len()).collect();
    assert_eq!(lengths[..2], [3_000_002, 3_000_002]);
    assert!((2_000_000..3_000_000).contains(&lengths[2]) && lengths[3] == "…".len(), "{lengths:?}");
}

#[test]
fn numbers() {
    compare(
        r#"
import decimal, fractions
for n in (0, 1, -1, 7, 255, 2**29, 2**30 - 1, 2**30, -2**30, 2**31, 2**60, -2**60, 2**63 - 1, 2**63, 2**64, 10**9,
          10**18, 10**30, -10**100, 3**1000, True, False):
    show('int', n)
for x in (0.0, -0.0, 3.0, 1.5, 0.1, 1e-7, 1e-4, 1e-5, 123456789.0, 1e15, 1e16, 1e17, 1.7976931348623157e308, 5e-324,
          1/3.0, -2.5e-10, float('nan'), float('inf'), -float('inf'), 1e22, 123456789012345680.0):
    show('float', x)
for z in (0j, 1j, 1+2j, -1-2j, complex(-0.0, 1), complex(0.0, -0.0), complex(float('nan'), float('inf')), 1e20+1e-20j,
          complex(1, float('-inf'))):
    show('complex', z)
class I(int): pass
class F(float): pass
show('int subclass', I(5)); show('float subclass', F(2.5))
if sys.version_info < (3,):
    show('long', long(5)); show('max', sys.maxint); show('long bool', I(-3))
for d in ('0', '-0', '1', '1.5', '-1.50', '1E+5', '1e-7', '0.000001', '0.0000001', '123456789012345678901234567890.123',
          'NaN', '-sNaN123', 'Infinity', '-Infinity', '0E+3', '0E-10', '1E-400', '10000000000000000000',
          '12345678901234567890E5'):
    show('decimal', decimal.Decimal(d))
show('fraction', fractions.Fraction(-3, 7))
"#,
    );
}

#[test]
fn text_and_bytes() {
    compare(
        r#"
texts = [u'', u'a', u"it's", u'say "x"', u'''both ' and "''', u'\\ \n\r\t\0\x1b\x7f', u'\x80\xa0\xad\xff\xe9',
         u'\u0100\u0301\u200b\u200e\u202e\u2028\u2029\ufeff\ufffd', u'\u4e2d\u6587',
         u'\U0001f600\U0010ffff\U000e0001', u'\ud800', u'a\udc80b', u'\u0378', u'\u3000', u'x' * 5000,
         u'\u05d0\u0627', u'\u1680\u2000', u'\ue000']
for t in texts:
    show('text', t)
for b in (b'', b'abc', b"it's", b'"', b'\'"', bytes(bytearray(range(256))), b'\\'):
    show('bytes', b)
    show('bytearray', bytearray(b))
b = bytearray(b'0123456789'); del b[:3]
show('bytearray moved', b)
class S(str): pass
class U(type(u'')): pass
class B(bytes): pass
class BA(bytearray): pass
for o in (S('x\n'), U(u'y\u1234'), B(b'z\xff'), BA(b'q')):
    show('subclass', o)
"#,
    );
}

#[test]
fn every_character_that_every_version_knows() {
    // Assigned before Unicode 5.2, or in use for nothing at all, so that all versions since 2.7 agree; the ends of the
    // blocks too.
    compare(
        r#"
import unicodedata
if sys.version_info >= (3,):
    old = unicodedata.ucd_3_2_0
    points = [p for p in range(0x110000) if old.category(chr(p)) not in ('Cn',) and p not in (0x180e, 0xad)]
    same = [p for p in points if chr(p).isprintable() == (old.category(chr(p))[0] not in 'CZ' or p == 32)]
    show('all', ''.join(map(chr, same)))
"#,
    );
}

#[test]
fn containers() {
    compare(
        r#"
import collections, array
for c in ((), (1,), (1, 2), ((),), [], [1], [[], [[]]], {}, {'a': 1, 2: (3,)}, [None, True, Ellipsis, NotImplemented],
          list(range(1000))):
    show('container', c)
for s in (set(), {1}, {1, 2, 'x'}, frozenset(), frozenset([3]), set(range(0, 3000, 7)), {(1, 2), frozenset()}):
    show('set', s)
s = set(range(100))
for i in range(0, 100, 3): s.discard(i)
show('set with holes', s)
l = [1]; l.append(l); show('recursive list', l)
d = {'a': 1}; d['d'] = d; show('recursive dict', d)
t = ([],); t[0].append(t); show('recursive tuple', t)
q = collections.deque([1]); q.append(q); show('recursive deque', q)
dd = collections.defaultdict(list); dd['x'] = dd; show('recursive defaultdict', dd)
shared = [1]; show('shared', [shared, shared])
class L(list): pass
class T(tuple): pass
class D(dict): pass
class S(set): pass
class FS(frozenset): pass
class Q(collections.deque): pass
class DD(collections.defaultdict): pass
class OD(collections.OrderedDict): pass
class C(collections.Counter): pass
for o in (L([1]), T((1,)), D(a=1), S([1]), S(), FS([1]), FS(), Q([1], 2), DD(int, a=1), OD([('a', 1)]), C('aab')):
    o_ = o
    show('subclass', o)
if sys.version_info > (3,):
    ranges = (range(5), range(1, 5), range(1, 10, 3), range(5, -5, -2), range(0))
else:
    ranges = (xrange(5), xrange(1, 5), xrange(0, 9, 3), xrange(5, 0, -2), xrange(0))
for r in ranges:
    show('range', r)
for s in (slice(1), slice(1, 2), slice(None, None, -1), slice('a', [1], ())):
    show('slice', s)
for q in ([], [1, 2, 3], range(200)):
    show('deque', collections.deque(q)); show('deque maxlen', collections.deque(q, 100))
    show('deque maxlen 0', collections.deque(q, 0))
q = collections.deque(range(100)); q.rotate(37); q.popleft(); q.appendleft('x'); show('deque rotated', q)
for f in (int, list, None, len):
    show('defaultdict', collections.defaultdict(f, a=[1])); show('empty defaultdict', collections.defaultdict(f))
o = collections.OrderedDict((str(i), i) for i in range(20)); show('OrderedDict', o)
o = collections.OrderedDict(o); del o['3']; o['3'] = 'again'; show('OrderedDict changed', o)
o = collections.OrderedDict(o)
if hasattr(o, 'move_to_end'): o.move_to_end('7', last=False); show('OrderedDict moved', o)
show('OrderedDict empty', collections.OrderedDict())
for c in ('', 'abracadabra'):
    show('Counter', collections.Counter(c))
show('Counter of all', collections.Counter({'a': -1, 'b': 2.5, 'c': 0, 'd': 2.5}))
for code in 'bBhHiIlLfd' if sys.version_info > (3,) else 'bBhHilfd':
    show('array', array.array(code, [1, 2, 100])); show('array empty', array.array(code))
show('array signed', array.array('h', [-1, -300])); show('array float', array.array('f', [0.1, -2.5]))
if sys.version_info > (3,):
    import types
    d = {'a': 1, 'b': 2}
    for o in (d.keys(), d.values(), d.items(), types.MappingProxyType(d), types.SimpleNamespace(a=1, b='x'),
              types.SimpleNamespace()):
        show('view', o)
if sys.version_info >= (3, 15):
    show('frozendict', frozendict(a=1)); show('frozendict empty', frozendict())
import time, os
show('struct_time', time.gmtime(0)); show('version_info', sys.version_info)
"#,
    );
}

#[test]
fn things_with_names() {
    compare(
        r#"
import collections, functools, os, json, threading, types
class A(object):
    class B(object):
        def method(self): pass
    def method(self): pass
    @classmethod
    def made(cls): pass
    @staticmethod
    def static(): pass
    __slots__ = ('slot',)
class Old: 
    def method(self): pass
class Meta(type): pass
M = Meta('M', (object,), {})
def function(): pass
def outer():
    def inner(): pass
    return inner
class E(Exception): pass
for o in (int, object, type, A, A.B, Old, Meta, M, E, ValueError, collections.deque, collections.OrderedDict,
          threading.Thread, types.ModuleType, type(None), type(len)):
    show('type', o)
for o in (function, outer(), lambda: 0, A.static, json.dumps):
    show('function', o)
a = A(); b = A.B(); old = Old()
for o in (b.method, a.method, A.made, [].append, {}.get, 'x'.join, len, sys.exit, os.getpid, dict.fromkeys, [1].__len__,
          A.method, Old.method):
    show('method', o)
show('old method', old.method)
for o in (list.append, object.__init__, object.__reduce__, A.slot, type.__dict__['__dict__'], dict.__dict__['fromkeys'],
          (5).__add__):
    show('descriptor', o)
for o in (sys, os, json, threading, sys.modules['__main__'], types.ModuleType('made'), collections):
    show('module', o)
import zipfile
show('code', function.__code__)
if sys.version_info > (3,):
    show('partial', functools.partial(function, 1, [2], a=3)); show('partial empty', functools.partial(len))
    import importlib.util
    def with_cell():
        x = [1]
        def f(): return x
        return f
    show('cell', with_cell().__closure__[0])
import weakref
show('weakref', weakref.ref(b)); show('weakref', weakref.ref(collections.deque)); show('weakref', weakref.ref(E))
show('weakref', weakref.ref(function))
c = A.B(); r = weakref.ref(c); del c; show('dead weakref', r)
for o in (object(), iter([]), iter({}), threading.local(), property(), zip() if sys.version_info > (3,) else iter('')):
    show('default', o)
"#,
    );
}

#[test]
fn exceptions() {
    compare(
        r#"
class E(Exception): pass
class K(KeyError): pass
def caught(f):
    try: f()
    except Exception as e: return e
for e in (ValueError(), ValueError('x'), ValueError(1, 'a', [2]), E('mine'), E(), K('k'), KeyError('k'),
          OSError(2, 'No such file', 'name'), StopIteration(5), SystemExit(), KeyboardInterrupt(),
          caught(lambda: 1/0), caught(lambda: {}['k']), caught(lambda: open('/does/not/exist')),
          caught(lambda: b'\xff'.decode('utf-8')), caught(lambda: compile('x x', 'f', 'exec')), AssertionError((1,))):
    show('exception', e)
e = ValueError(); e.args = (e,)
show('recursive', e, 'ValueError(ValueError(...)%s)' % (',' if sys.version_info < (3, 7) else ''))
if sys.version_info >= (3, 11):
    show('group', ExceptionGroup('several', [ValueError(1), TypeError('x')]))
"#,
    );
}

#[test]
fn times() {
    compare(
        r#"
import datetime as dt
class D(dt.date): pass
class DT(dt.datetime): pass
for o in (dt.date(2024, 2, 29), dt.date.max, dt.datetime(2020, 1, 2), dt.datetime(2020, 1, 2, 3, 4, 5),
          dt.datetime(1, 1, 1, 23, 59, 0, 999999), dt.datetime.max, dt.time(), dt.time(1, 2, 3), dt.time(23, 0, 0, 5),
          dt.timedelta(), dt.timedelta(1), dt.timedelta(0, 5), dt.timedelta(-1, 3, 7), dt.timedelta(microseconds=1),
          dt.timedelta.max, D(2000, 1, 1), DT(2000, 1, 1)):
    show('time', o)
if sys.version_info > (3,):
    utc = dt.timezone.utc
    west = dt.timezone(dt.timedelta(seconds=-5400), 'name')
    for o in (utc, dt.timezone(dt.timedelta(hours=2)), dt.timezone(dt.timedelta(0), 'x'),
              dt.datetime(2020, 1, 2, tzinfo=utc), dt.time(1, 2, tzinfo=utc),
              dt.datetime(2020, 1, 2, 3, 4, fold=1), dt.datetime(2020, 1, 2, 3, fold=1, tzinfo=west)):
        show('zone', o)
"#,
    );
}

#[test]
fn classes_of_the_library() {
    compare(
        r#"
import collections, uuid, re, signal
show('uuid', uuid.UUID(int=0)); show('uuid', uuid.UUID('12345678-9abc-def0-1234-56789abcdef0'))
P = collections.namedtuple('P', 'x y'); show('namedtuple', P(1, 'b'))
show('namedtuple empty', collections.namedtuple('N', '')())
class P3(P):
    __slots__ = ()
    z = 5
show('namedtuple subclass', P3(1, [2]))
if sys.version_info > (3,):
    import enum, pathlib, typing, socket, http
    class Color(enum.Enum):
        RED = 1
        BLUE = 'b'
    class Number(enum.IntEnum):
        ONE = 1
    class Perm(enum.Flag):
        R = 4; W = 2; X = 1
    class IPerm(enum.IntFlag):
        R = 4; W = 2; X = 1
    for o in (Color.RED, Color.BLUE, Number.ONE, Perm.R, Perm.R | Perm.W, Perm(0), ~Perm.R, IPerm.R, IPerm.R | IPerm.X,
              IPerm(0), IPerm(15), Color, Number, Perm, signal.SIGINT, socket.AF_INET, http.HTTPStatus.OK, [Color.RED],
              {Color.RED: Number.ONE}):
        show('enum', o)
    if sys.version_info >= (3, 8): show('re flag', re.I); show('re flags', re.I | re.M)
    for p in ('', '.', '/', '//', '//x/y', '///x', 'a', 'a/b/../c', './a//b/', '/usr/lib/', u'/\xe9\n'):
        show('path ' + repr(p), pathlib.Path(p)); show('pure path', pathlib.PurePosixPath('x', p, 'y'))
        q = pathlib.Path(p); str(q); show('path as text', q); show('parent', pathlib.Path(p).parent)
    for p in ('c:\\a\\b', 'c:a', '\\\\host\\share\\x', 'a/b'):
        q = pathlib.PureWindowsPath(p); str(q); show('windows path', q)
    T = typing.NamedTuple('T', [('a', int)])
    show('typed namedtuple', T(1))
"#,
    );
}

#[test]
fn data_classes() {
    compare(
        r#"
if sys.version_info >= (3, 7):
    exec('''
import dataclasses, typing
@dataclasses.dataclass
class Point:
    x: int
    y: "typing.Any" = None
    secret: int = dataclasses.field(default=0, repr=False)
    shared: typing.ClassVar[int] = 5
    only: dataclasses.InitVar[int] = 3
@dataclasses.dataclass(frozen=True)
class Frozen:
    __slots__ = ('a', 'b')
    a: int
    b: str
@dataclasses.dataclass
class Sub(Point):
    z: list = dataclasses.field(default_factory=list)
class Plain(Point): pass
class Outer:
    @dataclasses.dataclass
    class Inner:
        a: int
for o in (Point(1), Point(1, 'a'), Frozen(1, 'b'), Sub(1, 2, 3), Plain(4), Outer.Inner(5)):
    show('dataclass', o)
p = Point(1); p.y = p
show('recursive', p)
@dataclasses.dataclass
class Own:
    a: int
    def __repr__(self): return 'mine'
show('own repr', Own(1), '<Own a=1>')
''')
"#,
    );
}

#[test]
fn instances_are_shown_by_their_attributes() {
    compare(
        r#"
class Plain(object): pass
class Slots(object):
    __slots__ = ('b', 'a', '_private')
class Both(Slots):
    __slots__ = ('z', '__dict__')
class Loud(object):
    def __init__(self): self.a = 1
    def __repr__(self): return 'LOUD'
class LoudList(list):
    def __repr__(self): return 'LOUD'
class Old:
    pass
class LoudNothing(object):
    def __repr__(self): return 'LOUD'
p = Plain(); show('nothing', p)
p = Plain(); p.a = 1; p.b = 'x'; show('two', p, "<Plain a=1 b='x'>")
q = Plain(); q.p = p; q.q = q; show('nested', q, "<Plain p=<Plain a=1 b='x'> q=<...>>" if sys.version_info > (3,) else
                  "<Plain q=<...> p=<Plain a=1 b='x'>>")
s = Slots(); show('no slots', s)
s = Slots(); s.a = 1; s.b = 2; show('slots', s, '<Slots a=1 b=2>')
b = Both(); b.a = 1; b.z = 26; b.extra = None; show('both', b, '<Both a=1 z=26 extra=None>')
show('loud', Loud(), '<Loud a=1>')
l = LoudList([1]); l.a = 2; show('loud list', l, '<LoudList [1] a=2>')
n = LoudNothing(); show('loud nothing', n, '<__main__.LoudNothing at %#x>' % id(n))
o = Old(); o.a = 1; show('old style', o, '<Old a=1>')
show('old style without attributes', Old()) if sys.version_info < (3,) else None
e = type('\x1b[31m\nevil\u202e' if sys.version_info > (3,) else '\x1b[31m\nevil', (object,), {})()
setattr(e, '\x07\n', 1)
show('hostile names', e, '<\\x1b[31m\\nevil\\u202e \\x07\\n=1>'.replace('\\n', '\\x0a') if sys.version_info > (3,) else
                         '<\\x1b[31m\\x0aevil \\x07\\x0a=1>')
"#,
    );
}

#[test]
fn generators_tell_their_state() {
    compare(
        r#"
def gen():
    yield 1
    yield 2
def at(g, state): show('generator', g, repr(g)[:-1] + ', ' + state + '>')
g = gen(); at(g, 'not started')
g = gen(); next(g); at(g, 'suspended')
g = gen(); list(g); at(g, 'finished')
g = (x for x in [1]); at(g, 'not started')
if sys.version_info > (3, 5):
    exec('''
import asyncio
async def coro(): pass
async def agen(): yield
c = coro(); at(c, 'not started')
a = agen(); at(a, 'not started')
class Wait:
    def __await__(self): yield
async def waits(): await Wait()
w = waits(); w.send(None); at(w, 'suspended')
''')
"#,
    );
}

#[test]
fn what_is_long_is_cut() {
    let program = r#"
class Plain(object): pass
p = Plain()
for i in range(40): setattr(p, 'a%d' % i, i)
nested = []
for i in range(500): nested = [nested]
items = {'list': list(range(10**6)), 'text': 'x' * 10**6, 'nested': nested, 'instance': p, 'int': 10**20000,
         'dict': dict((i, i) for i in range(10**5)), 'set': set(range(10**5)),
         'wide': [list(range(1000)) for i in range(1000)], 'bytes': bytearray(10**6),
         'many': [[[[0] * 50] * 50] * 50] * 50}
for name in sorted(items): show(name, items[name], '')
"#;
    let limits = Limits { length: 60, items: 3, depth: 2, secrets: true };
    for interpreter in Interpreter::all() {
        let target = Target::start(&interpreter, program);
        let objects = ObjectReader::new(target.memory(), &target.layout);
        let text = |name: &str| repr(objects, target.shown(name).address, &limits);
        assert_eq!(text("list"), "[0, 1, 2, …]");
        assert_eq!(text("text"), format!("'{}…", "x".repeat(59)));
        assert_eq!(text("nested"), "[[[…]]]");
        if target.layout.version.major == 3 {
            assert_eq!(text("instance"), "<Plain a0=0 a1=1 a2=2 …>");
        }
        assert_eq!(text("dict"), "{0: 0, 1: 1, 2: 2, …}");
        assert_eq!(text("wide"), "[[0, 1, 2, …], [0, 1, 2, …], [0, 1, 2, …], …]");
        assert!(text("set").ends_with(", …])") || text("set").ends_with(", …}"), "{}", text("set"));
        for name in ["many", "bytes", "int"] {
            assert!(text(name).chars().count() <= 61, "{}", text(name));
        }
        assert_eq!(
            repr(objects, target.shown("list").address, &Limits { length: 5, items: 9, depth: 2, secrets: true }),
            "[0, 1…"
        );
        assert!(repr(objects, target.shown("many").address, &Limits::of_level(3)).chars().count() <= 100_001);
    }
}

#[test]
fn any_bytes_are_some_value() {
    let mut random = Random::new(11);
    let base = 0x10_0000_u64;
    let layouts = some_layouts();
    let names: Vec<&str> = "int str bytes list tuple dict set frozenset float complex range slice function method \
        module generator code cell type collections.deque collections.OrderedDict collections.defaultdict \
        datetime.datetime datetime.timezone decimal.Decimal numpy.ndarray numpy.int64 array.array dict_items \
        mappingproxy types.SimpleNamespace functools.partial BaseException xrange instance classobj \
        builtin_function_or_method method_descriptor weakref bytearray"
        .split_whitespace()
        .collect();
    for round in 0..6000 {
        let layout = &layouts[round % layouts.len()];
        let mut bytes = random.bytes(8192);
        for place in bytes.as_chunks_mut::<8>().0 {
            let value = match random.below(4) {
                0 => base + random.below(8192) as u64,
                1 => base + 8 * random.below(1024) as u64,
                2 => random.below(300) as u64,
                _ => u64::MAX,
            };
            *place = value.to_ne_bytes();
        }
        let mut image = Image::new();
        image.map(base, bytes);
        // Some types with true names, and objects that have them.
        let (type_object, name) = (base + 4096, base + 8000);
        let word = names[random.below(names.len())];
        image.patch(name, format!("{word}\0").as_bytes());
        image.patch(type_object + u64::from(layout.object.type_name), &name.to_ne_bytes());
        let flags = u64::MAX >> random.below(64) & !(1 << 9);
        image.patch(type_object + u64::from(layout.object.type_flags), &flags.to_ne_bytes());
        for _ in 0..100 {
            let object = base + 8 * random.below(500) as u64;
            image.patch(object + u64::from(layout.object.ob_type), &type_object.to_ne_bytes());
        }
        let objects = ObjectReader::new(&image, layout);
        for level in [1, 3] {
            let limits = Limits::of_level(level);
            let text = repr(objects, base + 8 * random.below(500) as u64, &limits);
            assert!(text.chars().count() <= limits.length + 1);
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
}
