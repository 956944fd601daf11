//! Names of functions that compilers of Python have written as C: Cython's and mypyc's.
//!
//! Cython (`Compiler/Naming.py`, `Symtab.py`): a prefix that tells what it is (`__pyx_pw_`: what Python calls, it
//! unpacks the arguments;
//! `__pyx_pf_`: the function itself; `__pyx_f_`: one of C; `__pyx_gb_`: the body of a generator), then each scope with
//! the length of its name (`3pkg_4cmod_5Shape_`), then a number that makes it unique, then the name. mypyc
//! (`mypyc/namegen.py`): `CPyDef_` or, for what Python calls,
//! `CPyPy_`, then scopes and name joined by `___`.

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CompiledName {
    /// The name in Python, from the module on where it tells that.
    pub(super) name: String,
    /// It passes a call on to the function that has the same name.
    pub(super) is_wrapper: bool,
}

/// What Cython's functions begin with, and whether they pass calls on.
const PREFIXES: &[(&str, bool)] =
    &[("__pyx_pw_", true), ("__pyx_pf_", true), ("__pyx_f_", false), ("__pyx_gb_", false)];
/// The functions of a type, beside those that were written.
const SLOTS: &[&str] = &["tp_new_vectorcall", "tp_vectorcall", "tp_new", "tp_dealloc", "tp_traverse", "tp_clear"];
/// Beginnings of the functions in each library of Cython's that only pass calls on: to functions and generators of the
/// library, and to Python (`Utility/CythonFunction.c`, `Coroutine.c`, `ObjectHandling.c`).
const PLUMBING: &[&str] = &[
    "__Pyx_CyFunction_Call",
    "__Pyx_CyFunction_Vectorcall",
    "__Pyx_PyObject_Call",
    "__Pyx_PyObject_FastCall",
    "__Pyx_PyFunction_FastCall",
    "__Pyx_PyCFunction_FastCall",
    "__Pyx__PyObject_Call",
    "__Pyx_PyVectorcall_",
    "__Pyx_PyMethod_",
    "__Pyx_Generator_Next",
    "__Pyx_Coroutine_Send",
    "__Pyx_Coroutine_AmSend",
    "__pyx_FusedFunction_call",
];
/// The largest number that is taken for a length.
const LONGEST_PART: usize = 512;
/// How deep scopes may be nested.
const DEEPEST: usize = 16;

/// The name that a symbol stands for, if Cython or mypyc made it. `find` gives what follows a beginning in the name of
/// the first function of the file that has one after it which is no digit.
pub(super) fn compiled_name(symbol: &str, find: &dyn Fn(&str) -> Option<String>) -> Option<CompiledName> {
    if let Some(rest) = symbol.strip_prefix("CPyDef_") {
        return Some(CompiledName { name: mypyc(rest), is_wrapper: false });
    }
    if let Some(rest) = symbol.strip_prefix("CPyPy_") {
        return Some(CompiledName { name: mypyc(rest), is_wrapper: true });
    }
    cython(symbol, find)
}

/// Whether a function that Cython puts into each library only passes a call on.
pub(super) fn is_cython_plumbing(symbol: &str) -> bool {
    PLUMBING.iter().any(|beginning| symbol.starts_with(beginning))
}

fn mypyc(name: &str) -> String {
    if name == "__top_level__" {
        return "<module>".to_owned();
    }
    // Three underscores of the program's own are written as `___3_`.
    name.replace("___3_", "\0").replace("___", ".").replace('\0', "___")
}

fn cython(symbol: &str, find: &dyn Fn(&str) -> Option<String>) -> Option<CompiledName> {
    let symbol = without_specialization(symbol);
    if let Some(module) = symbol.strip_prefix("__pyx_pymod_exec_") {
        return Some(CompiledName { name: format!("{module}.<module>"), is_wrapper: false });
    }
    if symbol.starts_with("__pyx_lambda_funcdef_") {
        // It does not tell where it is.
        return Some(CompiledName { name: "<lambda>".to_owned(), is_wrapper: false });
    }
    let inner = symbol.strip_prefix("__pyx_")?;
    for slot in SLOTS {
        if let Some(rest) = inner.strip_prefix(slot).and_then(|rest| rest.strip_prefix('_')) {
            let (mut parts, class) = scopes(rest);
            parts.extend([class, slot]);
            return (parts.len() > 2).then(|| CompiledName { name: parts.join("."), is_wrapper: false });
        }
    }
    for accessor in ["getprop_", "setprop_"] {
        if let Some(rest) = inner.strip_prefix(accessor) {
            let (mut parts, property) = scopes(rest);
            parts.push(property);
            return (parts.len() > 1).then(|| CompiledName { name: parts.join("."), is_wrapper: false });
        }
    }
    let (prefix, is_wrapper) = PREFIXES.iter().find(|(prefix, _)| symbol.starts_with(prefix))?;
    let mangled = &symbol[prefix.len()..];
    let (mut parts, mut rest) = scopes(mangled);
    // `3abc_def` is `def` in the scope `abc`, or the third function of its scope, `abc_def`. What Python calls has a
    // number nearly always.
    if parts.len() > 1 && !rest.starts_with(|c: char| c.is_ascii_digit()) {
        let (number, name) = last_as_number(mangled, parts.len());
        let is_number = match *prefix {
            "__pyx_pw_" | "__pyx_gb_" => true,
            "__pyx_pf_" => {
                let at = mangled.len() - number.len() - name.len();
                let next = number.parse::<u32>().ok().and_then(|number| number.checked_add(1));
                next.is_some_and(|next| find(&format!("__pyx_pw_{}{next}", &mangled[..at])).as_deref() == Some(name))
            }
            _ => false,
        };
        if is_number {
            parts.pop();
            rest = name;
        }
    }
    if parts.is_empty() {
        return None;
    }
    let name = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &rest[..rest.len() - name.len()];
    let mut name = without_specialization(name).to_owned();
    if *prefix == "__pyx_gb_" && name.trim_end_matches(|c: char| c.is_ascii_digit()) == "generator" {
        // A generator's body has the number after that of the function that makes it, which has the name.
        let scope = &mangled[..mangled.len() - rest.len()];
        let maker = number.parse::<u32>().ok().and_then(|number| number.checked_sub(1));
        name = match maker.and_then(|maker| find(&format!("__pyx_pw_{scope}{maker}"))) {
            Some(found) => without_specialization(&found).to_owned(),
            None => "<generator>".to_owned(),
        };
    }
    if let Some(rest) = name.strip_prefix("__pyx_lambda_funcdef_") {
        name = if rest.starts_with("lambda") { "<lambda>".to_owned() } else { rest.to_owned() };
    }
    if name.is_empty() {
        return None;
    }
    parts.push(&name);
    Some(CompiledName { name: parts.join("."), is_wrapper: *is_wrapper })
}

/// Without the mark of a version of a function for some types: `__pyx_fuse_0_1`.
fn without_specialization(name: &str) -> &str {
    match name.strip_prefix("__pyx_fuse_") {
        Some(rest) => {
            let inner = rest.find("__pyx_").map(|at| &rest[at..]);
            let name = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            inner.unwrap_or(name)
        }
        None => name,
    }
}

/// The scopes that a mangled name begins with, and what is after them.
fn scopes(mangled: &str) -> (Vec<&str>, &str) {
    let mut parts = Vec::new();
    let mut rest = mangled;
    while parts.len() < DEEPEST
        && let Some((part, after)) = scope(rest)
    {
        parts.push(part);
        rest = after;
    }
    (parts, rest)
}

/// One scope: `4cmod_`.
fn scope(text: &str) -> Option<(&str, &str)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let length: usize = text.get(..digits)?.parse().ok().filter(|length| (1..=LONGEST_PART).contains(length))?;
    let part = text.get(digits..digits + length)?;
    let after = text.get(digits + length..)?.strip_prefix('_')?;
    (!after.is_empty()).then_some((part, after))
}

/// A mangled name of so many scopes with the length of the last taken for a number: that, and what is after it.
fn last_as_number(mangled: &str, count: usize) -> (&str, &str) {
    let mut rest = mangled;
    for _ in 1..count {
        rest = scope(rest).map_or(rest, |(_, after)| after);
    }
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    rest.split_at(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The functions of one file, made by Cython 3.
    const FILE: &[&str] = &[
        "__pyx_pw_3pkg_4cmod_7gen",
        "__pyx_pw_3pkg_4cmod_12coro",
        "__pyx_pw_3pkg_4cmod_3xy_z",
        "__pyx_pw_3pkg_4cmod_2ab_1cd",
    ];

    fn find(beginning: &str) -> Option<String> {
        let rests = FILE.iter().filter_map(|name| name.strip_prefix(beginning));
        rests.filter(|rest| !rest.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned).next()
    }

    fn name(symbol: &str) -> Option<(String, bool)> {
        compiled_name(symbol, &find).map(|found| (found.name, found.is_wrapper))
    }

    #[test]
    fn names_of_cython_are_read() {
        for (symbol, expected, is_wrapper) in [
            ("__pyx_pw_4cmod_1cfun", "cmod.cfun", true),
            ("__pyx_pf_4cmod_cfun", "cmod.cfun", true),
            ("__pyx_pw_3pkg_4cmod_5cfun", "pkg.cmod.cfun", true),
            ("__pyx_f_3pkg_4cmod_heavy", "pkg.cmod.heavy", false),
            ("__pyx_f_3pkg_4cmod_5Shape_carea", "pkg.cmod.Shape.carea", false),
            ("__pyx_pw_3pkg_4cmod_5Shape_7area", "pkg.cmod.Shape.area", true),
            ("__pyx_pw_3pkg_4cmod_5Shape_1__cinit__", "pkg.cmod.Shape.__cinit__", true),
            ("__pyx_pw_3pkg_4cmod_5outer_1inner", "pkg.cmod.outer.inner", true),
            ("__pyx_pf_3pkg_4cmod_5outer_inner", "pkg.cmod.outer.inner", true),
            ("__pyx_pw_3pkg_4cmod_5outer_2__pyx_lambda_funcdef_lambda", "pkg.cmod.outer.<lambda>", true),
            ("__pyx_lambda_funcdef_lambda", "<lambda>", false),
            ("__pyx_fuse_1__pyx_pw_3pkg_4cmod_21fused_fun", "pkg.cmod.fused_fun", true),
            ("__pyx_pw_3pkg_4cmod_19__pyx_fuse_0fused_fun", "pkg.cmod.fused_fun", true),
            ("__pyx_gb_3pkg_4cmod_8generator", "pkg.cmod.gen", false),
            ("__pyx_gb_3pkg_4cmod_13generator1", "pkg.cmod.coro", false),
            ("__pyx_gb_3pkg_4cmod_5outer_5generator2", "pkg.cmod.outer.<generator>", false),
            ("__pyx_tp_dealloc_3pkg_4cmod_Shape", "pkg.cmod.Shape.tp_dealloc", false),
            ("__pyx_getprop_3pkg_4cmod_5Shape_prop", "pkg.cmod.Shape.prop", false),
            ("__pyx_pymod_exec_cmod", "cmod.<module>", false),
        ] {
            assert_eq!(name(symbol), Some((expected.to_owned(), is_wrapper)), "{symbol}");
        }
    }

    #[test]
    fn a_number_is_not_taken_for_a_length() {
        // The third function of its module, and a method of a class with a name of three letters.
        assert_eq!(name("__pyx_pw_4cmod_3abc_def").unwrap().0, "cmod.abc_def");
        assert_eq!(name("__pyx_pw_4cmod_3abc_1def").unwrap().0, "cmod.abc.def");
        assert_eq!(name("__pyx_f_4cmod_3abc_def").unwrap().0, "cmod.abc.def");
        // What Python calls tells which it is.
        assert_eq!(name("__pyx_pf_3pkg_4cmod_2xy_z").unwrap().0, "pkg.cmod.xy_z");
        assert_eq!(name("__pyx_pf_3pkg_4cmod_2ab_cd").unwrap().0, "pkg.cmod.ab.cd");
    }

    #[test]
    fn names_of_mypyc_are_read() {
        for (symbol, expected, is_wrapper) in [
            ("CPyDef_fib", "fib", false),
            ("CPyPy_fib", "fib", true),
            ("CPyDef_mod___Shape___area_of", "mod.Shape.area_of", false),
            ("CPyDef_Shape_____init__", "Shape.__init__", false),
            ("CPyDef_a___3_b", "a___b", false),
            ("CPyDef___top_level__", "<module>", false),
        ] {
            assert_eq!(name(symbol), Some((expected.to_owned(), is_wrapper)), "{symbol}");
        }
    }

    #[test]
    fn what_passes_calls_on_is_known() {
        for name in ["__Pyx_CyFunction_CallAsMethod", "__Pyx_Coroutine_SendEx", "__pyx_FusedFunction_callfunction"] {
            assert!(is_cython_plumbing(name), "{name}");
        }
        for name in ["__Pyx_PyObject_GetAttrStr", "__Pyx_Generator_New", "__pyx_f_4cmod_x", "call"] {
            assert!(!is_cython_plumbing(name), "{name}");
        }
    }

    #[test]
    fn other_names_stay_as_they_are() {
        for symbol in [
            "__Pyx_PyObject_Call",
            "__pyx_f_",
            "__pyx_pw_",
            "__pyx_pw_9short_x",
            "__pyx_f_99999999999999999999999_x",
            "__pyx_f_0_x",
            "__pyx_f_4cmod",
            "__pyx_f_4cmod_",
            "__pyx_f_4cmöd_x",
            "__pyx_bisect_code_objects",
            "CPyTagged_Add",
            "compress",
            "",
        ] {
            assert_eq!(name(symbol), None, "{symbol}");
        }
        let deep = format!("__pyx_f_{}x", "1a_".repeat(100_000));
        assert!(name(&deep).is_some_and(|(name, _)| name.len() <= deep.len()));
    }
}
