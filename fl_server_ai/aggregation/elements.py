"""Tensors over the bytes of a mapped file."""

import warnings

import torch
from torch import Tensor

from fl_archive import dtypes
from fl_archive.disk import Bytes

ELEMENTS: dict[str, torch.dtype] = {
    name: getattr(torch, torch_name)
    for torch_name, name in dtypes.TORCH.items()
    if hasattr(torch, torch_name) and name not in dtypes.PACKED
} | {
    "C32": torch.float16,
    "C64": torch.float32,
    "C128": torch.float64,
    "BOOL": torch.uint8,
}
"""As what a dtype is combined: complex numbers as pairs of reals, truth values as 0 and 1.

Packed types are missing: torch has no arithmetic for them.
"""


def elements(raw: Bytes, dtype: torch.dtype) -> Tensor:
    """View the bytes as a one-dimensional tensor, perhaps a misaligned one."""
    with warnings.catch_warnings():
        # Torch warns of a mapping that can't be written to; nothing here writes to one.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(raw).view(dtype)


def aligned(values: Tensor) -> Tensor:
    """Return the tensor, or a copy at an address that its dtype may have.

    In a safetensors file numbers follow one another without padding, and compiled loops may
    count on alignment.
    """
    return values.clone() if values.data_ptr() % values.element_size() else values
