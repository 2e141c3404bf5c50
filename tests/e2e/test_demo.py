"""The demo as a user runs it: a server, an actor and clients, each a real process."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e


@contextmanager
def running_demo(folder, *arguments):
    """Start the demo in this folder, with its temporary files in `folder/tmp`."""
    (folder / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, ROOT / "manage.py", "demo", *arguments],
        cwd=folder,
        env=os.environ
        | {"TMPDIR": str(folder / "tmp"), "FL_DATA_DIR": str(folder / "unused")}
        | {f"XDG_{kind}_HOME": str(folder / "home") for kind in ("CONFIG", "STATE")}
        | {"SPT_NOENV": "1"},  # so that processes that name themselves keep what is looked for
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    give_up = threading.Timer(PATIENCE, process.kill)
    give_up.start()
    try:
        yield process
    finally:
        give_up.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def data_folders(folder):
    return list((folder / "tmp").glob("fl-demo-*"))


def left_behind(folder):
    """Return the processes that were told to keep their data below the folder."""
    mark = f"FL_DATA_DIR={folder / 'tmp'}".encode()
    return [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if mark in read(path)]


def read(path):
    try:
        return path.read_bytes()
    except OSError:  # another user's, or gone by now
        return b""


def test_two_clients_together_beat_each_alone(tmp_path):
    arguments = ("--clients", "2", "--rounds", "2", "--seed", "1", "--method", "FedDC")
    with running_demo(tmp_path, *arguments) as process:
        said = process.stdout.read()
    assert process.wait() == 0, said
    assert "round 2 of 2: accuracy" in said
    rows = [line.replace("│", " ").split() for line in said.splitlines()]
    assert [row[0] for row in rows if row[1:2] == ["alone"]] == ["client-1", "client-2"]
    together = next(float(row[-1]) for row in rows if row[:2] == ["all", "together"])
    assert together > max(float(row[-1]) for row in rows if row[1:2] == ["alone"])
    assert (tmp_path / "demo-result.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert not data_folders(tmp_path)
    assert not left_behind(tmp_path)
    assert not list(tmp_path.glob("home/fl*"))


def test_ctrl_c_in_the_middle_leaves_nothing_behind(tmp_path):
    with running_demo(tmp_path, "--clients", "2", "--rounds", "50") as process:
        said = next(line for line in process.stdout if line.startswith("round 1 "))
        assert left_behind(tmp_path)
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        assert process.wait() == 130, said
    assert not data_folders(tmp_path)
    assert not left_behind(tmp_path)


def test_a_client_that_dies_is_told_with_the_place_of_its_log(tmp_path):
    with running_demo(tmp_path, "--clients", "2", "--rounds", "50") as process:
        next(line for line in process.stdout if line.startswith("round 1 "))
        [pid] = [
            p for p in left_behind(tmp_path) if b"client-2.npz" in read(Path(f"/proc/{p}/cmdline"))
        ]
        os.kill(int(pid), signal.SIGKILL)
        said = process.stdout.read()
    assert process.wait() == 1
    assert "client-2 failed" in said
    [logs] = data_folders(tmp_path)
    assert f"The logs are in {logs}." in said
    assert not left_behind(tmp_path)
