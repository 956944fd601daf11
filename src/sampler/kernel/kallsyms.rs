//! The kernel's functions by address, as `/proc/kallsyms` tells them.

use std::sync::OnceLock;

use super::support::Unavailable;

/// Where the kernel tells its symbols.
const PATH: &str = "/proc/kallsyms";
/// What the kernel's own code is called where others name a file.
const KERNEL: &str = "[kernel]";

/// Functions of the kernel and its modules, by where they begin.
#[derive(Debug, Default)]
pub(crate) struct KernelSymbols {
    functions: Vec<Function>,
}

/// A function of the kernel.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    address: u64,
    name: Box<str>,
    /// The module in brackets, as the kernel writes it; none for its own code.
    module: Option<Box<str>>,
}

/// A function of [`KernelSymbols`] by its number; `None` is code of the kernel that has no name.
pub(crate) type KernelFunction = Option<u32>;

impl KernelSymbols {
    /// Those of this machine, read when they are first asked for.
    ///
    /// # Errors
    /// When the kernel does not tell them, or not to us.
    pub(crate) fn of_this_machine() -> Result<&'static Self, Unavailable> {
        static SYMBOLS: OnceLock<KernelSymbols> = OnceLock::new();
        if let Some(known) = SYMBOLS.get() {
            return Ok(known);
        }
        let text = std::fs::read(PATH).map_err(|error| Unavailable::Symbols(format!("{PATH}: {error}")))?;
        let symbols = Self::parse(&String::from_utf8_lossy(&text))?;
        Ok(SYMBOLS.get_or_init(|| symbols))
    }

    fn parse(text: &str) -> Result<Self, Unavailable> {
        let mut functions: Vec<Function> = text.lines().filter_map(function).collect();
        functions.sort_by_key(|function| function.address);
        if functions.iter().all(|function| function.address == 0) {
            let hidden = "shows no addresses; root sees them where kernel.kptr_restrict is 0 or 1 (sysctl)";
            return Err(Unavailable::Symbols(format!("{PATH} {hidden}")));
        }
        Ok(Self { functions })
    }

    /// The function around an address.
    pub(in crate::sampler) fn find(&self, address: u64) -> KernelFunction {
        let after = self.functions.partition_point(|function| function.address <= address);
        u32::try_from(after.checked_sub(1)?).ok()
    }

    /// The name of a function, and where it belongs.
    pub(in crate::sampler) fn name(&self, function: KernelFunction) -> (&str, &str) {
        let known = function.and_then(|number| self.functions.get(number as usize));
        known.map_or(("<kernel code>", KERNEL), |known| (&known.name, known.module.as_deref().unwrap_or(KERNEL)))
    }
}

/// The function that a line tells of: an address, `t` or `T` (or `w` for one that others may replace), a name, and for
/// a module its name in brackets. Data are left out.
fn function(line: &str) -> Option<Function> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    if !matches!(words.next()?, "t" | "T" | "w" | "W") {
        return None;
    }
    Some(Function { address, name: words.next()?.into(), module: words.next().map(Into::into) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let text = "ffffffff81000000 T _text\nffffffff81000800 d some_data\nffffffff81000900 t do_syscall_64\n\
            ffffffffc0000010 t ext4_read\t[ext4]\nbroken\nffffffff81000400 W weak\n";
        let symbols = KernelSymbols::parse(text).unwrap();
        let name = |address| symbols.name(symbols.find(address));
        assert_eq!(name(0xffff_ffff_8100_0850), ("weak", "[kernel]"));
        assert_eq!(name(0xffff_ffff_8100_0900), ("do_syscall_64", "[kernel]"));
        assert_eq!(name(u64::MAX), ("ext4_read", "[ext4]"));
        assert_eq!(name(7), ("<kernel code>", "[kernel]"));
    }

    #[test]
    fn addresses_that_are_hidden_are_told() {
        for text in ["", "0000000000000000 T _text\n0000000000000000 t do_syscall_64\n"] {
            let error = KernelSymbols::parse(text).unwrap_err().to_string();
            assert!(error.contains("kernel.kptr_restrict"), "{error}");
        }
    }
}
