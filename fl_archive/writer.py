"""Writing a model with other weights: the same archive with other bytes in its blocks."""

import hashlib
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fl_archive.disk import Bytes, begin_sync, new_file
from fl_archive.dtypes import DTYPES
from fl_archive.errors import UNEXPECTED, NotAModel
from fl_archive.model import ModelFile, TensorSpec, read_model
from fl_archive.safetensors_file import size_of
from fl_archive.views import CARRIERS
from fl_archive.zip_reader import ZipMember

Array = npt.NDArray[Any]

SYNC = 8 << 20
"""Bytes after which the disk gets to work."""


def write_model(template: Path, target: Path, tensors: Iterable[tuple[str, Array]]) -> str:
    """Write the template's model with these values; return the new file's SHA-256.

    Each of the template's distinct tensors must come once, by its first name, as an array whose
    bytes are the tensor's (bfloat16 and such as plain integers or bytes). What else the blocks
    hold stays. The file is on disk on return, and removed on an error; `ValueError` for missing,
    unknown or misshapen tensors.

    It is written from its first byte to its last. So tensors may come in any order, but those that
    come before their turn wait in memory, and a block that several share does until all have come.
    A thread writes and hashes one array while the next is being made: the array must not change
    until the next but one is asked for.
    """
    with read_model(template) as model:
        if model.format == "tensor":
            raise NotAModel(UNEXPECTED)
        with new_file(target) as file, ThreadPoolExecutor(1, "write") as thread:
            copy = _Copy(model.file, file)
            written = thread.submit(copy.copy_to, 0)
            for member, block in _blocks(model, tensors):
                written.result()
                written = thread.submit(copy.replace, member, block)
            written.result()
            copy.copy_to(model.file.size)
            return copy.sha256.hexdigest()


def with_rest(
    model: ModelFile, tensors: Iterable[tuple[str, Array]]
) -> Iterator[tuple[str, Array]]:
    """Yield these tensors, which are in the model's order, and in their places its others."""
    coming = iter(tensors)
    name, values = next(coming, ("", None))
    for spec in model.distinct:
        if spec.name == name and values is not None:
            yield name, values
            name, values = next(coming, ("", None))
        else:
            yield spec.name, model.raw(spec.name)
    if values is not None:
        raise ValueError(f"tensor '{name}' is unknown or not in its turn")


class _Copy:
    """A copy of the template's bytes with other blocks, and with the checksums that these have."""

    def __init__(self, template: Bytes, file: BinaryIO) -> None:
        self.sha256 = hashlib.sha256()
        self._template, self._file, self._position, self._syncing = template, file, 0, 0
        self._checksums: list[tuple[int, bytes]] = []  # a heap, by the place in the file

    def replace(self, member: ZipMember, block: Bytes) -> None:
        """Go on to the end of this member, whose bytes become these."""
        if member.crc_fields:
            checksum = zlib.crc32(block.data).to_bytes(4, "little")
            for field in member.crc_fields:
                heappush(self._checksums, (field, checksum))
        self.copy_to(member.start)
        self._write(block.data)

    def copy_to(self, end: int) -> None:
        """Go on to this place with the template's bytes."""
        while self._checksums and self._checksums[0][0] < end:
            field, checksum = heappop(self._checksums)
            self.copy_to(field)
            self._write(checksum)
        self._write(self._template[self._position : end].data)

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self.sha256.update(data)
        self._position += len(data)
        if self._position - self._syncing >= SYNC:
            begin_sync(self._file)
            self._syncing = self._position


def _blocks(
    model: ModelFile, tensors: Iterable[tuple[str, Array]]
) -> Iterator[tuple[ZipMember, Bytes]]:
    """Yield the blocks in the file's order, each as soon as all of its tensors have come."""
    shares = Counter(spec.block for spec in model.distinct)
    missing, blocks = shares.copy(), dict[str, Bytes]()
    coming = deque(sorted(shares, key=lambda block: model.members[block].start))
    for spec, values in _matched(model.distinct, tensors):
        data, name, old = _bytes(spec, values), spec.block, model.blocks[spec.block]
        if shares[name] == 1 and spec.view.contiguous and data.size == old.size:
            blocks[name] = data if name == coming[0] else data.copy()
        else:
            if name not in blocks:
                blocks[name] = old.copy()
            _place(blocks[name], spec, data)
        missing[name] -= 1
        while coming and not missing[coming[0]]:
            block = coming.popleft()
            yield model.members[block], blocks.pop(block)


def _matched(
    specs: list[TensorSpec], tensors: Iterable[tuple[str, Array]]
) -> Iterator[tuple[TensorSpec, Array]]:
    pending = {spec.name: spec for spec in specs}
    for name, values in tensors:
        if name not in pending:
            raise ValueError(f"tensor '{name}' is unknown or came before")
        yield pending.pop(name), values
    if pending:
        raise ValueError(f"tensor '{next(iter(pending))}' is missing")


def _bytes(spec: TensorSpec, values: Array) -> Bytes:
    data: Bytes = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if data.size != size_of(spec.dtype, spec.shape):
        raise ValueError(f"tensor '{spec.name}' has {data.size} bytes")
    return data


def _place(block: Bytes, spec: TensorSpec, data: Bytes) -> None:
    if spec.view.contiguous:
        start, end = spec.view.span
        block[start:end] = data
    else:
        elements = data.view(CARRIERS[DTYPES[spec.dtype]])
        spec.view.window(block)[...] = elements.reshape(spec.shape)
