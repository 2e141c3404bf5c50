"""Clients of `fl_client` as processes, each as a user of its own program."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
from safetensors.numpy import save

from tests.e2e.conftest import ROOT
from tests.waiting import PATIENCE, wait_until

SCRIPT = ROOT / "tests" / "e2e" / "client_script.py"


def at_home(folder, url):
    """What leads a program to the server, and to a home of its own."""
    homes = {f"XDG_{kind}_HOME": str(folder / kind) for kind in ("CONFIG", "STATE")}
    return homes | {"FL_URL": url, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Users:
    """Starts clients in a folder of the test's; each keeps its token there."""

    def __init__(self, folder, url, inputs=2):
        self.folder, self.url, self.inputs, self.processes = folder, url, inputs, []

    @property
    def environment(self):
        """What leads a program to the server, and to a home of its own."""
        return at_home(self.folder, self.url)

    def start(self, name, add, url="", **options):
        command = [sys.executable, SCRIPT, self.name(name), add, self.inputs, json.dumps(options)]
        environment = self.environment | ({"FL_URL": url} if url else {})
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=self.folder,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def name(self, name):
        return f"{self.folder.name}-{name}"

    def registered(self, person, *names):
        """Wait for users of these names; return their ids."""
        wanted = {self.name(name) for name in names}

        def found():
            users = person.ask("GET", "/users/")
            ids = [user["id"] for user in users if user["username"] in wanted]
            return ids if len(ids) == len(wanted) else None

        return wait_until(found)

    def slow(self, name):
        """Have a client's training take as long as this file is there."""
        file = self.folder / f"{self.name(name)}.slow"
        file.touch()
        return file


@contextmanager
def users_of(folder, url, **options):
    users = Users(folder, url, **options)
    try:
        yield users
    finally:
        for process in users.processes:
            process.kill()
            process.communicate()


def zeros(inputs=2):
    return save({"weight": np.zeros((1, inputs), "f4")})


def ended(*processes):
    """Wait for their ends; return what they said."""
    said = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said
