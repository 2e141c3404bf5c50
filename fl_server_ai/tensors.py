"""Tensors of the bytes in our own files; the only table of torch's dtypes."""

import warnings
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from fl_archive import dtypes
from fl_archive.disk import Bytes
from fl_archive.safetensors_file import TensorFile

TORCH: dict[str, torch.dtype] = {
    name: getattr(torch, torch_name)
    for torch_name, name in dtypes.TORCH.items()
    if hasattr(torch, torch_name)
}
"""By the names that files give them."""

ELEMENTS: dict[str, torch.dtype] = {
    name: dtype for name, dtype in TORCH.items() if name not in dtypes.PACKED
} | {
    "C32": torch.float16,
    "C64": torch.float32,
    "C128": torch.float64,
    "BOOL": torch.uint8,
}
"""As what a dtype is combined: complex numbers as pairs of reals, truth values as 0 and 1.

Packed types are missing, because torch has no arithmetic for them.
"""


def to_tensor(raw: Bytes, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """Return a copy of the bytes as a tensor."""
    if not raw.size:  # which can't be viewed as another type
        return torch.empty(shape, dtype=TORCH[dtype])
    data = torch.from_numpy(raw.copy())
    # Any other byte than 0 and 1 in a bool is undefined behaviour.
    values = data != 0 if dtype == "BOOL" else data.view(TORCH[dtype])
    return values.reshape(shape)


class Tensors(Mapping[str, Tensor]):
    """A file's tensors by name, each read when it is asked for."""

    def __init__(self, file: TensorFile) -> None:
        self._file = file

    def __getitem__(self, name: str) -> Tensor:
        info = self._file.tensors[name]
        return to_tensor(self._file.raw(name), info.dtype, info.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.tensors)

    def __len__(self) -> int:
        return len(self._file.tensors)


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
