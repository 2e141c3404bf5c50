"""What came in, recognised by its first bytes and decoded; nothing is tried and given up.

Lists in JSON, a tensor saved by `torch.save` or as safetensors, an image, or the base64 of one
of these. Pickles are read by our own reader, which runs nothing.
"""

import base64
import binascii
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from fl_archive.errors import ArchiveError
from fl_archive.model import read_model
from fl_server_ai.failures import JobRefused
from fl_server_ai.inference.jobs.images import is_image, read_image
from fl_server_ai.inference.jobs.scratch import scratch_copy
from fl_server_ai.tensors import TORCH, to_tensor


class Unrecognised(JobRefused):
    """The bytes are nothing of the above."""


@dataclass(frozen=True)
class Decoded:
    """A tensor, or a list from JSON that is yet to become one."""

    value: Tensor | list[Any]
    is_image: bool = False


def decode_json(text: bytes) -> Decoded:
    """Decode what was a value in a JSON body: nested lists or base64."""
    value = json.loads(text)
    if isinstance(value, list):
        return Decoded(value)
    if isinstance(value, str):
        return _decode_base64(value)
    raise Unrecognised("Model input must be nested lists or text.")


def decode_bytes(raw: bytes) -> Decoded:
    """Decode an uploaded file or a form's field."""
    text = _as_text(raw)
    if text is None:
        return _decode_binary(raw)
    return Decoded(_read_list(text)) if text.startswith("[") else _decode_base64(text)


def list_to_tensor(nested: list[Any], *, keep_integers: bool) -> Tensor | None:
    """Return float32, or int64 if that is wanted and all are integers.

    None if the lists are ragged or hold something else than numbers.
    """
    try:
        tensor = torch.tensor(nested)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # torch says it in all these ways
        return None
    return tensor if keep_integers and tensor.dtype == torch.int64 else tensor.to(torch.float32)


def _as_text(raw: bytes) -> str | None:
    """Return printable ASCII, stripped. Every binary format here begins with something else."""
    stripped = raw.strip()
    if not stripped.isascii() or any(byte < 32 and byte not in b"\t\n\r" for byte in stripped):
        return None
    return stripped.decode("ascii")


def _read_list(text: str) -> list[Any]:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Unrecognised(f"Model input is no JSON: {error}") from error
    return list(value)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _decode_base64(text: str) -> Decoded:
    try:
        raw = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:  # the latter where it isn't ASCII
        raise Unrecognised("Model input is neither nested lists nor base64.") from error
    text_inside = _as_text(raw)
    if text_inside is None:
        return _decode_binary(raw)
    if text_inside.startswith("["):
        return Decoded(_read_list(text_inside))
    raise Unrecognised("Model input is base64 of no known format.")


def _decode_binary(raw: bytes) -> Decoded:
    for fits, read in BINARY:
        if fits(raw):
            return read(raw)
    raise Unrecognised("Model input is of no known format.")


def _read_saved(raw: bytes) -> Decoded:
    with scratch_copy(io.BytesIO(raw)) as path:
        try:
            return Decoded(_read_tensor(path))
        except ArchiveError as error:
            raise JobRefused(f"Model input can't be read: {error}") from error


def _read_tensor(path: Path) -> Tensor:
    with read_model(path) as archive:
        if archive.format not in ("tensor", "safetensors") or len(archive.tensors) != 1:
            raise JobRefused("Model input must be one tensor.")
        [(name, spec)] = archive.tensors.items()
        if spec.dtype not in TORCH:
            raise JobRefused(f"Model input of type {spec.dtype} can't be used.")
        return to_tensor(archive.raw(name), spec.dtype, spec.shape)


BINARY: list[tuple[Callable[[bytes], bool], Callable[[bytes], Decoded]]] = [
    (is_image, lambda raw: Decoded(read_image(raw), is_image=True)),
    (lambda raw: raw[:4] == b"PK\3\4", _read_saved),
    (lambda raw: raw[8:9] == b"{", _read_saved),
    (lambda raw: raw[:1] == b"\x80", _read_saved),  # which tells that it is too old
]
