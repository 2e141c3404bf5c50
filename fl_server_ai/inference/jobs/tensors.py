"""Tensors of the bytes that our own readers give."""

import torch
from torch import Tensor

from fl_archive import dtypes
from fl_archive.files import Bytes

TORCH: dict[str, torch.dtype] = {
    name: getattr(torch, torch_name)
    for torch_name, name in dtypes.TORCH.items()
    if hasattr(torch, torch_name)
}


def to_tensor(raw: Bytes, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """Return a copy of the bytes as a tensor."""
    if not raw.size:  # which can't be viewed as another type
        return torch.empty(shape, dtype=TORCH[dtype])
    data = torch.from_numpy(raw.copy())
    # Any other byte than 0 and 1 in a bool is undefined behaviour.
    values = data != 0 if dtype == "BOOL" else data.view(TORCH[dtype])
    return values.reshape(shape)
