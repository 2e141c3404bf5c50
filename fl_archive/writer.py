"""Writing a model with other weights: the same archive with other bytes in its blocks."""

import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fl_archive.disk import WINDOW, Bytes, new_file
from fl_archive.dtypes import DTYPES
from fl_archive.errors import UNEXPECTED, NotAModel
from fl_archive.model import TensorSpec, read_model
from fl_archive.safetensors_file import size_of
from fl_archive.views import CARRIERS
from fl_archive.zip_reader import ZipMember

Array = npt.NDArray[Any]


def write_model(template: Path, target: Path, tensors: Iterable[tuple[str, Array]]) -> None:
    """Write the template's model with these values, which may come in any order.

    Each of the template's distinct tensors must come once, by its first name, as an array whose
    bytes are the tensor's (bfloat16 and such as plain integers or bytes). What else the blocks
    hold stays. The file is on disk on return, and removed on an error; `ValueError` for missing,
    unknown or misshapen tensors.

    The template is copied whole and then written through a mapping, so that a full disk shows
    as an error of the copy and not as a signal, and no tensor takes memory here.
    """
    with read_model(template) as model:
        if model.format == "tensor":
            raise NotAModel(UNEXPECTED)
        specs = model.distinct
        changed = {spec.block: model.members[spec.block] for spec in specs}
    with new_file(target) as file:
        with template.open("rb") as source:
            shutil.copyfileobj(source, file, WINDOW)
        file.flush()
        raw = np.memmap(file, mode="r+")
        for spec, values in _matched(specs, tensors):
            _place(_block(raw, changed[spec.block]), spec, values)
        for member in changed.values():
            if member.crc_fields:
                _renew_checksum(raw, member)
        raw.flush()


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


def _block(raw: Bytes, member: ZipMember) -> Bytes:
    return raw[member.start : member.start + member.size].view(np.ndarray)


def _place(block: Bytes, spec: TensorSpec, values: Array) -> None:
    data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if data.size != size_of(spec.dtype, spec.shape):
        raise ValueError(f"tensor '{spec.name}' has {data.size} bytes")
    if spec.view.contiguous:
        start, end = spec.view.span
        block[start:end] = data
    else:
        elements = data.view(CARRIERS[DTYPES[spec.dtype]])
        spec.view.window(block)[...] = elements.reshape(spec.shape)


def _renew_checksum(raw: Bytes, member: ZipMember) -> None:
    crc = zlib.crc32(_block(raw, member).data).to_bytes(4, "little")
    for field in member.crc_fields:
        raw[field : field + 4] = np.frombuffer(crc, np.uint8)
