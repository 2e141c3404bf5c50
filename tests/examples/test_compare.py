import compare
import data
import pytest
import torch
from learning import evaluate
from model import digits_net


@pytest.fixture
def initial(tmp_path) -> str:
    torch.jit.save(digits_net(seed=0), tmp_path / "initial.pt")
    return str(tmp_path / "initial.pt")


def test_each_client_is_tested_and_learns_from_its_own_data_only(tmp_path, initial):
    data.write_slices(tmp_path, clients=2, seed=0)
    found = compare.compare(tmp_path, initial, initial, epochs=1)
    assert len(found["alone"]) == 2
    assert all(found["global"] < accuracy < 0.95 for accuracy in found["alone"])


def test_the_model_has_the_same_weights_for_the_same_seed():
    first, again, other = (digits_net(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_accuracy_and_loss_of_a_model_that_knows_nothing():
    model = digits_net(seed=0)
    for weights in model.parameters():
        torch.nn.init.zeros_(weights)
    found = evaluate(model, torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 1, 2]))
    assert found == pytest.approx({"accuracy": 0.5, "loss": 2.302585}, abs=1e-5)
