"""What a merge takes of a process's memory and open files, measured in processes of their own."""

import multiprocessing
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from fl_server_ai.aggregation.engine import State, Update, merge
from tests.ai.aggregation.strategies.conftest import make

MEGABYTE = 1 << 20
LAYERS, WIDTH = 5, 1024  # of four megabytes each


@pytest.fixture
def in_child():
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *args: pool.submit(function, *args).result()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    layers = [nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)]
    torch.save(nn.Sequential(*layers), tmp_path / "template")
    return tmp_path / "template"


def random_update(write_update) -> Update:
    return write_update({f"{i}.weight": torch.rand(WIDTH, WIDTH) for i in range(LAYERS)}, 3)


def anonymous_memory() -> int:
    """Bytes in the process's own memory: without pages of mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def growth_while_merging(template: Path, updates: list[Update], target: Path, name: str) -> int:
    """The most that anonymous memory grows by, looked at every millisecond."""
    merge_quietly(template, updates[:1], target, name)  # what torch sets up once isn't counted
    before = anonymous_memory()
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, anonymous_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    merge_quietly(template, updates, target, name)
    done.set()
    watcher.join()
    return peak - before


def merge_quietly(
    template: Path, updates: list[Update], target: Path, name: str = "FedAvg"
) -> None:
    strategy, state = make(name), target.with_name("state")
    for path in (target, state):
        path.unlink(missing_ok=True)
    merge(
        strategy=strategy,
        template=template,
        updates=updates,
        target=target,
        progress=lambda: None,
        state=State(None, state) if strategy.initial_state() else None,
    )


def merge_with_few_files(template: Path, updates: list[Update], target: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    merge_quietly(template, updates, target)


@pytest.mark.parametrize(
    ("name", "limit"),
    [("FedAvg", 64), ("FedMedian", 192), ("FedAdam", 192), ("NormBoundedFedAvg", 192)],
)
def test_memory_does_not_grow_with_the_number_of_updates(
    in_child: Callable, template: Path, write_update, tmp_path: Path, name: str, limit: int
) -> None:
    updates = [random_update(write_update) for _ in range(30)]
    few = in_child(growth_while_merging, template, updates[:3], tmp_path / "few", name)
    many = in_child(growth_while_merging, template, updates, tmp_path / "many", name)
    # Two tensors of four with their state, and the blocks at work; the allocator keeps some.
    assert few < limit * MEGABYTE
    assert many < limit * MEGABYTE  # of updates of 600


def test_updates_may_outnumber_the_files_a_process_may_open(
    in_child: Callable, template: Path, write_update, tmp_path: Path
) -> None:
    update = random_update(write_update)
    in_child(merge_with_few_files, template, [update] * 100, tmp_path / "merged")
    assert (tmp_path / "merged").exists()
