"""Tensors of the bytes that our own readers give."""

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
