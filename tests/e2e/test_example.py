"""The example's client and actor as processes that are killed."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.e2e.conftest import ROOT
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e

DIGITS = ROOT / "examples" / "digits"


@contextmanager
def started(script, *arguments):
    command = [sys.executable, DIGITS / script, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def run(script, *arguments):
    with started(script, *arguments) as process:
        said, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, said


@pytest.fixture
def name(tmp_path):
    """A name that no other test takes on the same server."""
    return f"{tmp_path.name}-alice"


@pytest.fixture
def acting(embedded, tmp_path, name):
    """The arguments of an actor whose only client has this name."""
    run("data.py", "--of", 1, tmp_path)
    run("model.py", tmp_path / "digits.pt")
    who = (
        "--name",
        f"{tmp_path.name}-ada",
        "--clients",
        name,
        "--rounds",
        2,
        "--patience",
        PATIENCE,
    )
    return "actor.py", embedded, tmp_path / "digits.pt", *who


def until(line, process):
    assert any(said.startswith(line) for said in process.stdout), f"it never said {line}"


@pytest.mark.parametrize("how", [(), ("--port", 0)])
def test_a_client_killed_over_its_work_does_it_when_it_is_back(
    embedded, tmp_path, name, acting, how
):
    client = ("client.py", embedded, tmp_path / "client-1.npz", "--name", name, *how)
    with started(*acting) as actor:
        with started(*client, "--epochs", 100_000) as killed:
            until("UPDATE_ROUND_START 0", killed)
        code, said = run(*client, "--epochs", 1, "--once")
        assert code == 0, said
        assert actor.communicate(timeout=PATIENCE)[0].count("round ") == 2
    assert actor.returncode == 0
