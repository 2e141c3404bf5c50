"""A process of its own for code of others': what it knows, and what becomes of it."""

import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from fl_client import FlError, Job
from fl_client.isolated import Isolated

JOB = Job("train", "t", "m", 0)


def train(model, job):
    assert "FL_TOKEN" not in os.environ
    return {"w": model["w"] + job.round, "pid": np.array([os.getpid()])}, 2, {"loss": 0.25}


def fail(model, job):
    raise ValueError("no such data")


def die(model, job):
    os._exit(1)


@pytest.fixture
def model(tmp_path):
    save_file({"w": np.arange(3, dtype="f4")}, tmp_path / "model")
    return tmp_path / "model"


def isolated(function):
    return Isolated({"train": function}, how="fork")


def test_the_answer_comes_from_a_process_without_the_token(model, monkeypatch):
    monkeypatch.setenv("FL_TOKEN", "secret")
    with isolated(train) as runner:
        one = runner.run(Job("train", "t", "m", 2), model)
        other = runner.run(JOB, model)
        assert runner.has_begun("t")
        third = runner.run(Job("train", "another", "m", 0), model)
        runner.end("t")
        assert not runner.has_begun("t")
    assert os.environ["FL_TOKEN"] == "secret"
    assert one.weights[0]["w"].tolist() == [2, 3, 4]
    assert (one.samples, one.metrics) == (2, {"loss": 0.25})
    pids = [int(answer.weights[0]["pid"][0]) for answer in (one, other, third)]
    assert pids[0] == pids[1] != pids[2]  # each training has its own
    assert os.getpid() not in pids


@pytest.mark.parametrize(("function", "said"), [(fail, "no such data"), (die, "has died")])
def test_what_goes_wrong_there_is_told_here(model, function, said, capfd):
    with isolated(function) as runner, pytest.raises(FlError, match=said):
        runner.run(JOB, model)


@pytest.mark.parametrize(
    "said",
    [
        "no JSON",
        "[" * 500_000,
        "[]",
        '{"error": 7}',
        '{"weights": 0, "samples": 1, "metrics": {}}',
        '{"weights": -1, "samples": 1, "metrics": {}}',
        '{"weights": 1, "samples": 1.5, "metrics": {}}',
        '{"weights": 1, "samples": 1, "metrics": {"loss": []}}',
        '{"weights": 1, "samples": 1, "metrics": {"loss": 1' + "0" * 400 + "}}",
    ],
)
def test_whatever_the_code_there_says_is_an_error_here(model, monkeypatch, said):
    with isolated(train) as runner:
        runner.run(JOB, model)  # which leaves weights behind
        pipe = runner._children["t"]._pipe
        monkeypatch.setattr(pipe, "send_bytes", lambda _: None)
        monkeypatch.setattr(pipe, "recv_bytes", lambda _: said.encode())
        with pytest.raises(FlError, match="what it can't say"):
            runner.run(JOB, model)
