import client
import pytest
import torch
from model import digits_net
from torch import nn


@pytest.fixture
def zeros():
    """A model of two weights, both 0, and one sample of class 0 for it."""
    model = nn.Linear(1, 2, bias=False)
    nn.init.zeros_(model.weight)
    return model, torch.ones(1, 1), torch.tensor([0])


@pytest.mark.parametrize(("mu", "expected"), [(0.0, 0.142502), (2.0, 0.132502)])
def test_fedprox_pulls_towards_the_weights_received(zeros, mu, expected):
    """Two steps by hand: one sample of class 0, two weights from 0, lr 0.1, momentum 0.9.

    Step 1: gradient -0.5, weight 0.05. Step 2: gradient softmax(0.05, -0.05) - 1 = -0.475021
    and mu * 0.05 of the proximal term; weight 0.05 + 0.1 * (0.9 * 0.5 + 0.475021 - mu * 0.05).
    """
    model, *sample = zeros
    client.train(model, *sample, epochs=2, mu=mu)
    assert model.weight.flatten().tolist() == pytest.approx([expected, -expected], abs=1e-6)


def test_moments_are_the_means_over_the_epochs(zeros):
    """By hand: as above but without momentum, which each epoch begins anew.

    The weight is 0.05 after the first epoch, 0.05 + 0.1 * 0.475021 after the second.
    """
    weights = torch.tensor([0.05, 0.0975021])
    moments = client.collect_moments(*zeros, epochs=2)
    mean, mean_square = weights.mean().item(), weights.square().mean().item()
    first, second = moments.first["weight"].flatten(), moments.second["weight"].flatten()
    assert first.tolist() == pytest.approx([mean, -mean], abs=1e-6)
    assert second.tolist() == pytest.approx([mean_square, mean_square], abs=1e-6)


def test_no_weight_has_a_negative_variance_but_for_rounding():
    moments = client.collect_moments(digits_net(), *digits(), epochs=4)
    variances = [moments.second[name] - moments.first[name] ** 2 for name in moments.first]
    assert min(variance.min() for variance in variances) > -1e-6
    assert max(variance.max() for variance in variances) > 1e-5


def digits():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(40, 1, 8, 8, generator=generator), torch.arange(40) % 10
