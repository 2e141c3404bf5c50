"""Sun et al. 2019, https://arxiv.org/abs/1911.07963, section 5: against numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from fl_server_ai.aggregation.strategies.fed_avg import FedAvg
from fl_server_ai.aggregation.strategies.norm_bounded import NormBoundedFedAvg, NormBoundedOptions
from tests.ai.aggregation.strategies.conftest import block


def bounded(bound: float) -> NormBoundedFedAvg:
    return NormBoundedFedAvg(NormBoundedOptions(bound=bound))


class Net(nn.Module):
    """Floats in many blocks, a buffer, a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(900, 500)
        self.norm = nn.BatchNorm1d(500)


@pytest.fixture
def template(tmp_path):
    torch.save(Net(), tmp_path / "template")
    return tmp_path / "template"


def load(path):
    return torch.load(path, weights_only=False).state_dict()


def far_from(state, distance, seed):
    """A state whose floats are so far from this one's, all together."""
    torch.manual_seed(seed)
    change = {
        name: torch.randn_like(value) for name, value in state.items() if value.is_floating_point()
    }
    norm = sum(value.double().square().sum() for value in change.values()).sqrt()
    return state | {name: state[name] + value * (distance / norm) for name, value in change.items()}


def by_hand(state, states, sizes, bound):
    floats = [name for name, value in state.items() if value.is_floating_point()]
    total = {name: np.zeros(value.shape) for name, value in state.items() if name in floats}
    for other, size in zip(states, sizes, strict=True):
        change = {name: (other[name].double() - state[name].double()).numpy() for name in floats}
        norm = np.sqrt(sum((value**2).sum() for value in change.values()))
        for name in floats:
            total[name] += size / sum(sizes) * change[name] * min(1, bound / norm)
    return {name: state[name].double().numpy() + total[name] for name in floats}


def test_each_update_is_drawn_to_the_bound_before_the_mean(template, write_update, merged):
    state, sizes = load(template), [1, 4, 2]
    states = [far_from(state, distance, seed) for seed, distance in enumerate((0.5, 3.0, 1000.0))]
    updates = [write_update(other, size) for other, size in zip(states, sizes, strict=True)]
    result = load(merged(template, updates, bounded(2.0)))
    for name, expected in by_hand(state, states, sizes, 2.0).items():
        assert np.allclose(result[name].numpy(), expected, rtol=1e-5, atol=1e-6), name


def test_within_the_bound_it_is_federated_averaging_to_the_bit(template, write_update, merged):
    states = [far_from(load(template), 1.0, seed) for seed in range(3)]
    updates = [write_update(state, size) for state, size in zip(states, (1, 2, 3), strict=True)]
    result = merged(template, updates, bounded(1.1)).read_bytes()
    assert result == merged(template, updates, FedAvg()).read_bytes()


def test_an_update_however_far_moves_the_model_by_its_share_of_the_bound(
    template, write_update, merged
):
    state = load(template)
    updates = [write_update(state), write_update(far_from(state, 1e12, 1))]
    result = load(merged(template, updates, bounded(2.0)))
    moved = sum(
        (result[name].double() - value.double()).square().sum() for name, value in state.items()
    )
    assert moved.sqrt() == pytest.approx(1.0, rel=1e-4)


def test_a_change_too_large_to_be_a_number_is_bounded_too():
    model = torch.full((4,), -1e308, dtype=torch.float64)
    strategy = bounded(1.0)
    whole = block(strategy, [model, -1.7 * model], base=model)
    assert torch.equal(strategy.combine(whole).values, model)


def test_what_is_no_number_in_the_model_counts_for_nothing(
    template, write_update, merged, tmp_path
):
    model = Net()
    model.norm.running_mean[:] = torch.nan
    torch.save(model, tmp_path / "odd")
    state = model.state_dict()
    updates = [write_update(far_from(state, 3.0, seed)) for seed in (1, 2)]
    result = load(merged(tmp_path / "odd", updates, bounded(1.0)))
    assert result["norm.running_mean"].isnan().all()
    assert result["wide.weight"].isfinite().all()
