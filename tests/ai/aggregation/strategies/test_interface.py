"""What strategies that are yet to come need of the engine, tried with small ones."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fl_server_ai.aggregation.engine import State, merge
from fl_server_ai.aggregation.errors import Unusable
from fl_server_ai.aggregation.strategies.base import Combined, Strategy


class Krum(Strategy):
    """The update that is nearest to others: Blanchard et al. 2017, section 4, one is hostile."""

    surveys = True

    def measure(self, block):
        values = [value.double() for value in block.values]
        return [[(a - b).square().sum().item() for b in values] for a in values]

    def scale(self, measured, cohort):
        nearest = np.sort(measured, axis=1)[:, 1 : len(cohort.weights) - 2]  # not itself
        best = nearest.sum(axis=1).argmin()
        return [float(index == best) for index in range(len(cohort.weights))]

    def combine(self, block):
        return Combined(block.values[block.scales.index(1.0)].clone())


class Buffered(Strategy):
    """Old updates count less: FedBuff, Nguyen et al. 2022, section 3."""

    streams = True

    def combine(self, block):
        pairs = zip(block.cohort.weights, block.cohort.ages, strict=True)
        return Combined(block.mean(weights=[round(w * 2**30 / sqrt(1 + age)) for w, age in pairs]))


class Scaffold(Strategy):
    """Its server's side, with 4 local steps of 0.5: Karimireddy et al. 2020, algorithm 1."""

    needs_global = True

    def initial_state(self):
        return {"c": 0.0}

    def combine(self, block):
        if not block.state:
            return Combined(block.mean())
        change = block.mean(block.changes(), weights=[1] * len(block.values))
        part = len(block.values) / block.cohort.participants
        c = block.state["c"]
        return Combined(block.moved(change), {"c": c + part * (-change / (4 * 0.5) - c)})


@pytest.fixture
def model(tmp_path):
    """A model of several tensors, one larger than a block."""
    module = nn.Sequential(nn.Linear(600, 400), nn.BatchNorm1d(400))
    torch.save(module, tmp_path / "template")
    return module.state_dict()


@pytest.fixture
def run(tmp_path):
    def call(strategy, updates, *, state=None, participants=0):
        target = tmp_path / "merged"
        merge(
            strategy=strategy,
            template=tmp_path / "template",
            updates=updates,
            target=target,
            progress=lambda: None,
            participants=participants,
            state=state,
        )
        return torch.load(target, weights_only=False).state_dict()

    return call


def others(model, *scales):
    """States that differ from the model's in their floats, by so much."""
    return [
        {
            name: value + scale * torch.randn(value.shape) if value.is_floating_point() else value
            for name, value in model.items()
        }
        for scale in scales
    ]


def test_krum_finds_the_update_that_others_agree_with(model, run, write_update):
    states = others(model, 1.0, 1.2, 1.1, 1.05, 100.0)
    flat = [np.concatenate([v.double().numpy().ravel() for v in s.values()]) for s in states]
    distances = np.array([[((a - b) ** 2).sum() for b in flat] for a in flat])
    expected = np.sort(distances, axis=1)[:, 1:3].sum(axis=1).argmin()
    found = run(Krum(), [write_update(state) for state in states])
    assert all(torch.equal(found[name], states[expected][name]) for name in model)


def test_an_update_of_an_older_model_can_count_less(model, run, write_update):
    states, ages, sizes = others(model, 1.0, 2.0, 3.0), (0, 3, 8), (5, 1, 7)
    updates = [
        replace(write_update(state, size), age=age)
        for state, age, size in zip(states, ages, sizes, strict=True)
    ]
    weights = [size / sqrt(1 + age) for size, age in zip(sizes, ages, strict=True)]
    found = run(Buffered(), updates)
    for name in ("0.weight", "1.running_mean"):
        expected = np.average([state[name].double().numpy() for state in states], 0, weights)
        assert np.allclose(found[name].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_another_models_state_is_refused(model, run, write_update, tmp_path):
    save_file({"c/0.weight": torch.zeros(1)}, tmp_path / "foreign")
    state = State(tmp_path / "foreign", tmp_path / "next")
    with pytest.raises(Unusable, match="remembers"):
        run(Scaffold(), [write_update(model)], state=state, participants=1)
    assert not state.target.exists()


def test_a_control_variate_is_kept_for_each_parameter(model, run, write_update, tmp_path):
    first, second = State(None, tmp_path / "1"), State(tmp_path / "1", tmp_path / "2")
    expected = 0.0
    for state in (first, second):
        states = others(model, 1.0, 2.0)
        run(Scaffold(), [write_update(s) for s in states], state=state, participants=8)
        change = sum((s["0.weight"] - model["0.weight"]).double() for s in states) / 2
        expected = expected + 2 / 8 * (-change / 2 - expected)
        kept = load_file(state.target)
        assert kept.keys() == {f"c/{name}" for name in ("0.weight", "0.bias", "1.weight", "1.bias")}
        assert torch.allclose(kept["c/0.weight"], expected.flatten().float(), rtol=1e-4, atol=1e-6)
