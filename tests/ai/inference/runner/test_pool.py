"""Which runners stay, which go, and what ends them all."""

import io
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fl_server_ai.failures import JobRefused, RunnerFault
from fl_server_ai.inference.protocol import Pack
from fl_server_ai.inference.runner.launcher import ROOT, Launcher
from fl_server_ai.inference.runner.pool import Pool
from tests.ai.inference.runner.conftest import (
    ask,
    is_gone,
    loading,
    opened,
    soon,
    terms,
    until_gone,
)


def load_in(pool, key, path):
    with pool.runner(key) as runner:
        if not runner.used:
            runner.do(loading(path), soon())
    return runner.pid


def test_a_runner_keeps_what_it_has_loaded(pool, save):
    path = save(nn.Identity())
    pid = load_in(pool, "a", path)
    path.unlink()
    assert load_in(pool, "a", path) == pid


def test_keys_never_share_a_runner(pool, save):
    path = save(nn.Identity())
    assert load_in(pool, "a", path) != load_in(pool, "b", path)


def test_the_runner_idle_longest_goes_first(pool, save):
    path = save(nn.Identity())
    first, second = (load_in(pool, key, path) for key in "ab")
    assert load_in(pool, "a", path) == first  # now b is idle longest
    load_in(pool, "c", path)
    assert is_gone(second)
    assert load_in(pool, "a", path) == first


def test_requests_at_once_get_a_runner_each(pool, save):
    path = save(nn.Identity())
    with pool.runner("a") as one, pool.runner("a") as other:
        assert one.pid != other.pid
        one.do(loading(path), soon())
        other.do(loading(path), soon())


def test_a_refused_input_leaves_the_runner_as_it_is(pool, save, predicting):
    pid = load_in(pool, "a", save(nn.Linear(3, 1)))
    with pytest.raises(JobRefused), pool.runner("a") as runner:
        runner.do(predicting([[1.0]]), soon())
    with pool.runner("a") as runner:
        assert runner.pid == pid


def test_a_fault_of_our_own_is_told_with_its_trace(pool, predicting):
    with pytest.raises(RunnerFault, match="nothing is loaded"), pool.runner("a") as runner:
        runner.do(predicting([[1.0]]), soon())
    assert is_gone(runner.pid)


def test_many_threads_share_a_pool(pool, save, predicting, tmp_path):
    path, errors = save(nn.Identity()), []

    def work(key):
        try:
            for _ in range(5):
                load_in(pool, key, path)
        except Exception as error:  # told below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(key,)) for key in "aabbc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_an_update_is_the_global_model_with_other_numbers(pool, save, predicting, tmp_path):
    module = nn.Linear(2, 2, bias=False)
    save_file({"weight": torch.eye(2) * 3}, tmp_path / "numbers")
    with pool.runner("a") as runner:
        runner.do(loading(save(module), tmp_path / "numbers"), soon())
        assert ask(runner, predicting([[1.0, 2.0]]))["inference"].tolist() == [[3.0, 6.0]]


def test_a_result_that_is_no_safetensors_file_is_never_packed(pool, tmp_path):
    (tmp_path / "source").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(JobRefused, match="can't be read"), pool.runner("pack") as packer:
        packer.do(Pack(opened(tmp_path / "source"), "binary"), soon(), io.BytesIO())


def test_when_the_fork_server_dies_its_runners_do_and_another_takes_over(save):
    launcher = Launcher(terms())
    pool = Pool(launcher, 2)
    path = save(nn.Identity())
    pid = load_in(pool, "a", path)
    launcher._fork_server.kill()
    launcher._fork_server.wait()
    until_gone(pid)
    assert load_in(pool, "a", path) != pid
    pool.close()
    launcher.close()


WORKER = """
import sys, time
from fl_server_ai.inference.runner.launcher import Launcher
from fl_server_ai.inference.terms import Terms
launcher = Launcher(Terms(1 << 28, 20, "cpu", False))
pid, socket = launcher.launch()
print(launcher._fork_server.pid, pid, flush=True)
time.sleep(1000)
"""


def test_nothing_outlives_the_worker():
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as worker:
        pids = [int(pid) for pid in worker.stdout.readline().split()]
        assert not any(is_gone(pid) for pid in pids)
        os.kill(worker.pid, signal.SIGKILL)
    for pid in pids:
        until_gone(pid)
