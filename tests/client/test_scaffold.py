"""SCAFFOLD's control variates, with the server's mean by hand."""

import pytest
import torch
from torch import nn

from fl_client import Job, Scaffold, Unfit, with_controls

RATE, STEPS = 0.1, 10
LOSSES = [(1.0, -3.0), (4.0, 1.0)]
"""Each client's: a/2 · (w - b)²."""
BEST = sum(a * b for a, b in LOSSES) / sum(a for a, _ in LOSSES)


def net():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    return with_controls(model)


def train(state, loss, round, scaffold=None):
    """Take a client's steps from a state; return its new one."""
    (a, b), model = loss, net()
    model.load_state_dict(state)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    if scaffold:
        scaffold.begin(model, Job("train", "t", "m", round))
    for _ in range(STEPS):
        optimizer.zero_grad()
        (a / 2 * (model.weight - b) ** 2).sum().backward()
        if scaffold:
            scaffold.correct()
        optimizer.step()
    if scaffold:
        scaffold.end()
    return model.state_dict()


def mean(states):
    return {name: sum(state[name] for state in states) / len(states) for name in states[0]}


def run(rounds, scaffolds=(None, None)):
    state = net().state_dict()
    for number in range(rounds):
        clients = zip(LOSSES, scaffolds, strict=True)
        state = mean([train(state, loss, number, own) for loss, own in clients])
    return state


def test_the_mean_alone_misses_what_is_best_for_all_and_control_variates_find_it():
    assert abs(run(60)["weight"].item() - BEST) > 0.3
    found = run(60, (Scaffold(RATE), Scaffold(RATE)))
    assert found["weight"].item() == pytest.approx(BEST, abs=1e-3)


def test_ones_own_is_the_mean_gradient_of_the_first_round():
    a, b = LOSSES[0]
    sent = train(net().state_dict(), LOSSES[0], 0, Scaffold(RATE))
    weights = [b - b * (1 - a * RATE) ** step for step in range(STEPS)]
    gradient = sum(a * (weight - b) for weight in weights) / STEPS
    assert sent["weight_control"].item() == pytest.approx(gradient, rel=1e-5)


def test_a_round_that_is_done_again_begins_with_the_same():
    scaffold, state = Scaffold(RATE), run(1, (Scaffold(RATE), Scaffold(RATE)))
    train(net().state_dict(), LOSSES[0], 0, scaffold)
    first = train(state, LOSSES[0], 1, scaffold)
    assert train(state, LOSSES[0], 1, scaffold) == first
    assert train(state, LOSSES[0], 2, scaffold) != first


def test_what_is_not_trained_has_none():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    model[0].bias.requires_grad_(False)
    names = {name for name, _ in with_controls(model).named_buffers() if "control" in name}
    assert names == {"0.weight_control", "1.weight_control", "1.bias_control"}


def test_it_says_what_was_forgotten():
    scaffold = Scaffold(RATE)
    scaffold.begin(net(), Job("train", "t", "m", 0))
    with pytest.raises(Unfit, match="correct"):
        scaffold.end()
