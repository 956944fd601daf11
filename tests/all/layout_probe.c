/* Prints "name value" for every number of a Layout, computed by the compiler from the headers of one CPython.
 *
 * The names are those that layout_probes.rs gives the fields of Layout. What a version does not have is not printed.
 * Two structs are in no installed header and are declared here as the named source files have them; layout_objects.py
 * checks them in a running interpreter. */

#define Py_BUILD_CORE 1
#undef NDEBUG
#define NDEBUG 1
#include "Python.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "frameobject.h"

#define SINCE(minor) (PY_VERSION_HEX >= 0x03000000 + ((minor) << 16))
#define BEFORE(minor) (PY_VERSION_HEX < 0x03000000 + ((minor) << 16))

#if BEFORE(11)
#include "longintrepr.h"
#endif
#if SINCE(7) && BEFORE(8)
#include "internal/pystate.h"
#elif SINCE(8)
#include "internal/pycore_pystate.h"
#endif
#if SINCE(9)
#include "internal/pycore_interp.h"
#include "internal/pycore_runtime.h"
#endif
#if SINCE(10)
#include "internal/pycore_moduleobject.h"
#endif
#if SINCE(11)
#include "internal/pycore_code.h"
#include "internal/pycore_dict.h"
#include "internal/pycore_frame.h"
#include "internal/pycore_object.h"
#endif
#if SINCE(14)
#include "internal/pycore_genobject.h"
#include "internal/pycore_interpframe.h"
#include "internal/pycore_interpframe_structs.h"
#include "internal/pycore_stackref.h"
#endif

#define SHOW(name, value) printf("%s %lld\n", name, (long long)(value))
#define FIELD(name, type, field) SHOW(name, offsetof(type, field))

#if BEFORE(10)
/* Objects/moduleobject.c */
typedef struct {
    PyObject_HEAD
    PyObject *md_dict;
} ModuleHead;
#define PyModuleObject ModuleHead
#endif

#if SINCE(6) && BEFORE(11)
/* Objects/dict-common.h */
typedef struct {
    Py_ssize_t dk_refcnt;
    Py_ssize_t dk_size;
    void *dk_lookup;
    Py_ssize_t dk_usable;
    Py_ssize_t dk_nentries;
    char dk_indices[];
} Keys;
#elif SINCE(11)
typedef struct _dictkeysobject Keys;
#endif

static void show_runtime(void) {
#if SINCE(13)
    SHOW("runtime.size", sizeof(_PyRuntimeState));
#endif
#if SINCE(7)
    FIELD("runtime.interpreters_head", _PyRuntimeState, interpreters.head);
#endif
#if SINCE(7) && BEFORE(12)
    FIELD("runtime.current_thread", _PyRuntimeState, gilstate.tstate_current);
    FIELD("runtime.gil", _PyRuntimeState, ceval.gil);
#endif
#if SINCE(7) && BEFORE(9)
    FIELD("runtime.gc_collecting", _PyRuntimeState, gc.collecting);
#endif
}

static void show_interpreter(void) {
    SHOW("interpreter.size", sizeof(PyInterpreterState));
    FIELD("interpreter.next", PyInterpreterState, next);
#if SINCE(7)
    FIELD("interpreter.id", PyInterpreterState, id);
#endif
#if SINCE(11)
    FIELD("interpreter.threads_head", PyInterpreterState, threads.head);
#else
    FIELD("interpreter.threads_head", PyInterpreterState, tstate_head);
#endif
#if SINCE(13)
    FIELD("interpreter.threads_main", PyInterpreterState, threads.main);
#endif
#if SINCE(14)
    FIELD("interpreter.code_object_generation", PyInterpreterState, _code_object_generation);
#endif
#if SINCE(12)
    FIELD("interpreter.modules", PyInterpreterState, imports.modules);
    FIELD("interpreter.gil", PyInterpreterState, ceval.gil);
#else
    FIELD("interpreter.modules", PyInterpreterState, modules);
#endif
    FIELD("interpreter.sysdict", PyInterpreterState, sysdict);
#if SINCE(9)
    FIELD("interpreter.gc_collecting", PyInterpreterState, gc.collecting);
#endif
#if SINCE(15)
    FIELD("interpreter.gc_frame", PyInterpreterState, gc.frame);
    FIELD("interpreter.gc_stats", PyInterpreterState, gc.generation_stats);
#endif
#if SINCE(13)
    FIELD("gil.locked", PyInterpreterState, _gil.locked);
    FIELD("gil.last_holder", PyInterpreterState, _gil.last_holder);
    FIELD("gil.base", PyInterpreterState, _gil);
#ifdef Py_GIL_DISABLED
    FIELD("gil.enabled", PyInterpreterState, _gil.enabled);
#endif
#elif SINCE(12)
    FIELD("gil.locked", struct _gil_runtime_state, locked);
    FIELD("gil.last_holder", struct _gil_runtime_state, last_holder);
#endif
}

static void show_thread(void) {
    SHOW("thread.size", sizeof(PyThreadState));
    FIELD("thread.next", PyThreadState, next);
    FIELD("thread.interp", PyThreadState, interp);
#if SINCE(13)
    FIELD("thread.frame", PyThreadState, current_frame);
#elif SINCE(11)
    FIELD("thread.frame.cframe", PyThreadState, cframe);
    FIELD("thread.frame.current_frame", _PyCFrame, current_frame);
#else
    FIELD("thread.frame", PyThreadState, frame);
#endif
    FIELD("thread.thread_id", PyThreadState, thread_id);
#if SINCE(11)
    FIELD("thread.native_thread_id", PyThreadState, native_thread_id);
    FIELD("thread.datastack_chunk", PyThreadState, datastack_chunk);
    FIELD("stack_chunk.previous", _PyStackChunk, previous);
    FIELD("stack_chunk.size", _PyStackChunk, size);
    FIELD("stack_chunk.top", _PyStackChunk, top);
    FIELD("stack_chunk.data", _PyStackChunk, data);
#endif
#if SINCE(12)
    FIELD("thread.current_exception", PyThreadState, current_exception);
#else
    FIELD("thread.current_exception", PyThreadState, curexc_value);
    FIELD("thread.current_exception_type", PyThreadState, curexc_type);
#endif
#if SINCE(15)
    FIELD("thread.base_frame", PyThreadState, base_frame);
    FIELD("thread.holds_gil", PyThreadState, holds_gil);
    FIELD("thread.gil_requested", PyThreadState, gil_requested);
#endif
#ifdef Py_GIL_DISABLED
    FIELD("thread.attachment", PyThreadState, state);
#endif
}

static void show_frame(void) {
#if BEFORE(11)
    FIELD("frame.head_size", PyFrameObject, f_localsplus);
    FIELD("frame.previous", PyFrameObject, f_back);
    FIELD("frame.code", PyFrameObject, f_code);
    FIELD("frame.position", PyFrameObject, f_lasti);
    FIELD("frame.line", PyFrameObject, f_lineno);
#if BEFORE(10)
    FIELD("frame.trace", PyFrameObject, f_trace);
#endif
    FIELD("frame.locals", PyFrameObject, f_localsplus);
    FIELD("frame.value_stack", PyFrameObject, f_valuestack);
#if BEFORE(10)
    FIELD("frame.stack_pointer", PyFrameObject, f_stacktop);
#else
    FIELD("frame.stack_depth", PyFrameObject, f_stackdepth);
    FIELD("frame.state", PyFrameObject, f_state);
#endif
#else
    FIELD("frame.head_size", _PyInterpreterFrame, localsplus);
    FIELD("frame.previous", _PyInterpreterFrame, previous);
#if SINCE(13)
    FIELD("frame.code", _PyInterpreterFrame, f_executable);
    FIELD("frame.position", _PyInterpreterFrame, instr_ptr);
#else
    FIELD("frame.code", _PyInterpreterFrame, f_code);
    FIELD("frame.position", _PyInterpreterFrame, prev_instr);
#endif
    FIELD("frame.object", _PyInterpreterFrame, frame_obj);
    FIELD("frame_object.frame", PyFrameObject, f_frame);
    FIELD("frame_object.line", PyFrameObject, f_lineno);
    FIELD("frame.owner", _PyInterpreterFrame, owner);
    SHOW("frame.owner.generator", FRAME_OWNED_BY_GENERATOR);
#if SINCE(14)
    SHOW("frame.owner.shim.0", FRAME_OWNED_BY_INTERPRETER);
#elif SINCE(12)
    SHOW("frame.owner.shim.0", FRAME_OWNED_BY_CSTACK);
#endif
#if SINCE(14) && BEFORE(15)
    SHOW("frame.owner.shim.1", FRAME_OWNED_BY_CSTACK);
#endif
    FIELD("frame.locals", _PyInterpreterFrame, localsplus);
#if SINCE(14)
    FIELD("frame.stack_pointer", _PyInterpreterFrame, stackpointer);
    SHOW("frame.tag_mask", Py_INT_TAG);
#ifdef Py_GIL_DISABLED
    FIELD("frame.tlbc_index", _PyInterpreterFrame, tlbc_index);
#endif
#else
    FIELD("frame.stack_top", _PyInterpreterFrame, stacktop);
#endif
#if BEFORE(12)
    FIELD("frame.is_entry", _PyInterpreterFrame, is_entry);
#endif
#endif
}

static void show_code(void) {
    FIELD("code.name", PyCodeObject, co_name);
    FIELD("code.filename", PyCodeObject, co_filename);
    FIELD("code.first_line", PyCodeObject, co_firstlineno);
    FIELD("code.argument_count", PyCodeObject, co_argcount);
#if SINCE(0)
    FIELD("code.keyword_only_count", PyCodeObject, co_kwonlyargcount);
#endif
    FIELD("code.flags", PyCodeObject, co_flags);
#if SINCE(10)
    FIELD("code.line_table", PyCodeObject, co_linetable);
#else
    FIELD("code.line_table", PyCodeObject, co_lnotab);
#endif
#if BEFORE(11)
    SHOW("code.head_size", sizeof(PyCodeObject));
    FIELD("code.bytecode_object", PyCodeObject, co_code);
    FIELD("code.variable_names.0", PyCodeObject, co_varnames);
    FIELD("code.variable_names.1", PyCodeObject, co_cellvars);
    FIELD("code.variable_names.2", PyCodeObject, co_freevars);
    FIELD("code.local_count", PyCodeObject, co_nlocals);
#else
    FIELD("code.head_size", PyCodeObject, co_code_adaptive);
    FIELD("code.qualname", PyCodeObject, co_qualname);
    FIELD("code.bytecode", PyCodeObject, co_code_adaptive);
    FIELD("code.locals_plus.0", PyCodeObject, co_localsplusnames);
    FIELD("code.locals_plus.1", PyCodeObject, co_localspluskinds);
#endif
#if SINCE(12)
    FIELD("code.unique_version", PyCodeObject, co_version);
#endif
#if SINCE(14) && defined(Py_GIL_DISABLED)
    FIELD("code.tlbc", PyCodeObject, co_tlbc);
#endif
}

static void show_generator(void) {
#if SINCE(0)
    FIELD("generator.name", PyGenObject, gi_name);
    FIELD("generator.qualname", PyGenObject, gi_qualname);
#endif
#if SINCE(11)
    FIELD("generator.frame", PyGenObject, gi_iframe);
    FIELD("generator.frame_state", PyGenObject, gi_frame_state);
#else
    FIELD("generator.frame_object", PyGenObject, gi_frame);
#endif
#if BEFORE(10)
    FIELD("generator.running", PyGenObject, gi_running);
#else
    SHOW("generator.states.created", FRAME_CREATED);
    SHOW("generator.states.suspended", FRAME_SUSPENDED);
    SHOW("generator.states.executing", FRAME_EXECUTING);
#if BEFORE(11)
    SHOW("generator.states.finished", FRAME_RETURNED);
#elif BEFORE(15)
    SHOW("generator.states.finished", FRAME_COMPLETED);
#else
    SHOW("generator.states.finished", FRAME_CLEARED);
    SHOW("generator.states.suspended_yield_from_locked", FRAME_SUSPENDED_YIELD_FROM_LOCKED);
#endif
#if SINCE(13)
    SHOW("generator.states.suspended_yield_from", FRAME_SUSPENDED_YIELD_FROM);
#endif
#endif
}

static void show_types(void) {
    FIELD("object.type_name", PyTypeObject, tp_name);
    FIELD("object.type_basic_size", PyTypeObject, tp_basicsize);
    FIELD("object.type_item_size", PyTypeObject, tp_itemsize);
    FIELD("object.type_flags", PyTypeObject, tp_flags);
    FIELD("object.type_base", PyTypeObject, tp_base);
    FIELD("object.type_mro", PyTypeObject, tp_mro);
    FIELD("object.type_dict", PyTypeObject, tp_dict);
    FIELD("object.type_dict_offset", PyTypeObject, tp_dictoffset);
#if SINCE(0)
    FIELD("object.type_cached_keys", PyHeapTypeObject, ht_cached_keys);
    FIELD("object.type_qualname", PyHeapTypeObject, ht_qualname);
#endif
}

static void show_managed_dict(void) {
#if SINCE(11)
    static char room[256];
    PyObject *instance = (PyObject *)(room + 128);
#if BEFORE(12)
    SHOW("object.managed_dict.values", (char *)_PyObject_ValuesPointer(instance) - (char *)instance);
    SHOW("object.managed_dict.dict", (char *)_PyObject_ManagedDictPointer(instance) - (char *)instance);
#elif BEFORE(13)
    SHOW("object.managed_dict.tagged", (char *)_PyObject_DictOrValuesPointer(instance) - (char *)instance);
#else
    SHOW("object.managed_dict.inline", (char *)_PyObject_ManagedDictPointer(instance) - (char *)instance);
    FIELD("object.dict_values_valid", PyDictValues, valid);
#endif
    FIELD("object.dict_values_offset", PyDictValues, values);
#else
    SHOW("object.dict_values_offset", 0);
#endif
}

#if SINCE(0)
/* The lowest bit that is set in the word at the state of a string. */
static int first_bit(const PyASCIIObject *string) {
    uint64_t word;
    memcpy(&word, (const char *)string + offsetof(PyASCIIObject, state), sizeof word);
    return __builtin_ctzll(word);
}

#define BIT(name, field)                   \
    do {                                   \
        static PyASCIIObject string;       \
        string.state.field = 1;            \
        SHOW(name, first_bit(&string));    \
    } while (0)
#endif

static void show_text_and_dict(void) {
    FIELD("object.dict.used", PyDictObject, ma_used);
#if BEFORE(0)
    FIELD("object.text.length", PyUnicodeObject, length);
    FIELD("object.text.data", PyUnicodeObject, str);
    FIELD("object.dict.mask", PyDictObject, ma_mask);
    FIELD("object.dict.table", PyDictObject, ma_table);
    FIELD("object.plain_int_value", PyIntObject, ob_ival);
    FIELD("object.bytes_data", PyStringObject, ob_sval);
    FIELD("object.bytes_hash", PyStringObject, ob_shash);
#else
    FIELD("object.text.length", PyASCIIObject, length);
    FIELD("object.text.hash", PyASCIIObject, hash);
    FIELD("object.text.state", PyASCIIObject, state);
    BIT("object.text.bits.kind", kind);
    BIT("object.text.bits.compact", compact);
    BIT("object.text.bits.ascii", ascii);
    SHOW("object.text.ascii_size", sizeof(PyASCIIObject));
    SHOW("object.text.compact_size", sizeof(PyCompactUnicodeObject));
    FIELD("object.text.data", PyUnicodeObject, data);
    FIELD("object.dict.keys", PyDictObject, ma_keys);
    FIELD("object.dict.values", PyDictObject, ma_values);
    FIELD("object.dict.keys.entry_count", Keys, dk_nentries);
    FIELD("object.dict.keys.indices", Keys, dk_indices);
#if SINCE(11)
    FIELD("object.dict.keys.log2_index_bytes", Keys, dk_log2_index_bytes);
    FIELD("object.dict.keys.kind", Keys, dk_kind);
#else
    FIELD("object.dict.keys.size", Keys, dk_size);
#endif
    FIELD("object.bytes_data", PyBytesObject, ob_sval);
    FIELD("object.bytes_hash", PyBytesObject, ob_shash);
#endif
}

static void show_objects(void) {
    SHOW("object.head_size", sizeof(PyObject));
    FIELD("object.ob_type", PyObject, ob_type);
    FIELD("object.ob_size", PyVarObject, ob_size);
    FIELD("object.tuple_items", PyTupleObject, ob_item);
    FIELD("object.list_items", PyListObject, ob_item);
    FIELD("object.set_used", PySetObject, used);
    FIELD("object.set_mask", PySetObject, mask);
    FIELD("object.set_table", PySetObject, table);
    FIELD("object.set_entry_key", setentry, key);
#if SINCE(12)
    FIELD("object.int_size", PyLongObject, long_value.lv_tag);
    FIELD("object.int_digits", PyLongObject, long_value.ob_digit);
#else
    FIELD("object.int_size", PyVarObject, ob_size);
    FIELD("object.int_digits", PyLongObject, ob_digit);
#endif
    FIELD("object.float_value", PyFloatObject, ob_fval);
    FIELD("object.module_dict", PyModuleObject, md_dict);
}

int main(void) {
    SHOW("version", PY_VERSION_HEX);
    show_runtime();
    show_interpreter();
    show_thread();
    show_frame();
    show_code();
    show_generator();
    show_types();
    show_managed_dict();
    show_text_and_dict();
    show_objects();
    return 0;
}
