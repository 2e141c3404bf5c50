"""Weighted means of one-dimensional tensors. Weights are positive integers of any size."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_server_ai.aggregation.errors import NoMean

WIDER = {torch.float32: torch.float64, torch.float64: torch.float64}
"""What a mean is computed in, if not in float32."""


def mean_of_floats(values: Sequence[Tensor], weights: Sequence[int]) -> Tensor:
    """Return the running mean, m += (x - m) * w / W with W the weights so far.

    Unlike a sum that is divided, it stays within the range of the values and is exactly x
    where all values are x. It runs one size wider than the values, so that float32 and
    anything narrower come out rounded once (benchmarks/README.md has what that costs).
    Raises `NoMean` where float64 overflows between values of opposite sign.
    """
    first = values[0].to(WIDER.get(values[0].dtype, torch.float32))
    mean = first.clone()
    total = weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total += weight
        mean.lerp_(value.to(mean.dtype), weight / total)
    mean = torch.where(mean == first, first, mean)  # -0 + (-0 - -0) had lost its sign
    # A finite sum has finite terms, and is found much faster than by looking at each.
    if not math.isfinite(mean.sum().item()):
        mean = _keep_agreed(mean, values)
    return mean.to(values[0].dtype)


def _keep_agreed(mean: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Undo ∞ - ∞ where all values are the same, as in the -∞ of an attention mask."""
    first = values[0].to(mean.dtype)
    agreed = torch.ones_like(first, dtype=torch.bool)
    for value in values[1:]:
        agreed &= value.to(mean.dtype) == first
    if not (mean.isfinite() | agreed).all():
        raise NoMean("The updates hold values that have no finite mean.")
    return torch.where(agreed, first, mean)


def mean_of_integers(values: Sequence[Tensor], weights: Sequence[int]) -> Tensor:
    """Return the exact mean, rounded to the nearest integer and halves upwards.

    So 0 and 1 as truth values go with the majority, and a tie is true.
    """
    arrays: list[npt.NDArray[np.integer]] = [value.cpu().numpy() for value in values]
    total = sum(weights)
    peak = max(max(int(a.max(initial=0)), -int(a.min(initial=0))) for a in arrays)
    # Python's integers, slow but without a limit, where 64 bits would not do.
    kind = np.int64 if 2 * (peak + 1) * total < 2**63 else object
    doubled = np.zeros(arrays[0].shape, kind)
    for array, weight in zip(arrays, weights, strict=True):
        doubled += 2 * weight * array.astype(kind)
    return torch.from_numpy(((doubled + total) // (2 * total)).astype(arrays[0].dtype))
