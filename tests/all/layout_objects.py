"""Looks at objects of the interpreter that runs it, at the offsets of its layout (JSON, by name), and ends with an
AssertionError where something else is there. Runs in 2.7 and 3.6 to 3.15, with and without GIL."""
import json
import sys
import types

try:
    import ctypes
except ImportError:
    print("skipped: the interpreter has no ctypes")
    sys.exit()

layout = json.loads(sys.argv[1])
WORD = 8


def read(address, kind):
    return kind.from_address(address).value


def word(address, name=None):
    return read(address + (layout[name] if name else 0), ctypes.c_uint64)


def signed(address, name=None):
    return read(address + (layout[name] if name else 0), ctypes.c_int64)


def integer(address, name):
    return read(address + layout[name], ctypes.c_int32)


def byte(address, name):
    return read(address + layout[name], ctypes.c_uint8)


def text(address, length):
    return ctypes.string_at(address, length)


def same(found, expected, what):
    assert found == expected, "%s: found %r, expected %r" % (what, found, expected)


def check_types():
    class Base(object):
        pass

    class Derived(Base):
        __slots__ = ("slot",)

    same(word(id(Derived), "object.ob_type"), id(type), "ob_type")
    name = word(id(Derived), "object.type_name")
    same(text(name, 8), b"Derived\0", "tp_name")
    same(signed(id(Derived), "object.type_basic_size"), Derived.__basicsize__, "tp_basicsize")
    same(signed(id(tuple), "object.type_item_size"), tuple.__itemsize__, "tp_itemsize")
    flags = read(id(Derived) + layout["object.type_flags"], ctypes.c_uint32)
    same(flags, Derived.__flags__ & 0xFFFFFFFF, "tp_flags")
    same(word(id(Derived), "object.type_base"), id(Base), "tp_base")
    same(word(id(Derived), "object.type_mro"), id(Derived.__mro__), "tp_mro")
    same(signed(id(Derived), "object.type_dict_offset"), Derived.__dictoffset__, "tp_dictoffset")
    dict_address = word(id(Derived), "object.type_dict")
    same(dict_items(dict_address)["__module__"], id(Derived.__module__), "tp_dict")
    if "object.type_qualname" in layout:
        same(word(id(Derived), "object.type_qualname"), id(Derived.__qualname__), "ht_qualname")


def check_sequences():
    items = [object(), object(), object()]
    pair = (items[0], items[1])
    same(word(id(pair), "object.ob_size"), 2, "ob_size of a tuple")
    same(word(id(pair) + WORD, "object.tuple_items"), id(items[1]), "tuple ob_item")
    same(word(id(items), "object.ob_size"), 3, "ob_size of a list")
    same(word(word(id(items), "object.list_items") + 2 * WORD), id(items[2]), "list ob_item")
    data = b"some bytes"
    same(text(id(data) + layout["object.bytes_data"], len(data)), data, "ob_sval")
    same(signed(id(data), "object.bytes_hash") if hash(data) else None, hash(data), "ob_shash")
    number = 0.625
    same(read(id(number) + layout["object.float_value"], ctypes.c_double), number, "ob_fval")


def check_ints():
    big = -(9 * 2**60 + 3 * 2**30 + 1)
    digits = [read(id(big) + layout["object.int_digits"] + 4 * i, ctypes.c_uint32) for i in range(3)]
    same(digits, [1, 3, 9], "digits of an int")
    size = signed(id(big), "object.int_size")
    if sys.version_info >= (3, 12):
        same((size >> 3, size & 3), (3, 2), "lv_tag")
    else:
        same(size, -3, "ob_size of an int")
    if "object.plain_int_value" in layout:
        same(signed(id(12345), "object.plain_int_value"), 12345, "ob_ival")
        same(signed(id(True), "object.plain_int_value"), 1, "ob_ival of a bool")


def check_sets():
    items = {"one", "two", "three"}
    same(word(id(items), "object.set_used"), 3, "used of a set")
    slots = word(id(items), "object.set_mask") + 1
    table = word(id(items), "object.set_table")
    keys = {word(table + 2 * WORD * slot, "object.set_entry_key") for slot in range(slots)}
    same({id(item) for item in items} - keys, set(), "keys of a set")


def check_text():
    if sys.version_info < (3,):
        value = u"caf\xe9"
        same(word(id(value), "object.text.length"), 4, "length of a unicode object")
        width = 4 if sys.maxunicode > 0xFFFF else 2
        same(text(word(id(value), "object.text.data"), width), u"c".encode("utf-%d-le" % (8 * width)), "str")
        return
    for value in ("ascii", "caf\xe9", "\u0416\u0416", "\U0001f40d\U0001f40d"):
        largest = max(map(ord, value))
        width = 1 if largest < 0x100 else 2 if largest < 0x10000 else 4
        same(word(id(value), "object.text.length"), len(value), "length of a str")
        same(signed(id(value), "object.text.hash") if hash(value) else None, hash(value), "hash of a str")
        state = read(id(value) + layout["object.text.state"], ctypes.c_uint32)
        same(state >> layout["object.text.bits.kind"] & 7, width, "kind")
        same(state >> layout["object.text.bits.compact"] & 1, 1, "compact")
        is_ascii = largest < 0x80
        same(state >> layout["object.text.bits.ascii"] & 1, int(is_ascii), "ascii")
        begin = layout["object.text.ascii_size" if is_ascii else "object.text.compact_size"]
        encoding = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[width]
        data = value.encode(encoding)
        same(text(id(value) + begin, len(data)), data, "data of a str")

    class Text(str):
        pass

    value = Text("not compact")
    data = word(id(value), "object.text.data")
    same(text(data, 11), b"not compact", "data of a str that is not compact")


def native(address):
    """The str at an address, which a dict of this module holds alive."""
    return ctypes.cast(address, ctypes.py_object).value


def dict_items(address):
    """{key: address of value} of a dict whose keys are all native strings."""
    if "object.dict.table" in layout:
        table = word(address, "object.dict.table")
        slots = range(word(address, "object.dict.mask") + 1)
        entries = [(word(table + 24 * slot + 8), word(table + 24 * slot + 16)) for slot in slots]
    else:
        entries = keys_entries(word(address, "object.dict.keys"))
        values = word(address, "object.dict.values")
        if values:
            values += layout["object.dict_values_offset"]
            entries = [(key, word(values + WORD * index)) for index, (key, _) in enumerate(entries)]
    return {native(key): value for key, value in entries if key and value}


def keys_entries(keys):
    """The (key, value) addresses of a PyDictKeysObject."""
    count = word(keys, "object.dict.keys.entry_count")
    begin = keys + layout["object.dict.keys.indices"]
    if "object.dict.keys.size" in layout:
        size = word(keys, "object.dict.keys.size")
        width = 1 if size <= 0xFF else 2 if size <= 0xFFFF else 4
        begin += size * width
        has_hash = True
    else:
        begin += 1 << byte(keys, "object.dict.keys.log2_index_bytes")
        has_hash = byte(keys, "object.dict.keys.kind") == 0
    step = 24 if has_hash else 16
    first = WORD if has_hash else 0
    return [(word(begin + step * i + first), word(begin + step * i + first + WORD)) for i in range(count)]


def check_dicts():
    small = {"alpha": object(), "beta": object()}
    large = {"key %d" % i: object() for i in range(300)}
    general = {"mixed": object(), 5: None}
    del general[5]
    for value in (small, large, general):
        same(word(id(value), "object.dict.used"), len(value), "used of a dict")
        same(dict_items(id(value)), {key: id(item) for key, item in value.items()}, "items of a dict")


def check_instances():
    class Plain(object):
        def __init__(self):
            self.first = object()
            self.second = object()

    fresh, split = Plain(), Plain()
    dict_of_split = split.__dict__
    expected = {"first": id(fresh.first), "second": id(fresh.second)}
    same(instance_items(fresh, Plain), expected, "attributes of an instance")
    expected = {"first": id(split.first), "second": id(split.second)}
    same(instance_items(split, Plain), expected, "attributes of an instance that was asked for its dict")
    del dict_of_split


def values_items(values, owner):
    keys = keys_entries(word(id(owner), "object.type_cached_keys"))
    values += layout["object.dict_values_offset"]
    found = {native(key): word(values + WORD * index) for index, (key, _) in enumerate(keys)}
    return {key: value for key, value in found.items() if value}


def instance_items(instance, owner):
    address = id(instance)
    if "object.managed_dict.inline" in layout:
        values = address + owner.__basicsize__
        dict_address = word(address, "object.managed_dict.inline")
        same(byte(values, "object.dict_values_valid"), 1, "valid")
        if not dict_address:
            return values_items(values, owner)
    elif "object.managed_dict.tagged" in layout:
        dict_address = word(address, "object.managed_dict.tagged")
        if dict_address & 1:
            return values_items(dict_address + 1, owner)
    elif "object.managed_dict.values" in layout:
        values = word(address, "object.managed_dict.values")
        if values:
            return values_items(values, owner)
        dict_address = word(address, "object.managed_dict.dict")
    else:
        dict_address = word(address + owner.__dictoffset__)
    return dict_items(dict_address)


def check_modules():
    module = types.ModuleType("example")
    module.answer = object()
    dict_address = word(id(module), "object.module_dict")
    same(dict_address, id(module.__dict__), "md_dict")
    same(dict_items(dict_address)["answer"], id(module.answer), "the dict of a module")


def sample(first, second=None, *rest, **options):
    local = first
    return lambda: (local, second)


def check_code():
    code = sample.__code__
    address = id(code)
    same(word(address, "code.name"), id(code.co_name), "co_name")
    same(word(address, "code.filename"), id(code.co_filename), "co_filename")
    same(integer(address, "code.first_line"), code.co_firstlineno, "co_firstlineno")
    same(integer(address, "code.argument_count"), 2, "co_argcount")
    same(integer(address, "code.flags"), code.co_flags, "co_flags")
    if "code.keyword_only_count" in layout:
        same(integer(address, "code.keyword_only_count"), 0, "co_kwonlyargcount")
    if "code.qualname" in layout:
        same(word(address, "code.qualname"), id(code.co_qualname), "co_qualname")
    if sys.version_info >= (3, 10):
        line_table = native(word(address, "code.line_table"))
        same(line_table, code.co_linetable, "co_linetable")
    else:
        same(word(address, "code.line_table"), id(code.co_lnotab), "co_lnotab")
    if "code.bytecode_object" in layout:
        same(word(address, "code.bytecode_object"), id(code.co_code), "co_code")
        same(word(address, "code.variable_names.0"), id(code.co_varnames), "co_varnames")
        same(native(word(address, "code.variable_names.1")), code.co_cellvars, "co_cellvars")
        same(native(word(address, "code.variable_names.2")), code.co_freevars, "co_freevars")
        same(integer(address, "code.local_count"), code.co_nlocals, "co_nlocals")
    else:
        names = native(word(address, "code.locals_plus.0"))
        same(sorted(names), ["first", "local", "options", "rest", "second"], "co_localsplusnames")
        same(len(native(word(address, "code.locals_plus.1"))), len(names), "co_localspluskinds")


def generate():
    yield 1
    yield 2


def check_generators():
    generator = generate()
    address = id(generator)
    if "generator.name" in layout:
        same(word(address, "generator.name"), id(generator.__name__), "gi_name")
        same(word(address, "generator.qualname"), id(generator.__qualname__), "gi_qualname")
    states = []
    for _ in range(2):
        if "generator.frame_state" in layout:
            states.append(read(address + layout["generator.frame_state"], ctypes.c_int8))
            frame = address + layout["generator.frame"]
            mask = layout.get("frame.tag_mask", 0)
            same(word(frame, "frame.code") & ~mask, id(generate.__code__), "the code of a generator's frame")
            same(byte(frame, "frame.owner"), layout["frame.owner.generator"], "the owner of a generator's frame")
        else:
            frame = word(address, "generator.frame_object")
            same(frame, id(generator.gi_frame), "gi_frame")
            same(word(frame, "frame.code"), id(generate.__code__), "f_code")
            if "frame.state" in layout:
                states.append(read(frame + layout["frame.state"], ctypes.c_int8))
            else:
                same(byte(address, "generator.running"), 0, "gi_running")
        generator.send(None)
    if states:
        expected = [layout["generator.states.created"], layout["generator.states.suspended"]]
        same(states, expected, "the states of a generator")


for check in sorted(name for name in globals() if name.startswith("check_")):
    globals()[check]()
print("objects are in place")
