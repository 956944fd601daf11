//! Real files only: what is installed on this machine, the committed extension modules of two wheels, and the libraries of macOS and
//! Windows in `target/foreign`. What we find is compared with what goblin's own complete parsers, `readelf`'s kind of reading, find.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use goblin::elf::sym::{STB_LOCAL, STT_FUNC, STT_NOTYPE, STT_OBJECT, st_bind, st_type};
use goblin::elf::{Elf, Symtab};
use goblin::mach::{Mach, MachO};
use goblin::pe::PE;

use super::*;

const PY_RUNTIME: SectionName = SectionName { elf: ".PyRuntime", mach_o: "__DATA,PyRuntime", pe: "PyRuntim" };

fn skip(why: &str) {
    writeln!(std::io::stderr(), "skipped: {why}").unwrap();
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(bytes: &[u8]) -> Binary<'_> {
    Binary::parse(bytes, Architecture::X86_64).unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/binary").join(name))
}

/// Libraries of other systems whose name begins and ends so.
fn foreign(prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("target/foreign")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with(prefix) && name.ends_with(suffix) {
                found.push(path);
            }
        }
    }
    if found.is_empty() {
        skip(&format!("no {prefix}*{suffix} in target/foreign"));
    }
    found
}

/// An interpreter of this machine, as it sees itself.
struct Interpreter {
    executable: PathBuf,
    /// 3.8.18
    version: String,
    /// The file that holds the interpreter's code: the executable or its libpython.
    library: PathBuf,
    /// /proc/PID/maps of that file: start and file offset.
    mappings: Vec<(u64, u64)>,
    /// The address of `Py_GetVersion` in that process.
    py_get_version: u64,
}

/// Everything called python that PATH, pyenv and `target/interpreters` have, each version once.
fn interpreters() -> Vec<Interpreter> {
    let mut folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let pyenv = std::env::home_dir().unwrap_or_default().join(".pyenv/versions");
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interpreters");
    folders.extend(fs::read_dir(pyenv).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")));
    folders.extend(fs::read_dir(fetched).into_iter().flatten().flatten().map(|entry| entry.path().join("usr/bin")));
    let is_python = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version = name.strip_prefix("python").unwrap_or_default().to_owned();
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
    let maps: Vec<(u64, u64, u64, &str)> = lines
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (start, end) = words.first()?.split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            Some((number(start)?, number(end)?, number(words.get(2)?)?, *words.get(5)?))
        })
        .collect();
    let library = maps.iter().find(|map| (map.0..map.1).contains(&py_get_version))?.3;
    let mappings = maps.iter().filter(|map| map.3 == library).map(|map| (map.0, map.2)).collect();
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
        let bytes = read(&library);
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
        let bytes = read(&library);
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
        for (start, offset) in &interpreter.mappings {
            let bias = binary.bias(*start, *offset).unwrap();
            let address = symbol.address.wrapping_add(bias);
            assert_eq!(
                address,
                interpreter.py_get_version,
                "{} from {start:#x} {offset:#x}",
                interpreter.library.display()
            );
        }
        let (start, _) = interpreter.mappings[0];
        assert_eq!(binary.bias(start, 0).unwrap(), start.wrapping_sub(binary.load_base()));
        assert_eq!(binary.bias(start, bytes.len() as u64 + 0x10_0000), None);
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
        assert_eq!(section.is_some(), is_python_3 && minor >= 11, "{}", interpreter.version);
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
            let bytes = read(&path);
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
    let interpreters = interpreters();
    let Some(interpreter) = interpreters.iter().find(|interpreter| {
        !parse(&read(&interpreter.library)).symbols(&["_start", "deregister_tm_clones"]).contains(&None)
            || has_symtab(&interpreter.library)
    }) else {
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

#[test]
fn the_system_v_hash_table_leads_to_every_symbol() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("library.so");
    let source: String = (0..500)
        .map(|n| {
            format!("int symbol_{n} = {n}; int a_name_long_enough_to_use_the_high_bits_{n}(void) {{ return {n}; }}\n")
        })
        .collect();
    let mut compiler = match Command::new("cc")
        .args(["-shared", "-fPIC", "-Wl,--hash-style=sysv", "-x", "c", "-", "-o"])
        .arg(&library)
        .stdin(Stdio::piped())
        .spawn()
    {
        Ok(compiler) => compiler,
        Err(error) => return skip(&format!("no C compiler: {error}")),
    };
    compiler.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(compiler.wait().unwrap().success());
    let bytes = read(&library);
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

fn compare_with_goblin_mach(bytes: &[u8], part: &[u8], base: u64, reference: &MachO<'_>, architecture: Architecture) {
    let binary = Binary::parse(bytes, architecture).unwrap();
    assert_eq!((binary.format(), binary.architecture()), (Format::MachO, architecture));
    let mut external = 0;
    for (name, symbol) in reference.symbols().flatten() {
        let Some(c_name) = name.strip_prefix('_') else { continue };
        if !symbol.is_stab() && symbol.get_type() == 0xe && symbol.is_global() {
            external += 1;
            // Every 37th, since each is a pass over the table.
            if external % 37 == 1 {
                let expected = Some(Symbol { address: symbol.n_value, size: 0 });
                assert_eq!(binary.exported(&[c_name]), [expected], "{name}");
                assert_eq!(binary.symbols(&["no such symbol", c_name]), [None, expected], "{name}");
            }
        }
    }
    assert!(external > 0);
    let mut sections = 0;
    for (section, data) in reference.segments.sections().flatten().flatten() {
        let full_name = format!("{},{}", section.segname().unwrap(), section.name().unwrap());
        let name = SectionName { elf: "", mach_o: Box::leak(full_name.into_boxed_str()), pe: "" };
        let found = binary.section(name).unwrap();
        assert_eq!((found.address, found.size), (section.addr, section.size));
        if section.size > 0 && !data.is_empty() {
            assert_eq!(binary.bytes_at(section.addr, data.len()), Some(data), "{name:?}");
            assert_eq!(&bytes[found.file_range.clone().unwrap()], data, "{name:?}");
            sections += 1;
        }
    }
    assert!(sections > 3);
    let text = reference.segments.iter().find(|segment| segment.name().unwrap() == "__TEXT").unwrap();
    assert_eq!(binary.load_base(), text.vmaddr);
    assert_eq!(binary.bias(0x1_0000_0000, base), Some(0x1_0000_0000 - text.vmaddr));
    let data = reference.segments.iter().find(|segment| segment.name().unwrap() == "__DATA").unwrap();
    assert_eq!(binary.bias(0x1_0000_0000 + data.vmaddr, base + data.fileoff), Some(0x1_0000_0000));
    assert_eq!(binary.bytes_at(text.vmaddr, 64), part.get(..64));
    assert_eq!(binary.build_id().map(<[u8]>::len), Some(16));
}

/// Compares each part of a Mach-O file with what goblin sees in it.
fn check_mach(bytes: &[u8]) -> Vec<Architecture> {
    let architecture = |cpu| if cpu == 0x0100_000c { Architecture::Aarch64 } else { Architecture::X86_64 };
    match Mach::parse(bytes).unwrap() {
        Mach::Binary(reference) => {
            let architecture = architecture(reference.header.cputype);
            compare_with_goblin_mach(bytes, bytes, 0, &reference, architecture);
            vec![architecture]
        }
        Mach::Fat(parts) => {
            let check = |part: goblin::mach::fat::FatArch| {
                let slice = part.slice(bytes);
                let reference = MachO::parse(slice, 0).unwrap();
                compare_with_goblin_mach(bytes, slice, part.offset.into(), &reference, architecture(part.cputype));
                architecture(part.cputype)
            };
            parts.arches().unwrap().into_iter().map(check).collect()
        }
    }
}

#[test]
fn a_mach_o_extension_module_is_read() {
    let bytes = fixture("markupsafe-arm64.so");
    assert_eq!(check_mach(&bytes), [Architecture::Aarch64]);
    let binary = Binary::parse(&bytes, Architecture::X86_64).unwrap();
    assert!(binary.exported(&["PyInit__speedups"])[0].is_some());
    assert_eq!(binary.section(PY_RUNTIME), None);
}

#[test]
fn a_mach_o_libpython_tells_its_runtime_and_version_for_each_architecture() {
    for path in foreign("libpython", ".dylib") {
        let bytes = read(&path);
        for architecture in check_mach(&bytes) {
            let binary = Binary::parse(&bytes, architecture).unwrap();
            let runtime = binary.exported(&["_PyRuntime"])[0].unwrap();
            let version = path.file_stem().unwrap().to_string_lossy().replace("libpython", "") + ".";
            let versions = binary.version_strings();
            assert!(versions.iter().any(|text| text.starts_with(&version)), "{}: {versions:?}", path.display());
            if let Some(section) = binary.section(PY_RUNTIME) {
                assert_eq!(section.address, runtime.address);
                assert_eq!(binary.bytes_at(section.address, 8), Some(b"xdebugpy".as_slice()), "{}", path.display());
            } else {
                assert!(version == "3.8." || version == "3.9.", "{}", path.display());
            }
            let data = [binary.data_ranges(), binary.zero_ranges()].concat();
            assert!(data.iter().any(|range| range.contains(&runtime.address)));
        }
    }
}

fn check_pe(bytes: &[u8]) {
    let (binary, reference) = (Binary::parse(bytes, Architecture::HOST).unwrap(), PE::parse(bytes).unwrap());
    assert_eq!((binary.format(), binary.architecture()), (Format::Pe, Architecture::X86_64));
    assert_eq!(binary.load_base(), reference.image_base);
    assert_eq!(binary.bias(0x7ff0_0000_0000, 0), Some(0x7ff0_0000_0000 - reference.image_base));
    assert!(!reference.exports.is_empty());
    for export in &reference.exports {
        let name = export.name.unwrap();
        let expected = match export.reexport {
            None => Some(Symbol { address: reference.image_base + export.rva as u64, size: 0 }),
            Some(_) => None,
        };
        assert_eq!(binary.exported(&[name]), [expected], "{name}");
    }
    assert_eq!(binary.symbols(&["", "Py_NoSuch", "zzz"]), [None, None, None]);
    for section in &reference.sections {
        let name =
            SectionName { elf: "", mach_o: "", pe: Box::leak(section.name().unwrap().to_owned().into_boxed_str()) };
        let found = binary.section(name).unwrap();
        assert_eq!(found.address, reference.image_base + u64::from(section.virtual_address));
        assert_eq!(found.size, u64::from(section.virtual_size));
        let length = section.virtual_size.min(section.size_of_raw_data) as usize;
        let data = bytes.get(section.pointer_to_raw_data as usize..).and_then(|rest| rest.get(..length));
        assert_eq!(binary.bytes_at(found.address, length), data, "{name:?}");
    }
    let debug = reference.debug_data.unwrap();
    assert_eq!(binary.build_id().map(|id| &id[..16]), debug.guid().as_ref().map(<[u8; 16]>::as_slice));
}

#[test]
fn a_pe_extension_module_is_read() {
    let bytes = fixture("markupsafe-x86_64.pyd");
    check_pe(&bytes);
    assert!(parse(&bytes).exported(&["PyInit__speedups"])[0].is_some());
}

#[test]
fn a_pe_python_dll_tells_its_runtime_and_version() {
    for path in foreign("python3", ".dll") {
        let bytes = read(&path);
        check_pe(&bytes);
        let binary = parse(&bytes);
        let runtime = binary.exported(&["_PyRuntime"])[0].unwrap();
        let digits = path.file_stem().unwrap().to_string_lossy().replace("python3", "");
        let versions = binary.version_strings();
        assert!(
            versions.iter().any(|text| text.starts_with(&format!("3.{digits}."))),
            "{}: {versions:?}",
            path.display()
        );
        let minor: u32 = digits.parse().unwrap();
        let section = binary.section(PY_RUNTIME);
        assert_eq!(
            section.map(|section| section.address),
            (minor >= 11).then_some(runtime.address),
            "{}",
            path.display()
        );
        assert_eq!(binary.bytes_at(runtime.address, 8) == Some(b"xdebugpy"), minor >= 13, "{}", path.display());
    }
}

/// Asks everything there is to ask; for files that may be damaged.
fn ask_everything(bytes: &[u8]) -> bool {
    let mut parsed = false;
    for architecture in [Architecture::X86_64, Architecture::Aarch64] {
        let Ok(binary) = Binary::parse(bytes, architecture) else { continue };
        parsed = true;
        let symbols = binary.symbols(&["_PyRuntime", "PyInit__speedups", "_start", "main", ""]);
        for address in symbols.iter().flatten().map(|symbol| symbol.address).chain([0, binary.load_base(), u64::MAX]) {
            binary.bytes_at(address, 64);
            binary.bytes_at(address, usize::MAX);
        }
        for offset in [0, 0x1000, u64::MAX] {
            binary.bias(0x7fff_0000_0000, offset);
        }
        if let Some(section) = binary.section(PY_RUNTIME) {
            binary.bytes_at(section.address, usize::try_from(section.size).unwrap_or(usize::MAX));
        }
        binary.data_ranges();
        binary.zero_ranges();
        binary.build_id();
        binary.version_strings();
    }
    parsed
}

/// A xorshift generator: the same damage in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

#[test]
fn damaged_files_never_panic() {
    // The smallest interpreter is a launcher of some kilobytes with all that an ELF file has.
    let interpreters = interpreters();
    let elf = interpreters.iter().map(|interpreter| read(&interpreter.executable)).min_by_key(Vec::len).unwrap();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for mut bytes in [elf, fixture("markupsafe-arm64.so"), fixture("markupsafe-x86_64.pyd")] {
        assert!(ask_everything(&bytes));
        for length in (0..bytes.len().min(2048)).chain((2048..bytes.len()).step_by(509)) {
            ask_everything(&bytes[..length]);
        }
        let length = bytes.len();
        let (mut survived, mut refused) = (0, 0);
        for round in 0..6000 {
            // Mostly headers; numbers that are extreme find more than random ones.
            let mut undo = Vec::new();
            for _ in 0..=dice.below(4) {
                let limit = if round % 3 == 0 { length } else { length.min(1024) };
                let (offset, width) = (dice.below(limit), [1, 2, 4, 8][dice.below(4)]);
                let value = [0, 1, 0x7f, 0xff, 0x80, dice.below(256)][dice.below(6)];
                for place in offset..(offset + width).min(length) {
                    undo.push((place, bytes[place]));
                    bytes[place] = u8::try_from(value).unwrap();
                }
            }
            match ask_everything(&bytes) {
                true => survived += 1,
                false => refused += 1,
            }
            for (place, byte) in undo.into_iter().rev() {
                bytes[place] = byte;
            }
        }
        assert!(survived > 100 && refused > 100, "the damage is too small or too great: {survived} {refused}");
    }
}

#[test]
fn tables_that_claim_to_be_huge_cost_nothing() {
    // Every count and size that one byte can make large, in turn; a claimed allocation would be gigabytes, a claimed loop hours.
    for name in ["markupsafe-arm64.so", "markupsafe-x86_64.pyd"] {
        let mut bytes = fixture(name);
        for offset in 4..2048 {
            let byte = std::mem::replace(&mut bytes[offset], 0xff);
            ask_everything(&bytes);
            bytes[offset] = byte;
        }
    }
}

#[test]
fn version_texts_have_one_shape() {
    for text in ["2.7.18", "3.6.15+", "3.8.18", "3.15.0b4", "3.13.0rc2", "3.7.0a1+"] {
        assert_eq!(version_at(format!("{text}\0rest").as_bytes()), Some(text));
        assert_eq!(version_at(text.as_bytes()), None, "without its end");
    }
    for text in [
        "",
        "3",
        "3.8",
        "1.2.11",
        "3.8.",
        "3..1",
        "3.8.x",
        "3.8.18 ",
        "3.8.1.2",
        "3.8.18++",
        "3.8.1rc",
        "3.8.b1",
        "3.0001.2",
        "3.8.1\u{e9}",
    ] {
        assert_eq!(version_at(format!("{text}\0").as_bytes()), None, "{text}");
    }
}

#[test]
fn a_mapped_interpreter_is_parsed_in_place() {
    let interpreter = interpreters().remove(0);
    let file = MappedFile::open(&File::open(&interpreter.library).unwrap()).unwrap();
    let bytes = read(&interpreter.library);
    assert_eq!(parse(&file).exported(&["Py_GetVersion"]), parse(&bytes).exported(&["Py_GetVersion"]));
}
