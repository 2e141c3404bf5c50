"""Loads and calls modules, one after another, where memory and time are short.

    python -m tests.archive.constructors.caller FOLDER FIRST

calls FOLDER/FIRST.pt, the next one and so on; the last line says how far it came. Whatever Python
raises is fine here. What isn't ends the process: a signal of a kernel's, or of a limit.
"""

import itertools
import resource
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from tests.vision import declare_operators

SECONDS = 20  # of processor time for one module, on the way to the kernel's SIGPROF
MEGABYTES = 3000


def limit() -> None:
    torch.set_num_threads(1)
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    used = int(status["VmData"].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (used + (MEGABYTES << 20),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def call(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Everything that is done with a model: served, trained, looked at, moved, copied."""
    for use in (serve, train, repr, nn.Module.state_dict, nn.Module.double, len, list):
        with suppress(Exception):
            use(module, inputs) if use in (serve, train) else use(module)


def serve(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    with torch.no_grad():
        module.eval()(*inputs)


def train(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    inputs = _pytree.tree_map(with_grad, inputs)
    found = _pytree.tree_leaves(module.train()(*inputs))
    sum(leaf.sum() for leaf in found if isinstance(leaf, Tensor) and leaf.requires_grad).backward()


def with_grad(value: Any) -> Any:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return value.detach().clone().requires_grad_()


def main(folder: Path, first: int) -> None:
    declare_operators()
    import torchvision.transforms.v2  # noqa: F401 - for pickles that name it

    limit()
    warnings.simplefilter("ignore")
    for number in itertools.count(first):
        path = folder / f"{number}.pt"
        if not path.exists():
            return
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        with suppress(Exception):
            inputs = torch.load(folder / f"{number}.in", weights_only=False)
            call(torch.load(path, weights_only=False), inputs)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
