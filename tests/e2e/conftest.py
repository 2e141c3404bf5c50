"""Real servers: `manage.py serve`, and the processes that docker compose would start."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import pytest

from tests.e2e.production import Production, running_production
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "https://app.example.org"
"""Pages from there may call the production server."""
UNHURRIED = {"FL_NOTIFY_TIMEOUT_SECONDS": "60"}
"""More than receivers on a busy machine need, because tests count how often each is told."""
needs_node = pytest.mark.skipif(which("node") is None, reason="node is not installed")


@dataclass
class Serve:
    """A `manage.py serve`: how to reach it, and its process."""

    url: str
    folder: Path
    process: subprocess.Popen[str]


@contextmanager
def running_server(folder: Path, **environment: str) -> Iterator[str]:
    """Start a server and yield its URL once it is ready; its log is in `folder/log`."""
    with running_serve(folder, **environment) as running:
        yield running.url


@contextmanager
def running_serve(folder: Path, **environment: str) -> Iterator[Serve]:
    """Do the same, and yield all that there is to know."""
    command = [sys.executable, "manage.py", "serve", "--port", "0", "--data-dir", folder / "var"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        give_up = threading.Timer(PATIENCE, process.kill)
        give_up.start()
        try:
            ready = next((line for line in process.stdout if line.startswith("ready ")), None)
            give_up.cancel()
            assert ready, (folder / "log").read_text()[-5000:]
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield Serve(ready.split()[1], folder, process)
        finally:
            give_up.cancel()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE) == 0
            process.stdout.close()


@pytest.fixture(scope="session")
def embedded_serve(tmp_path_factory) -> Iterator[Serve]:
    """A `manage.py serve` that the tests of a run share; its audit log is in `folder/acts`."""
    folder = tmp_path_factory.mktemp("embedded")
    with running_serve(folder, **UNHURRIED, FL_AUDIT_LOG=str(folder / "acts")) as running:
        yield running


@pytest.fixture(scope="session")
def embedded(embedded_serve) -> str:
    """Its URL."""
    return embedded_serve.url


@pytest.fixture(scope="session")
def production(tmp_path_factory) -> Iterator[Production]:
    """The other topology, shared as well: who kills a part of it starts that again."""
    folder = tmp_path_factory.mktemp("production")
    with running_production(folder, UNHURRIED, CORS_ALLOWED_ORIGINS=ORIGIN) as running:
        yield running


SHARED = {"embedded": "embedded", "embedded_serve": "embedded", "production": "production"}
"""By fixture the server that it starts."""


@pytest.hookimpl(wrapper=True)  # so that it comes before xdist, which reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Have those that share one of these servers run in one process: there is one of each then."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        needed = {parameters.get("server"), *item.fixturenames}
        for fixture, server in SHARED.items():
            if fixture in needed:
                item.add_marker(pytest.mark.xdist_group(server))
    return (yield)


@pytest.fixture(scope="session", params=["embedded", "production"])
def server(request) -> str:
    """The URL of a server, once of each topology."""
    running = request.getfixturevalue(request.param)
    return running if request.param == "embedded" else running.url
