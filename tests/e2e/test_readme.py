"""The walks through clients and actor in the README and the examples', pasted as they stand."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.e2e.clients import at_home
from tests.e2e.conftest import ROOT, needs_node, running_server
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e


FL = 'fl() { python -m fl_client "$@"; }'
"""So that it is this checkout's, wherever its packages are installed."""


def walk_through(page, url):
    """The commands after `make serve`, all of them; the actor is patient on a busy machine."""
    text = (ROOT / page).read_text()
    block = re.search(r"^    source .+\n(?:    .+\n)+", text, re.MULTILINE)[0]
    block = block.replace("http://127.0.0.1:8000", url)
    return block.replace(" --watch", f" --wait {PATIENCE} --watch")


def paste(commands, folder, url):
    """Run them in a shell where somebody has this project; return what its terminal shows."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / ".venv").symlink_to(sys.prefix)
    done = subprocess.run(
        ["bash", "-c", f"{FL}\nset -e\n{commands}\nkill $(jobs -p) || true"],
        cwd=folder,
        env=os.environ | at_home(folder, url) | {"PYTHONWARNINGS": "ignore::DeprecationWarning"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_walk_through_pasted_twice_trains_twice(tmp_path):
    with running_server(tmp_path, FL_PASSWORD_RULES="true") as url:
        said = paste(2 * walk_through("README.md", url), tmp_path, url)
    for number in range(1, 4):
        assert len(re.findall(rf"^round {number}: accuracy 0\.\d+", said, re.MULTILINE)) == 2, said
    assert said.count("Another process here is this client") == 2
    assert "Traceback" not in said
    weights = load_file(tmp_path / "slices" / "trained.safetensors")
    assert weights["6.weight"].shape == (10, 1024)


@pytest.mark.parametrize(
    "folder", ["numpy", pytest.param("javascript", marks=needs_node), "sklearn", "curl"]
)
def test_a_walk_through_without_torch_pasted_twice_learns_the_digits(tmp_path, folder):
    with running_server(tmp_path, FL_PASSWORD_RULES="true") as url:
        said = paste(2 * walk_through(f"examples/{folder}/README.md", url), tmp_path, url)
    assert said.count("Its weights are in slices/trained.safetensors.") == 2
    assert accuracy(tmp_path / "slices") > 0.8


def accuracy(folder):
    """Of the trained weights, on the digits that nobody trained on."""
    weights = load_file(folder / "trained.safetensors")
    with np.load(folder / "test.npz") as test:
        found = test["x"].reshape(-1, 64) @ weights["weight"].T + weights["bias"]
        return (found.argmax(axis=1) == test["y"]).mean()
