"""The walks through clients and actor in the README and the examples', pasted as they stand."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.e2e.conftest import ROOT, needs_node, running_server
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e


def walk_through(page, url):
    """The commands after `make serve`, all of them; the actor is patient on a busy machine."""
    text = (ROOT / page).read_text()
    block = re.search(r"^    source .+\n(?:    .+\n)+", text, re.MULTILINE)[0]
    return block.replace("http://127.0.0.1:8000", url).rstrip() + f" --patience {PATIENCE}\n"


def paste(commands, folder, **environment):
    """Run them in a shell where somebody has this project; return what its terminal shows."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / ".venv").symlink_to(sys.prefix)
    done = subprocess.run(
        ["bash", "-c", f"{commands}\ncode=$?; kill $(jobs -p); exit $code"],
        cwd=folder,
        env=os.environ | at_home(folder) | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def at_home(folder):
    """What has this project's client keep its tokens in the test's folder."""
    homes = {f"XDG_{kind}_HOME": str(folder / kind) for kind in ("CONFIG", "STATE")}
    return {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore::DeprecationWarning"} | homes


def test_the_walk_through_pasted_twice_trains_twice(tmp_path):
    with running_server(tmp_path, FL_PASSWORD_RULES="true") as url:
        said = paste(2 * walk_through("README.md", url), tmp_path)
    assert said.count("The trained model is in slices/digits-trained.pt.") == 2
    for number in range(1, 4):
        assert len(re.findall(rf"^round {number}: accuracy .+alice .+bob", said, re.MULTILINE)) == 2
    assert (tmp_path / "slices" / "digits-trained.pt").stat().st_size > 0


@pytest.mark.parametrize(
    "folder", ["numpy", pytest.param("javascript", marks=needs_node), "sklearn", "curl"]
)
def test_a_walk_through_without_torch_pasted_twice_learns_the_digits(tmp_path, folder):
    with running_server(tmp_path, FL_PASSWORD_RULES="true") as url:
        said = paste(2 * walk_through(f"examples/{folder}/README.md", url), tmp_path, FL_URL=url)
    assert said.count("The trained model is in slices/digits-trained.safetensors.") == 2
    assert accuracy(tmp_path / "slices") > 0.8


def accuracy(folder):
    """Of the trained weights, on the digits that nobody trained on."""
    weights = load_file(folder / "digits-trained.safetensors")
    with np.load(folder / "test.npz") as test:
        found = test["x"].reshape(-1, 64) @ weights["weight"].T + weights["bias"]
        return (found.argmax(axis=1) == test["y"]).mean()
