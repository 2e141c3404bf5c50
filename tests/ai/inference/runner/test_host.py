"""Runners apart from their workers: files come over the socket, and each worker's end with it."""

import socket
import subprocess
import sys

import pytest
from torch import nn

from fl_server_ai.failures import NoRunner
from fl_server_ai.inference.runner.launcher import ROOT, Launcher
from fl_server_ai.inference.runner.pool import Pool
from tests.ai.inference.runner.conftest import ask, loading, soon, terms, until_gone
from tests.waiting import wait_until


def listens(path):
    with socket.socket(socket.AF_UNIX) as made:
        return not made.connect_ex(str(path))


@pytest.fixture
def start(tmp_path):
    """Start a host; return it when it listens."""
    path, started = tmp_path / "socket", []

    def call():
        path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "fl_server_ai.inference.runner.host", path]
        started.append(subprocess.Popen(command, cwd=ROOT))
        wait_until(lambda: listens(path))
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def worker(tmp_path, save, predicting):
    """Make a worker that keeps one runner: a function that has it predict and returns its id."""
    path, made = save(nn.Identity()), []

    def make():
        launcher = Launcher(terms(), str(tmp_path / "socket"))
        pool = Pool(launcher, idle=1)
        made.extend([pool, launcher])

        def serve():
            with pool.runner("key") as runner:
                if not runner.used:
                    runner.do(loading(path), soon())
                assert ask(runner, predicting([[1.0]]))["inference"].tolist() == [[1.0]]
            return runner.pid

        return serve, launcher

    yield make
    for each in made:
        each.close()


def test_a_workers_runners_end_with_it_and_others_go_on(start, worker):
    start()
    (mine, launcher), (others, _) = worker(), worker()
    first, second = mine(), others()
    launcher.close()
    until_gone(first)
    assert others() == second


def test_a_worker_finds_a_host_that_was_started_again(start, worker):
    host = start()
    serve, launcher = worker()
    pid = serve()
    host.kill()
    until_gone(pid)
    with pytest.raises(NoRunner, match="refused"):
        launcher.launch()
    start()
    assert serve() != pid
