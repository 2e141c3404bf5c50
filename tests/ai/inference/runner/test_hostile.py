"""Models that admission would never let in, in a runner: each costs that runner alone."""

import os
import signal

import pytest
import torch
from torch import nn

import fl_server_ai
from fl_server_ai.failures import CannotLoad, JobRefused, RunnerDied, RunnerSpent, TooSlow
from fl_server_ai.inference.runner.launcher import ROOT
from tests.ai.inference.runner.conftest import Written, ask, evil, loading, soon


def text_of(result):
    """Return the text that a model gave as numbers."""
    return bytes(result["inference"].to(torch.uint8).flatten().tolist()).decode()


def telling(expression):
    """Return a model that gives the text of an expression."""
    return evil(f"return torch.tensor([list(({expression}).encode())])")


ENDLESS = "while True: pass"


def test_a_model_that_loops_is_killed(run, well):
    with pytest.raises(TooSlow):
        run(evil(ENDLESS), seconds=2.0)
    well()


def test_a_file_that_loops_when_it_is_loaded_is_killed(run, well):
    with pytest.raises(TooSlow):
        run(Written(ENDLESS), seconds=2.0)
    well()


def test_a_model_that_allocates_without_end_is_refused(run, well):
    with pytest.raises((JobRefused, RunnerDied)):
        run(evil("return [torch.ones(1 << 22) for _ in range(10**6)]"))
    well()


def test_an_output_larger_than_the_memory_is_refused(run, well):
    with pytest.raises(JobRefused, match=r"^The model's output can't be used: .*memory"):
        run(evil("return x[:1, :1].expand(1 << 20, 1 << 20)"))
    well()


def test_a_model_that_fills_the_disk_is_refused(run, well, tmp_path):
    with pytest.raises((JobRefused, RunnerDied)):
        run(evil(f"open({str(tmp_path / 'big')!r}, 'wb').truncate(1 << 40)"))
    well()


@pytest.mark.parametrize("how", ["os._exit(0)", "os.abort()", "os.kill(os.getpid(), 9)"])
def test_a_model_that_ends_its_process_ends_no_more(run, well, how):
    with pytest.raises(RunnerDied, match="ended the process"):
        run(evil(how))
    well()


def test_a_model_that_raises_tells_why(run, well):
    with pytest.raises(JobRefused, match="refuses the input: division by zero"):
        run(evil("1 / 0"))
    well()


def test_an_index_out_of_range_spoils_no_later_request(run):
    """As it does for a process on a GPU, where nothing works any more after that."""
    module = nn.Embedding(3, 1)
    with pytest.raises(JobRefused):
        run(module, rows=((7,),))
    assert run(module, rows=((2,),))["inference"].flatten() == module.weight[2]


def test_a_runner_whose_device_is_broken_is_not_used_again(run, pool):
    breaking = (
        "from fl_server_ai.inference.runner.child import Session\n"
        "Session.works = lambda self: False\n"
    )
    with pytest.raises(RunnerSpent, match="division by zero"):
        run(evil(breaking + "1 / 0"))
    with pool.runner("key") as other:
        assert not other.used


def test_a_file_that_is_no_module_cannot_be_loaded(run, well):
    for obj in ({"a": 1}, Written("1 / 0")):
        with pytest.raises(CannotLoad):
            run(obj)
    well()


def test_the_environment_holds_nothing_of_the_servers(run, monkeypatch, launcher):
    launcher.close()  # the next fork server is started from this environment
    for name in ("FL_DJANGO_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    seen = text_of(run(telling("repr(dict(os.environ))")))
    assert "PATH" in seen
    assert "secret" not in seen
    assert "FL_" not in seen
    assert "DJANGO" not in seen


def test_a_runner_runs_its_workers_code(run):
    """Its environment says where that is, wherever else the package may be installed."""
    found = text_of(run(telling("sys.modules['fl_server_ai'].__file__")))
    assert found == fl_server_ai.__file__
    assert str(ROOT) == text_of(run(telling("os.environ['PYTHONPATH']")))
    assert (ROOT / "fl_server_ai").is_dir()


def test_what_a_model_prints_goes_nowhere(run, well, capfd):
    run(evil("print('hello')\nos.write(2, b'hello')\nreturn x"))
    assert capfd.readouterr() == ("", "")


def test_what_a_model_says_in_the_runners_place_is_not_believed(run, well):
    said = "for n in range(3, 20):\n  try: os.write(n, {!r})\n  except OSError: pass\nreturn x"
    for nonsense in (b"[]\n", b"nonsense\n", b"{}\n", b'{"code": "other"}\n', b"x" * 100_000):
        with pytest.raises(RunnerDied):
            run(evil(said.format(nonsense)))
    well()


def test_what_one_request_leaves_in_a_model_the_next_does_not_see(pool, save, predicting, tmp_path):
    module = nn.Sequential(nn.BatchNorm1d(2, momentum=None), nn.Identity())
    with pool.runner("key") as runner:
        runner.do(loading(save(module)), soon())
        for rows in ([[1.0, 1.0], [9.0, 9.0]], [[1.0, 2.0]]):
            result = ask(runner, predicting(rows))
    assert torch.allclose(result["inference"], torch.tensor([[1.0, 2.0]]))


def test_a_runner_that_died_while_idle_is_replaced(pool, save, predicting):
    with pool.runner("key") as runner:
        runner.do(loading(save(nn.Identity())), soon())
    os.kill(runner.pid, signal.SIGKILL)
    while runner.alive:
        pass
    with pool.runner("key") as other:
        assert other.pid != runner.pid
        assert not other.used
