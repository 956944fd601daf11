//! Which functions of the interpreter say nothing: those that only pass a call on.
//!
//! A list of names and beginnings of names: the protocol of calls (`Objects/call.c`, `methodobject.c`,
//! `descrobject.c`), the entries to evaluation (`Python/ceval.c`), and the sending of values to generators. What does
//! work of its own (`list_sort`, `builtin_sorted`, `type_call`'s `object_new`) stays.

/// Functions by the beginning of the name.
const BEGINNINGS: &[&str] = &[
    "_PyEval_",
    "PyEval_",
    "_TAIL_CALL_",
    "_PyFunction_",
    "_PyObject_Call",
    "_PyObject_FastCall",
    "_PyObject_MakeTpCall",
    "_PyObject_Vectorcall",
    "PyObject_Call",
    "PyObject_Vectorcall",
    "_PyVectorcall_",
    "PyVectorcall_",
    "_PyCFunction_",
    "PyCFunction_",
    "_PyMethodDef_",
    "_PyMethodDescr_",
    "method_vectorcall",
    "cfunction_",
    "_PyStack_",
    "gen_send_ex",
    "_PyGen_Send",
    "PyIter_Send",
    "_Py_Vectorcall",
    "vectorcall_",
];

/// Functions by the whole name.
const NAMES: &[&str] = &[
    "call_function",
    "call_method",
    "call_unbound",
    "call_unbound_noarg",
    "call_trampoline",
    "classmethoddescr_call",
    "do_call",
    "do_call_core",
    "ext_do_call",
    "fast_function",
    "function_call",
    "function_code_fastcall",
    "gen_iternext",
    "gen_send",
    "gen_throw",
    "_gen_throw",
    "instance_call",
    "instancemethod_call",
    "lookup_maybe_method",
    "method_call",
    "methoddescr_call",
    "object_vacall",
    "method_descriptor_call",
    "run_eval_code_obj",
    "py_trampoline_evaluator",
    "run_mod",
    "slot_tp_call",
    "slot_tp_init",
    "slot_tp_new",
    "type_call",
    "type_vectorcall",
    "wrap_call",
    "wrapper_call",
    "wrapperdescr_call",
];

/// Whether a function of the interpreter only passes a call on. `name` is without the marks of compilers.
pub(super) fn is_plumbing(name: &str) -> bool {
    NAMES.contains(&name)
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        // From 3.15 on evaluation makes its calls through these.
        || (name.starts_with("_Py_") && name.contains("_StackRef"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_calls_on_is_plumbing() {
        for name in [
            "_PyFunction_Vectorcall",
            "PyObject_CallFunctionObjArgs",
            "_PyEval_EvalFrame",
            "PyEval_EvalCodeEx",
            "method_vectorcall_VARARGS_KEYWORDS",
            "cfunction_vectorcall_FASTCALL",
            "_PyMethodDef_RawFastCallKeywords",
            "slot_tp_call",
            "fast_function",
            "gen_send_ex2",
            "_TAIL_CALL_CALL_PY_EXACT_ARGS",
            "_Py_VectorCall_StackRefSteal",
            "py_trampoline_evaluator",
        ] {
            assert!(is_plumbing(name), "{name}");
        }
        for name in [
            "builtin_sorted",
            "list_sort_impl",
            "PyObject_GetAttr",
            "slot_nb_add",
            "gc_collect_main",
            "take_gil",
            "_Py_Dealloc",
            "time_sleep",
        ] {
            assert!(!is_plumbing(name), "{name}");
        }
    }
}
