"""The walk through a round's updates: tensor by tensor, block by block."""

import resource
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from django.conf import settings
from torch import Tensor

from fl_archive.errors import ArchiveError
from fl_archive.files import Bytes
from fl_archive.model import read_model
from fl_archive.tensors import Layout, TensorFile, write_tensor_file
from fl_archive.writer import write_model
from fl_server_ai.aggregation.elements import ELEMENTS, aligned, elements
from fl_server_ai.aggregation.errors import NoMean, NothingToMerge, Unusable
from fl_server_ai.aggregation.registry import STRATEGIES
from fl_server_ai.aggregation.strategy import Strategy
from fl_server_ai.device import pick_device

BLOCK = 1 << 19
"""Bytes of one update that are combined in one go: small enough for a core's caches."""

ALL_BLOCKS = 32 << 20
"""Bytes of one block over all updates; with more updates than fit, blocks get smaller."""

PROGRESS = 256 << 20
"""Bytes of updates between two calls of `progress` within one tensor."""

THREADS = 2
"""A third finds the memory bus busy."""


@dataclass(frozen=True)
class Update:
    """One participant's update of a round, as it was admitted.

    `path` is a safetensors file in the global model's order, `weight` at least 0.
    """

    path: Path
    sha256: str
    weight: int


def merge(
    *,
    strategy: str,
    template: Path,
    updates: Sequence[Update],
    target: Path,
    progress: Callable[[], None],
) -> None:
    """Write `template`'s archive with the merged tensors to `target`.

    The same updates give the same bytes in whatever order they are passed; if all weights
    are 0, they count equally. `progress` is called in this thread, before each tensor
    and at least every 256 MB, and may raise to abort. On any error nothing is left at
    `target`. Takes memory for two of the largest tensors and some tens of megabytes,
    however many updates there are; all else is mapped.
    Raises `AggregationError`, `OSError`, `DeviceMissing`.
    """
    with _walk(strategy, updates, progress) as walk:
        if list(walk.layout.items()) != list(_read_layout(template).items()):
            raise Unusable("An update has other tensors than the global model.")
        write_model(template, target, walk.tensors())


def merge_tensors(*, updates: Sequence[Update], target: Path, progress: Callable[[], None]) -> None:
    """Write the weighted mean of SWAG moments, as a safetensors file like theirs, to `target`.

    All else is as for `merge`.
    """
    with _walk("FedAvg", updates, progress) as walk:
        write_tensor_file(target, walk.layout, (raw for _, raw in walk.tensors()))


@dataclass(frozen=True)
class _Walk:
    strategy: Strategy
    files: Sequence[TensorFile]
    weights: Sequence[int]
    device: torch.device
    pool: ThreadPoolExecutor
    progress: Callable[[], None]

    @property
    def layout(self) -> Layout:
        """The files' tensors, in their order."""
        return _layout(self.files[0])

    def tensors(self) -> Iterator[tuple[str, Bytes]]:
        """Yield the merged tensors' bytes in the files' order."""
        for name, info in self.files[0].tensors.items():
            self.progress()
            raws = [file.raw(name) for file in self.files]
            dtype = ELEMENTS.get(info.dtype) if info.end > info.start else None
            yield name, self._combined(raws, dtype) if dtype else _agreed(name, raws)

    def _combined(self, raws: Sequence[Bytes], dtype: torch.dtype) -> Bytes:
        merged = np.empty_like(raws[0])
        size = min(BLOCK, ALL_BLOCKS // len(raws))
        length = size // dtype.itemsize
        columns = [torch.split(elements(raw, dtype), length) for raw in (merged, *raws)]
        blocks = zip(*columns, strict=True)
        while batch := list(islice(blocks, PROGRESS // (size * len(raws)))):
            list(self.pool.map(self._combine_block, batch))
            self.progress()
        return merged

    def _combine_block(self, block: tuple[Tensor, ...]) -> None:
        merged, *values = block
        on_device = [aligned(value).to(self.device) for value in values]
        merged.copy_(self.strategy.combine(on_device, self.weights))


def _weights(updates: Sequence[Update]) -> list[int]:
    weights = [update.weight for update in updates]
    return weights if any(weights) else [1] * len(weights)


def _agreed(name: str, raws: Sequence[Bytes]) -> Bytes:
    if not all(np.array_equal(raw, raws[0]) for raw in raws):
        raise NoMean(f"The updates differ in '{name}', whose type can't be averaged.")
    return raws[0]


@contextmanager
def _walk(
    strategy: str, updates: Sequence[Update], progress: Callable[[], None]
) -> Iterator[_Walk]:
    """Map the updates, which must hold the same tensors in the same order."""
    if not updates:
        raise NothingToMerge("There are no updates to merge.")
    device = pick_device(settings.FL_DEVICE)
    ordered = sorted(updates, key=lambda update: (update.sha256, update.weight))
    _allow_open_files(len(ordered))
    with ExitStack() as stack, _threads() as pool:
        try:
            files = [stack.enter_context(TensorFile(update.path)) for update in ordered]
        except ArchiveError as error:
            raise Unusable(f"A stored file can't be read. {error}") from error
        if any(list(_layout(file).items()) != list(_layout(files[0]).items()) for file in files):
            raise Unusable("The updates have different tensors.")
        yield _Walk(STRATEGIES[strategy](), files, _weights(ordered), device, pool, progress)


def _read_layout(template: Path) -> Layout:
    try:
        with read_model(template) as archive:
            return archive.layout
    except ArchiveError as error:
        raise Unusable(f"A stored file can't be read. {error}") from error


def _layout(file: TensorFile) -> Layout:
    return {name: (info.dtype, info.shape) for name, info in file.tensors.items()}


def _allow_open_files(count: int) -> None:
    """Raise the process's soft limit, often 1024: Python's mappings keep their file open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if 0 <= soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard)
        )


def _threads() -> ThreadPoolExecutor:
    """Threads that each compute alone.

    Whole blocks side by side scale better than torch's own threads, which meet after every
    operation; so those are off in the pool (and in threads begun later, not in this one).
    """
    return ThreadPoolExecutor(THREADS, "merge", torch.set_num_threads, (1,))
