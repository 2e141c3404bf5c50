"""Updates as they are after admission, and merging them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fl_archive.dtypes import TORCH
from fl_archive.files import Bytes
from fl_archive.tensors import write_tensor_file
from fl_server_ai.aggregation import Update, merge

WriteUpdate = Callable[..., Update]
Merge = Callable[..., Path]


@pytest.fixture
def write_update(tmp_path: Path) -> WriteUpdate:
    count = 0

    def write(tensors: Mapping[str, Tensor], sample_size: int = 1) -> Update:
        nonlocal count
        count += 1
        path = tmp_path / f"update-{count}"
        layout = {name: (dtype_name(t), tuple(t.shape)) for name, t in tensors.items()}
        write_tensor_file(path, layout, map(tensor_bytes, tensors.values()))
        return Update(path, hashlib.sha256(path.read_bytes()).hexdigest(), sample_size)

    return write


@pytest.fixture
def merged(tmp_path: Path) -> Merge:
    def run(
        template: Path, updates: Sequence[Update], strategy: str = "FedAvg", progress=lambda: None
    ) -> Path:
        target = tmp_path / "merged"
        merge(
            strategy=strategy, template=template, updates=updates, target=target, progress=progress
        )
        return target

    return run


def dtype_name(tensor: Tensor) -> str:
    return TORCH[str(tensor.dtype).removeprefix("torch.")]


def tensor_bytes(tensor: Tensor) -> Bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
