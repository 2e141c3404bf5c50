"""Reddi et al. 2021, https://arxiv.org/abs/2003.00295, algorithm 2: against numpy."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fl_server_ai.aggregation.strategies.fed_adam import FedAdam, FedAdamOptions
from tests.ai.aggregation.strategies.conftest import block

ETA, BETA_1, BETA_2, TAU = 0.1, 0.8, 0.95, 0.01
OPTIONS = FedAdamOptions(server_learning_rate=ETA, beta_1=BETA_1, beta_2=BETA_2, tau=TAU)


def by_hand(x, m, v, updates, sizes):
    """One round of algorithm 2, in float64."""
    delta = sum(size * (update - x) for update, size in zip(updates, sizes, strict=True))
    delta = delta / sum(sizes)
    m = BETA_1 * m + (1 - BETA_1) * delta
    v = BETA_2 * v + (1 - BETA_2) * delta**2
    return x + ETA * m / (np.sqrt(v) + TAU), m, v


def test_three_merges_of_a_model_are_the_papers(tmp_path, write_update, merged):
    model, template = nn.Linear(30, 20), tmp_path / "template"
    torch.save(model, template)
    expected = {
        name: (value.detach().double().numpy(), 0.0, TAU**2)
        for name, value in model.named_parameters()
    }
    state = None
    for _ in range(3):
        states = [nn.Linear(30, 20).state_dict() for _ in range(3)]
        sizes = [1, 5, 2]
        updates = [write_update(state, size) for state, size in zip(states, sizes, strict=True)]
        target = merged(template, updates, FedAdam(OPTIONS), state=state)
        for name, (x, m, v) in expected.items():
            values = [state[name].double().numpy() for state in states]
            expected[name] = by_hand(x, m, v, values, sizes)
        template = target.rename(tmp_path / "next")
        state = (tmp_path / "state").rename(tmp_path / "present")
    result = torch.load(template, weights_only=False).state_dict()
    for name, (x, _, _) in expected.items():
        assert np.allclose(result[name].numpy(), x, rtol=1e-5, atol=1e-6)


def test_buffers_and_integers_are_averaged():
    values = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])]
    result = FedAdam().combine(block(FedAdam(), values, [1, 3], base=torch.zeros(2)))
    assert result.values.tolist() == [2.5, 5.0]
    assert result.state == {}


def test_what_is_no_number_in_the_model_stays_and_leaves_the_state_finite():
    model = torch.tensor([torch.nan, torch.inf, 1.0])
    state = {"m": torch.zeros(3), "v": torch.zeros(3)}
    result = FedAdam().combine(block(FedAdam(), [model] * 2, base=model, state=state))
    assert torch.equal(result.values.float().isfinite(), model.isfinite())
    assert all(value.isfinite().all() for value in result.state.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_the_largest_update_leaves_model_and_state_finite(dtype, tmp_path, write_update, merged):
    template, largest = tmp_path / "template", torch.finfo(dtype).max
    torch.save(nn.Linear(3, 2).to(dtype), template)
    strategy = FedAdam(FedAdamOptions(server_learning_rate=1000, tau=1e-9))
    state = None
    for sign in (1, -1):
        update = {"weight": torch.full((2, 3), sign * largest), "bias": torch.full((2,), largest)}
        updates = [write_update({name: value.to(dtype) for name, value in update.items()})]
        target = merged(template, updates, strategy, state=state)
        template = target.rename(tmp_path / f"model-{sign}")
        state = (tmp_path / "state").rename(tmp_path / f"state-{sign}")
        values = torch.load(template, weights_only=False).state_dict().values()
        assert all(value.isfinite().all() for value in (*values, *load_file(state).values()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_halves_are_moved_in_single_precision(dtype):
    model, update = torch.ones(4, dtype=dtype), torch.full((4,), 1.5, dtype=dtype)
    state = {"m": torch.zeros(4), "v": torch.full((4,), TAU**2)}
    result = FedAdam(OPTIONS).combine(block(FedAdam(), [update], base=model, state=state))
    expected, m, v = by_hand(1.0, 0.0, TAU**2, [1.5], [1])
    assert result.state["m"].tolist() == pytest.approx([m] * 4, rel=1e-6)
    assert result.state["v"].tolist() == pytest.approx([v] * 4, rel=1e-6)
    assert result.values.float().tolist() == pytest.approx([expected] * 4, rel=1e-2)
