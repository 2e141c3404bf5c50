"""Updates that are sent smaller: in fewer bits, as a difference, or as its largest elements.

They are written out as the state that they stand for, to be admitted like any other update.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np

from fl_archive.disk import Bytes
from fl_archive.errors import Mismatch, shown
from fl_archive.floats import READ, WRITTEN, Floats
from fl_archive.model import ModelFile, TensorSpec, read_model
from fl_archive.names import listed
from fl_archive.narrowed import NARROW, SCALE, companion, is_narrower, scales_shape, widened
from fl_archive.part import WHOLE, Part
from fl_archive.safetensors_file import write_tensor_file

INDICES, VALUES = ".topk_indices", ".topk_values"


class Encoding(StrEnum):
    """What an update's floating-point numbers are; all others are always themselves."""

    STATE = "state"
    """The trained weights."""
    DELTA = "delta"
    """By how much they differ from the global model's."""
    TOPK = "topk"
    """The same, of each tensor some elements only: `<name>.topk_indices`, which count through the
    tensor in its order (row by row) and ascend, and `<name>.topk_values`. A tensor may come whole,
    too; one that doesn't come at all has not changed. Aji and Heafield 2017, "Sparse Communication
    for Distributed Gradient Descent", arXiv 1704.05021, section 3."""


@dataclass(frozen=True)
class Wire:
    """How an update may come: its encoding, and the dtype that makes its tensors smaller or ""."""

    encoding: Encoding = Encoding.STATE
    dtype: str = ""


def is_encoded(source: Path, wire: Wire) -> bool:
    """Tell whether an update that may come so is anything else than the state itself."""
    if wire == Wire():
        return False
    with read_model(source) as update:
        dtypes = {spec.dtype for spec in update.tensors.values()}
    return wire.encoding != Encoding.STATE or NARROW[wire.dtype] in dtypes


def decode_update(
    source: Path, model: ModelFile, target: Path, wire: Wire, part: Part = WHOLE
) -> None:
    """Write the part of the state that an encoded update stands for, as safetensors.

    Takes as much memory as the update's longest list of indices, and some megabytes. Raises
    `Mismatch` for what doesn't fit the global model.
    """
    with read_model(source) as update:
        decoder = _Decoder(update, model, wire)
        decoder.check_names()
        specs = [spec for spec in part.of(model).tensors.values() if decoder.has(spec)]
        layout = {spec.name: (spec.dtype, spec.shape) for spec in specs}
        chunks = (chunk for spec in specs for chunk in decoder.windows(spec))
        with np.errstate(over="ignore", invalid="ignore"):  # what isn't finite isn't admitted
            write_tensor_file(target, layout, chunks)


@dataclass(frozen=True)
class _Decoder:
    update: ModelFile
    model: ModelFile
    wire: Wire

    def check_names(self) -> None:
        """Raise `Mismatch` for a tensor that belongs to none of the model's."""
        known = set(self.model.tensors)
        for name, spec in self.model.tensors.items():
            known |= {companion(name, suffix, self.model) for suffix in self._suffixes(spec)}
        surplus = [name for name in self.update.tensors if name not in known]
        if surplus:
            raise Mismatch(f"The file holds {listed(surplus)}, which the global model lacks.")

    def has(self, spec: TensorSpec) -> bool:
        """Tell whether the update says what becomes of a tensor, if only by its absence."""
        if self._comes(spec) or self.wire.encoding != Encoding.TOPK:
            return self._comes(spec)
        return spec.alias_of is None and spec.name not in self._firsts

    @cached_property
    def _firsts(self) -> set[str]:
        """The first names of the tensors that come, perhaps by another name of theirs."""
        specs = self.model.tensors.values()
        return {spec.alias_of or spec.name for spec in specs if self._comes(spec)}

    def _comes(self, spec: TensorSpec) -> bool:
        return any(spec.name + suffix in self.update.tensors for suffix in ("", INDICES, VALUES))

    def windows(self, spec: TensorSpec) -> Iterator[Bytes]:
        """Yield the bytes of the tensor that the update stands for."""
        if spec.name not in self.update.tensors:
            yield from self._sparse(spec)
            return
        self._check(spec)
        if self.wire.encoding != Encoding.STATE and spec.dtype in READ:
            yield from _added(self.model.raw(spec.name), self._floats(spec), spec.dtype)
        elif self.update.tensors[spec.name].dtype != spec.dtype:
            yield from map(WRITTEN[spec.dtype], self._floats(spec))
        else:
            yield from self.update.windows(spec.name)

    def _suffixes(self, spec: TensorSpec) -> list[str]:
        if spec.dtype not in READ:
            return []
        scale = [SCALE] if self.wire.dtype == "int8" else []
        return scale + ([INDICES, VALUES] if self.wire.encoding == Encoding.TOPK else [])

    def _check(self, spec: TensorSpec) -> None:
        """Raise `Mismatch` unless a tensor comes in its shape and in a dtype that it may have."""
        given, narrow = self.update.tensors[spec.name], self.wire.dtype
        if given.shape != spec.shape:
            raise Mismatch(
                f"Tensor {shown(spec.name)} is of shape {list(given.shape)}; the global model's is "
                f"{list(spec.shape)}."
            )
        allowed = [spec.dtype]
        if narrow and is_narrower(narrow, spec.dtype):
            allowed.append(NARROW[narrow])
        if given.dtype not in allowed:
            raise Mismatch(
                f"Tensor {shown(spec.name)} is {given.dtype}; it may be {' or '.join(allowed)}."
            )

    def _floats(self, spec: TensorSpec) -> Iterator[Floats]:
        """Yield the numbers that the update has for a tensor, in pieces."""
        given = self.update.tensors[spec.name]
        if given.dtype == "I8":
            yield from widened(self.update.raw(spec.name), self._scales(spec), spec)
        else:
            yield from map(READ[given.dtype], self.update.windows(spec.name))

    def _scales(self, spec: TensorSpec) -> Bytes:
        scales = self.update.tensors.get(spec.name + SCALE)
        shape = scales_shape(spec.shape)
        if scales is None or scales.dtype != "F32" or scales.shape not in (shape, shape or (1,)):
            raise Mismatch(
                f"Tensor {shown(spec.name)} is int8 and needs {shown(spec.name + SCALE)}, F32 of "
                f"shape {list(shape)}."
            )
        return self.update.raw(scales.name)

    def _sparse(self, spec: TensorSpec) -> Iterator[Bytes]:
        given = [self.update.tensors.get(spec.name + suffix) for suffix in (INDICES, VALUES)]
        indices, values = given
        if indices is None and values is None:
            yield from self.model.windows(spec.name)
            return
        if (
            indices is None
            or values is None
            or indices.dtype not in ("I32", "I64")
            or values.dtype not in READ
            or len(indices.shape) != 1
            or indices.shape != values.shape
        ):
            raise Mismatch(
                f"Tensor {shown(spec.name)} needs {shown(spec.name + INDICES)}, I32 or I64, and as "
                f"many {shown(spec.name + VALUES)}, floating-point numbers, each in one dimension."
            )
        places = self.update.raw(indices.name).view("<i4" if indices.dtype == "I32" else "<i8")
        count = np.prod(spec.shape, dtype=np.int64)
        if len(places) and not (
            places[0] >= 0 and places[-1] < count and (places[1:] > places[:-1]).all()
        ):
            raise Mismatch(
                f"{shown(indices.name)} must ascend, from 0 on, and stay below {count}, which is "
                "the number of its elements."
            )
        numbers = READ[values.dtype](self.update.raw(values.name))
        yield from _scattered(self.model, spec, places, numbers)


def _added(base: Bytes, differences: Iterator[Floats], dtype: str) -> Iterator[Bytes]:
    before, start = READ[dtype](base), 0
    for difference in differences:
        yield WRITTEN[dtype](before[start : start + len(difference)] + difference)
        start += len(difference)


def _scattered(
    model: ModelFile, spec: TensorSpec, places: Floats, values: Floats
) -> Iterator[Bytes]:
    """Yield a tensor of the model with these values added at these places."""
    start = 0
    for window in model.windows(spec.name):
        numbers = READ[spec.dtype](window).copy()
        first, last = np.searchsorted(places, [start, start + len(numbers)])
        numbers[places[first:last] - start] += values[first:last]
        yield WRITTEN[spec.dtype](numbers)
        start += len(numbers)
