//! The types written in C whose memory is known here.

use crate::python::object::{TypeFlags, TypeInfo};

macro_rules! kinds {
    ($($kind:ident $($name:literal)|+,)*) => {
        /// What kind of object a type makes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Kind { $($kind,)* }

        fn by_name(name: &str) -> Option<Kind> {
            match name {
                $($($name)|+ => Some(Kind::$kind),)*
                _ => None,
            }
        }
    };
}

kinds! {
    None "NoneType",
    Ellipsis "ellipsis",
    NotImplemented "NotImplementedType",
    Bool "bool",
    Int "int" | "long",
    Float "float",
    Complex "complex",
    Text "str" | "unicode",
    Bytes "bytes",
    ByteArray "bytearray",
    Tuple "tuple",
    List "list",
    Dict "dict",
    FrozenDict "frozendict",
    Set "set",
    FrozenSet "frozenset",
    Range "range" | "xrange",
    Slice "slice",
    Deque "collections.deque",
    DefaultDict "collections.defaultdict",
    OrderedDict "collections.OrderedDict",
    DictView "dict_keys" | "dict_values" | "dict_items",
    MappingProxy "mappingproxy" | "dictproxy",
    Namespace "types.SimpleNamespace",
    Array "array.array",
    Lock "_thread.lock" | "thread.lock",
    RLock "_thread.RLock",
    SimpleQueue "_queue.SimpleQueue",
    Pattern "re.Pattern" | "_sre.SRE_Pattern",
    Cell "cell",
    WeakReference "weakref" | "weakref.ReferenceType",
    Type "type",
    OldClass "classobj",
    OldInstance "instance",
    Module "module",
    Function "function",
    Method "method" | "instancemethod",
    BuiltinFunction "builtin_function_or_method",
    MethodDescriptor "method_descriptor" | "classmethod_descriptor",
    SlotWrapper "wrapper_descriptor",
    MemberDescriptor "member_descriptor",
    GetSetDescriptor "getset_descriptor",
    MethodWrapper "method-wrapper",
    Partial "functools.partial",
    Generator "generator" | "coroutine" | "async_generator",
    Code "code",
    Exception "BaseException" | "exceptions.BaseException",
    Date "datetime.date",
    DateTime "datetime.datetime",
    Time "datetime.time",
    TimeDelta "datetime.timedelta",
    TimeZone "datetime.timezone",
    Decimal "decimal.Decimal",
    NumpyArray "numpy.ndarray",
    NumpyTime "numpy.datetime64" | "numpy.timedelta64",
    NumpyBool "numpy.bool" | "numpy.bool_",
    NumpySigned "numpy.int8" | "numpy.int16" | "numpy.int32" | "numpy.int64",
    NumpyUnsigned "numpy.uint8" | "numpy.uint16" | "numpy.uint32" | "numpy.uint64",
    NumpyFloat "numpy.float32" | "numpy.float64",
}

impl Kind {
    /// The kind that `of` itself is, whatever its bases are.
    pub(super) fn of(of: &TypeInfo) -> Option<Self> {
        // A class written in Python may have any name; it has no dot in it, unless somebody means to deceive.
        let is_class = of.flags.contains(TypeFlags::HEAP_TYPE) && !of.name.contains('.');
        if is_class {
            return None;
        }
        by_name(&of.name).filter(|kind| match kind {
            // These say themselves what they are, so that what shares a name is not taken for one.
            Self::List => of.flags.contains(TypeFlags::LIST),
            Self::Tuple => of.flags.contains(TypeFlags::TUPLE),
            Self::Dict | Self::DefaultDict | Self::OrderedDict => of.flags.contains(TypeFlags::DICT),
            Self::Type => of.flags.contains(TypeFlags::TYPE),
            Self::Exception => of.flags.contains(TypeFlags::EXCEPTION),
            _ => true,
        })
    }
}
