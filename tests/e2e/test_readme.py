"""The README's walk through clients and actor, pasted as it stands."""

import os
import re
import subprocess
import sys

import pytest

from tests.e2e.conftest import ROOT, running_server
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e

README = (ROOT / "README.md").read_text()


def walk_through(url):
    """The commands after `make serve`, all of them; the actor is patient on a busy machine."""
    block = re.search(r"^    source .+\n(?:    .+\n)+", README, re.MULTILINE)[0]
    block = block.replace("alice bob\n", f"alice bob --patience {PATIENCE}\n")
    return block.replace("http://127.0.0.1:8000", url)


def paste(commands, folder):
    """Run them in a shell where somebody has this project; return what its terminal shows."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / ".venv").symlink_to(sys.prefix)
    done = subprocess.run(
        ["bash", "-c", f"{commands}\ncode=$?; kill $(jobs -p); exit $code"],
        cwd=folder,
        env=os.environ | {"PYTHONWARNINGS": "ignore::DeprecationWarning"},
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
        said = paste(2 * walk_through(url), tmp_path)
    assert said.count("The trained model is in slices/digits-trained.pt.") == 2
    for number in range(1, 4):
        assert len(re.findall(rf"^round {number}: accuracy .+alice .+bob", said, re.MULTILINE)) == 2
    assert (tmp_path / "slices" / "digits-trained.pt").stat().st_size > 0
