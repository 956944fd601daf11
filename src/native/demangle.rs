//! Names of functions as their programmers wrote them: Rust's and C++'s demangled, the marks of compilers taken off.
//!
//! The names come from files of the target: what a demangler makes of them is cut off at a length, as a mangled name of
//! some bytes can stand for gigabytes.

use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, ParseOptions};

/// The longest name that is made.
const LONGEST: usize = 1024;
/// The longest mangled name that is tried.
const LONGEST_MANGLED: usize = 4096;
/// How deep the parts of a C++ name may be nested.
const DEEPEST: u32 = 64;

/// What compilers add to the name of a function that they split, copied or specialised; numbers may follow.
const CLONES: [&str; 8] = [".cold", ".constprop", ".isra", ".part", ".lto_priv", ".llvm", ".clone", ".localalias"];

/// The name to show for a symbol.
pub(super) fn readable(symbol: &[u8]) -> String {
    let text = String::from_utf8_lossy(symbol);
    let plain = without_marks(&text);
    if plain.len() > LONGEST_MANGLED {
        return cut(plain);
    }
    if let Ok(name) = rustc_demangle::try_demangle(plain) {
        // Without the hash that ends it.
        return bounded(|writer| write!(writer, "{name:#}")).unwrap_or_else(|| cut(plain));
    }
    if plain.starts_with("_Z") || plain.starts_with("__Z") {
        return cpp(plain).unwrap_or_else(|| cut(plain));
    }
    cut(plain)
}

/// The name without its version and without what compilers add to copies and parts of a function.
pub(super) fn without_marks(symbol: &str) -> &str {
    let symbol = symbol.split_once('@').map_or(symbol, |(name, _)| name);
    let end = CLONES.iter().filter_map(|mark| {
        let at = symbol.find(mark)?;
        let rest = &symbol[at + mark.len()..];
        (at > 0 && (rest.is_empty() || rest.starts_with('.'))).then_some(at)
    });
    &symbol[..end.min().unwrap_or(symbol.len())]
}

fn cpp(mangled: &str) -> Option<String> {
    let options = ParseOptions::default().recursion_limit(DEEPEST);
    let symbol = cpp_demangle::Symbol::new_with_options(mangled, &options).ok()?;
    let options = DemangleOptions::new().no_params().no_return_type().hide_expression_literal_types();
    bounded(|writer| symbol.structured_demangle(writer, &options.recursion_limit(DEEPEST)))
}

/// What `write` writes, up to the longest name; `None` when it fails before that or writes nothing.
fn bounded(write: impl FnOnce(&mut Bounded) -> fmt::Result) -> Option<String> {
    let mut writer = Bounded::default();
    match write(&mut writer) {
        Ok(()) => {}
        Err(fmt::Error) if writer.full => writer.text.push('…'),
        Err(fmt::Error) => return None,
    }
    (!writer.text.is_empty()).then_some(writer.text)
}

/// A text that takes no more than its limit.
#[derive(Default)]
struct Bounded {
    text: String,
    full: bool,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len() + text.len() > LONGEST {
            self.full = true;
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(symbol: &str) -> String {
        readable(symbol.as_bytes())
    }

    #[test]
    fn cpp_names_are_demangled() {
        assert_eq!(name("_ZN4geom6Circle4areaEd"), "geom::Circle::area");
        assert_eq!(name("_ZNSt6vectorIiSaIiEE9push_backERKi"), "std::vector<int, std::allocator<int> >::push_back");
        assert_eq!(name("_ZN4geom6Circle4areaEd.constprop.0"), "geom::Circle::area");
        assert_eq!(name("_ZN12_GLOBAL__N_16hiddenEv"), "(anonymous namespace)::hidden");
    }

    #[test]
    fn rust_names_are_demangled() {
        assert_eq!(name("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE"), "core::fmt::Formatter::pad");
        assert_eq!(name("_RNvCsdoR2dM9dtU_7mycrate8function"), "mycrate::function");
        assert_eq!(name("_RNvCsdoR2dM9dtU_7mycrate8function.llvm.123"), "mycrate::function");
    }

    #[test]
    fn names_of_c_lose_only_what_compilers_add() {
        for (symbol, shown) in [
            ("compress2", "compress2"),
            ("memcpy@@GLIBC_2.14", "memcpy"),
            ("_PyEval_EvalFrameDefault.cold", "_PyEval_EvalFrameDefault"),
            ("list_sort_impl.isra.0.cold", "list_sort_impl"),
            ("f.part.1.constprop.22", "f"),
            (".part", ".part"),
            ("a.b", "a.b"),
            ("f.coldness", "f.coldness"),
            ("_Znonsense", "_Znonsense"),
        ] {
            assert_eq!(name(symbol), shown, "{symbol}");
        }
    }

    #[test]
    fn a_name_that_grows_without_end_is_cut() {
        // Each part repeats the one before it twice.
        let mut bomb = "_Z1fI".to_owned() + "St4pairIiiE";
        for substitution in 0..30 {
            let id = char::from_digit(substitution, 36).unwrap().to_ascii_uppercase();
            bomb += &format!("St4pairIS{id}_S{id}_E");
        }
        bomb += "EvT_";
        assert!(name(&bomb).chars().count() <= LONGEST + 1, "{}", name(&bomb).len());
        let deep = format!("_Z1f{}i", "P".repeat(4000));
        assert!(name(&deep).chars().count() <= LONGEST + 1);
        assert!(name(&"x".repeat(100_000)).len() <= LONGEST);
        assert!(name(&format!("_R{}", "I".repeat(3000))).chars().count() <= LONGEST + 1);
        assert!(!readable(&[0xff; 20]).is_empty());
    }
}
