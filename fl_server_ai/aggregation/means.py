"""Weighted means of one-dimensional tensors. Weights are positive integers of any size."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_server_ai.aggregation.errors import NoMean

GROUP = 32
"""So many values have a mean in float32; more are split, and the groups' means have one in float64.

In this way 1,000 values come as near to the exact mean as a few."""

BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers by their size."""


def mean_of_floats(values: Sequence[Tensor], weights: Sequence[int]) -> Tensor:
    """Return the running mean, m += (x - m) * w / W with W the weights so far.

    Unlike a sum that is divided, it stays within the range of the values and is exactly x
    where all values are x. float64 runs in float64, all else in float32, which is as fast as memory
    is; benchmarks/README.md has the error. Raises `NoMean` where values that aren't finite differ.
    """
    wide = torch.float64 if values[0].dtype == torch.float64 else torch.float32
    first = values[0].to(wide)
    mean = _mean([value.to(wide) for value in values], weights).to(wide)
    if _has_negative_zero(first):  # -0 + (-0 - -0) has lost its sign
        mean = torch.where(mean == first, first, mean)
    # A finite sum has finite terms, and is found much faster than by looking at each.
    if math.isfinite(mean.sum().item()):
        return mean.to(values[0].dtype)
    return _keep_not_finite(_without_overflow(mean, values, weights), values)


def _mean(values: Sequence[Tensor], weights: Sequence[int]) -> Tensor:
    """Return the mean in the values' dtype, or in float64 if they are many."""
    if len(values) <= GROUP:
        return _running_mean(values, weights)
    starts = range(0, len(values), GROUP)
    groups = [
        _running_mean(values[start : start + GROUP], weights[start : start + GROUP]).double()
        for start in starts
    ]
    return _mean(groups, [sum(weights[start : start + GROUP]) for start in starts])


def _running_mean(values: Sequence[Tensor], weights: Sequence[int]) -> Tensor:
    mean, total = values[0].clone(), weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total += weight
        mean.lerp_(value, weight / total)
    return mean


def _has_negative_zero(values: Tensor) -> bool:
    """Look for it as the smallest integer, because comparing floats takes as long as ten means."""
    bits = values.view(BITS[values.element_size()])
    return len(bits) > 0 and bool(bits.amin() == torch.iinfo(bits.dtype).min)


def _without_overflow(mean: Tensor, values: Sequence[Tensor], weights: Sequence[int]) -> Tensor:
    """Replace what isn't finite by twice the mean of halves: their differences can't overflow."""
    largest = torch.finfo(mean.dtype).max
    halves = _mean([value.to(mean.dtype) / 2 for value in values], weights).to(mean.dtype)
    return torch.where(mean.isfinite(), mean, halves.clamp(-largest / 2, largest / 2) * 2)


def _keep_not_finite(mean: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Return the mean, with the bits of every value that isn't finite in its place.

    An update has such a value only where the global model has the same; it stays as long as one
    of them does, because no mean that it is part of is a number.
    """
    kind = BITS[values[0].element_size()]
    bits = mean.to(values[0].dtype).view(kind)
    settled = torch.zeros_like(bits, dtype=torch.bool)
    for value in values:
        odd = ~value.to(mean.dtype).isfinite()
        if (settled & odd & (bits != value.view(kind))).any():
            raise NoMean("The updates differ in a value that is NaN or infinite.")
        bits = torch.where(odd, value.view(kind), bits)
        settled |= odd
    return bits.view(values[0].dtype)


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
