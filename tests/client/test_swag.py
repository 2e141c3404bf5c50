"""SWAG's moments, and FedProx' term."""

import numpy as np
import pytest
import torch
from torch import nn

from fl_client import Job, Moments, ProximalTerm, Unfit, swag_moments

JOB = Job("moments", "t", "m", 0)


def test_moments_are_the_means_of_weights_and_squares():
    kept, values = Moments(), np.random.default_rng(0).normal(size=(5, 3))
    for row in values:
        kept.add({"w": row.astype("f4"), "count": np.array(1)})
    assert np.allclose(kept.first["w"], values.mean(axis=0))
    assert np.allclose(kept.second["w"], (values**2).mean(axis=0))
    assert kept.first.keys() == {"w"}


def test_without_a_function_of_its_own_training_goes_on_from_what_it_returned():
    first, second, samples = swag_moments(lambda w, job: ({"w": w["w"] + 1}, 7), 3)(
        {"w": np.zeros(1)}, JOB
    )
    assert (first["w"].item(), samples) == (2, 7)
    assert second["w"].item() == pytest.approx(14 / 3)


def test_a_module_is_trained_in_place_or_by_its_state():
    def train(net, job):
        return {name: tensor + 1 for name, tensor in net.state_dict().items()}, 1

    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    first, _, _ = swag_moments(train, 3)(net, JOB)
    assert first["weight"].tolist() == [[2]]


def test_no_pass_is_too_few():
    with pytest.raises(Unfit):
        swag_moments(len, 0)


def test_the_proximal_term_pulls_back():
    net = nn.Linear(2, 1, bias=False)
    term = ProximalTerm(net, mu=0.5)
    assert term().item() == 0
    with torch.no_grad():
        net.weight += 2
    assert term().item() == pytest.approx(0.25 * 8)
    term().backward()
    assert net.weight.grad.flatten().tolist() == pytest.approx([1, 1])
