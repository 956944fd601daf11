#!/usr/bin/env python3
"""Makes the corpus of the target `unwind`: `make_unwind_corpus.py LIBRARY FOLDER`.

Of the library's `.eh_frame` it takes functions that differ in what their programs do, each with the entry that it
refers to, in the form that the target reads (see `unwind` in src/fuzzing.rs); and the first of all functions, with an
index.
"""

import os
import struct
import sys

# Where the target takes `.eh_frame` to lie.
SECTION = 16 << 20
# Instructions whose argument is an expression: DW_CFA_def_cfa_expression, expression, val_expression.
EXPRESSIONS = (0x0F, 0x10, 0x16)
STACK = b"".join(struct.pack("<Q", (1 << 40) + 64 * place) for place in range(24))


def sections(library):
    """Address and bytes of each section of an ELF file of 64 bits."""
    table, = struct.unpack_from("<Q", library, 40)
    size, count, names = struct.unpack_from("<HHH", library, 58)
    headers = [struct.unpack_from("<IIQQQQ", library, table + size * place) for place in range(count)]
    texts = headers[names][4]
    for name, _, _, address, offset, length in headers:
        end = library.index(b"\0", texts + name)
        yield library[texts + name:end].decode(), (address, library[offset:offset + length])


def entries(section):
    """Place and bytes of each entry with its length."""
    place = 0
    while place + 4 <= len(section):
        length, = struct.unpack_from("<I", section, place)
        if length == 0:
            return
        yield place, section[place:place + 4 + length]
        place += 4 + length


def seed(index, distance, stack, instruction, section):
    return struct.pack("<HHII", len(index), len(stack), distance, instruction) + index + stack + section


def main():
    source, folder = sys.argv[1:]
    with open(source, "rb") as file:
        found = dict(sections(file.read()))
    address, section = found[".eh_frame"]
    common, made = {}, {}
    for place, entry in entries(section):
        back, = struct.unpack_from("<I", entry, 4)
        if back == 0:
            common[place] = entry
            continue
        first = common[place + 4 - back]
        start, = struct.unpack_from("<i", entry, 8)
        # The function's place counts from the field that says it, which moves with the entry.
        instruction = SECTION + len(first) + 8 + start
        kind = (first[9:13], tuple(code in entry[17:] for code in EXPRESSIONS), len(entry) // 32)
        moved = entry[:4] + struct.pack("<I", len(first) + 4) + entry[8:]
        if 0 < instruction < 1 << 32 and len(entry) < 300:
            made.setdefault(kind, seed(b"", 0, STACK, instruction + 4, first + moved + b"\0\0\0\0"))
    header_address, header = found[".eh_frame_hdr"]
    rows = 40
    index = header[:8] + struct.pack("<I", rows) + header[12:12 + 8 * rows]
    instruction = SECTION - (address - header_address) + struct.unpack_from("<i", header, 12 + 8 * 5)[0]
    made["index"] = seed(index, address - header_address, STACK, instruction + 1, section[:4096])
    for number, text in enumerate(made.values()):
        with open(os.path.join(folder, f"{os.path.basename(source).split('.')[0]}_{number}"), "wb") as file:
            file.write(text)


if __name__ == "__main__":
    main()
