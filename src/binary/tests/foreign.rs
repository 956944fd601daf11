//! Mach-O and PE: extension modules of wheels, and the Python libraries of macOS and Windows where they were fetched.

use std::fs;

use goblin::elf::Elf;
use goblin::mach::{Mach, MachO};
use goblin::pe::PE;

use super::*;

/// Libraries of other systems whose name begins and ends so.
fn foreign(prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![target().join("foreign")];
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

/// 3.14 of `libpython3.14-universal2.dylib`, `python314t.dll` or `python3.14-aarch64`.
fn python_version(path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let minor = name.split_once("python3").unwrap().1.trim_start_matches('.');
    format!("3.{}", minor.split(|c: char| !c.is_ascii_digit()).next().unwrap())
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
    let mapped = |start, file_offset, executable| MappedPart { start, file_offset, executable, page_size: 16 << 10 };
    assert_eq!(binary.bias(mapped(0x1_0000_0000, base, true)), Some(0x1_0000_0000 - text.vmaddr));
    let data = reference.segments.iter().find(|segment| segment.name().unwrap() == "__DATA").unwrap();
    let data_part = mapped(0x1_0000_0000 + data.vmaddr, base + data.fileoff, false);
    assert_eq!(binary.bias(data_part), Some(0x1_0000_0000));
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
            let version = python_version(&path) + ".";
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
    let architecture = match reference.header.coff_header.machine {
        0xaa64 => Architecture::Aarch64,
        _ => Architecture::X86_64,
    };
    assert_eq!((binary.format(), binary.architecture()), (Format::Pe, architecture));
    assert_eq!(binary.load_base(), reference.image_base);
    let part = MappedPart { start: 0x7ff0_0000_0000, file_offset: 0, executable: false, page_size: 4096 };
    assert_eq!(binary.bias(part), Some(0x7ff0_0000_0000 - reference.image_base));
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
        let version = python_version(&path);
        let versions = binary.version_strings();
        assert!(
            versions.iter().any(|text| text.starts_with(&format!("{version}."))),
            "{}: {versions:?}",
            path.display()
        );
        let minor: u32 = version["3.".len()..].parse().unwrap();
        let section = binary.section(PY_RUNTIME);
        assert_eq!(
            section.map(|section| section.address),
            (minor >= 10).then_some(runtime.address),
            "{}",
            path.display()
        );
        assert_eq!(binary.bytes_at(runtime.address, 8) == Some(b"xdebugpy"), minor >= 13, "{}", path.display());
    }
}

#[test]
fn extension_modules_of_every_machine_are_read() {
    for path in [foreign("_", ".so"), foreign("_", ".pyd")].concat() {
        let bytes = read(&path);
        if path.to_string_lossy().ends_with("-x86.pyd") {
            assert!(matches!(Binary::parse(&bytes, Architecture::HOST), Err(BinaryError::Unsupported32Bit)));
        } else if bytes.starts_with(b"MZ") {
            check_pe(&bytes);
        } else {
            check_mach(&bytes);
        }
    }
}

#[test]
fn an_executable_for_aarch64_is_read_on_any_machine() {
    for path in foreign("python3", "-aarch64") {
        let bytes = read(&path);
        let (binary, reference) = (parse(&bytes), Elf::parse(&bytes).unwrap());
        assert_eq!((binary.format(), binary.architecture()), (Format::Elf, Architecture::Aarch64));
        let defined = reference.dynsyms.iter().filter(|symbol| symbol.st_shndx != 0 && symbol.st_value != 0);
        for symbol in defined.step_by(97) {
            let name = reference.dynstrtab.get_at(symbol.st_name).unwrap();
            let expected = Symbol { address: symbol.st_value, size: symbol.st_size };
            assert_eq!(binary.exported(&[name]), [Some(expected)], "{name}");
        }
        let runtime = binary.section(PY_RUNTIME).unwrap();
        assert_eq!(binary.symbols(&["_PyRuntime"])[0].map(|symbol| symbol.address), Some(runtime.address));
        assert_eq!(binary.bytes_at(runtime.address, 8), Some(b"xdebugpy".as_slice()));
        let version = python_version(&path) + ".";
        assert!(binary.version_strings().iter().any(|text| text.starts_with(&version)));
    }
}
