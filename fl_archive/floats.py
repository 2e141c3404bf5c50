"""Floating-point numbers of 16 to 64 bits as numpy computes with them, and back as bytes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fl_archive.disk import Bytes

Floats = npt.NDArray[Any]


def _widened(raw: Bytes) -> Floats:
    return (raw.view("<u2").astype("<u4") << 16).view("<f4")


def _narrowed(values: Floats) -> Bytes:
    """The upper halves of float32, rounded to the nearest, ties to even; NaN stays one."""
    bits = values.astype("<f4").view("<u4")
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
    rounded[np.isnan(values)] = 0x7FC0
    narrowed: Bytes = rounded.view(np.uint8)
    return narrowed


READ: dict[str, Callable[[Bytes], Floats]] = {
    "F16": lambda raw: raw.view("<f2"),
    "BF16": _widened,
    "F32": lambda raw: raw.view("<f4"),
    "F64": lambda raw: raw.view("<f8"),
}
"""By the dtype of the bytes."""

WRITTEN: dict[str, Callable[[Floats], Bytes]] = {
    "F16": lambda values: values.astype("<f2").view(np.uint8),
    "BF16": _narrowed,
    "F32": lambda values: np.ascontiguousarray(values, "<f4").view(np.uint8),
    "F64": lambda values: np.ascontiguousarray(values, "<f8").view(np.uint8),
}
"""The same back, rounded to the nearest; what is too large becomes infinite."""
