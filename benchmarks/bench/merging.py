"""Federated averaging, from the updates' files to the next model's, beside doing it by hand.

Each way runs in a process of its own, which has imported what it needs, and reads files that were
just written, so from the page cache.
"""

import multiprocessing
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.bench.files import shapes
from benchmarks.bench.rows import Row
from benchmarks.bench.topologies import Stage

COPIED = 256 << 20  # more than caches hold
RUNS = 5
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fl_server.settings")


def rows(stage: Stage) -> Iterator[Row]:
    """Merges of several sizes."""
    for clients, megabytes in stage.sizes.merges:
        folder = stage.new_folder()
        yield from compare(folder, clients, megabytes)
        shutil.rmtree(folder)


def compare(folder: Path, clients: int, megabytes: float) -> Iterator[Row]:
    """Merge so many updates, with and without the result's file."""
    size = write_files(folder, clients, megabytes)
    copied = bandwidth()
    by_hand = in_child(partial(loaded, folder, clients))
    others = f"load all and average: {figure(*by_hand)}"
    if find_spec("flwr"):
        others += f"; Flower, in memory: {figure(*in_child(partial(flower, folder, clients)))}"
    for label, way, naive in (
        ("", merged, others),
        (", the result apart", combined, ""),
        (", the result's file alone", written, ""),
    ):
        seconds, memory = in_child(partial(way, folder, clients))
        share = (size if way is written else clients * size) / seconds / copied
        work = f"merge {clients} x {megabytes:g} MB{label}"
        yield Row(work, figure(seconds, memory), naive, share)


def figure(seconds: float, memory: int) -> str:
    """Return time and anonymous memory."""
    return f"{seconds:.3f} s, {memory / 1e6:.0f} MB"


def bandwidth() -> float:
    """Return how many bytes a second one thread copies from one array to another."""
    return COPIED / in_child(copy)[0]


def write_files(folder: Path, clients: int, megabytes: float) -> int:
    """Write `write_updates`' files, and each update as `torch.save` writes it."""
    import torch
    from safetensors.torch import load_file

    size = write_updates(folder, clients, megabytes)
    for client in range(clients):
        torch.save(load_file(folder / f"{client}.safetensors"), folder / f"{client}.pt")
    return size


def write_updates(folder: Path, clients: int, megabytes: float) -> int:
    """Write clients' updates as they are kept, and a model; return the size of its tensors."""
    import torch

    from fl_archive.safetensors_file import write_tensor_file

    layout = {name: ("F32", shape) for name, shape in shapes(megabytes).items()}
    for client in range(clients):
        state = {name: torch.randn(shape) for name, (_, shape) in layout.items()}
        raws = [value.numpy().reshape(-1).view(np.uint8) for value in state.values()]
        write_tensor_file(folder / f"{client}.safetensors", layout, raws)
    torch.save(state, folder / "template")
    return sum(raw.size for raw in raws)


def in_child(way: Callable[[], None]) -> tuple[float, int]:
    """Seconds of the best of some runs, and by how much anonymous memory grew at most."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["fl_server_ai.aggregation.engine"])
    with ProcessPoolExecutor(1, processes) as pool:
        return pool.submit(measured, way).result()


def measured(way: Callable[[], None]) -> tuple[float, int]:
    """As `in_child`, in this process; memory in a first run, which also warms it up."""
    growth = peak_growth(way)
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        way()
        times.append(time.perf_counter() - start)
    return min(times), growth


def peak_growth(way: Callable[[], None]) -> int:
    """Bytes, looked at every two milliseconds."""
    before = peak = anonymous_memory()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, anonymous_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    way()
    done.set()
    watcher.join()
    return peak - before


def anonymous_memory() -> int:
    """Bytes of this process's memory that are no file's pages."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def copy() -> None:
    """What the machine can do: one thread, one array to another."""
    np.copyto(*buffers())


@cache
def buffers() -> tuple[np.ndarray, np.ndarray]:
    """Two arrays whose pages are there already."""
    return np.ones(COPIED, np.uint8), np.ones(COPIED, np.uint8)


def merged(folder: Path, clients: int) -> None:
    """The server's way, from the updates' files to the next model's."""
    from fl_server_ai.aggregation.engine import Update, merge
    from fl_server_ai.aggregation.strategies.fed_avg import FedAvg

    merge(
        strategy=FedAvg(),
        template=folder / "template",
        updates=[Update(folder / f"{c}.safetensors", str(c), c + 1) for c in range(clients)],
        target=folder / "merged",
        progress=lambda: None,
    )


def combined(folder: Path, clients: int) -> None:
    """What of `merged` isn't the new file: every tensor is computed, none is kept."""
    with patch(
        "fl_server_ai.aggregation.engine.write_model", lambda *args: deque(args[-1], maxlen=0)
    ):
        merged(folder, clients)


def written(folder: Path, _clients: int) -> None:
    """What of `merged` is the new file."""
    from fl_archive.safetensors_file import TensorFile
    from fl_archive.writer import write_model

    with TensorFile(folder / "0.safetensors") as file:
        tensors = ((name, file.raw(name)) for name in file.tensors)
        write_model(folder / "template", folder / "merged", tensors)


def loaded(folder: Path, clients: int) -> None:
    """What one would write first: all state dicts in memory, averaged, saved."""
    import torch

    states = [torch.load(folder / f"{client}.pt") for client in range(clients)]
    total = sum(range(1, clients + 1))
    average = {
        name: sum(state[name] * (client / total) for client, state in enumerate(states, 1))
        for name in states[0]
    }
    with (folder / "averaged").open("wb") as file:
        torch.save(average, file)
        os.fsync(file.fileno())


def flower(folder: Path, clients: int) -> None:
    """Flower's FedAvg, of updates that are in memory already."""
    from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

    aggregate_arrayrecords(flower_records(folder, clients), "num-examples")


@cache
def flower_records(folder: Path, clients: int) -> list[object]:
    """Return the updates as Flower has received them."""
    import torch
    from flwr.common import ArrayRecord, MetricRecord, RecordDict

    return [
        RecordDict(
            {
                "arrays": ArrayRecord(torch.load(folder / f"{client}.pt")),
                "metrics": MetricRecord({"num-examples": client + 1}),
            }
        )
        for client in range(clients)
    ]
