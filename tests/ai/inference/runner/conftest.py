"""Real runners, and files handed to them directly: what admission would refuse included."""

import io
import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from torch import nn

from fl_server_ai.inference.protocol import Load, Predict
from fl_server_ai.inference.runner.launcher import Launcher
from fl_server_ai.inference.runner.pool import Pool
from fl_server_ai.inference.terms import Terms
from fl_server_ai.uncertainty.registry import METHODS
from tests.waiting import PATIENCE, wait_until


class Written:
    """An object whose pickle runs source where it is loaded, and becomes its `made`."""

    def __init__(self, source):
        self.source = source

    def __reduce__(self):
        run = f"(lambda space: exec({self.source!r}, space) or space['made'])({{}})"
        return eval, (run,)


EVIL = """
import os, sys, time, torch

class Evil(torch.nn.Module):
    def forward(self, x):
        {}

made = Evil()
"""


def evil(statements):
    """Return what loads as a module whose call runs these statements."""
    return Written(EVIL.format(statements.replace("\n", "\n        ")))


MEMORY = 256 << 20 if os.environ["FL_DEVICE"] == "cpu" else 4 << 30
"""Bytes that a runner may take; what CUDA loads while it computes counts as well."""


def terms(**others):
    methods = [method.function for method in METHODS.values()]
    usual = {"memory_bytes": MEMORY, "seconds": 20, "cage_must_hold": False, "methods": methods}
    return Terms(device=os.environ["FL_DEVICE"], **usual | others)


@pytest.fixture(scope="session")
def launcher():
    launcher = Launcher(terms())
    yield launcher
    launcher.close()


@pytest.fixture
def pool(launcher):
    pool = Pool(launcher, idle=2)
    yield pool
    pool.close()


def soon(seconds=PATIENCE):
    return time.monotonic() + seconds


def ask(runner, job, seconds=PATIENCE):
    """Have a prediction made; return its tensors."""
    result = io.BytesIO()
    runner.do(job, soon(seconds), result)
    return load(result.getvalue())


@pytest.fixture
def save(tmp_path):
    def write(obj, name="model"):
        torch.save(obj, tmp_path / name)
        return tmp_path / name

    return write


OPENED = ExitStack()


@pytest.fixture(autouse=True)
def _closed_afterwards():
    with OPENED:
        yield


def opened(path):
    """Open a file for a job, until the test ends."""
    return OPENED.enter_context(path.open("rb"))


def loading(path, numbers=None, preprocessing=None):
    members = [(opened(path), numbers and opened(numbers))]
    return Load(members, [], preprocessing and opened(preprocessing), os.environ["FL_DEVICE"])


@pytest.fixture
def predicting(tmp_path):
    """Make a job: `predicting([[1.0]])`."""

    def make(rows, method="MC_DROPOUT", samples=2):
        (tmp_path / "input").write_text(json.dumps(rows))
        return Predict(
            method=METHODS[method].function,
            samples=samples,
            softmax=False,
            input=opened(tmp_path / "input"),
            is_json=True,
            input_shape=None,
            max_batch=10,
        )

    return make


@pytest.fixture
def run(pool, predicting, save, tmp_path):
    """Load a saved object in a runner of its own and predict; return the result's tensors."""

    def call(obj, rows=((1.0, 2.0),), key="key", seconds=PATIENCE, **options):
        with pool.runner(key) as runner:
            runner.do(loading(save(obj)), soon(seconds))
            return ask(runner, predicting([list(row) for row in rows], **options), seconds)

    return call


@pytest.fixture
def well(run):
    """Check that the next request is served."""

    def check():
        assert run(nn.Identity(), key="well")["inference"].tolist() == [[1.0, 2.0]]

    return check


def is_gone(pid):
    folder = Path(f"/proc/{pid}")
    try:
        dead = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
        return dead and len(list((folder / "task").iterdir())) == 1  # with its threads
    except FileNotFoundError:
        return True


def until_gone(pid):
    wait_until(lambda: is_gone(pid))
