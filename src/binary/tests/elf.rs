//! ELF: every interpreter of this machine, as it is and stripped, and libraries that are linked here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use goblin::elf::sym::{STB_LOCAL, STT_FUNC, STT_NOTYPE, STT_OBJECT, st_bind, st_type};
use goblin::elf::{Elf, Symtab};

use super::*;
use crate::process::page_size;

/// An interpreter of this machine, as it sees itself.
struct Interpreter {
    executable: PathBuf,
    /// 3.8.18
    version: String,
    /// The file that holds the interpreter's code: the executable or its libpython.
    library: PathBuf,
    /// /proc/PID/maps of that file.
    mappings: Vec<MappedPart>,
    /// The address of `Py_GetVersion` in that process.
    py_get_version: u64,
}

/// Everything called python that PATH, pyenv and `target/interpreters` have, each version once.
fn interpreters() -> &'static [Interpreter] {
    static INTERPRETERS: LazyLock<Vec<Interpreter>> = LazyLock::new(discover);
    &INTERPRETERS
}

fn discover() -> Vec<Interpreter> {
    let mut folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let pyenv = std::env::home_dir().unwrap_or_default().join(".pyenv/versions");
    let fetched = target().join("interpreters");
    folders.extend(fs::read_dir(pyenv).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")));
    folders.extend(fs::read_dir(fetched).into_iter().flatten().flatten().map(|entry| entry.path().join("usr/bin")));
    // python3.8, python3.14t; not python3-config and the like.
    let is_python = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version = name.strip_prefix("python").unwrap_or_default();
        let version = version.strip_suffix('t').unwrap_or(version);
        version.contains('.') && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let files = folders.iter().flat_map(fs::read_dir).flatten().flatten().map(|entry| entry.path()).filter(is_python);
    let mut found = BTreeMap::new();
    for path in files.filter_map(|path| path.canonicalize().ok()) {
        if read(&path).starts_with(b"\x7fELF")
            && let Some(interpreter) = look_inside(path)
        {
            found.insert(interpreter.library.clone(), interpreter);
        }
    }
    assert!(!found.is_empty(), "no interpreter on this machine");
    found.into_values().collect()
}

/// Asks an interpreter for its version, its own memory map and the address of one of its functions.
fn look_inside(executable: PathBuf) -> Option<Interpreter> {
    let program = "import ctypes, sys\n\
                   print('%d.%d.%d' % sys.version_info[:3])\n\
                   print(ctypes.cast(ctypes.pythonapi.Py_GetVersion, ctypes.c_void_p).value)\n\
                   print(open('/proc/self/maps').read())";
    let output = Command::new(&executable).args(["-c", program]).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut lines = text.lines();
    let version = lines.next()?.to_owned();
    let py_get_version = lines.next()?.parse().ok()?;
    let maps: Vec<(MappedPart, u64, &str)> = lines
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (start, end) = words.first()?.split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            let (start, file_offset, executable) =
                (number(start)?, number(words.get(2)?)?, words.get(1)?.contains('x'));
            let part = MappedPart { start, file_offset, executable, page_size: page_size() };
            Some((part, number(end)?, *words.get(5)?))
        })
        .collect();
    let library = maps.iter().find(|map| (map.0.start..map.1).contains(&py_get_version))?.2;
    let mappings = maps.iter().filter(|map| map.2 == library).map(|map| map.0).collect();
    Some(Interpreter { executable, version, library: PathBuf::from(library), mappings, py_get_version })
}

/// Every defined function and variable of a table, as a complete parser sees it: name → its (address, size, is local).
fn all_symbols(table: &Symtab<'_>, strings: &goblin::strtab::Strtab<'_>) -> BTreeMap<String, Vec<(u64, u64, bool)>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for symbol in table.iter() {
        if symbol.st_shndx != 0 && matches!(st_type(symbol.st_info), STT_NOTYPE | STT_OBJECT | STT_FUNC) {
            let name = strings.get_at(symbol.st_name).unwrap().to_owned();
            let local = st_bind(symbol.st_info) == STB_LOCAL;
            all.entry(name).or_default().push((symbol.st_value, symbol.st_size, local));
        }
    }
    all.remove("");
    all
}

#[test]
fn every_exported_symbol_of_every_interpreter_is_found() {
    for Interpreter { library, .. } in interpreters() {
        let bytes = read(library);
        let (binary, reference) = (parse(&bytes), Elf::parse(&bytes).unwrap());
        let expected = all_symbols(&reference.dynsyms, &reference.dynstrtab);
        assert!(expected.len() > 1000, "{}: {} symbols", library.display(), expected.len());
        let names: Vec<&str> = expected.keys().map(String::as_str).collect();
        for (name, found) in names.iter().zip(binary.exported(&names)) {
            let found = found.unwrap_or_else(|| panic!("{}: no {name}", library.display()));
            let same = |(address, size, _): &(u64, u64, bool)| (*address, *size) == (found.address, found.size);
            assert!(expected[*name].iter().any(same), "{}: {name} at {found:x?}", library.display());
        }
        for absent in ["", "_PyRuntim", "_PyRuntime2", "printf", "no such symbol"] {
            assert_eq!(binary.exported(&[absent]), [None], "{}: {absent:?}", library.display());
        }
    }
}

#[test]
fn local_symbols_are_found_and_stand_behind_global_ones() {
    let mut compared = 0;
    for Interpreter { library, .. } in interpreters() {
        let bytes = read(library);
        let (binary, reference) = (parse(&bytes), Elf::parse(&bytes).unwrap());
        let expected = all_symbols(&reference.syms, &reference.strtab);
        let exported = all_symbols(&reference.dynsyms, &reference.dynstrtab);
        // One pass over the table each: a sample of the names will do.
        let names: Vec<&str> =
            expected.keys().filter(|name| !exported.contains_key(*name)).map(String::as_str).step_by(97).collect();
        for (name, found) in names.iter().zip(binary.symbols(&names)) {
            let found = found.unwrap_or_else(|| panic!("{}: no {name}", library.display()));
            let candidates = &expected[*name];
            let first = candidates.iter().find(|(.., local)| !local).unwrap_or(&candidates[0]);
            assert_eq!((found.address, found.size), (first.0, first.1), "{}: {name}", library.display());
            compared += 1;
        }
    }
    if compared == 0 {
        skip("every interpreter here is stripped");
    }
}

#[test]
fn the_bias_from_any_mapping_leads_to_the_symbol_in_the_process() {
    for interpreter in interpreters() {
        let bytes = read(&interpreter.library);
        let binary = parse(&bytes);
        let symbol = binary.exported(&["Py_GetVersion"])[0].unwrap();
        assert!(interpreter.mappings.len() > 1);
        for part in &interpreter.mappings {
            let address = symbol.address.wrapping_add(binary.bias(*part).unwrap());
            assert_eq!(address, interpreter.py_get_version, "{} from {part:x?}", interpreter.library.display());
        }
        let first = interpreter.mappings[0];
        assert_eq!(binary.bias(first), Some(first.start.wrapping_sub(binary.load_base())));
        assert_eq!(binary.bias(MappedPart { file_offset: bytes.len() as u64 + 0x10_0000, ..first }), None);
    }
}

#[test]
fn the_runtime_section_is_where_the_symbol_is_and_holds_the_offsets() {
    for interpreter in interpreters() {
        let bytes = read(&interpreter.library);
        let binary = parse(&bytes);
        let minor: u32 = interpreter.version.split('.').nth(1).unwrap().parse().unwrap();
        let (symbol, section) = (binary.exported(&["_PyRuntime"])[0], binary.section(PY_RUNTIME));
        let is_python_3 = interpreter.version.starts_with('3');
        assert_eq!(symbol.is_some(), is_python_3 && minor >= 7, "{}", interpreter.version);
        assert_eq!(section.is_some(), is_python_3 && minor >= 10, "{}", interpreter.version);
        if let (Some(symbol), Some(section)) = (symbol, section) {
            assert_eq!(symbol.address, section.address);
            assert_eq!(symbol.size, section.size);
            let cookie = binary.bytes_at(section.address, 8) == Some(b"xdebugpy");
            assert_eq!(cookie, minor >= 13, "{}", interpreter.version);
            let in_data = |ranges: Vec<Range<u64>>| ranges.iter().any(|range| range.contains(&section.address));
            assert!(in_data(binary.data_ranges()), "{}", interpreter.version);
            assert!(!in_data(binary.zero_ranges()), "{}", interpreter.version);
        }
        if is_python_3 && minor >= 11 {
            let version = binary.exported(&["Py_Version"])[0].unwrap();
            let hex = u32::from_le_bytes(binary.bytes_at(version.address, 4).unwrap().try_into().unwrap());
            let [major, minor, patch, _] = hex.to_be_bytes();
            assert_eq!(format!("{major}.{minor}.{patch}"), interpreter.version);
        }
    }
}

#[test]
fn the_own_version_is_among_the_version_strings() {
    for interpreter in interpreters() {
        let bytes = read(&interpreter.library);
        let versions = parse(&bytes).version_strings();
        let own = |version: &&&str| version.trim_end_matches('+') == interpreter.version;
        assert_eq!(versions.iter().filter(own).count(), 1, "{}: {versions:?}", interpreter.library.display());
    }
}

#[test]
fn zero_initialised_data_is_where_the_section_is_and_has_no_bytes() {
    const BSS: SectionName = SectionName { elf: ".bss", mach_o: "__DATA,__bss", pe: ".bss" };
    for interpreter in interpreters() {
        let bytes = read(&interpreter.library);
        let binary = parse(&bytes);
        let bss = binary.section(BSS).unwrap();
        assert_eq!(bss.file_range, None);
        assert_eq!(binary.bytes_at(bss.address + bss.size - 1, 1), None);
        let zero = binary.zero_ranges();
        assert!(
            zero.iter().any(|range| range.start <= bss.address && bss.address + bss.size <= range.end),
            "{zero:x?} {bss:x?}"
        );
    }
}

#[test]
fn the_build_id_is_the_one_that_a_complete_parser_sees() {
    let mut compared = 0;
    for Interpreter { executable, library, .. } in interpreters() {
        for path in [executable, library] {
            let bytes = read(path);
            let reference = Elf::parse(&bytes).unwrap();
            let notes = reference.iter_note_headers(&bytes).into_iter().flatten().flatten();
            let expected = notes.filter(|note| note.n_type == 3 && note.name == "GNU").map(|note| note.desc).next();
            assert_eq!(parse(&bytes).build_id(), expected, "{}", path.display());
            compared += usize::from(expected.is_some());
        }
    }
    assert!(compared > 0);
}

#[test]
fn a_stripped_binary_keeps_its_exports_and_one_without_sections_too() {
    let Some(interpreter) = interpreters().iter().find(|interpreter| has_symtab(&interpreter.library)) else {
        return skip("every interpreter here is stripped");
    };
    let folder = tempfile::tempdir().unwrap();
    let stripped = folder.path().join("stripped.so");
    match Command::new("strip").arg("-o").args([&stripped, &interpreter.library]).status() {
        Ok(status) => assert!(status.success()),
        Err(error) => return skip(&format!("no strip: {error}")),
    }
    let original = read(&interpreter.library);
    let mut stripped = read(&stripped);
    assert!(stripped.len() < original.len());
    let names = ["Py_GetVersion", "PyObject_Repr", "_Py_NoneStruct", "deregister_tm_clones"];
    let expected = parse(&original).symbols(&names);
    assert!(expected[3].is_some());
    assert_eq!(parse(&stripped).symbols(&names), [expected[0], expected[1], expected[2], None]);
    // Section headers cost nothing to lose: e_shoff, and e_shnum with e_shstrndx.
    let versions: Vec<String> = parse(&stripped).version_strings().iter().map(|version| version.to_string()).collect();
    stripped[0x28..0x30].fill(0);
    stripped[0x3c..0x40].fill(0);
    let binary = parse(&stripped);
    assert_eq!(binary.section(PY_RUNTIME), None);
    assert_eq!(binary.exported(&names), [expected[0], expected[1], expected[2], None]);
    let without_sections = binary.version_strings();
    assert!(
        versions.iter().all(|version| without_sections.contains(&version.as_str())),
        "{versions:?} {without_sections:?}"
    );
}

fn has_symtab(path: &Path) -> bool {
    !Elf::parse(&read(path)).unwrap().syms.is_empty()
}

/// The smallest interpreter, a launcher of some kilobytes, and a library with each kind of hash table.
pub(super) fn small_files() -> Vec<Vec<u8>> {
    let launcher = interpreters().iter().map(|interpreter| read(&interpreter.executable)).min_by_key(Vec::len);
    let libraries = ["-Wl,--hash-style=gnu", "-Wl,--hash-style=sysv"].into_iter().filter_map(linked_with);
    launcher.into_iter().chain(libraries).collect()
}

/// A shared library of a thousand symbols, linked with that option; `None` (and a note) without a compiler.
fn linked_with(option: &str) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("library.so");
    let symbols = |n| {
        format!(
            "int symbol_{n} = {n}; int a_name_long_enough_to_use_the_high_bits_{n}(void) {{ return symbol_{n}; }}\n"
        )
    };
    let source: String = (0..500).map(symbols).collect();
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", option, "-x", "c", "-", "-o"]).arg(&library).stdin(Stdio::piped());
    let mut compiler = match command.spawn() {
        Ok(compiler) => compiler,
        Err(error) => {
            skip(&format!("no C compiler: {error}"));
            return None;
        }
    };
    compiler.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(compiler.wait().unwrap().success());
    Some(read(&library))
}

/// Asks for the bias by each part that a loader maps on a machine with such pages, where the program is moved by
/// `BIAS`; of parts that are run alike and begin in the same page, by the first.
fn check_bias_of_every_part(binary: &Binary<'_>, page_size: u64) {
    const BIAS: u64 = 0x7f00_1235_0000;
    let mut seen = Vec::new();
    for Segment { address, file_offset, executable, .. } in binary.segments.iter().copied() {
        // What the loader does: it maps whole pages.
        let within_page = file_offset % page_size;
        assert_eq!(within_page, address % page_size, "a file for smaller pages");
        let (start, file_offset) = (BIAS + address - within_page, file_offset - within_page);
        if !seen.contains(&(file_offset, executable)) {
            seen.push((file_offset, executable));
            let part = MappedPart { start, file_offset, executable, page_size };
            assert_eq!(binary.bias(part), Some(BIAS), "{part:x?} of {:x?}", binary.segments);
        }
    }
}

#[test]
fn the_bias_is_right_from_the_page_where_any_segment_begins() {
    // Two layouts of linkers: segments that begin at pages of their own, and segments that share a page of the file.
    for layout in ["separate-code", "noseparate-code"] {
        for largest in [4 << 10, 64 << 10] {
            let Some(bytes) = linked_with(&format!("-Wl,-z,{layout},-z,max-page-size={largest}")) else { return };
            let binary = parse(&bytes);
            assert!(binary.segments.len() > 1);
            for page_size in [4 << 10, 16 << 10, 64 << 10] {
                if page_size <= largest {
                    check_bias_of_every_part(&binary, page_size);
                }
            }
        }
    }
}

#[test]
fn the_bias_is_right_where_code_and_constants_share_a_page_of_the_file() {
    // As lld links for pages of up to 64 KiB: nothing is left free in the file, and each segment is moved on by that
    // much in memory.
    let own = read(&std::env::current_exe().unwrap());
    let mut binary = parse(&own);
    let sizes = [(0x1a34, false, false), (0x2_5b80, false, true), (0x7_3410, false, false), (0x4204, true, false)];
    for first_size in [0x400, 0x1a34, 0x3fff, 0x4801, 0x9_a123] {
        binary.segments.clear();
        let mut file_offset = 0;
        for (number, (size, writable, executable)) in sizes.into_iter().enumerate() {
            let file_size = if number == 0 { first_size } else { size };
            let address = file_offset + 0x1_0000 * number as u64;
            binary.segments.push(Segment {
                address,
                memory_size: file_size,
                file_offset,
                file_size,
                writable,
                executable,
            });
            file_offset = (file_offset + file_size).next_multiple_of(16);
        }
        for page_size in [4 << 10, 16 << 10, 64 << 10] {
            check_bias_of_every_part(&binary, page_size);
        }
    }
}

#[test]
fn the_bias_is_right_from_the_middle_of_a_segment_and_where_its_use_was_changed() {
    let own = read(&std::env::current_exe().unwrap());
    let mut binary = parse(&own);
    let code = Segment {
        address: 0x1_0000,
        memory_size: 0x2_0000,
        file_offset: 0,
        file_size: 0x2_0000,
        writable: false,
        executable: true,
    };
    binary.segments = vec![code];
    for (file_offset, executable) in [(0, true), (0x1_0000, true), (0, false), (0x1_0000, false)] {
        let part = MappedPart { start: 0x50_0000 + file_offset, file_offset, executable, page_size: 16 << 10 };
        assert_eq!(binary.bias(part), Some(0x4f_0000), "{part:x?}");
    }
}

#[test]
fn the_system_v_hash_table_leads_to_every_symbol() {
    let Some(bytes) = linked_with("-Wl,--hash-style=sysv") else { return };
    let reference = Elf::parse(&bytes).unwrap();
    let expected = all_symbols(&reference.dynsyms, &reference.dynstrtab);
    assert!(expected.len() >= 1000);
    let names: Vec<&str> = expected.keys().map(String::as_str).collect();
    for (name, found) in names.iter().zip(parse(&bytes).exported(&names)) {
        assert_eq!(found.map(|found| (found.address, found.size, false)), expected[*name].first().copied(), "{name}");
    }
    assert_eq!(parse(&bytes).exported(&["symbol_", "symbol_500"]), [None, None]);
}

#[test]
fn other_kinds_of_files_are_told_apart() {
    let error = |bytes: &[u8]| Binary::parse(bytes, Architecture::HOST).unwrap_err();
    let own = read(&std::env::current_exe().unwrap());
    let changed = |offset: usize, byte: u8| {
        let mut bytes = own[..4096].to_vec();
        bytes[offset] = byte;
        error(&bytes)
    };
    assert!(matches!(error(b""), BinaryError::UnknownFormat));
    assert!(matches!(error(b"#!/bin/sh\n"), BinaryError::UnknownFormat));
    assert!(matches!(changed(4, 1), BinaryError::Unsupported32Bit));
    assert!(matches!(changed(5, 2), BinaryError::Unsupported("not little-endian")));
    // ET_CORE, then EM_PPC64.
    assert!(matches!(changed(16, 4), BinaryError::Unsupported(_)));
    assert!(matches!(changed(18, 21), BinaryError::Unsupported("neither x86-64 nor aarch64")));
    assert!(matches!(error(&own[..20]), BinaryError::Malformed(_)));
    // A Java class file begins as a universal binary does.
    assert!(matches!(error(&[0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 61, 0, 10, 1]), BinaryError::UnknownFormat));
    assert!(matches!(error(&[0xce, 0xfa, 0xed, 0xfe, 7, 0, 0, 0]), BinaryError::Unsupported32Bit));
}

#[test]
fn a_mapped_interpreter_is_parsed_in_place() {
    let interpreter = &interpreters()[0];
    let file = MappedFile::open(&File::open(&interpreter.library).unwrap()).unwrap();
    let bytes = read(&interpreter.library);
    assert_eq!(parse(&file).exported(&["Py_GetVersion"]), parse(&bytes).exported(&["Py_GetVersion"]));
}
