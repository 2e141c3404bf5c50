"""Safetensors files, as models and updates; `fl_archive.safetensors_file` reads them."""

from pathlib import Path
from typing import BinaryIO

from fl_archive.contents import ModelFile, TensorSpec
from fl_archive.disk import Bytes
from fl_archive.formats.base import Format
from fl_archive.safetensors_file import TensorFile
from fl_archive.views import dense
from fl_archive.zip_reader import ZipMember


def is_safetensors(raw: Bytes) -> bool:
    """Tell whether a length that is no text stands before a JSON object."""
    return raw[4:9].tobytes() == b"\0\0\0\0{"


def read_safetensors(raw: Bytes, path: Path | BinaryIO) -> ModelFile:
    """Read it; its tensors count as members, so that they can be rewritten in their places."""
    with TensorFile(path) as file:
        blocks = {name: file.raw(name) for name in file.tensors}
        specs = {
            name: TensorSpec(name, info.dtype, info.shape, dense(info.shape), name, 0, False)
            for name, info in file.tensors.items()
        }
        members = {name: _member(file, name) for name in file.tensors}
    return ModelFile("safetensors", specs, [], blocks, raw, members)


def _member(file: TensorFile, name: str) -> ZipMember:
    info = file.tensors[name]
    size = info.end - info.start
    return ZipMember(
        name, file.start + info.start, size, size, deflated=False, crc=0, crc_fields=()
    )


SAFETENSORS = Format(is_safetensors, read_safetensors)
