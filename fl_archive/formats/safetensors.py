"""Safetensors files, as models and updates; `fl_archive.safetensors_file` says what they are."""

from fl_archive.contents import ModelFile, TensorSpec
from fl_archive.disk import Bytes
from fl_archive.formats.base import Format
from fl_archive.safetensors_file import TensorInfo, find_tensors
from fl_archive.views import dense
from fl_archive.zip_reader import ZipMember


def is_safetensors(raw: Bytes) -> bool:
    """Tell whether a length that is no text stands before a JSON object."""
    return raw[4:9].tobytes() == b"\0\0\0\0{"


def read_safetensors(raw: Bytes) -> ModelFile:
    """Read it; its tensors count as members, so that they can be rewritten in their places."""
    start, tensors = find_tensors(raw)
    blocks = {name: raw[start + info.start : start + info.end] for name, info in tensors.items()}
    specs = {
        name: TensorSpec(name, info.dtype, info.shape, dense(info.shape), name, 0, False)
        for name, info in tensors.items()
    }
    members = {name: _member(name, start, info) for name, info in tensors.items()}
    return ModelFile("safetensors", specs, [], blocks, raw, members)


def _member(name: str, start: int, info: TensorInfo) -> ZipMember:
    size = info.end - info.start
    return ZipMember(name, start + info.start, size, size, deflated=False, crc=0, crc_fields=())


SAFETENSORS = Format(is_safetensors, read_safetensors)
