"""Merging files: what is opened, checked and written around the walk through them."""

import resource
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from django.conf import settings

from fl_archive.errors import ArchiveError
from fl_archive.model import ModelFile, read_model
from fl_archive.safetensors_file import TensorFile, new_tensor_file, write_tensor_file
from fl_archive.writer import with_rest, write_model
from fl_server_ai.aggregation.block import Cohort
from fl_server_ai.aggregation.errors import NothingToMerge, Unusable
from fl_server_ai.aggregation.strategies import Strategy
from fl_server_ai.aggregation.strategies.fed_avg import FedAvg
from fl_server_ai.aggregation.walk import Walk
from fl_server_ai.device import pick_device

Opened = TypeVar("Opened", TensorFile, ModelFile)

THREADS = 2
"""More gain nothing, because two already use all of the memory's bandwidth."""


@dataclass(frozen=True)
class Update:
    """One participant's update of a round, as it was admitted.

    `path` is a safetensors file in the global model's order, `weight` at least 0, `age` how many
    rounds have passed since the model that it began from.
    """

    path: Path
    sha256: str
    weight: int
    age: int = 0


@dataclass(frozen=True)
class State:
    """Where a strategy's state is, None before the first merge, and where the next one goes."""

    present: Path | None
    target: Path


def merge(
    *,
    strategy: Strategy,
    template: Path,
    updates: Sequence[Update],
    target: Path,
    progress: Callable[[], None],
    participants: int = 0,
    state: State | None = None,
) -> str:
    """Write `template`'s archive with the merged tensors to `target`, and `state`'s next file.

    What the updates don't hold stays as it is. Returns the SHA-256 of `target`.

    The same updates give the same bytes in whatever order they are passed. Those of weight 0 don't
    count; if all weights are 0, they count equally. A strategy without a state needs no `state`.
    `progress` is called in this thread, before each tensor and at least every 256 MB, and may raise
    to abort. If the merge fails nothing is left at `target`. Takes memory for two of the largest
    tensors and their state, for what shares storage in the template, and some tens of megabytes,
    however many updates there are; all else is mapped. Raises `AggregationError`, `OSError`,
    `DeviceMissing`.
    """
    with _walk(strategy, updates, progress, participants) as walk, ExitStack() as stack:
        walk.model = stack.enter_context(_read(read_model, template))
        layout = walk.model.layout  # of which the updates may have a part
        if list(walk.layout.items()) != [item for item in layout.items() if item[0] in walk.layout]:
            raise Unusable("An update has other tensors than the global model.")
        if state is not None:
            walk.keep_state = stack.enter_context(new_tensor_file(state.target, walk.state_layout))
            if state.present is not None:
                walk.take_state(stack.enter_context(_read(TensorFile, state.present)))
        walk.survey()
        return write_model(template, target, with_rest(walk.model, walk.tensors()))


def merge_tensors(*, updates: Sequence[Update], target: Path, progress: Callable[[], None]) -> None:
    """Write the weighted mean of SWAG moments, as a safetensors file like theirs, to `target`.

    All else is as for `merge`.
    """
    with _walk(FedAvg(), updates, progress) as walk:
        write_tensor_file(target, walk.layout, (raw for _, raw in walk.tensors()))


@contextmanager
def _walk(
    strategy: Strategy,
    updates: Sequence[Update],
    progress: Callable[[], None],
    participants: int = 0,
) -> Iterator[Walk]:
    """Map the updates that count, which must hold the same tensors in the same order."""
    if not updates:
        raise NothingToMerge("There are no updates to merge.")
    device = pick_device(settings.FL_DEVICE)
    ordered = sorted(updates, key=lambda update: (update.sha256, update.weight, update.age))
    counted = [update for update in ordered if update.weight] or ordered
    cohort = Cohort(
        weights=[update.weight or 1 for update in counted],
        ages=[update.age for update in counted],
        participants=participants,
    )
    _allow_open_files(len(counted))
    with ExitStack() as stack, _threads() as pool:
        files = [stack.enter_context(_read(TensorFile, update.path)) for update in counted]
        walk = Walk(strategy, files, cohort, device, pool, progress)
        walk.check_layouts()
        yield walk


def _read(reader: Callable[[Path], Opened], path: Path) -> Opened:
    try:
        return reader(path)
    except ArchiveError as error:
        raise Unusable(f"A stored file can't be read. {error}") from error


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
