"""Updates as they are after admission, and merging them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fl_archive.disk import Bytes
from fl_archive.dtypes import TORCH
from fl_archive.safetensors_file import write_tensor_file
from fl_server_ai.aggregation.engine import State, Update, merge
from fl_server_ai.aggregation.strategies import Strategy
from fl_server_ai.aggregation.strategies.fed_avg import FedAvg

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
    """Merges to `tmp_path / "merged"`, with the strategy's next state beside it."""

    def run(
        template: Path,
        updates: Sequence[Update],
        strategy: Strategy | None = None,
        progress=lambda: None,
        state: Path | None = None,
    ) -> Path:
        target, strategy = tmp_path / "merged", strategy or FedAvg()
        next_state = State(state, tmp_path / "state") if strategy.initial_state() else None
        merge(
            strategy=strategy,
            template=template,
            updates=updates,
            target=target,
            progress=progress,
            state=next_state,
        )
        return target

    return run


def dtype_name(tensor: Tensor) -> str:
    return TORCH[str(tensor.dtype).removeprefix("torch.")]


def tensor_bytes(tensor: Tensor) -> Bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
