"""Reading a zip file strictly: one reading that every zip reader would share, or none.

The members must follow each other from the first byte to the directory without a gap, say the
same in their own headers as in the directory, and have names that differ by more than case.
What torch writes is all that: its writer is miniz, with data descriptors, padding in extra
fields and zip64 where a size or offset needs it. Field offsets are those of PKWARE's APPNOTE.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from fl_archive.disk import Bytes
from fl_archive.errors import ArchiveError, NotAModel, Refused
from fl_archive.foreign import refuse_zip

MAX_MEMBERS = 100_000
MAX_DIRECTORY = 32 << 20
STORED, DEFLATED = 0, 8
FULL = 0xFFFFFFFF  # a 32-bit field that says: see the zip64 extra field

END = struct.Struct("<4sHHHHIIH")
END64 = struct.Struct("<4sQHHIIQQQQ")
LOCATOR64 = struct.Struct("<4sIQI")
ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")
LOCAL = struct.Struct("<4sHHHHHIIIHH")


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One file in the zip: its data's place, and the places where its CRC-32 is written.

    A safetensors file's tensors are members, too, each without such places.
    """

    name: str
    start: int
    size: int
    stored: int
    deflated: bool
    crc: int
    crc_fields: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    name: bytes
    flags: int
    method: int
    crc: int
    stored: int
    size: int
    header: int
    crc_field: int


def read_members(raw: Bytes) -> dict[str, ZipMember]:
    """The members by name without the folder that torch puts around all, in the file's order."""
    try:
        start, size, count = _find_directory(raw)
        entries = sorted(_read_directory(raw, start, size, count), key=lambda entry: entry.header)
        ends = [entry.header for entry in entries[1:]] + [start]
        with _foreign_aside(entries):
            return _without_folder(_locate(raw, entries, ends))
    except struct.error as error:
        raise NotAModel("The zip file is damaged.") from error


@contextmanager
def _foreign_aside(entries: list[_Entry]) -> Iterator[None]:
    """Say of a zip file that isn't torch's just that, and not that it is damaged or forged."""
    try:
        yield
    except ArchiveError as error:
        names = [entry.name.decode(errors="replace") for entry in entries]
        if any(name.endswith("data.pkl") for name in names):
            raise
        raise refuse_zip(names) from error


def read_content(raw: Bytes, member: ZipMember, limit: int) -> bytes:
    """A member's bytes, inflated if need be; for small members, never for blocks."""
    if member.size > limit or member.stored > limit:
        raise NotAModel(f"Member '{member.name:.80}' is too large.")
    data = raw[member.start : member.start + member.stored].tobytes()
    if member.deflated:
        data = _inflate(data, member)
    check_content(np.frombuffer(data, np.uint8), member)
    return data


def check_content(content: Bytes, member: ZipMember) -> None:
    """Raises `NotAModel` if the member's checksum isn't that of its (inflated) bytes."""
    if zlib.crc32(content.data) != member.crc:
        raise NotAModel(
            f"Member '{member.name:.80}' is damaged, or saved without its CRC-32 "
            "(torch.serialization.set_crc32_options)."
        )


def _inflate(data: bytes, member: ZipMember) -> bytes:
    stream = zlib.decompressobj(-15)
    try:
        inflated = stream.decompress(data, member.size + 1)
    except zlib.error as error:
        raise NotAModel(f"Member '{member.name:.80}' is damaged.") from error
    if len(inflated) != member.size or not stream.eof or stream.unused_data:
        raise NotAModel(f"Member '{member.name:.80}' has another size than it says.")
    return inflated


def _find_directory(raw: Bytes) -> tuple[int, int, int]:
    """First byte, size and number of entries of the directory."""
    end = raw.size - END.size
    if end < 0:
        raise NotAModel("The zip file is cut off.")
    mark, disk, first, here, count, size, start, comment = END.unpack(raw[end:].data)
    if mark != b"PK\5\6" or disk or first or comment or here != count:
        raise NotAModel("The zip file doesn't end with its directory.")
    found = (start, size, count)
    if raw[max(0, end - LOCATOR64.size) :][:4].tobytes() == b"PK\6\7":
        end, *wide = _find_directory64(raw, end)
        for narrow, value, full in zip(found, wide, (FULL, FULL, 0xFFFF), strict=True):
            if narrow not in (value, full):
                raise Refused("The zip file's directory is described in two ways.")
        start, size, count = wide
    if start + size != end or size > MAX_DIRECTORY or not 0 < count <= MAX_MEMBERS:
        raise NotAModel("The zip file's directory has an impossible size or place.")
    return start, size, count


def _find_directory64(raw: Bytes, end: int) -> tuple[int, int, int, int]:
    """The same from the zip64 record, which torch always writes; its own place comes first."""
    locator = end - LOCATOR64.size
    position = locator - END64.size
    if position < 0:
        raise NotAModel("The zip file is cut off.")
    mark, _, where, disks = LOCATOR64.unpack(raw[locator:end].data)
    end_mark, length, _, _, disk, first, here, count, size, start = END64.unpack(
        raw[position:locator].data
    )
    if (mark, end_mark, where, length) != (b"PK\6\7", b"PK\6\6", position, END64.size - 12):
        raise NotAModel("The zip file doesn't end with its directory.")
    if disk or first or here != count or disks > 1:
        raise NotAModel("The zip file has several parts.")
    return position, start, size, count


def _read_directory(raw: Bytes, start: int, size: int, count: int) -> Iterator[_Entry]:
    directory = raw[start : start + size].tobytes()
    position = 0
    for _ in range(count):
        fields = ENTRY.unpack_from(directory, position)
        mark, _, _, flags, method, _, _, crc, stored, size_, name_size, extra_size = fields[:12]
        comment, disk, _, _, header = fields[12:]
        names = position + ENTRY.size
        extra = directory[names + name_size : names + name_size + extra_size]
        if mark != b"PK\1\2" or comment or disk or len(extra) != extra_size:
            raise NotAModel("The zip file's directory is damaged.")
        size_, stored, header = _read_extra(extra, size_, stored, header)
        name = directory[names : names + name_size]
        yield _Entry(name, flags, method, crc, stored, size_, header, start + position + 16)
        position = names + name_size + extra_size
    if position != size:
        raise NotAModel("The zip file's directory is longer than its entries.")


def _read_extra(extra: bytes, *values: int) -> list[int]:
    """The values, those that are full replaced by the next number of the zip64 extra field."""
    wide: list[int] = []
    position = 0
    while position < len(extra):
        kind, size = struct.unpack_from("<HH", extra, position)
        body = extra[position + 4 : position + 4 + size]
        if len(body) != size:
            raise NotAModel("The zip file has a damaged extra field.")
        if kind == 1:
            wide += [number for (number,) in struct.iter_unpack("<Q", body[: size // 8 * 8])]
        position += 4 + size
    needed = [value for value in values if value == FULL]
    if len(wide) < len(needed):
        raise NotAModel("The zip file has a damaged extra field.")
    numbers = iter(wide)
    return [next(numbers) if value == FULL else value for value in values]


def _locate(raw: Bytes, entries: list[_Entry], ends: list[int]) -> Iterator[ZipMember]:
    if entries[0].header != 0:
        raise Refused("The file has bytes in front of its first member.")
    for entry, end in zip(entries, ends, strict=True):
        yield _read_member(raw, entry, end)


def _read_member(raw: Bytes, entry: _Entry, end: int) -> ZipMember:
    name = _read_name(entry.name)
    start, local = _read_header(raw, entry.header)
    numbers = (entry.crc, entry.stored, entry.size)
    tail = end - start - entry.stored
    described = bool(entry.flags & 8) and tail > 0
    if local != (entry.flags, entry.method, entry.name, *((0, 0, 0) if described else numbers)):
        raise Refused(f"Member '{name:.80}' is described in two ways.")
    if described:
        _check_descriptor(raw[start + entry.stored : end], numbers, name)
    elif tail:
        raise Refused(f"Member '{name:.80}' overlaps another or leaves a gap.")
    _check_storing(name, entry)
    crc_field = start + entry.stored + 4 if described else entry.header + 14
    deflated = entry.method == DEFLATED
    fields = (crc_field, entry.crc_field)
    return ZipMember(name, start, entry.size, entry.stored, deflated, entry.crc, fields)


def _read_header(raw: Bytes, header: int) -> tuple[int, tuple[int | bytes, ...]]:
    """Where a member's data begin, and what the header in front of them says."""
    start = header + LOCAL.size
    fields = LOCAL.unpack(raw[header:start].data)
    mark, _, flags, method, _, _, crc, stored, size, name_size, extra_size = fields
    name = raw[start : start + name_size].tobytes()
    start += name_size
    extra = raw[start : start + extra_size].tobytes()
    size, stored = _read_extra(extra, size, stored)
    if mark != b"PK\3\4":
        raise NotAModel("The zip file is damaged.")
    return start + extra_size, (flags, method, name, crc, stored, size)


def _check_descriptor(raw: Bytes, central: tuple[int, int, int], name: str) -> None:
    form = {16: "<4sIII", 24: "<4sIQQ"}.get(raw.size)
    if form is None or struct.unpack(form, raw.tobytes()) != (b"PK\7\x08", *central):
        raise Refused(f"Member '{name:.80}' overlaps another or is described in two ways.")


def _check_storing(name: str, entry: _Entry) -> None:
    if entry.flags & ~0x808:  # UTF-8 names and data descriptors: all else is encryption and such
        raise Refused(f"Member '{name:.80}' is encrypted or otherwise special.")
    if entry.method not in (STORED, DEFLATED):
        raise Refused(f"Member '{name:.80}' is compressed in an unknown way.")
    if entry.method == STORED and entry.stored != entry.size:
        raise Refused(f"Member '{name:.80}' is described in two ways.")


def _read_name(name: bytes) -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise Refused("A member's name is not Unicode text.") from error
    parts = text.split("/")
    if not text.isprintable() or "\\" in text or {"", ".", ".."} & set(parts):
        raise Refused(f"The member name {text[:80]!a} is absolute, climbs or is not plain text.")
    return text


def _without_folder(members: Iterator[ZipMember]) -> dict[str, ZipMember]:
    found: dict[str, ZipMember] = {}
    folders: set[str] = set()
    spellings: set[str] = set()
    for member in members:
        folder, _, name = member.name.partition("/")
        if not name:
            raise NotAModel("The zip file is not one that torch writes.")
        folders.add(folder)
        if len(folders) > 1:
            raise Refused(f"Member '{member.name:.80}' lies in another folder than the first.")
        if name.casefold() in spellings:
            raise Refused(f"Member '{name:.80}' is there twice, or spelt in two ways.")
        spellings.add(name.casefold())
        found[name] = member
    return found
