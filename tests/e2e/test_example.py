"""The examples' clients as processes that are killed, and their actor, who is `fl`."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.e2e.clients import at_home
from tests.e2e.conftest import ROOT
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e

EXAMPLES = ROOT / "examples"
DIGITS, NUMPY = EXAMPLES / "digits" / "client.py", EXAMPLES / "numpy" / "client.py"


@pytest.fixture
def start(embedded, tmp_path):
    """A function that starts a program as a user of this server, until its context ends."""

    @contextmanager
    def started(*command):
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=tmp_path,
            env=os.environ | at_home(tmp_path, embedded) | {"PYTHONWARNINGS": "ignore"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    return started


@pytest.fixture
def run(start):
    def to_its_end(*command):
        with start(*command) as process:
            said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
        return said

    return to_its_end


@pytest.fixture
def name(tmp_path):
    """A name that no other test takes on the same server."""
    return f"{tmp_path.name}-alice"


@pytest.fixture
def acting(run, tmp_path, name):
    """A function for the command of an actor whose only client has this name."""
    run(EXAMPLES / "digits" / "data.py", "--of", 1, tmp_path)
    run(EXAMPLES / "digits" / "model.py", tmp_path / "digits.pt")
    run(EXAMPLES / "numpy" / "prepare.py", tmp_path)
    run("-m", "fl_client", "register", f"{tmp_path.name}-ada")
    plan = ("--rounds", 2, "--wait", PATIENCE, "--watch")
    return lambda model: ("-m", "fl_client", "train", "--model", model, "--clients", name, *plan)


def until(line, process):
    assert any(said.startswith(line) for said in process.stdout), f"it never said {line}"


@pytest.mark.parametrize("how", [(), ("--port", 0)])
def test_a_client_killed_over_its_work_does_it_when_it_is_back(
    start, run, tmp_path, name, acting, how
):
    client = (DIGITS, tmp_path / "client-1.npz", "--name", name, *how)
    with start(*acting("digits.pt")) as actor:
        with start(*client, "--epochs", 100_000) as killed:
            until("UPDATE_ROUND_START 0", killed)
        run(*client, "--epochs", 1, "--once")
        said = actor.communicate(timeout=PATIENCE)[0]
    assert actor.returncode == 0, said
    assert said.count("round 1: ") == said.count("round 2: ") == 1, said


def test_one_by_hand_that_is_killed_goes_on_as_well(start, run, embedded, tmp_path, name, acting):
    client = (NUMPY, embedded, tmp_path / "client-1.safetensors", "--name", name)
    with start(*acting("digits.safetensors")) as actor:
        with start(*client) as killed:
            until("UPDATE_ROUND_START 0", killed)
        assert "TRAINING_FINISHED" in run(*client)
        said = actor.communicate(timeout=PATIENCE)[0]
    assert actor.returncode == 0, said
    assert said.count("round 1: ") == said.count("round 2: ") == 1, said
