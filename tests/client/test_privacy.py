"""Clipping and noise on an update, and the epsilon of it, by NumPy and the exact formula."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fl_client import Job, PrivateUpdate, Unfit, epsilon, privatize
from fl_client.weights import to_arrays
from tests.compose import ROOT

RECEIVED = {
    "w": np.ones((2, 2), "f4"),
    "b": np.zeros(3, "f4"),
    "n": np.array([5]),
    "s": np.ones(()),
}
TRAINED = {
    "w": RECEIVED["w"] + np.float32(2),
    "b": np.array([0, 3, 4], "f4"),
    "n": np.array([9]),
    "s": np.ones(()),
}
NORM = math.sqrt(4 * 4 + 9 + 16)


def job(**options):
    return Job("train", "t", "m", 0, options=options)


def test_a_large_update_is_cut_to_the_norm_over_all_tensors():
    sent = privatize(TRAINED, RECEIVED, clip=1, sigma=0)
    for name in "wb":
        expected = RECEIVED[name] + (TRAINED[name] - RECEIVED[name]) / NORM
        assert np.allclose(sent[name], expected, atol=1e-6)


@pytest.mark.parametrize("clip", [NORM, 100])
def test_a_small_update_is_sent_as_it_is(clip):
    sent = privatize(TRAINED, RECEIVED, clip=clip, sigma=0)
    assert all(np.allclose(sent[name], TRAINED[name]) for name in TRAINED)


def test_what_is_no_floating_point_is_passed_on_and_types_stay():
    sent = privatize(
        TRAINED | {"flag": np.array([True])}, RECEIVED | {"flag": None}, clip=1, sigma=9
    )
    assert sent["n"] is TRAINED["n"]
    assert sent["flag"].tolist() == [True]
    assert {name: sent[name].dtype for name in TRAINED} == {n: a.dtype for n, a in TRAINED.items()}


def test_an_update_without_a_change_is_noise_alone():
    sent = privatize(RECEIVED, RECEIVED, clip=1, sigma=0.5)
    assert not np.array_equal(sent["w"], RECEIVED["w"])
    assert np.isfinite(sent["w"]).all()


def test_the_noise_has_its_sigma_in_every_weight():
    zeros = {"w": np.zeros(100_000, "f4")}
    noise = privatize(zeros, zeros, clip=1, sigma=0.3, generator=np.random.default_rng(0))["w"]
    assert noise.std() == pytest.approx(0.3, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.005)
    assert np.mean(np.abs(noise) < 0.3) == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.01)


def test_a_generator_gives_the_same_noise_in_whatever_order_the_tensors_are():
    one, other = (
        privatize(order(TRAINED), RECEIVED, clip=1, sigma=1, generator=np.random.default_rng(1))
        for order in (dict, lambda state: dict(reversed(state.items())))
    )
    assert all(np.array_equal(one[name], other[name]) for name in TRAINED)
    unseeded = privatize(TRAINED, RECEIVED, clip=1, sigma=1)
    assert not np.array_equal(one["w"], unseeded["w"])


@pytest.mark.parametrize(
    ("clip", "sigma"), [(0, 1), (-1, 1), (1, -1), (math.nan, 1), (1, math.inf)]
)
def test_a_norm_or_a_sigma_that_is_none_is_refused(clip, sigma):
    with pytest.raises(ValueError, match="sigma"):
        privatize(TRAINED, RECEIVED, clip=clip, sigma=sigma)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nothing_is_sent_of_weights_that_are_no_numbers(value):
    with pytest.raises(Unfit, match="finite"):
        privatize(TRAINED | {"w": np.full((2, 2), value)}, RECEIVED, clip=1, sigma=1)


def test_weights_that_were_not_there_are_named():
    with pytest.raises(Unfit, match="no weight new"):
        privatize(TRAINED | {"new": np.ones(1)}, RECEIVED, clip=1, sigma=1)


def test_a_module_trained_in_place_is_sent_with_noise_and_stays_as_it_is():
    net = nn.Linear(2, 1)
    before = to_arrays(net)["weight"].copy()
    private = PrivateUpdate(net, job(), clip=0.5, sigma=0)
    with torch.no_grad():
        net.weight += 3
    sent = private(net)
    assert np.linalg.norm(sent["weight"] - before) == pytest.approx(0.5)
    assert np.allclose(to_arrays(net)["weight"], before + 3)


def test_what_is_not_exchanged_takes_no_part():
    exchange = {"tensors": {"include": ["head.*"], "exclude": ["*.bias"]}}
    net = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
    private = PrivateUpdate(net, job(exchange=exchange), clip=1, sigma=0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 3
    now, sent = to_arrays(net), private(net)
    assert [n for n in now if not np.array_equal(sent[n], now[n])] == ["head.weight"]
    moved = sent["head.weight"] - (now["head.weight"] - 3)
    assert np.linalg.norm(moved) == pytest.approx(1)


def test_tied_weights_are_one_tensor():
    net = nn.ModuleDict({"in": nn.Linear(2, 2, bias=False), "out": nn.Linear(2, 2, bias=False)})
    net["out"].weight = net["in"].weight
    before = to_arrays(net)["in.weight"].copy()
    private = PrivateUpdate(net, job(), clip=4, sigma=0)
    with torch.no_grad():
        net["in"].weight += 2  # a norm of 4, counted once
    assert np.allclose(private(net)["out.weight"], before + 2)
    noised = PrivateUpdate(net, job(), clip=1, sigma=1)(net)
    assert np.array_equal(noised["in.weight"], noised["out.weight"])


def test_epsilon_is_bun_and_steinkes():
    found = epsilon(sensitivity=1, sigma=2, rounds=8, delta=1e-5)
    assert found == pytest.approx(1 + 2 * math.sqrt(math.log(1e5)))
    assert epsilon(sensitivity=1, sigma=2, rounds=0, delta=1e-5) == 0


@pytest.mark.parametrize("sigma", [0.5, 1, 3])
@pytest.mark.parametrize("rounds", [1, 10])
def test_epsilon_holds_for_the_gaussian_mechanism(sigma, rounds):
    """Rounds of it are one of sensitivity √rounds, of the δ in Balle & Wang 2018, thm. 8."""
    wanted, distance = 1e-5, math.sqrt(rounds) / sigma
    at = epsilon(sensitivity=1, sigma=sigma, rounds=rounds, delta=wanted)
    exact = below(distance / 2 - at / distance)
    exact -= math.exp(at) * below(-distance / 2 - at / distance)
    assert 0 <= exact <= wanted


def below(z):
    """The normal distribution's share below z."""
    return math.erfc(-z / math.sqrt(2)) / 2


@pytest.mark.parametrize("wrong", [{"delta": 0}, {"delta": 1}, {"sigma": 0}, {"rounds": -1}])
def test_an_epsilon_of_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="delta"):
        epsilon(**{"sensitivity": 1, "sigma": 1, "rounds": 1, "delta": 1e-5} | wrong)


def test_the_pages_recipe_sends_noise_and_reckons_its_epsilon():
    text = (ROOT / "docs" / "privacy.md").read_text()
    recipe, formula = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    names = {"client": SimpleNamespace(train=lambda function: function), "y": [0, 1]}
    names |= {"PrivateUpdate": PrivateUpdate, "epsilon": epsilon}
    exec(recipe, names)
    net = nn.Linear(2, 1)
    sent, samples = names["train"](net, job())
    assert samples == 2
    assert 0 < np.abs(sent["weight"] - to_arrays(net)["weight"]).max() < 2  # of sigma 0.2
    assert eval(formula, names | {"clip": 5, "sigma": 2, "rounds": 5}) == pytest.approx(116, abs=1)
