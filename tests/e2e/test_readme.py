"""The README's walk through clients and actor, done as it says."""

import re
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.e2e.conftest import ROOT, running_server

pytestmark = pytest.mark.e2e

README = (ROOT / "README.md").read_text()
SECONDS = 120


def start(command, stack):
    """Start a Python command of the README; it is gone when the stack is."""
    process = subprocess.Popen(
        [sys.executable, *command.split()],
        cwd=ROOT / "examples" / "digits",
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(process.stdout.close)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def test_the_walk_through_trains_a_model(tmp_path):
    with running_server(tmp_path) as url, ExitStack() as stack:
        text = README.replace("http://127.0.0.1:8000", url).replace("/tmp/", f"{tmp_path}/")
        commands = re.findall(r"^    python (.+?)( &)?$", text, re.MULTILINE)
        for command in (line for line, background in commands if not background):
            assert start(command, stack).wait(timeout=SECONDS) == 0
        clients = [start(line, stack) for line, background in commands if background]
        assert [client.stdout.readline().split()[1] for client in clients] == ["alice", "bob"]

        said = {}
        exec(re.search(r"```python\n(.+?)```", text, re.DOTALL)[1], said)
        for client in clients:
            client.communicate(timeout=SECONDS)
            assert client.returncode == 0
        training = said["actor"].get(f"{url}/api/trainings/{said['training']}/").json()
        said["actor"].close()
        assert training["state"] == "C"
