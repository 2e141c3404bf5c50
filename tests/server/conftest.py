"""Real servers, started as a user starts them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.waiting import PATIENCE, wait_until

MANAGE = Path(__file__).parents[2] / "manage.py"


def processes() -> dict[int, tuple[int, str]]:
    """Return the parent and the command of each process that lives, by its id."""
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="],
        check=True,
        capture_output=True,
        text=True,
    )
    rows = [line.split(maxsplit=3) for line in listing.stdout.splitlines()]
    return {int(row[0]): (int(row[1]), row[3]) for row in rows if not row[2].startswith("Z")}


class Server:
    """A `manage.py serve` on a free port, in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.folder = folder
        environment = os.environ | environment
        environment.pop("FL_DATA_DIR", None)
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, MANAGE, "serve", "--port", "0", "--data-dir", "data", *arguments],
                cwd=folder,
                env=environment,
                stdout=out,
                stderr=err,
                process_group=0,  # what a terminal would interrupt
            )

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def wait_until_ready(self) -> None:
        wait_until(lambda: "\n" in self.read("stdout") or self.process.poll() is not None)
        assert self.process.poll() is None, self.read("stderr")

    def get(self, path: str) -> requests.Response:
        url = self.read("stdout").split()[1]
        return requests.get(url + path, timeout=PATIENCE)

    def descendants(self) -> dict[int, str]:
        """Return the commands of all processes below, by their ids."""
        listed = processes()
        found = {self.process.pid}
        while more := {pid for pid, (parent, _) in listed.items() if parent in found} - found:
            found |= more
        return {pid: listed[pid][1] for pid in found - {self.process.pid}}

    def child(self, part: str) -> int:
        """Return the direct child whose command contains this."""
        listed = processes().items()
        (pid,) = [p for p, (parent, args) in listed if parent == self.process.pid and part in args]
        return pid

    def end(self, number: signal.Signals) -> None:
        """Signal its whole group, as a terminal does; it must end in peace with all it started."""
        pids = self.descendants()
        os.killpg(self.process.pid, number)
        assert self.process.wait(timeout=PATIENCE) == 0
        assert not pids.keys() & processes().keys()
        assert "Traceback" not in self.read("stderr")


@contextmanager
def started(folder: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    server = Server(folder, *arguments, **environment)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that leave it as it was; its end is a test of SIGTERM."""
    # Of several web processes each would remember an outcome of the checks of its own.
    with started(tmp_path_factory.mktemp("server"), FL_WEB_WORKERS="1") as server:
        yield server
        server.end(signal.SIGTERM)
