"""A training's metrics as TensorBoard reads them: a zip of a folder of event files.

An event file is a sequence of TFRecords, each an `Event` in protobuf
(https://www.tensorflow.org/tutorials/load_data/tfrecord; tensorboard/compat/proto/event.proto).
Neither has changed since 2016. They are written here, because what writes them otherwise wants a
folder of files, threads and protobuf; so they leave one after another, and no file is made.
"""

import math
import re
import struct
import zipfile
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, cast

from fl_server_ai.tracking.table import MEAN, Row, by_participant, means
from fl_server_core.models import Training

FULL = 1 << 16
"""Bytes that are worth sending."""

POLYNOMIAL = 0x82F63B78
"""CRC-32C's, reflected."""


def zipped(training: Training) -> Iterator[bytes]:
    """Yield a zip with a folder for each participant, and one for the means."""
    out = _Chunks()
    name = f"events.out.tfevents.{int(training.created_at.timestamp())}.{training.pk}"
    runs = groupby(by_participant(training), key=attrgetter("participant", "participant_id"))
    with zipfile.ZipFile(cast(Any, out), "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, rows in chain(
            [(MEAN, means(training))], ((_folder(*who), rows) for who, rows in runs)
        ):
            with archive.open(f"{folder}/{name}", "w") as file:
                for record in records(rows):
                    file.write(record)
                    if out.size > FULL:
                        yield out.take()
    yield out.take()


def records(rows: Iterable[Row]) -> Iterator[bytes]:
    """Yield the records of an event file."""
    for number, row in enumerate(rows):
        time = row.time.timestamp()
        if number == 0:
            yield _record(_double(1, time) + _bytes(3, b"brain.Event:2"))
        values = b"".join(
            _bytes(1, _bytes(1, name.encode()) + _float(2, value))
            for name, value in row.metrics.items()
        )
        if values:
            yield _record(_double(1, time) + _whole(2, row.round) + _bytes(5, values))


def _folder(name: str, user_id: object) -> str:
    """Return a folder's name that leads nowhere else, and is nobody else's."""
    safe = re.sub(r"^\.|[^\w@+.-]|\.$", "_", name)
    return name if safe == name != MEAN else f"{safe}-{user_id}"


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def _masked_crc(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> Iterator[int]:
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
        yield crc


TABLE = tuple(_table())


def crc32c(data: bytes) -> int:
    """Return the checksum of RFC 3720, section 12.1."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


# --- Fields of protobuf messages: a key of number and wire type, then the value -----------


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _float(number: int, value: float) -> bytes:
    try:
        packed = struct.pack("<f", value)
    except OverflowError:  # TensorBoard has no larger ones
        packed = struct.pack("<f", math.copysign(math.inf, value))
    return _varint(number << 3 | 5) + packed


def _whole(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class _Chunks:
    """Takes what a zip is made of, and gives it away; it can't be sought in."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        self._chunks.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing, because everything leaves in time."""

    def take(self) -> bytes:
        """Return what has come since the last time."""
        data = b"".join(self._chunks)
        self._chunks, self.size = [], 0
        return data
