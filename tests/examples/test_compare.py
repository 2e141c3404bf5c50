import runpy

import compare
import data
import pytest
import torch
from client import evaluate
from model import digits_net

from tests.examples.conftest import EXAMPLE


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that has `model.py` write the network; returns where."""

    def write(seed):
        path = str(tmp_path / f"{seed}.pt")
        monkeypatch.setattr("sys.argv", ["model.py", path, "--seed", str(seed)])
        runpy.run_path(str(EXAMPLE / "model.py"), run_name="__main__")
        return path

    return write


def test_each_client_is_tested_and_learns_from_its_own_data_only(tmp_path, written):
    data.write_slices(tmp_path, clients=2, seed=0)
    found = compare.compare(tmp_path, written(0), written(0), epochs=1)
    assert len(found["alone"]) == 2
    assert all(found["global"] < accuracy < 0.95 for accuracy in found["alone"])


def test_the_model_has_the_same_weights_for_the_same_seed(written):
    first, again, other = (torch.jit.load(written(seed)).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_the_clients_have_the_network_that_is_uploaded(written):
    module, script = digits_net(), torch.jit.load(written(0))
    module.load_state_dict(script.state_dict())
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(module(images), script(images))


def test_accuracy_and_loss_of_a_model_that_knows_nothing():
    model = digits_net()
    for weights in model.parameters():
        torch.nn.init.zeros_(weights)
    found = evaluate(model, torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 1, 2]))
    assert found == pytest.approx({"accuracy": 0.5, "loss": 2.302585}, abs=1e-5)
