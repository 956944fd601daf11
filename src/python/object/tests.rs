//! Objects of live interpreters of every version, and of memory that means us no good.

use super::*;
use crate::memory::Image;
use crate::python::test_support::{Interpreter, Random, Target, some_layouts};

fn every_target(program: &str) -> impl Iterator<Item = Target> {
    Interpreter::all().into_iter().map(move |interpreter| Target::start(&interpreter, program))
}

#[test]
fn text_of_every_kind_is_read() {
    let program = r#"
b = b'' if sys.version_info < (3,) else ''
texts = [u'', u'a', u'hello world', u'\x7f\n\0', u'\xe9', u'gr\xfc\xdfe', u'\u0100\u20ac', u'\u4e2d\u6587',
         u'\U0001f600 x', u'x' * 1000, u'\xff' * 300, u'\u0416' * 300, u'\U0001f600' * 300, b + 'native', b + 'name']
for index, text in enumerate(texts):
    show('text%d' % index, text, str([ord(c) for c in text]))
class Sub(type(u'')): pass
show('sub', Sub(u'of a class \u1234'), str([ord(c) for c in u'of a class \u1234']))
if sys.version_info >= (3,):
    show('lone', '\udc80a\ud800', str([0xdc80, 97, 0xd800]))
"#;
    for target in every_target(program) {
        let objects = ObjectReader::new(target.memory(), &target.layout);
        for shown in target.all_shown() {
            let expected: Vec<u32> = shown
                .text
                .trim_matches(['[', ']'])
                .split(", ")
                .filter(|n| !n.is_empty())
                .map(|n| n.parse().unwrap())
                .collect();
            let expected = escape_lone_surrogates(expected);
            let text = objects.text(shown.address, 2000).unwrap();
            assert_eq!(
                text,
                Text { text: expected.clone(), truncated: false },
                "{} {}",
                target.interpreter,
                shown.name
            );
            let cut = objects.text(shown.address, 3).unwrap();
            assert_eq!(cut.truncated, expected.chars().count() > 3 && shown.name != "lone");
            if shown.name != "lone" {
                assert_eq!(cut.text, expected.chars().take(3).collect::<String>());
            }
        }
    }
}

#[test]
fn bytes_of_python_2_that_are_not_text_are_escaped() {
    let program = "show('bytes', b'caf\\xc3\\xa9 \\xff', '')";
    for target in every_target(program).filter(|target| target.layout.version.major == 2) {
        let objects = ObjectReader::new(target.memory(), &target.layout);
        let address = target.shown("bytes").address;
        assert_eq!(objects.text(address, 100).unwrap().text, "café \\xff");
        assert_eq!(objects.text(address, 4).unwrap(), Text { text: "caf".to_owned(), truncated: true });
    }
}

#[test]
fn dicts_of_every_layout_are_read_in_order() {
    let program = r#"
def dicts():
    yield {}
    yield {'a': 1}
    yield dict((str(i), i) for i in range(5))
    yield dict((str(i), i) for i in range(300))
    yield dict((i, str(i)) for i in range(70000))
    yield {1: 2, 'a': 'b', (): None, 2.5: []}
    d = dict((str(i), i) for i in range(1000))
    for i in range(0, 1000, 3): del d[str(i)]
    d['new'] = 1
    yield d
    class Plain(object):
        def __init__(self, flip):
            if flip: self.b = 2; self.a = 1
            else: self.a = 1; self.b = 2
            self.c = 3
    for flip in (False, True):
        p = Plain(flip)
        _alive.append(p)
        yield p.__dict__
        p = Plain(flip)
        _alive.append(p)
        del p.a
        p.a = 5
        yield p.__dict__
    yield sys.modules
    yield sys.__dict__
for index, d in enumerate(dicts()):
    _alive.append(list(d.items()))
    show('dict%d' % index, d, ' '.join('%d %d' % (id(k), id(v)) for k, v in d.items()))
"#;
    for target in every_target(program) {
        let objects = ObjectReader::new(target.memory(), &target.layout);
        for shown in target.all_shown() {
            let numbers: Vec<u64> = shown.text.split_whitespace().map(|number| number.parse().unwrap()).collect();
            let expected: Vec<(u64, u64)> = numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect();
            let found: Vec<(u64, u64)> = objects.dict_items(shown.address).unwrap().collect();
            assert_eq!(found, expected, "{} {}", target.interpreter, shown.name);
            assert_eq!(objects.dict_length(shown.address).unwrap(), expected.len() as u64);
        }
    }
}

#[test]
fn keys_are_found_by_their_text() {
    let program = r#"
import threading
d = dict((str(i), i) for i in range(3000))
show('dict', d, '%d %d' % (id(d['7']), id(d['2999'])))
show('modules', sys.modules, '%d %d' % (id(threading), id(threading._active)))
"#;
    for target in every_target(program) {
        let objects = ObjectReader::new(target.memory(), &target.layout);
        let numbers = |name| -> Vec<Option<u64>> {
            target.shown(name).text.split(' ').map(|number| number.parse().ok()).collect()
        };
        let dict = target.shown("dict").address;
        assert_eq!(
            [objects.find_in_dict(dict, "7"), objects.find_in_dict(dict, "2999")].map(Result::unwrap),
            numbers("dict")[..]
        );
        assert_eq!(objects.find_in_dict(dict, "3000"), Ok(None));
        assert_eq!(objects.find_in_dict(dict, ""), Ok(None));
        let module = objects.find_in_dict(target.shown("modules").address, "threading").unwrap().unwrap();
        let active = objects.find_in_dict(objects.module_dict(module).unwrap(), "_active").unwrap();
        assert_eq!([Some(module), active], numbers("modules")[..]);
    }
}

#[test]
fn attributes_are_found_wherever_instances_keep_them() {
    let program = r#"
class Plain(object): pass
class Many(object):
    def __init__(self, count):
        for i in range(count): setattr(self, 'attr%d' % i, i)
class OfTuple(tuple): pass
class OfInt(type(10**30)): pass
class OfDict(dict): pass
class OfList(list): pass
class OfText(type(u'')): pass
class Slots(object):
    __slots__ = ('x', '__dict__')
class Error(ValueError): pass
class OnlySlots(object):
    __slots__ = ('x',)
def instances():
    yield Plain()
    for class_ in (Plain, lambda: OfTuple((1, 2, 3)), lambda: OfTuple(()), lambda: OfInt(10**30), lambda: OfInt(0),
                   lambda: OfInt(-10**30), OfDict, OfList, lambda: OfText(u'abc'), Slots, lambda: Error('x')):
        o = class_()
        o.a = 1
        yield o
        o = class_()
        o.b = 1
        o.a = 2
        o.__dict__
        yield o
        o = class_()
        o.b = 1
        o.a = 2
        o.__dict__
        o.c = 3
        del o.b
        yield o
    for count in (1, 5, 29, 30, 31, 60):
        yield Many(count)
    o = Plain(); o.a = 1; o.__dict__ = {'z': 26, 'y': 25}
    yield o
    o = Plain(); o.a = 1; o.__dict__[5] = 1
    yield o
    o = Plain(); d = o.__dict__; d['x'] = 1; o.y = 2
    yield o
    yield OnlySlots()
    import types
    m = types.ModuleType('m'); m.a = 1
    yield m
for index, o in enumerate(instances()):
    show('%s%d' % (type(o).__name__, index), o, '')
    items = getattr(o, '__dict__', {}).items()
    print('show', 'items', 0, ' '.join('%d %d' % (id(k), id(v)) for k, v in items))
"#;
    for target in every_target(program) {
        let objects = ObjectReader::new(target.memory(), &target.layout);
        let mut expected = 0;
        for pair in target.all_shown().chunks(2) {
            let [instance, items] = pair else { panic!("an odd line") };
            let numbers: Vec<u64> = items.text.split_whitespace().map(|number| number.parse().unwrap()).collect();
            let wanted: Vec<(u64, u64)> = numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect();
            let found = objects.instance_attributes(instance.address).unwrap();
            let found: Vec<(u64, u64)> = found.map(Iterator::collect).unwrap_or_default();
            assert_eq!(found, wanted, "{} {}", target.interpreter, instance.name);
            if let Some((_, value)) = wanted.first() {
                let name = objects.text(wanted[0].0, 100).map(|text| text.text).unwrap_or_default();
                assert_eq!(objects.instance_attribute(instance.address, &name), Ok(Some(*value)));
            }
            assert_eq!(objects.instance_attribute(instance.address, "missing"), Ok(None));
            expected += wanted.len();
        }
        assert!(expected > 150, "{expected} attributes");
    }
}

#[test]
fn attributes_that_nobody_looked_at_are_found() {
    let program = r#"
class Plain(object): pass
for names in ('a', 'b a', 'c b a', 'd a b c', 'a b c d e f g h i j k l m n o p q r s t u v w x y z'):
    o = Plain()
    for name in names.split(): setattr(o, name, name)
    show('Plain', o, names)
    o = Plain()
    for name in names.split(): setattr(o, name, name)
    o.extra = 1
    del o.extra
    show('Plain', o, names)
"#;
    for target in every_target(program).filter(|target| target.layout.version.major == 3) {
        let objects = ObjectReader::new(target.memory(), &target.layout);
        for shown in target.all_shown() {
            let items = objects.instance_attributes(shown.address).unwrap().unwrap();
            let names: Vec<String> = items
                .map(|(name, value)| {
                    assert_eq!(objects.text(name, 9).unwrap(), objects.text(value, 9).unwrap());
                    objects.text(name, 9).unwrap().text
                })
                .collect();
            assert_eq!(names.join(" "), shown.text, "{}", target.interpreter);
        }
    }
}

#[test]
fn types_say_what_they_are() {
    let program = r#"
import collections
class Outer(object):
    class Inner(object): pass
def f(): pass
for o in (1, u'x', b'x', [], (), {}, f, f.__code__, None, Outer, Outer(), Outer.Inner(), collections.deque(),
          ValueError()):
    c = type(o)
    show('o', o, ' '.join([c.__module__, getattr(c, '__qualname__', c.__name__), str(isinstance(o, type)),
                           str(o is f.__code__)]))
"#;
    for target in every_target(program) {
        let objects = ObjectReader::new(target.memory(), &target.layout);
        for shown in target.all_shown() {
            let info = objects.type_info(objects.type_of(shown.address).unwrap()).unwrap();
            let module = objects.type_module(&info).unwrap().unwrap();
            let module = if info.name == "exceptions.ValueError" { "exceptions".to_owned() } else { module };
            let qualname = objects.type_qualname(&info).unwrap().text;
            let python = |is: bool| if is { "True" } else { "False" };
            let is_type = python(objects.is_type(shown.address));
            let is_code = python(objects.is_code(shown.address));
            assert_eq!(format!("{module} {qualname} {is_type} {is_code}"), shown.text, "{}", target.interpreter);
            let bases = objects.bases(info.address).unwrap();
            assert_eq!(bases.first(), Some(&info.address));
            assert_eq!(objects.name_of_type(*bases.last().unwrap()).unwrap(), "object");
        }
    }
}

#[test]
fn any_bytes_are_some_object() {
    let mut random = Random::new(7);
    let base = 0x10_0000_u64;
    let layouts = some_layouts();
    for round in 0..4000 {
        let mut bytes = random.bytes(4096);
        // Pointers back into the image, small numbers and all ones where a reader may look for them.
        for place in bytes.as_chunks_mut::<8>().0 {
            let value = match random.below(4) {
                0 => base + random.below(4096) as u64,
                1 => random.below(300) as u64,
                2 => u64::MAX,
                _ => continue,
            };
            *place = value.to_ne_bytes();
        }
        let mut image = Image::new();
        image.map(base, bytes);
        let layout = &layouts[round % layouts.len()];
        let objects = ObjectReader::new(&image, layout);
        let address = base + random.below(4096) as u64;
        let _ = objects.text(address, 100);
        let _ = objects.dict_items(address).map(Iterator::count);
        let _ = objects.find_in_dict(address, "name");
        let _ = objects.instance_attributes(address).map(|items| items.map(Iterator::count));
        let _ = objects.type_info(address).map(|info| (objects.type_module(&info), objects.type_qualname(&info)));
        let _ = objects.bases(address);
        let _ = (objects.tuple_items(address, 100), objects.list_items(address, 100), objects.bytes(address, 100));
    }
}
