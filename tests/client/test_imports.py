"""The client by itself: what it needs, and that its own distribution says so."""

import subprocess
import sys
import tomllib

from tests.compose import ROOT

UNNEEDED = ["django", "torch", "celery", "rest_framework", "safetensors", "fl_server_core"]


def read(path):
    return tomllib.loads((ROOT / path).read_text())["project"]


def test_it_needs_neither_django_nor_torch():
    code = f"import fl_client.command, sys; sys.exit(any(m in sys.modules for m in {UNNEEDED}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_its_distribution_asks_for_what_the_servers_has():
    client, server = read("fl_client/pyproject.toml"), read("pyproject.toml")
    assert set(client["dependencies"]) <= set(server["dependencies"])
    for key in ("version", "scripts", "requires-python", "license"):
        assert client[key] == server[key]
