#!/usr/bin/env bash
# LIEF gives the offsets of the files mapped in a core dump (note NT_FILE) in pages, under a name and a description
# that say bytes ("Offset (in core) of mapped file"), and does not give the page size that the note holds.
# Needs: python3 >= 3.11 with venv. PYTHON=... chooses another interpreter. Exit: 0 still so, 1 changed, 2 cannot run.
set -euo pipefail

PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs python3 >= 3.11" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$PYTHON" -m venv env || { echo "no virtual environment could be made" >&2; exit 2; }
env/bin/pip -q --disable-pip-version-check install --no-deps lief==1.0.0 pyelftools==0.33 \
    || { echo "the packages could not be installed" >&2; exit 2; }

cat > read_core.py <<'PY'
import struct

import lief
from elftools.elf.elffile import ELFFile


def write_core(path, page_size):
    """An ELF core of x86-64 with one note: two mappings of one file, the second at page 3 of the file."""
    rows = struct.pack("<6Q", 0x400000, 0x403000, 0, 0x600000, 0x603000, 3)
    body = struct.pack("<2Q", 2, page_size) + rows + b"/opt/program\0" * 2
    name = b"CORE\0"
    note = struct.pack("<3I", len(name), len(body), 0x46494C45)
    note += name + bytes(-len(name) % 4) + body + bytes(-len(body) % 4)
    start = 64 + 56
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 4, 0, start, 0, 0, len(note), 0, 4)
    with open(path, "wb") as file:
        file.write(header + segment + note)


write_core("core", 0x1000)
(note,) = lief.parse("core").notes
first, second = note.files
print("in the note: page size 0x1000, page 3, so byte 0x3000 of the file")
print("LIEF: file_ofs", hex(second.file_ofs))
print("LIEF says of file_ofs:", type(second).file_ofs.__doc__.strip())
print("LIEF gives a page size:", any("page" in name for name in dir(note)))
with open("core", "rb") as file:
    for segment in ELFFile(file).iter_segments():
        for note in segment.iter_notes():
            row = note["n_desc"]["Elf_Nt_File_Entry"][1]
            print("pyelftools: page_offset", hex(row["page_offset"]), "page_size", hex(note["n_desc"]["page_size"]))
PY

cat > expected <<'TXT'
in the note: page size 0x1000, page 3, so byte 0x3000 of the file
LIEF: file_ofs 0x3
LIEF says of file_ofs: Offset (in core) of mapped file
LIEF gives a page size: False
pyelftools: page_offset 0x3 page_size 0x1000
TXT
env/bin/python read_core.py > seen

"$PYTHON" --version
env/bin/pip --disable-pip-version-check list | grep -E '^(lief|pyelftools) '
echo "guessed: file_ofs is in bytes, as in the maps of a process: 0x3000."
echo "seen:"
sed 's/^/  /' seen
echo "matters: who finds the build ID or symbols for an address of a core by this offset reads the wrong bytes; a test"
echo "  with the first mapping of a file does not see it: there both units say 0."
diff -u expected seen || { echo "CHANGED" >&2; exit 1; }
echo "still so"
