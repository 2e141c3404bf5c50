"""Writing a zip file as torch does: nothing compressed, data at multiples of 64 bytes.

Unlike torch's, the headers in front of the members hold sizes and CRC-32, so that there are no
data descriptors behind them.
"""

import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fl_archive.disk import new_file
from fl_archive.zip_reader import END, END64, ENTRY, FULL, LOCAL, LOCATOR64


@dataclass(frozen=True)
class Pieces:
    """A member's bytes as they come, so many in all."""

    size: int
    parts: Iterable[memoryview]

    def __len__(self) -> int:
        return self.size


Content = bytes | memoryview | Pieces
"""A member's bytes; a memoryview must be of single bytes."""

FOLDER = "archive"
ALIGNMENT = 64  # torch's, for mapping
VERSION = 45  # zip64
DATE = 0x21  # 1980-01-01, zip's first day: the same members make the same bytes
CRC = 14
"""Where a member's header has its checksum."""


def write_members(path: Path, members: Iterable[tuple[str, Content]]) -> None:
    """Write the members, named without a folder, in the given order; on disk on return."""
    with new_file(path) as file:
        directory = [_write_member(file, f"{FOLDER}/{name}", data) for name, data in members]
        _write_directory(file, directory)


def _write_member(file: BinaryIO, name: str, content: Content) -> bytes:
    """Returns the member's entry in the directory."""
    encoded, start, size = name.encode("ascii"), file.tell(), len(content)
    narrow = min(size, FULL)
    extra = _zip64(*[size] * 2 if narrow == FULL else [])
    padding = -(start + LOCAL.size + len(encoded) + len(extra) + 4) % ALIGNMENT
    extra += struct.pack("<HH", 0x4246, padding) + bytes(padding)
    fields = [VERSION, 0, 0, 0, DATE, 0, narrow, narrow, len(encoded)]
    file.write(LOCAL.pack(b"PK\3\4", *fields, len(extra)) + encoded + extra)
    fields[5] = _write_content(file, content, at=start + CRC)
    extra = _zip64(*[value for value in (size, size, start) if value >= FULL])
    place = (0, 0, 0, 0, min(start, FULL))
    return ENTRY.pack(b"PK\1\2", VERSION, *fields, len(extra), *place) + encoded + extra


def _write_content(file: BinaryIO, content: Content, *, at: int) -> int:
    """Returns the checksum, which is put into the member's header once it is known."""
    crc, written = 0, 0
    for part in content.parts if isinstance(content, Pieces) else [content]:
        crc = zlib.crc32(part, crc)
        written += file.write(part)
    if written != len(content):
        raise ValueError(f"{written} bytes for a member of {len(content)} bytes")
    file.seek(at)
    file.write(crc.to_bytes(4, "little"))
    file.seek(0, os.SEEK_END)
    return crc


def _zip64(*values: int) -> bytes:
    if not values:
        return b""
    return struct.pack(f"<HH{len(values)}Q", 1, 8 * len(values), *values)


def _write_directory(file: BinaryIO, entries: list[bytes]) -> None:
    start, count, size = file.tell(), len(entries), sum(map(len, entries))
    file.writelines(entries)
    end = file.tell()
    fields = (count, count, size, start)
    file.write(END64.pack(b"PK\6\6", END64.size - 12, VERSION, VERSION, 0, 0, *fields))
    file.write(LOCATOR64.pack(b"PK\6\7", 0, end, 1))
    limits = (0xFFFF, 0xFFFF, FULL, FULL)
    file.write(END.pack(b"PK\5\6", 0, 0, *map(min, fields, limits), 0))
