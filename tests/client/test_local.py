"""What the user's functions get, and what they may answer."""

import warnings

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from fl_client import Job, Unfit, Untrusted
from fl_client.local import Local


def job(kind="train"):
    return Job(kind, "t", "m", 0)


def trained(model, job):
    return {"w": model["w"] + 1}, 3


@pytest.fixture
def model(tmp_path):
    save_file({"w": np.zeros(2, "f4"), "own": np.zeros(1, "f4")}, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def script(tmp_path):
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(nn.Linear(2, 1)).save(str(tmp_path / "script"))
    return tmp_path / "script"


def test_weights_alone_are_arrays(model):
    answer = Local({"train": trained}).run(job(), model)
    assert answer.weights[0]["w"].tolist() == [1, 1]
    assert answer.samples == 3


def test_what_isnt_exchanged_stays_as_one_has_trained_it(model, tmp_path):
    local = Local({"train": lambda arrays, job: ({n: a + 1 for n, a in arrays.items()}, 1)})
    local.run(job(), model)
    assert local.has_begun("t")
    save_file({"w": np.full(2, 5, "f4")}, tmp_path / "part")
    [weights] = local.run(job(), tmp_path / "part").weights
    assert (weights["own"].tolist(), weights["w"].tolist()) == ([2], [6, 6])
    local.end("t")
    assert not local.has_begun("t")


def test_ones_own_module_gets_the_weights_of_a_model_with_code(script, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", None)
    given = []
    local = Local(
        {"test": lambda net, job: given.append(net) or {"loss": 1}}, lambda: nn.Linear(2, 1)
    )
    assert local.run(job("test"), script).metrics == {"loss": 1.0}
    assert isinstance(given[0], nn.Linear)


def test_a_model_with_code_runs_only_where_it_is_trusted(script):
    functions = {"train": lambda net, job: 4}
    with pytest.raises(Untrusted, match="isolate=True"):
        Local(functions).run(job(), script)
    with warnings.catch_warnings(action="ignore"):
        answer = Local(functions, trust_model=True).run(job(), script)
    assert answer.weights[0].keys() == {"weight", "bias"}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("train", None),
        ("train", ({}, -1)),
        ("train", ({}, True)),
        ("train", ("weights", 1)),
        ("test", {}),
        ("test", 0.5),
        ("moments", ({}, {})),
    ],
)
def test_what_a_function_has_to_return_is_a_sentence(model, kind, said):
    with pytest.raises(Unfit, match=r"has to return|Weights are"):
        Local({kind: lambda model, job: said}).run(job(kind), model)


def test_metrics_may_come_with_an_update_and_may_be_tensors(model):
    said = ({"w": np.ones(2)}, np.int64(2), {"loss": torch.tensor(0.5)})
    answer = Local({"train": lambda model, job: said}).run(job(), model)
    assert (answer.samples, answer.metrics) == (2, {"loss": 0.5})
