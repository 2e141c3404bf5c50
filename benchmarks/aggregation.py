"""Federated averaging against this machine's memory and against doing it by hand.

    python benchmarks/aggregation.py --clients 10 --megabytes 100

Every way runs in a process of its own and reads files that were just written, so from the
page cache. See README.md for what it shows.
"""

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

WIDTH = 1024  # a layer of four megabytes
COPIED = 256 << 20  # more than caches hold
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fl_server.settings")


def main() -> None:
    """Write the clients' files, run each way five times, print the best."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--megabytes", type=int, default=100, help="of one model")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["FL_DATA_DIR"] = str(Path(name) / "var")
        compare(Path(name), args.clients, max(1, args.megabytes // 4))


def compare(folder: Path, clients: int, layers: int) -> None:
    """Print a line per way: seconds, gigabytes of updates per second, memory."""
    write_files(folder, clients, layers)
    size = layers * WIDTH * WIDTH * 4
    bandwidth = COPIED / in_child(copy)[0]
    print(f"{clients} clients, model of {size / 1e6:.0f} MB")
    print(f"copying in memory, one thread: {bandwidth / 1e9:.1f} GB/s\n")
    print("way                       seconds   GB/s   x copy   anonymous MB")
    for label, way in {
        "merge, file to file": partial(merged, folder, clients),
        "  of it: the file alone": partial(written, folder),
        "load all and average": partial(loaded, folder, clients),
    }.items():
        seconds, memory = in_child(way)
        speed = clients * size / seconds
        print(
            f"{label:24} {seconds:8.3f} {speed / 1e9:6.1f} {speed / bandwidth:8.2f}"
            f" {memory / 1e6:14.0f}"
        )


def write_files(folder: Path, clients: int, layers: int) -> None:
    """A model, and per client its update as it is kept and as `torch.save` would write it."""
    from fl_archive.safetensors_file import write_tensor_file

    model = nn.Sequential(*[nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(layers)])
    torch.save(model, folder / "template")
    layout = dict.fromkeys(model.state_dict(), ("F32", (WIDTH, WIDTH)))
    for client in range(clients):
        state = {name: torch.randn(WIDTH, WIDTH) for name in layout}
        raws = (value.numpy().reshape(-1).view(np.uint8) for value in state.values())
        write_tensor_file(folder / f"{client}.safetensors", layout, raws)
        torch.save(state, folder / f"{client}.pt")


def in_child(way: Callable[[], None]) -> tuple[float, int]:
    """Seconds of the best of five runs, and by how much anonymous memory grew at most."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, way).result()


def measured(way: Callable[[], None]) -> tuple[float, int]:
    """As `in_child`, in this process; memory in a first run, which also warms it up."""
    import fl_server_ai.aggregation  # noqa: F401 (its own memory is no part of a merge)

    growth = peak_growth(way)
    times = []
    for _ in range(5):
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


def written(folder: Path) -> None:
    """What of `merged` is the new file."""
    from fl_archive.safetensors_file import TensorFile
    from fl_archive.writer import write_model

    with TensorFile(folder / "0.safetensors") as file:
        tensors = ((name, file.raw(name)) for name in file.tensors)
        write_model(folder / "template", folder / "merged", tensors)


def loaded(folder: Path, clients: int) -> None:
    """What one would write first: all state dicts in memory, averaged, saved."""
    states = [torch.load(folder / f"{client}.pt") for client in range(clients)]
    total = sum(range(1, clients + 1))
    average = {
        name: sum(state[name] * (client / total) for client, state in enumerate(states, 1))
        for name in states[0]
    }
    with (folder / "averaged").open("wb") as file:
        torch.save(average, file)
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
