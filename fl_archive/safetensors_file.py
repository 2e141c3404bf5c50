"""Safetensors files, mapped: the form in which updates are kept.

The format is eight bytes of header length (little-endian), a JSON object of name →
`{dtype, shape, data_offsets}`, and the tensors' bytes without gaps. Written here rather than
taken from the library of that name because its numpy side knows no bfloat16 or float8 and
can neither map nor stream. See https://github.com/huggingface/safetensors#format.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from fl_archive.disk import Bytes, map_file, new_file
from fl_archive.dtypes import DTYPES
from fl_archive.errors import NotAModel, shown

__all__ = ["DTYPES", "TensorFile", "TensorInfo", "new_tensor_file", "write_tensor_file"]

MAX_HEADER = 4 << 20
"""Some 40,000 tensors. Parsed JSON takes up to 25 times its text."""

MAX_RANK = 64
"""What numpy can hold; torch has the same limit."""

MAX_BYTES = 1 << 48

Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""Names in order, each with dtype and shape."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies: bytes `start` to `end`, counted from the beginning of the data."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class TensorFile:
    """A read-only, memory-mapped safetensors file; `tensors` are in the order of their bytes.

    `start` is where their bytes begin.
    Raises `NotAModel` for a header that is not exactly what the format says.
    """

    def __init__(self, path: Path | BinaryIO) -> None:
        raw = map_file(path)
        self.start, self.tensors = find_tensors(raw)
        self._data = raw[self.start :]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._data = np.empty(0, np.uint8)

    def raw(self, name: str) -> Bytes:
        """The tensor's bytes in the mapping; only the file's first tensor is surely aligned."""
        info = self.tensors[name]
        return self._data[info.start : info.end]


def find_tensors(raw: Bytes) -> tuple[int, dict[str, TensorInfo]]:
    """Return where the tensors' bytes begin in a file, and what its header says of them.

    Raises `NotAModel` for a header that is not exactly what the format says.
    """
    length = int.from_bytes(raw[:8].tobytes(), "little")
    if not 2 <= length <= min(MAX_HEADER, raw.size - 8):
        raise NotAModel("The safetensors header has an impossible length.")
    start = 8 + length
    return start, _read_header(raw[8:start].tobytes(), raw.size - start)


@contextmanager
def new_tensor_file(path: Path, layout: Layout) -> Iterator[Callable[[Bytes], object]]:
    """Write a file by the function that this yields, which takes the tensors' bytes as they come.

    They come one after another in `layout`'s order, cut anywhere. The file is on disk when the
    block ends, and removed on an error. Raises `ValueError` if all that came is shorter or longer
    than the layout says.
    """
    header = encode_header(layout)
    expected = sum(size_of(dtype, shape) for dtype, shape in layout.values())
    with new_file(path) as file:
        file.write(header)
        yield lambda chunk: file.write(chunk.data)
        written = file.tell() - len(header)
        if written != expected:
            raise ValueError(f"{written} bytes for tensors of {expected} bytes")


def write_tensor_file(path: Path, layout: Layout, chunks: Iterable[Bytes]) -> None:
    """Write tensors' bytes as `new_tensor_file` does."""
    with new_tensor_file(path, layout) as write:
        for chunk in chunks:
            write(chunk)


def encode_header(layout: Layout) -> bytes:
    """The length and the JSON, padded so that the data begin at a multiple of eight."""
    entries: dict[str, Any] = {}
    end = 0
    for name, (dtype, shape) in layout.items():
        start, end = end, end + size_of(dtype, shape)
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": (start, end)}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise NotAModel("The model has too many tensors.")
    return len(text).to_bytes(8, "little") + text


def size_of(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a contiguous tensor."""
    return DTYPES[dtype] * prod(shape)


def _read_header(text: bytes, size: int) -> dict[str, TensorInfo]:
    try:
        entries = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise NotAModel("The safetensors header is not JSON.") from error
    if not text.startswith(b"{") or not isinstance(entries, dict):
        raise NotAModel("The safetensors header is not a JSON object.")
    _check_metadata(entries.pop("__metadata__", {}))
    infos = {_read_name(name): _read_info(name, entry) for name, entry in entries.items()}
    tensors = dict(sorted(infos.items(), key=lambda item: (item[1].start, item[1].end)))
    _check_seamless(tensors, size)
    return tensors


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a key stands twice")
    return entries


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise NotAModel("The safetensors metadata is not text.")


def _read_name(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise NotAModel("A tensor's name is not Unicode text.") from error
    return name


def _read_info(name: str, entry: object) -> TensorInfo:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, end], **more}:
            if more or dtype not in DTYPES or len(shape) > MAX_RANK:
                raise NotAModel(f"Tensor {shown(name)} has an unknown type or form.")
        case _:
            raise NotAModel(f"Tensor {shown(name)} is not described as safetensors does.")
    if not all(type(size) is int and 0 <= size <= MAX_BYTES for size in [*shape, start, end]):
        raise NotAModel(f"Tensor {shown(name)} has an impossible size.")
    if end - start != size_of(dtype, tuple(shape)):
        raise NotAModel(f"Tensor {shown(name)} has other bytes than its shape says.")
    return TensorInfo(dtype, tuple(shape), start, end)


def _check_seamless(tensors: Mapping[str, TensorInfo], size: int) -> None:
    position = 0
    for name, info in tensors.items():
        if info.start != position:
            raise NotAModel(f"Tensor {shown(name)} overlaps another or leaves a gap.")
        position = info.end
    if position != size:
        raise NotAModel("The safetensors file is longer or shorter than its tensors.")
