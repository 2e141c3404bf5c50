"""Tensors with fewer bits on their way: float16, bfloat16, or int8 with scales.

An int8 tensor stands for float numbers: each of its channels, which its first dimension counts, has
been divided by a scale of its own and rounded. The scales are a second tensor, float32, whose name
is the first's and `.int8_scale`; a tensor of fewer than two dimensions is one channel. The largest
magnitude of a channel becomes 127, and zero stays zero ("symmetric"). Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
arXiv 1712.05877, section 2.1, with its zero point at 0.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path

import numpy as np

from fl_archive.disk import WINDOW, Bytes
from fl_archive.dtypes import DTYPES
from fl_archive.errors import Refused, shown
from fl_archive.floats import READ, WRITTEN, Floats
from fl_archive.model import ModelFile, TensorSpec
from fl_archive.safetensors_file import write_tensor_file
from fl_archive.views import Shape

NARROW = {"float16": "F16", "bfloat16": "BF16", "int8": "I8"}
"""The dtypes that a file may be sent in, by their names in numpy and torch."""

SCALE = ".int8_scale"

LEVELS = 127

LARGEST = {"float16": 65504.0, "bfloat16": 3.3895e38, "int8": 3.4e38}
"""Numbers of greater magnitude don't fit: they, or their scale in float32, would be infinite."""


def write_narrowed(model: ModelFile, target: Path, dtype: str = "") -> None:
    """Write a model's tensors as safetensors, those that `dtype` makes smaller in that.

    What doesn't fit stays as it is: what isn't float, and tensors with NaN, infinite or, for
    float16, too large values. Without a `dtype` all do. Raises `Refused` where a tensor has the
    name that another's scales would get.
    """
    layout: dict[str, tuple[str, Shape]] = {}
    scales: dict[str, Floats] = {}
    for spec in model.distinct:
        layout[spec.name] = (spec.dtype, spec.shape)
        if dtype and is_narrower(dtype, spec.dtype):
            largest = _largest(model, spec, per_channel=dtype == "int8")
            if (largest <= LARGEST[dtype]).all():
                layout[spec.name] = (NARROW[dtype], spec.shape)
                if dtype == "int8":
                    scales[spec.name] = (largest / LEVELS).astype("<f4")
                    layout[companion(spec.name, SCALE, model)] = ("F32", scales_shape(spec.shape))
    write_tensor_file(target, layout, _narrowed_chunks(model, layout, scales))


def is_narrower(narrow: str, wide: str) -> bool:
    """Tell whether a tensor of the dtype `wide`, named as in files, would be smaller."""
    return wide in READ and DTYPES[NARROW[narrow]] < DTYPES[wide]


def companion(name: str, suffix: str, model: ModelFile) -> str:
    """Return the name of a tensor that goes with another. Raises `Refused` if the model has it."""
    if name + suffix in model.tensors:
        raise Refused(f"It has a tensor {shown(name + suffix)}: rename that to send {shown(name)}.")
    return name + suffix


def widened(raw: Bytes, scales: Bytes, spec: TensorSpec) -> Iterator[Floats]:
    """Yield the float32 numbers that int8 ones and their scales stand for, in pieces, flat."""
    values, factors = _channels(raw.view(np.int8), spec.shape), scales.view("<f4")
    for channels, columns in _pieces(values):
        yield (values[channels, columns] * factors[channels, None]).reshape(-1)


def _narrowed_chunks(
    model: ModelFile, layout: Mapping[str, tuple[str, Shape]], scales: Mapping[str, Floats]
) -> Iterable[Bytes]:
    for spec in model.distinct:
        dtype = layout[spec.name][0]
        if dtype == spec.dtype:
            yield from model.windows(spec.name)
        elif spec.name in scales:
            yield from _quantized(model, spec, scales[spec.name])
            yield scales[spec.name].view(np.uint8)
        else:
            for window in model.windows(spec.name):
                yield WRITTEN[dtype](READ[spec.dtype](window))


def _quantized(model: ModelFile, spec: TensorSpec, scales: Floats) -> Iterator[Bytes]:
    values = _channels(READ[spec.dtype](model.raw(spec.name)), spec.shape)
    divisors = np.where(scales, scales, 1)
    for channels, columns in _pieces(values):
        levels = np.rint(values[channels, columns] / divisors[channels, None])
        yield levels.clip(-LEVELS, LEVELS).astype(np.int8).reshape(-1).view(np.uint8)


def _largest(model: ModelFile, spec: TensorSpec, *, per_channel: bool) -> Floats:
    """Return the largest magnitude of each channel, or of all; NaN where there is one."""
    shape = spec.shape if per_channel else ()
    values = _channels(READ[spec.dtype](model.raw(spec.name)), shape)
    largest = np.zeros(len(values), np.float64)
    for channels, columns in _pieces(values):
        piece = np.abs(values[channels, columns]).max(axis=1, initial=0)
        largest[channels] = np.maximum(largest[channels], piece)
    return largest


def scales_shape(shape: Shape) -> Shape:
    """Return the shape of the scales of a tensor of this shape."""
    return shape[:1] if len(shape) > 1 else ()


def _channels(values: Floats, shape: Shape) -> Floats:
    """View flat values as channels and what is in each."""
    count = prod(scales_shape(shape))
    return values.reshape(count, values.size // count if count else 0)


def _pieces(values: Floats) -> Iterator[tuple[slice, slice]]:
    """Yield where windows of some channels, or of some of one channel, lie, in their order."""
    count, length = values.shape
    step = max(WINDOW // max(length, 1), 1)
    for channel in range(0, count, step):
        for column in range(0, length, WINDOW):
            yield slice(channel, channel + step), slice(column, column + WINDOW)
